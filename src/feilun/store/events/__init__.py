"""The event log: rows of several kinds, a module each, and the log that commits them in groups."""

from feilun.store.events.answers import AnswerRow
from feilun.store.events.event import Event, storable
from feilun.store.events.exchanges import DayExchanges, ExchangeRow
from feilun.store.events.failures import FailureRow
from feilun.store.events.feedback import (
    FEEDBACK_KINDS,
    FeedbackRow,
    IdempotencyReused,
    PredictionNotFound,
)
from feilun.store.events.log import EventLog, LogFull
from feilun.store.events.predictions import PredictionRow, Usage
from feilun.store.events.usage import Charge, DayUsage, KeyUse

__all__ = [
    "FEEDBACK_KINDS",
    "AnswerRow",
    "Charge",
    "DayExchanges",
    "DayUsage",
    "Event",
    "EventLog",
    "ExchangeRow",
    "FailureRow",
    "FeedbackRow",
    "IdempotencyReused",
    "KeyUse",
    "LogFull",
    "PredictionNotFound",
    "PredictionRow",
    "Usage",
    "storable",
]

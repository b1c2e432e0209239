"""The client of a service: typed answers and errors, retries that never do a thing twice.

It needs httpx and pydantic and nothing else of what a service is made of.
"""

from feilun.client.aio import AsyncClient
from feilun.client.answers import (
    Batch,
    BatchLine,
    Classified,
    Compared,
    EntityFound,
    LineCounts,
    ModelInfo,
    Tagged,
    Valued,
)
from feilun.client.errors import (
    Conflicting,
    KeyRefused,
    Limited,
    NoAnswer,
    NotThere,
    Refused,
    ServiceError,
    ServiceFailed,
    Unavailable,
)
from feilun.client.sync import Client

__all__ = [
    "AsyncClient",
    "Batch",
    "BatchLine",
    "Classified",
    "Client",
    "Compared",
    "Conflicting",
    "EntityFound",
    "KeyRefused",
    "Limited",
    "LineCounts",
    "ModelInfo",
    "NoAnswer",
    "NotThere",
    "Refused",
    "ServiceError",
    "ServiceFailed",
    "Tagged",
    "Unavailable",
    "Valued",
]

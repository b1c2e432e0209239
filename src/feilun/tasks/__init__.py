"""What is asked of a model: its record, its prediction, its loss and its metrics."""

from feilun.tasks.classify import LABEL_SEPARATOR, Classify, Labels, Prediction
from feilun.tasks.match import Match, Pair
from feilun.tasks.metrics import ERRORS, METRIC_NAMES
from feilun.tasks.regress import Regress, Regressor, Value
from feilun.tasks.tag import Entities, Tag
from feilun.tasks.task import (
    Answer,
    BadAnswer,
    Entity,
    Input,
    Scorer,
    Tagger,
    Task,
    jsonable,
    task_named,
    written_scores,
)

__all__ = [
    "ERRORS",
    "LABEL_SEPARATOR",
    "METRIC_NAMES",
    "Answer",
    "BadAnswer",
    "Classify",
    "Entities",
    "Entity",
    "Input",
    "Labels",
    "Match",
    "Pair",
    "Prediction",
    "Regress",
    "Regressor",
    "Scorer",
    "Tag",
    "Tagger",
    "Task",
    "Value",
    "jsonable",
    "task_named",
    "written_scores",
]

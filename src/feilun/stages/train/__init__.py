"""Train: a dataset → a model."""

from feilun.stages.train.stage import Train, TrainGiven, lesson_of

__all__ = ["Train", "TrainGiven", "lesson_of"]

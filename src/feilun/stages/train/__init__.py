"""Train: a dataset → a model."""

from feilun.stages.train.stage import Train

__all__ = ["Train"]

"""The step `augment`: further training texts, made from those that are there."""

from feilun.stages.prepare.augment.step import Augment

__all__ = ["Augment"]

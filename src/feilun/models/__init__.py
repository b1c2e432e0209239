"""Model families: `fit` writes a folder, `load` reads it back.

Each family has two halves: `fit` may import torch, what `load` returns never does, so a
serving process needs neither torch nor transformers.
"""

from feilun.models.auto import Auto
from feilun.models.family import Architecture, Estimate, Family, Lesson, Predictor
from feilun.models.folder import load

__all__ = ["Architecture", "Auto", "Estimate", "Family", "Lesson", "Predictor", "load"]

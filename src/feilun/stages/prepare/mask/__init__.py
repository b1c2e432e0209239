"""The step `mask`: personal data out of Chinese and English texts."""

from feilun.stages.prepare.mask.step import Mask

__all__ = ["Mask"]

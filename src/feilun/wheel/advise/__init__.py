"""`feilun advise`: whether to train, what, and what more labels would bring."""

from feilun.wheel.advise.advice import Advice, Baseline, LabelNeed, Option
from feilun.wheel.advise.advise import NothingToValidate, advise

__all__ = ["Advice", "Baseline", "LabelNeed", "NothingToValidate", "Option", "advise"]

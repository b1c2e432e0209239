"""`label_errors`: confident learning, with out-of-sample probabilities from `ngram`."""

from feilun.stages.prepare.label_errors.step import SUSPECTS, LabelErrors

__all__ = ["SUSPECTS", "LabelErrors"]

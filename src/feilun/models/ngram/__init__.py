"""`ngram`: a linear model over hashed n-grams, in C, with neither torch nor scikit-learn."""

from feilun.models.ngram.family import Ngram

__all__ = ["Ngram"]

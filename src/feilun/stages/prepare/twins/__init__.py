"""How twins are told: the form in which two texts that say the same are equal."""

from feilun.stages.prepare.twins.keys import twin_key, twin_texts

__all__ = ["twin_key", "twin_texts"]

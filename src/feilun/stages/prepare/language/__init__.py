"""The step `language`: which language a text is in."""

from feilun.stages.prepare.language.detect import languages
from feilun.stages.prepare.language.step import Language, language_shares

__all__ = ["Language", "language_shares", "languages"]

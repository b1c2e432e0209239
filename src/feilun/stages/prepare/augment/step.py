"""The step `augment`."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import ClassVar, Literal, Self

import polars as pl
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from feilun.core.run import Run
from feilun.core.secret import Secret
from feilun.stages.prepare.augment import asking
from feilun.stages.prepare.augment.check import CARD, Frames, Survey
from feilun.stages.prepare.augment.making import Making
from feilun.stages.prepare.step import Step, StepUnfit
from feilun.tasks import Task

Method = Literal[
    "synonyms", "homophones", "shapes", "delete", "swap", "back_translate", "paraphrase"
]


class Augment(Step):
    """Adds texts made from those of the training split: other words, typing errors, what a
    language model writes. Validation and test never see one.

    A new record has its parent's label, row, group and time, the source `augment:METHOD`, and in
    `fields` the parent's id and the method. Placeholders (`[MOBILE]`), numbers, addresses,
    entities and negations with what they negate are left as they are: «不推荐» must not become
    «推荐». A text that a model no longer gives the parent's label to as before is rejected
    (`label_changed`), one whose twin is there already is not made.

    Whether it helps must be measured. For `ngram` it did not on 100 to 4,000 Chinese reviews
    (synonyms: +0.7 to -0.2 points, noise: -1.5 to 0); noise made it surer on texts with typing
    errors (+0.2 to +0.6 points) from 1,000 reviews on.

    For `tag` entities stay as they are and their spans move with them. Only `classify` with one
    label per record has a model that can `check`; for the other tasks nothing is rejected.
    `minimum_label` is for tasks with one label per record, and language models write no text
    with spans.

    The same seed and record give the same new texts, in whatever shards and order they come; of
    language models that holds as far as their server does.
    """

    use: ClassVar[str] = "augment"
    after_split: ClassVar[bool] = True
    """Given the training split only, after the split."""

    methods: tuple[Method, ...] = Field(
        ("synonyms",),
        min_length=1,
        description="which of them is used for a new text is drawn by lot",
    )
    share: float = Field(0.5, gt=0, le=20, description="new texts per text")
    strength: float = Field(
        0.1, gt=0, le=0.5, description="share of the characters or words that change, one at least"
    )
    minimum_label: int | None = Field(
        None, ge=2, description="only labels with fewer texts, and up to so many; left out: all"
    )
    check: bool = Field(True, description="reject texts that may have lost their label")
    lexicon: str | None = Field(
        None, description="a file of your own synonyms, a group per line; goes before the built-in"
    )
    endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^\s?#@]+$",
        description="for back_translate, paraphrase: address up to /chat/completions",
    )
    model: str | None = Field(None, description="the model's name at the endpoint")
    token: Secret | None = Field(
        None, description="env:NAME, the environment variable with the endpoint's token"
    )
    pivot: str | None = Field(
        None,
        pattern=r"^[\w ()-]{2,40}$",
        description="back_translate: by way of it; left out: English for Chinese, and vice versa",
    )

    @model_validator(mode="after")
    def _has_endpoint(self) -> Self:
        asks = [method for method in self.methods if method in asking.METHODS]
        if asks and not (self.endpoint and self.model):
            raise PydanticCustomError(
                "augment_endpoint", "{method} needs endpoint and model", {"method": asks[0]}
            )
        return self

    def fitted(self, task: Task) -> Self:
        """Without a check where no classifier of texts can judge; raises `StepUnfit` for
        `minimum_label` where a record has not one label."""
        if self.minimum_label is not None and not task.exclusive:
            raise StepUnfit(self.use, task.use, setting="minimum_label")
        judged = task.use == "classify" and task.exclusive
        return self if judged or not self.check else self.model_copy(update={"check": False})

    def survey(self, frames: Frames, run: Run, model: Path | None = None) -> None:
        """Looks at the whole training split once, before `apply` is given its shards, maybe in
        other processes: counts its labels, notes its texts, trains the models that check; or
        takes `model`, the folder of a model of ours such as the live one, which must still be
        there while `apply` runs. It is kept in `run.folder`; `apply` looks there and one level
        above. What is there is not made again."""
        folder = run.folder / self._name()
        if not (folder / CARD).exists():
            Survey.of(frames, run, folder, model, judges=self.check)

    def reads(self, root: Path) -> tuple[Path, ...]:
        """The files beside the records that the result depends on."""
        return (root / self.lexicon,) if self.lexicon else ()

    def apply(self, frame: pl.DataFrame, run: Run) -> pl.DataFrame:
        """`frame` and the new records after it. Without a `survey` before, the frame is taken
        for the whole training split. A twin of a text that is made in another shard cannot be
        seen from here; of two, keep the one whose parent's id is smaller."""
        for home in (run.folder, run.folder.parent):
            if (home / self._name() / CARD).exists():
                return Making(self, Survey(home / self._name()), home, run).grown(frame)
        run.folder.mkdir(parents=True, exist_ok=True)
        alone = Path(tempfile.mkdtemp(dir=run.folder))
        try:
            found = Survey.of(lambda: iter([frame]), run, alone / "survey", judges=self.check)
            return Making(self, found, run.folder, run).grown(frame)
        finally:
            shutil.rmtree(alone, ignore_errors=True)

    def _name(self) -> str:
        settings = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return f"augment-{hashlib.sha256(settings.encode()).hexdigest()[:16]}"

"""The model family `ngram`: linear models over hashed n-grams; the one that is always there."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from feilun.core.errors import shortened
from feilun.core.i18n import _
from feilun.core.run import Run
from feilun.models.family import (
    Estimate,
    Family,
    Lesson,
    NothingLabelled,
    NothingToLearn,
    Predictor,
)
from feilun.models.folder import NotAModel, read_card, read_task, write_card
from feilun.models.ngram import native
from feilun.models.ngram.card import Facts, write_files
from feilun.models.ngram.learning import learn
from feilun.models.ngram.predict import Arrays, NgramPredictor, ValuePredictor
from feilun.models.ngram.predict_pairs import PairArrays, PairPredictor
from feilun.models.ngram.regression import within
from feilun.models.ngram.tagger import NgramTagger, write_tagger
from feilun.models.ngram.tagging import TagPlan, tagger_seconds, train_tagger
from feilun.models.ngram.training import FEW_TEXTS, Plan
from feilun.models.space import Axis, Space
from feilun.tasks import Classify, Task
from feilun.tasks.spans import Span
from feilun.tasks.tag import Tag

if TYPE_CHECKING:
    import polars as pl

PROBE_TEXTS = 300
PROBE_BITS = 16


class Ngram(Family):
    """Linear models over hashed character and word n-grams: support vector machines (`classify`,
    `match`), ridge regression (`regress`), a conditional random field (`tag`).

    Trains on thousands of short texts in under a second and answers in microseconds, in any
    language: characters carry Chinese, words help where there are spaces. Needs no torch.
    """

    use: ClassVar[str] = "ngram"
    tasks: ClassVar[tuple[str, ...]] = ("classify", "tag", "match", "regress")

    min_chars: int = Field(1, ge=1, le=8, description="The shortest character n-grams.")
    max_chars: int = Field(4, ge=1, le=8, description="The longest character n-grams.")
    max_words: int = Field(
        2,
        ge=0,
        le=native.MOST_WORDS,
        description="The longest word n-grams, in scripts that put spaces between words; 0: none.",
    )
    bits: int = Field(22, ge=12, le=26, description="N-grams are hashed into 2^bits buckets.")
    min_texts: int | None = Field(
        None,
        ge=1,
        description="In how many texts an n-gram must occur; left out: 2, or 1 below 1,000 texts.",
    )
    cost: float = Field(
        0.4,
        gt=0,
        le=1e6,
        description="What an error on a training text costs; less of it regularises more. For "
        "regress the middle of those that are tried.",
    )
    class_weight: Literal["none", "balanced"] = Field(
        "none", description="balanced: a rare label's texts weigh more, all labels alike in sum."
    )
    folds: int = Field(
        3, ge=2, le=20, description="Parts the texts are cut into to calibrate the probabilities."
    )
    units: Literal["auto", "characters", "words"] = Field(
        "auto",
        description="What tag labels one by one; auto: runs of letters or of digits as one, unless "
        "the training spans cut them.",
    )
    tolerance: float = Field(
        0.1, gt=0, le=1, description="How far from its optimum training may stop."
    )
    max_epochs: int = Field(
        100, ge=1, le=100_000, description="Passes over the texts after which it stops anyway."
    )

    @model_validator(mode="after")
    def _orders(self) -> Self:
        if self.max_chars < self.min_chars:
            raise PydanticCustomError("ngram_orders", "max_chars is below min_chars")
        return self

    def estimate(self, lesson: Lesson, budget_seconds: float, run: Run) -> Estimate:
        """The seconds, from training on a few of the very records; the time is linear in their
        bytes. `ngram` has no size to choose, so the settings stay as they are."""
        train = lesson.train
        step = max(len(train) // PROBE_TEXTS, 1)
        sample = train.gather_every(step).head(PROBE_TEXTS)
        if len(sample) == 0:
            return Estimate(self, 0.0)
        if lesson.task.use == "tag":
            texts, spans = _tagged(lesson, train)
            seconds = tagger_seconds(texts, spans, lesson.labels, self._tags(run))
            return Estimate(self, seconds)
        soft = None if lesson.soft is None else lesson.soft[::step][:PROBE_TEXTS]
        # Few buckets, so that what does not grow with the records is not scaled up with them.
        probe = self.model_copy(update={"bits": PROBE_BITS})
        start = time.perf_counter()
        plan = probe._plan(len(sample), run.seed)
        learn(lesson._replace(train=sample, soft=soft), plan, lambda _done, _total: None)
        seconds = time.perf_counter() - start
        return Estimate(self, seconds * _num_bytes(train) / max(_num_bytes(sample), 1))

    def space(self, task: Task) -> Space:
        """What changes what is learnt; for `tag` there is little."""
        if task.use == "tag":
            return {"units": Axis(values=("characters", "words")), "bits": Axis(low=16, high=24)}
        space = {
            "cost": Axis(low=0.02, high=10.0, log=True),
            "max_chars": Axis(low=max(2, self.min_chars), high=6),
            "max_words": Axis(low=0, high=3),
            "min_texts": Axis(low=1, high=5),
        }
        if task.use == "regress":
            return space
        return {**space, "class_weight": Axis(values=("none", "balanced"))}

    def fit(self, lesson: Lesson, folder: Path, run: Run) -> None:
        """Trains and writes the folder; but for `tag`, the validation split is only looked at to
        log a figure. Takes well under a second per MB of text, so there is nothing to go on from.

        Where a teacher spoke (`lesson.soft`), its likeliest answer is the truth, and the surer the
        teacher, the more an error costs; to `regress` its value is the truth; `tag` reads none.
        """
        what = _("training the n-gram model")

        def tell(done: int, total: int) -> None:
            run.progress(done, total, what)

        settings = self.model_dump(mode="json")
        if lesson.task.use == "tag":
            trained = train_tagger(
                *_tagged(lesson, lesson.train), lesson.labels, self._tags(run), tell,
                _tagged(lesson, lesson.validation, needed=False),
            )  # fmt: skip
            write_tagger(trained, folder)
            num_features, more = trained.num_features, {"units": trained.units}
        else:
            learnt = learn(lesson, self._plan(len(lesson.train), run.seed), tell)
            learnt.save(folder)
            num_features, more = learnt.num_features, learnt.more
        write_card(folder, self.use, lesson.labels, settings, lesson.task, **more)
        facts = Facts(lesson.task, lesson.labels, settings, len(lesson.train), num_features)
        write_files(folder, facts)
        run.log("features", num_features)
        if len(lesson.validation):
            run.log(*_figure(lesson, self.load(folder)))

    @classmethod
    def load(cls, folder: Path) -> Predictor:
        """The half that predicts; raises `NotAModel` for anything but what `fit` wrote."""
        card = read_card(folder)
        task, labels = read_task(card), card.get("labels")
        if (
            not isinstance(labels, list)
            or bool(labels) == (task.use == "regress")
            or not all(isinstance(label, str) for label in labels)
        ):
            raise NotAModel(folder, _("its labels are not a list of names"))
        try:
            settings = cls.model_validate(card.get("settings"))
        except ValidationError as error:
            raise NotAModel(folder, shortened(error)) from None
        shape, bits = settings._shape(), settings.bits
        if task.use == "tag":
            return NgramTagger.load(folder, labels)
        if task.use == "match":
            return PairPredictor(labels, shape, PairArrays(folder, len(labels), shape))
        if task.use == "regress":
            interval = within(card.get("interval"))
            if interval is None:
                raise NotAModel(folder, _("its interval is not two numbers, the lower first"))
            return ValuePredictor(shape, Arrays(folder, 1, bits, native.VALUE), interval)
        several = isinstance(task, Classify) and task.multiple
        kind = native.INDEPENDENT if several else native.EXCLUSIVE
        return NgramPredictor(labels, shape, Arrays(folder, len(labels), bits, kind))

    def _shape(self) -> native.Shape:
        return native.Shape(self.min_chars, self.max_chars, self.max_words, self.bits)

    def _plan(self, num_texts: int, seed: int) -> Plan:
        return Plan(
            self._shape(),
            self.min_texts or (2 if num_texts >= FEW_TEXTS else 1),
            self.cost, self.class_weight == "balanced", self.folds, seed,
            native.Until(self.tolerance, self.max_epochs, seed),
        )  # fmt: skip

    def _tags(self, run: Run) -> TagPlan:
        return TagPlan(units=self.units, min_count=self.min_texts or 2, seed=run.seed)


def _figure(lesson: Lesson, model: Predictor) -> tuple[str, float]:
    """How the model does on the validation split: the name and the value of one figure."""
    task, rows = lesson.task, lesson.validation
    answers = [answer.written for answer in task.answers(model, task.inputs(rows))]
    pairs = list(zip(answers, task.truth(rows), strict=True))
    if task.use == "regress":
        errors = [abs(float(a) - float(t)) for a, t in pairs if a is not None]
        return "mae", float(np.mean(errors)) if errors else 0.0
    return "accuracy", float(np.mean([a == t for a, t in pairs]))


def _tagged(
    lesson: Lesson, records: pl.DataFrame, *, needed: bool = True
) -> tuple[list[str], list[list[Span]]]:
    """The texts that have been tagged, and their entities; if they are `needed`, raises
    `NothingToLearn` or `NothingLabelled` where there are none."""
    assert isinstance(lesson.task, Tag)
    tagged = records.filter(lesson.task.labelled())
    if needed and (len(tagged) == 0 or not lesson.labels):
        raise NothingLabelled(len(records)) if len(records) else NothingToLearn(0)
    return tagged["text"].to_list(), lesson.task.entities(tagged)


def _num_bytes(records: pl.DataFrame) -> int:
    return int(records["text"].str.len_bytes().sum())

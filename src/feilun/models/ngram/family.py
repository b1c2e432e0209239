"""The model family `ngram`: a linear model over hashed n-grams; the one that is always there."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from safetensors.numpy import save_file

from feilun.core.errors import shortened
from feilun.core.i18n import _
from feilun.core.run import Run
from feilun.models.family import Estimate, Family, LabelUnknown, NothingToLearn, Predictor
from feilun.models.folder import NotAModel, read_card, write_card
from feilun.models.ngram import native
from feilun.models.ngram.predict import WEIGHTS, Arrays, NgramPredictor
from feilun.models.ngram.text import lines
from feilun.models.ngram.training import FEW_TEXTS, Plan, Trained, train

if TYPE_CHECKING:
    import polars as pl

PROBE_TEXTS = 300
PROBE_BITS = 16


class Ngram(Family):
    """A linear support vector machine over hashed character and word n-grams.

    Trains on thousands of short texts in under a second and answers in microseconds, in any
    language: characters carry Chinese, words help where there are spaces. Needs no torch.
    """

    use: ClassVar[str] = "ngram"

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
        description="What an error on a training text costs; less of it regularises more.",
    )
    class_weight: Literal["none", "balanced"] = Field(
        "none", description="balanced: a rare label's texts weigh more, all labels alike in sum."
    )
    folds: int = Field(
        3, ge=2, le=20, description="Parts the texts are cut into to calibrate the probabilities."
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

    def estimate(self, train: pl.DataFrame, budget_seconds: float, run: Run) -> Estimate:
        """The seconds, from training on a few of the very records; the time is linear in their
        bytes. `ngram` has no size to choose, so the settings stay as they are."""
        sample = train.gather_every(max(len(train) // PROBE_TEXTS, 1)).head(PROBE_TEXTS)
        if len(sample) == 0:
            return Estimate(self, 0.0)
        labels = sorted(set(train["label"].to_list()))
        # Few buckets, so that what does not grow with the records is not scaled up with them.
        probe = self.model_copy(update={"bits": PROBE_BITS})
        start = time.perf_counter()
        probe._trained(sample, labels, run.seed, lambda _done, _total: None)
        seconds = time.perf_counter() - start
        return Estimate(self, seconds * _num_bytes(train) / max(_num_bytes(sample), 1))

    def fit(
        self,
        train: pl.DataFrame,
        validation: pl.DataFrame,
        labels: Sequence[str],
        folder: Path,
        run: Run,
    ) -> None:
        """Trains and writes the folder; `validation` is only looked at to log the accuracy.
        Takes well under a second per MB of text, so there is nothing to go on from."""
        what = _("training the n-gram model")
        trained = self._trained(
            train, labels, run.seed, lambda done, total: run.progress(done, total, what)
        )
        self._write(trained, labels, len(train), folder)
        run.log("features", len(trained.buckets))
        if len(validation):
            scores = self.load(folder).scores(validation["text"].to_list())
            found = np.nan_to_num(scores, nan=-1.0).argmax(axis=1)
            right = [
                labels[at] == label for at, label in zip(found, validation["label"], strict=True)
            ]
            run.log("accuracy", float(np.mean(right)))

    @classmethod
    def load(cls, folder: Path) -> Predictor:
        """The half that predicts; raises `NotAModel` for anything but what `fit` wrote."""
        card = read_card(folder)
        labels = card.get("labels")
        if (
            not isinstance(labels, list)
            or not labels
            or not all(isinstance(label, str) for label in labels)
        ):
            raise NotAModel(folder, _("its labels are not a list of names"))
        try:
            settings = cls.model_validate(card.get("settings"))
        except ValidationError as error:
            raise NotAModel(folder, shortened(error)) from None
        return NgramPredictor(labels, settings._shape(), Arrays(folder, len(labels), settings.bits))

    def _shape(self) -> native.Shape:
        return native.Shape(self.min_chars, self.max_chars, self.max_words, self.bits)

    def _trained(
        self, records: pl.DataFrame, labels: Sequence[str], seed: int, tell: Any
    ) -> Trained:
        number = {label: i for i, label in enumerate(labels)}
        try:
            truth = np.array([number[label] for label in records["label"]], dtype=np.int64)
        except KeyError as error:
            raise LabelUnknown(error.args[0], labels) from None
        if len(truth) == 0:
            raise NothingToLearn(0)
        texts = native.texts(lines(records["text"].to_list()), len(truth))
        plan = Plan(
            self._shape(),
            self.min_texts or (2 if len(truth) >= FEW_TEXTS else 1),
            self.cost, self.class_weight == "balanced", self.folds, seed,
            native.Until(self.tolerance, self.max_epochs, seed),
        )  # fmt: skip
        return train(texts, truth, len(labels), plan, tell)

    def _write(self, trained: Trained, labels: Sequence[str], num_texts: int, folder: Path) -> None:
        arrays = {
            "buckets": trained.buckets,
            "scale": trained.scale,
            "weights": trained.weights,
            "bias": trained.bias,
            "slope": np.array([trained.calibration.slope], dtype=np.float32),
            "shift": trained.calibration.shift.astype(np.float32),
        }
        settings = self.model_dump(mode="json")
        save_file(arrays, folder / WEIGHTS)
        write_card(folder, self.use, labels, settings)
        config = {
            **settings,
            "model_type": "feilun-ngram",
            "id2label": {str(i): label for i, label in enumerate(labels)},
            "num_features": len(trained.buckets),
        }
        text = json.dumps(config, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
        (folder / "config.json").write_text(text, encoding="utf-8")
        card = _CARD.format(
            labels="\n".join(f"- {label}" for label in labels),
            texts=num_texts,
            features=len(trained.buckets),
            min_chars=self.min_chars, max_chars=self.max_chars, max_words=self.max_words,
        )  # fmt: skip
        (folder / "README.md").write_text(card, encoding="utf-8")


def _num_bytes(records: pl.DataFrame) -> int:
    return int(records["text"].str.len_bytes().sum())


# Both languages at once: the same model has the same card wherever it was trained.
_CARD = """\
---
library_name: feilun
pipeline_tag: text-classification
---

# Text classifier (n-gram) · 文本分类模型（n-gram）

A linear support vector machine over hashed n-grams of {min_chars} to {max_chars} characters and
up to {max_words} words, with calibrated probabilities. It was trained on {texts} texts and knows
{features} features. 由 {texts} 条文本训练，含 {features} 个特征，输出为校准后的概率。

It sees which short strings occur in a text, not their order over a longer stretch: irony, and a
negation far from what it negates, escape it. A text in which it knows nothing gets no answer.
它只看文本里出现的短字符串：反语、远距离的否定它看不出来；一无所知的文本，它不作答。

## Labels · 标签

{labels}

## Use · 使用

```python
from pathlib import Path

from feilun.models.folder import load

load(Path(".")).scores(["…"])
```
"""

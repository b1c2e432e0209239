"""One training of `frozen`, from a lesson to the finished folder."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from feilun.core.i18n import _
from feilun.core.run import Run
from feilun.models.family import Lesson, NothingToLearn
from feilun.models.folder import write_card
from feilun.models.neural import calibrate, export, linear
from feilun.models.neural.batches import Shelf
from feilun.models.neural.calibrate import Checked
from feilun.models.neural.device import steady
from feilun.models.neural.encoders.hub import HubEncoder, Pooling, Tuning, opened
from feilun.models.neural.examples import examples
from feilun.models.neural.features import Features
from feilun.models.neural.heads import Classes, Head, Several, Twin, Use, Value, head_for
from feilun.models.neural.network import Network

if TYPE_CHECKING:
    from feilun.models.frozen import Frozen

CPU = torch.device("cpu")
PROBE_TEXTS = 64
UNCALIBRATED = 1.645
"""Standard deviations that hold 90 % of a normal distribution, where nothing was validated."""


class Read(NamedTuple):
    """A split: its examples in windows, each window's vector, and whose window it is."""

    shelf: Shelf
    vectors: np.ndarray

    @property
    def text(self) -> np.ndarray:
        """Whose each window is; of pairs, which pair each row is."""
        return np.arange(self.shelf.examples.num) if self.shelf.twin else self.shelf.windows.text

    @property
    def features(self) -> np.ndarray:
        """A row per window; of pairs one per pair: |u − v| and u·v of their vectors of length
        √width, as a `Twin` head reads them."""
        if not self.shelf.twin:
            return self.vectors
        count = 2 * self.shelf.examples.num
        texts = calibrate.averaged(self.vectors, self.shelf.windows.text, count)
        length = np.linalg.norm(texts, axis=1, keepdims=True)
        texts = texts / np.maximum(length, 1e-12) * texts.shape[1] ** 0.5
        u, v = texts[0::2], texts[1::2]
        return np.concatenate([np.abs(u - v), u * v], axis=1)


def fit(settings: Frozen, lesson: Lesson, folder: Path, run: Run) -> None:
    """Trains `settings` (every choice made) and writes the model into `folder`."""
    assert settings.threads is not None
    with steady(settings.threads, run.seed, CPU):
        train, validation = _shelves(settings, lesson, run)
        if not train.examples.num:
            raise NothingToLearn(len(lesson.train))
        _tell_what_is_long(train, run)
        encoder = _encoder(settings, train.reader.vocabulary)
        features = Features(encoder, settings.source.digest(), run.folder)
        told = _("reading the texts")
        splits = []
        for shelf in (train, validation):
            done = features.of(shelf, lambda done, total: run.progress(done, total, told))
            splits.append(Read(shelf, done))
        head = _head(settings, lesson, splits[0], encoder.width, run)
        checked = _checked(head, splits[1]) if validation.examples.num else calibrate.NOTHING
        for name, value in checked.metrics.items():
            run.log(f"validation_{name}", value)
        _write(settings, lesson, Network(encoder, head), (splits[0], splits[1]), checked, folder)


def seconds(settings: Frozen, lesson: Lesson, run: Run) -> float:
    """What `fit` would take, by reading a few of the training texts."""
    assert settings.threads is not None
    begun = time.monotonic()
    with steady(settings.threads, run.seed, CPU):
        sample = lesson.train.gather_every(max(len(lesson.train) // PROBE_TEXTS, 1))
        few = lesson._replace(train=sample, validation=sample.head(0), soft=None)
        shelf, _none = _shelves(settings, few, run)
        encoder = _encoder(settings, shelf.reader.vocabulary)
        opening = time.monotonic() - begun
        if not shelf.examples.num:
            return opening
        reading = time.monotonic()
        with torch.no_grad():
            for rows in shelf.by_length(16):
                matrix = shelf.matrix(shelf.windows.at(rows))
                mask = torch.from_numpy(matrix.mask.astype(bool))
                encoder.pooled(torch.from_numpy(matrix.ids), mask)
        reading = time.monotonic() - reading
    texts = len(lesson.train) + len(lesson.validation)
    # Opened again, written twice (weights and graph) and checked.
    return 4 * opening + reading * texts / max(len(sample), 1)


def _shelves(settings: Frozen, lesson: Lesson, run: Run) -> tuple[Shelf, Shelf]:
    reader = settings.given_reader()
    twin = lesson.task.use == "match"
    train = examples(lesson, lesson.train, reader, lesson.soft)
    validation = examples(lesson, lesson.validation, reader)
    return Shelf(reader, train, twin), Shelf(reader, validation, twin)


def _tell_what_is_long(shelf: Shelf, run: Run) -> None:
    if shelf.num_long:
        run.say(
            _(
                "{count} of {total} texts are longer than max_length = {length} tokens: each is "
                "read in several windows."
            ).format(
                count=shelf.num_long,
                total=shelf.examples.num * shelf.examples.width,
                length=shelf.reader.max_length,
            )
        )


def _encoder(settings: Frozen, vocabulary: int) -> HubEncoder:
    body = opened(settings.source, vocabulary, settings.layers)
    pooling: Pooling = "mean" if settings.pooling == "auto" else settings.pooling
    return HubEncoder(body, pooling, Tuning("head"))


def _head(settings: Frozen, lesson: Lesson, train: Read, width: int, run: Run) -> Head:
    """The task's head with the weights of the linear model."""
    examples_ = train.shelf.examples
    target, loss = examples_.target, linear.softmax_loss
    mean, spread = 0.0, 1.0
    if examples_.aim == "value":
        mean, spread = float(target.mean()), float(target.std()) or 1.0
        target, loss = ((target - mean) / spread)[:, None], linear.squared_loss
    elif examples_.aim == "several":
        loss = linear.sigmoid_loss
    elif target.ndim == 1:
        target = np.eye(len(lesson.labels))[target]
    rows = _rows(train, target, settings.class_weight == "balanced" and examples_.aim != "value")
    told = _("fitting the linear model")
    found = linear.fitted(
        rows, loss, settings.l2, lambda done, total: run.progress(done, total, told)
    )
    run.log("l2", found.strength)
    head = head_for(examples_.aim, train.shelf.twin, width, lesson.labels, Use(0.0))
    weight = found.weight
    if isinstance(head, Twin):
        # A twin head reads u and v too; what is alike must not depend on which comes first.
        weight = torch.cat([torch.zeros(len(weight), 2 * width), weight], dim=1)
    with torch.no_grad():
        head.linear.weight.copy_(weight)
        head.linear.bias.copy_(found.bias)
    if isinstance(head, Value):
        head.scale(mean, spread)
    return head.train(False)


def _rows(train: Read, target: np.ndarray, balanced: bool) -> linear.Rows:
    """A row per window, all windows of a text together as heavy as another text."""
    text = train.text
    weight = 1 / np.bincount(text)[text]
    if balanced:
        share = target.mean(axis=0)
        weight = weight * (target / np.maximum(share * target.shape[1], 1e-9)).sum(axis=1)[text]
    return linear.Rows(
        torch.from_numpy(train.features.astype(np.float64)),
        torch.from_numpy(target[text].astype(np.float64)),
        torch.from_numpy(weight.astype(np.float64)),
        torch.from_numpy(text.astype(np.int64)),
    )


def _checked(head: Head, split: Read) -> Checked:
    """Figures on the validation split, and what of them is folded into the head."""
    weight = head.linear.weight.detach().double().numpy()
    if split.shelf.twin:
        weight = weight[:, weight.shape[1] // 2 :]
    logits = split.features @ weight.T + head.linear.bias.detach().double().numpy()
    target = split.shelf.examples.target
    if isinstance(head, Value):
        return calibrate.value(logits, split.text, target, 1.0)
    if isinstance(head, Several):
        return calibrate.several(logits, split.text, target)
    return calibrate.classes(logits, split.text, target)


def _write(
    settings: Frozen,
    lesson: Lesson,
    network: Network,
    splits: tuple[Read, Read],
    checked: Checked,
    folder: Path,
) -> None:
    shelf, head = splits[0].shelf, network.head
    more: dict[str, object] = {}
    if isinstance(head, Value):
        far = UNCALIBRATED * float(shelf.examples.target.std())
        more["interval"] = list(checked.fold) or [-far, far]
    elif isinstance(head, Several) and checked.fold:
        head.shift(torch.tensor(checked.fold))
    elif isinstance(head, Classes) and checked.fold:
        head.cool(checked.fold[0])
    export.write(network, folder, pairs=False)
    rows = np.unique([*range(min(8, len(shelf.windows.text))), int(shelf.windows.read.argmax())])
    export.check(network, folder, shelf.matrix(shelf.windows.at(rows)), pairs=False)
    settings.save_given_tokenizer(shelf.reader, folder)
    frame = shelf.reader.frame
    write_card(
        folder,
        settings.use,
        lesson.labels,
        settings.model_dump(mode="json"),
        lesson.task,
        frame={**frame._asdict(), "unknown": sorted(frame.unknown)},
        max_length=shelf.reader.max_length,
        twin=shelf.twin,
        **more,
    )
    counts = (shelf.examples.num, splits[1].shelf.examples.num)
    text = _card(settings, lesson, counts, checked)
    (folder / "README.md").write_text(text, encoding="utf-8", newline="\n")


def _card(settings: Frozen, lesson: Lesson, counts: tuple[int, int], checked: Checked) -> str:
    """The model card in both languages, whatever language is in force."""
    written = json.dumps(settings.model_dump(mode="json"), indent=2, sort_keys=True)
    labels = "\n".join(f"- `{label.replace('`', ' ')}`" for label in lesson.labels) or "–"
    figures = {"loss": checked.loss, **checked.metrics} if counts[1] else {}
    measured = "\n".join(f"| {name} | {value:.4f} |" for name, value in figures.items())
    return f"""---
library_name: feilun
pipeline_tag: text-classification
tags: [feilun, frozen]
---

# frozen: {lesson.task.use}

The encoder `{settings.name}` as it was, and a linear model on its vectors, fitted by Feilun on
{counts[0]:,} of its owner's texts.

预训练编码器保持不变，由飞轮（Feilun）在其向量上拟合线性模型。

## Labels / 标签

{labels}

## On the validation split / 验证集表现

{counts[1]:,} texts 条

| figure 指标 | value 数值 |
|---|---|
{measured or "| – | – |"}

## Use / 用法

`feilun predict`, or `model.onnx` with `tokenizer.json`. `AutoModel` opens the encoder alone; the
linear model is in `feilun-head.safetensors`. Longer texts: average over windows.
长文本请按窗口分段后取平均。

## Settings / 设置

```json
{written}
```
"""

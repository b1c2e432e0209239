"""What pretraining would take, and doing nothing else than that."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from feilun.core.i18n import _
from feilun.core.run import Run
from feilun.models.family import Estimate, Lesson
from feilun.models.neural import corpus
from feilun.models.neural.pretrain import Pretrain

if TYPE_CHECKING:
    from feilun.models.neural import pretraining
    from feilun.models.neural.pretrained import Source
    from feilun.models.neural.settings import Neural

SAMPLE = 2_000
"""Texts that are sampled."""
PROBE_SECONDS, FEWEST_STEPS = 1.5, 4


class Pace(NamedTuple):
    """What pretraining takes here: seconds before its first step, seconds of a step, passages."""

    before: float
    per_step: float
    passages: int


def estimated(
    table: Pretrain,
    lesson: Lesson,
    budget: float,
    run: Run,
    plain: Callable[[Lesson, float], Estimate],
) -> tuple[Estimate, Pretrain]:
    """What `plain` (an estimate of the task's training within so many seconds) and pretraining
    take together, and pretraining with its steps decided: as many as its texts deserve, fewer
    where its share of `budget` does not last."""
    if not lesson.unlabelled:
        return plain(lesson, budget), table
    found = plain(lesson._replace(unlabelled=()), budget * (1 - table.share))
    settings: Neural = found.family  # type: ignore[assignment]  # a network's estimate is one
    allowed = min(table.share * budget, budget - found.seconds)
    pace, chosen = _chosen(settings, table, lesson, allowed, run)
    steps = chosen.num_steps(pace.passages)
    seconds = found.seconds + pace.before + steps * pace.per_step
    return Estimate(found.family, seconds), chosen


def planned(
    settings: Neural, table: Pretrain, lesson: Lesson, seconds: float, run: Run
) -> Pretrain:
    """`table` with its steps decided so that pretraining takes at most `seconds`, where neither
    steps nor epochs are set; `settings` are resolved."""
    return _chosen(settings, table, lesson, seconds, run)[1]


def _chosen(
    settings: Neural, table: Pretrain, lesson: Lesson, seconds: float, run: Run
) -> tuple[Pace, Pretrain]:
    run.progress(0, 1, _("measuring this machine"))
    pace = _pace(settings, table, lesson, run)
    steps = table.num_steps(pace.passages)
    if table.steps is None and table.epochs is None:
        steps = max(1, min(steps, int((seconds - pace.before) / pace.per_step)))
    if table.epochs is not None:
        return pace, table.model_copy(update={"steps": None})
    return pace, table.model_copy(update={"steps": steps})


def _pace(settings: Neural, table: Pretrain, lesson: Lesson, run: Run) -> Pace:
    """Real steps over a sample of the texts."""
    from feilun.models.neural import pretraining
    from feilun.models.neural.device import pick_device, steady

    assert settings.threads is not None
    texts = [text for text, _number in zip(corpus.texts_of(lesson), range(SAMPLE), strict=False)]
    frame = pl.DataFrame({"text": texts}, schema={"text": pl.String})
    sample = lesson._replace(train=frame, unlabelled=(), validation=frame.head(0))
    device = pick_device(settings.device)
    quiet = run.within("probe-pretrain")
    with steady(settings.threads, run.seed, device):
        begun = time.monotonic()
        reader = settings.reader(sample, quiet)
        task = pretraining.Task(settings, table, reader, sample)
        passages = pretraining.passages_of(task, quiet.folder / task.name, quiet)
        per_character = (time.monotonic() - begun) / max(sum(map(len, texts)), 1)
        every = sum(len(text) for text in corpus.texts_of(lesson))
        grown = every / max(sum(map(len, texts)), 1)
        if not len(passages):
            return Pace(0.0, 1e-3, 0)
        vocabulary = max(settings.vocabulary_size or 0, reader.vocabulary)
        encoder = settings.encoder(vocabulary, reader.frame.pad, "states").to(device)
        training = pretraining.begun(task, encoder, passages, quiet)
        per_step = _timed(training)
    return Pace(per_character * every, per_step, max(1, int(len(passages) * grown)))


def _timed(training: pretraining.Pretraining) -> float:
    from feilun.models.neural.checkpoint import Position

    training.network.train()
    took: list[float] = []
    begun = time.monotonic()
    for epoch in range(40):
        for parts in training.batches(Position(epoch=epoch)):
            at = time.monotonic()
            rows = sum(len(matrix.ids) for matrix, _target in parts)
            training.step(0, parts)
            took.append((time.monotonic() - at) * training.settings.batch_size / rows)
            enough = len(took) > FEWEST_STEPS and time.monotonic() - begun > PROBE_SECONDS
            if enough or time.monotonic() - begun > 8 * PROBE_SECONDS:
                warm = min(2, len(took) - 1)
                return sum(took[warm:]) / len(took[warm:])
    return sum(took) / len(took)


def pretrain(
    settings: Neural, table: Pretrain, lesson: Lesson, folder: Path, run: Run, source: Source | None
) -> None:
    """Pretrains on `lesson` and writes a folder that transformers opens, and `hub` and `frozen`
    build on: `config.json`, `model.safetensors` with the head for hidden words, the tokenizer,
    `README.md`. `settings` are resolved; `source` is the encoder that is gone on with, if any."""
    from feilun.models.neural import masked_files, pretraining
    from feilun.models.neural.device import pick_device, steady

    assert settings.threads is not None
    device = pick_device(settings.device)
    with steady(settings.threads, run.seed, device):
        reader = settings.reader(lesson, run)
        encoder = settings.encoder(reader.vocabulary, reader.frame.pad, "states").to(device)
        task = pretraining.Task(settings, table, reader, lesson)
        head = pretraining.pretrained(task, encoder, run, source)
        if head is None:
            raise pretraining.NothingToPretrainOn()
        masked_files.write(encoder, head, folder)
        settings.save_tokenizer(reader, folder)
    card = _card(settings, sum(p.numel() for p in encoder.parameters()), head.told)
    (folder / "README.md").write_text(card, encoding="utf-8", newline="\n")


def _card(settings: Neural, parameters: int, told: dict[str, float]) -> str:
    said = json.dumps(settings.model_dump(mode="json"), indent=2, sort_keys=True)
    figures = "\n".join(f"| {name} | {value:.4f} |" for name, value in sorted(told.items()))
    return f"""---
library_name: transformers
pipeline_tag: fill-mask
tags: [feilun, pretrained]
---

# Pretrained on its owner's texts

{parameters:,} parameters, pretrained by Feilun without labels; to be finetuned with
`[train] model = {{ architecture = "hub", name = "this folder" }}`.

由飞轮（Feilun）用所有者自己的无标注文本预训练，供 `hub` 与 `frozen` 微调。

| figure of the last steps 末尾各步的指标 | value 数值 |
|---|---|
{figures or "| – | – |"}

```json
{said}
```
"""

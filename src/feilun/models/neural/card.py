"""The model card, `README.md`: what the model is, for people and for Hugging Face's tools."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from feilun.models.neural.calibrate import Checked

if TYPE_CHECKING:
    from feilun.models.neural.settings import Neural

PIPELINES = {
    "classify": "text-classification",
    "tag": "token-classification",
    "match": "text-classification",
    "regress": "text-classification",
}


class Facts(NamedTuple):
    """What the card says; nothing in it depends on when or how fast."""

    task: str
    labels: tuple[str, ...]
    settings: Neural
    counts: tuple[int, int]
    """Training and validation inputs."""
    num_parameters: int
    vocabulary: int
    checked: Checked


def written(facts: Facts) -> str:
    """The card in both languages, whatever language is in force: it is part of the model,
    whose bytes must not depend on that."""
    size = facts.settings.preset
    settings = json.dumps(facts.settings.model_dump(mode="json"), indent=2, sort_keys=True)
    labels = "\n".join(f"- `{label.replace('`', ' ')}`" for label in facts.labels) or "–"
    train, validation = facts.counts
    figures = {"loss": facts.checked.loss, **facts.checked.metrics} if validation else {}
    measured = "\n".join(f"| {name} | {value:.4f} |" for name, value in figures.items())
    return f"""---
library_name: feilun
pipeline_tag: {PIPELINES.get(facts.task, "text-classification")}
tags: [feilun, {facts.settings.use}]
---

# {facts.settings.use}: {facts.task}

A network trained by Feilun on its owner's texts: {size.layers} layers × {size.width},
{facts.num_parameters:,} parameters, {facts.vocabulary:,} vocabulary entries, windows of
{size.max_length} tokens, {train:,} training texts.

由飞轮（Feilun）用所有者自己的文本训练的模型。

## Labels / 标签

{labels}

## On the validation split / 验证集表现

{validation:,} texts 条

| figure 指标 | value 数值 |
|---|---|
{measured or "| – | – |"}

The epoch was chosen, and the outputs were calibrated (a temperature, Guo et al. 2017;
thresholds; an interval: what of them the task has is in the weights or in `feilun.json`), on
these texts: the figures flatter the model a little.
选轮次与校准均使用了这些文本，故以上数字略偏乐观。

## Use / 用法

`feilun predict`, or `model.onnx` with `tokenizer.json`: it takes `input_ids` and
`attention_mask` (of pairs also `token_type_ids`), and gives `output`. Longer texts: average over
windows. 长文本请按窗口分段后取平均。

## Settings / 设置

```json
{settings}
```
"""

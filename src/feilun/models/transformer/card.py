"""The model card, `README.md`: what the model is, for people and for Hugging Face's tools."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from feilun.models.transformer.settings import Settings


class Facts(NamedTuple):
    """What the card says; nothing in it depends on when or how fast."""

    labels: tuple[str, ...]
    settings: Settings
    num_train: int
    num_validation: int
    num_parameters: int
    vocabulary: int
    loss: float
    accuracy: float
    temperature: float


def written(facts: Facts) -> str:
    """The card in both languages, whatever language is in force: it is part of the model,
    whose bytes must not depend on that."""
    size = facts.settings.preset
    settings = json.dumps(facts.settings.model_dump(mode="json"), indent=2, sort_keys=True)
    labels = "\n".join(f"- `{label.replace('`', ' ')}`" for label in facts.labels)
    measured = (
        f"| {facts.num_validation} | {facts.accuracy:.4f} | {facts.loss:.4f} "
        f"| {facts.temperature:.4f} |"
        if facts.num_validation
        else "| 0 | – | – | 1 |"
    )
    return f"""---
library_name: transformers
pipeline_tag: text-classification
tags: [feilun]
---

# Text classifier / 文本分类模型

A BERT-class classifier trained from scratch by Feilun on its owner's texts:
{size.layers} layers × {size.width}, {facts.num_parameters:,} parameters, {facts.vocabulary:,}
vocabulary entries, windows of {size.max_length} tokens, {facts.num_train:,} training texts.

由飞轮（Feilun）用所有者自己的文本从零训练的 BERT 类分类模型。

## Labels / 标签

{labels}

## On the validation split / 验证集表现

| texts 条数 | accuracy 准确率 | log loss 对数损失 | temperature 温度 |
|---|---|---|---|
{measured}

The epoch was chosen, and the probabilities were calibrated (temperature scaling, Guo et al.
2017, already in the weights), on these texts: the figures flatter the model a little.
选轮次与概率校准均使用了这些文本，故以上数字略偏乐观。

## Use / 用法

`model.onnx` takes `input_ids` and `attention_mask`, and gives `logits`. The same weights open
with `AutoTokenizer` and `AutoModelForSequenceClassification`. Longer texts: average the
probabilities over windows. 长文本请按窗口分段后对概率取平均。

## Settings / 设置

```json
{settings}
```
"""

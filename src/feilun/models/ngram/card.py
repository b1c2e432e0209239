"""`README.md` and `config.json` of a model of n-grams, for people and for other tools."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from feilun.tasks import Classify, Task


class Facts(NamedTuple):
    """What the card says of a model."""

    task: Task
    labels: Sequence[str]
    settings: dict[str, Any]
    num_texts: int
    num_features: int


class _Kind(NamedTuple):
    """What a task's model is, in both languages, and how it is asked."""

    pipeline: str
    title: str
    what: str
    use: str


_SCORES = 'load(Path(".")).scores(["…"])'
_KINDS = {
    "classify": _Kind(
        "text-classification",
        "Text classifier (n-gram) · 文本分类模型（n-gram）",
        "A linear support vector machine over hashed n-grams of {min_chars} to {max_chars} "
        "characters and\nup to {max_words} words, with calibrated probabilities. It was trained "
        "on {texts} texts and knows\n{features} features. "
        "由 {texts} 条文本训练，含 {features} 个特征，输出为校准后的概率。",
        _SCORES,
    ),
    "several": _Kind(
        "text-classification",
        "Text classifier, several labels per text (n-gram) · 多标签文本分类模型（n-gram）",
        "A linear support vector machine per label over hashed n-grams of {min_chars} to "
        "{max_chars} characters\nand up to {max_words} words; a text has each label of "
        "probability 0.5 or more. It was trained on {texts}\ntexts and knows {features} features. "
        "由 {texts} 条文本训练，含 {features} 个特征；概率不低于 0.5 的标签都是答案。",
        _SCORES,
    ),
    "regress": _Kind(
        "text-classification",
        "A number for a text (n-gram) · 文本回归模型（n-gram）",
        "Ridge regression over hashed n-grams of {min_chars} to {max_chars} characters and up to "
        "{max_words} words.\nIt was trained on {texts} texts and knows {features} features; "
        "`interval` in feilun.json held nine in ten\nof the texts left out. "
        "由 {texts} 条文本训练，含 {features} 个特征；"
        "feilun.json 中的 interval 覆盖了九成的留出文本。",
        _SCORES,
    ),
    "match": _Kind(
        "sentence-similarity",
        "Pairs of texts (n-gram) · 文本匹配模型（n-gram）",
        "A linear support vector machine over what two texts share: hashed n-grams of {min_chars} "
        "to {max_chars}\ncharacters and up to {max_words} words, and the texts' similarities, "
        "with calibrated probabilities. It was\ntrained on {texts} pairs and knows {features} "
        "n-grams. The order of the two texts does not matter.\n"
        "由 {texts} 对文本训练，含 {features} 个 n-gram；两段文本交换位置，答案不变。",
        'load(Path(".")).scores([("…", "…")])',
    ),
    "tag": _Kind(
        "token-classification",
        "Entities in texts (n-gram) · 实体识别模型（n-gram）",
        "A conditional random field over hashed n-grams around each place. It was trained on "
        "{texts} texts\nand knows {features} features. "
        "由 {texts} 条文本训练，含 {features} 个特征。",
        'load(Path(".")).entities(["…"])',
    ),
}


def write_files(folder: Path, facts: Facts) -> None:
    """Writes both; the same model has the same files wherever it was trained."""
    named = facts.task.use
    several = isinstance(facts.task, Classify) and facts.task.multiple
    config = {
        **facts.settings,
        "model_type": "feilun-ngram",
        "id2label": {str(i): label for i, label in enumerate(facts.labels)},
        "num_features": facts.num_features,
    }
    text = json.dumps(config, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")
    kind = _KINDS["several" if several else named]
    card = _CARD.format(
        pipeline=kind.pipeline,
        title=kind.title,
        what=kind.what.format(texts=facts.num_texts, features=facts.num_features, **facts.settings),
        labels=_LABELS.format(labels="\n".join(f"- {label}" for label in facts.labels))
        if facts.labels
        else "",
        use=kind.use,
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


# Both languages at once: the same model has the same card wherever it was trained.
_CARD = """\
---
library_name: feilun
pipeline_tag: {pipeline}
---

# {title}

{what}

It sees which short strings occur in a text, not their order over a longer stretch: irony, and a
negation far from what it negates, escape it. A text in which it knows nothing gets no answer.
它只看文本里出现的短字符串：反语、远距离的否定它看不出来；一无所知的文本，它不作答。

{labels}## Use · 使用

```python
from pathlib import Path

from feilun.models.folder import load

{use}
```
"""
_LABELS = """\
## Labels · 标签

{labels}

"""

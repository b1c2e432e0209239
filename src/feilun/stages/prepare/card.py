"""The data card: `README.md` in the layout of Hugging Face's dataset cards.

It says everything in English and the most of it in Chinese beside it: the same dataset has the
same card wherever it was prepared.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from feilun.core.artifacts import SPLITS
from feilun.stages.prepare.facts import Facts, limitations, masking, step_text

MOST_LABELS = 50
"""Labels in the table; the others are counted below it."""
_SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000)
_NAMES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B")


def card(facts: Facts) -> str:
    """The card's text: YAML front matter, then the sections."""
    sections = [
        _heading(facts),
        ("## Splits · 划分", _splits(facts)),
        ("## Columns · 字段", _COLUMNS),
        ("## Collection · 采集", _collection(facts)),
        ("## Preparation · 处理", _preparation(facts)),
        ("## Personal data · 个人信息", _personal(facts)),
        ("## Known limits · 已知局限", _limits(facts)),
        ("## Files · 文件", _files(facts)),
    ]
    body = "\n\n".join(f"{title}\n\n{text}" for title, text in sections)
    return f"---\n{_front_matter(facts)}---\n\n{body}\n"


def _front_matter(facts: Facts) -> str:
    """YAML; strings are written as JSON, which is YAML too."""
    lines = [f"pretty_name: {_quoted(facts.name)}"]
    if facts.languages:
        lines += ["language:", *(f"- {_quoted(code)}" for code in facts.languages)]
    if len(facts.labels) > 1:
        lines += ["task_categories:", "- text-classification"]
    lines += ["size_categories:", f"- {_size(facts.num_rows)}", "tags:", "- croissant", "- feilun"]
    lines += ["configs:", "- config_name: default", "  data_files:"]
    for name in SPLITS:
        # A split without records has no rows to infer the types from.
        if facts.splits.get(name) and facts.of(name):
            lines += [f"  - split: {name}", "    path:"]
            lines += [f"    - {_quoted(file)}" for file in facts.of(name)]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _size(count: int) -> str:
    """The category of Hugging Face that so many records fall into."""
    if count < _SIZES[0]:
        return "n<1K"
    above = sum(size <= count for size in _SIZES)
    return f"{_NAMES[above - 1]}<n<{_NAMES[above]}" if above < len(_SIZES) else "n>1B"


def _heading(facts: Facts) -> tuple[str, str]:
    text = (
        f"{facts.num_rows:,} records with {len(facts.labels)} labels, prepared by Feilun from "
        f"{facts.num_raw:,} collected ones. `croissant.json` says the same for programs.\n\n"
        f"由 Feilun 从采集的 {facts.num_raw:,} 条记录整理而成，共 {facts.num_rows:,} 条、"
        f"{len(facts.labels)} 个标签；`croissant.json` 供程序读取。"
    )
    return f"# {_line(facts.name)}", text


def _splits(facts: Facts) -> str:
    names = [name for name in SPLITS if name in facts.splits]
    totals = [["**all · 合计**", *(f"{facts.splits[name]:,}" for name in names)]]
    sums: dict[str, int] = {}
    for counts in facts.balance.values():
        for label, count in counts.items():
            sums[label] = sums.get(label, 0) + count
    order = sorted(sums, key=lambda label: (-sums[label], label))
    rows = [
        [label, *(f"{facts.balance.get(name, {}).get(label, 0):,}" for name in names)]
        for label in order[:MOST_LABELS]
    ]
    text = _table(["label · 标签", *names], totals + rows)
    if len(order) > MOST_LABELS:
        text += f"\n\n… and {len(order) - MOST_LABELS:,} labels more · 其余标签从略"
    return (
        f"{text}\n\nThe test is frozen once a model is live: it keeps its rows in later versions, "
        "and feedback never enters it. 模型上线后测试集即冻结：后续版本保留原有记录，"
        "用户反馈不进入测试集。"
    )


def _collection(facts: Facts) -> str:
    if not facts.sources:
        return f"{facts.num_raw:,} records were collected · 采集 {facts.num_raw:,} 条。"
    return _table(
        ["source · 来源", "records · 条数"],
        [[name, f"{count:,}"] for name, count in facts.sources.items()],
    )


def _preparation(facts: Facts) -> str:
    steps = "\n".join(
        f"{number}. `{_code(step_text(step))}`" for number, step in enumerate(facts.steps, 1)
    )
    split = facts.made_by.get("split")
    if isinstance(split, Mapping):
        steps += f"\n{len(facts.steps) + 1}. `{_code(step_text({'use': 'split', **split}))}`"
    if not facts.dropped:
        return f"{steps}\n\nNothing was dropped · 未剔除任何记录。"
    dropped = _table(
        ["dropped as · 剔除原因", "records · 条数"],
        [[reason, f"{count:,}"] for reason, count in facts.dropped.items()],
    )
    return f"{steps}\n\n{dropped}"


def _personal(facts: Facts) -> str:
    if facts.masked is None:
        return (
            "Not looked for: the step `mask` is not among the steps. "
            "未检查：处理步骤中没有 `mask`。"
        )
    if not facts.masked:
        return "Looked for and not found · 已检查，未发现。"
    counts = _table(
        ["kind · 种类", "found · 发现"],
        [[kind, f"{count:,}"] for kind, count in facts.masked.items()],
    )
    return (
        f"{counts}\n\n{masking(facts)} The values found are written down nowhere. "
        "所发现的内容本身未作任何记录。"
    )


def _limits(facts: Facts) -> str:
    said = "\n".join(f"- {sentence}" for sentence in limitations(facts))
    return (
        f"{said}\n\n标签未经逐条人工核对；脱敏与去重均按规则进行，可能有遗漏；"
        "权利与许可以各来源为准。"
    )


def _files(facts: Facts) -> str:
    rows = [
        [f"`{name}`", f"{file.size:,}", f"`{file.sha256}`"]
        for name, file in sorted(facts.files.items())
    ]
    return _table(["file · 文件", "bytes · 字节", "sha256"], rows)


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [list(heading), ["---"] + ["---:"] * (len(heading) - 1), *map(list, rows)]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return _line(text).replace("\\", "\\\\").replace("|", "\\|")


def _line(text: str) -> str:
    """On one line, and no markup: names come from whoever made the data."""
    return " ".join(text.split()).replace("<", "&lt;")


def _code(text: str) -> str:
    return " ".join(text.split()).replace("`", "'")


_COLUMNS = _table(
    ["column", "type", "meaning · 含义"],
    [
        ["`id`", "string", "16 hex digits; same content, same id · 内容相同则编号相同"],
        ["`text`", "string", "the prepared text; may be null · 处理后的文本"],
        ["`label`", "string", "null: not labelled · 标签，空为未标注"],
        ["`source`, `row`", "string, int64", "where it was collected · 来源及其中的位置"],
        ["`spans`", "list", "start, end, label: ranges of `text` in characters · 文本片段"],
        ["`group`", "string", "user, conversation, document: never parted · 分组，不跨划分"],
        ["`time`", "timestamp", "UTC · 时间"],
        ["`fields`", "string", "JSON of everything else · 其余字段"],
        ["`key`", "uint64", "a hash, equal for texts that count as the same · 去重键"],
    ],
).replace("---:", "---")

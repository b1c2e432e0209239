"""Small lessons of every task, and a run that keeps what it is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from feilun.core.records import SPANS, conform
from feilun.core.run import Run
from feilun.models.family import Lesson
from feilun.tasks import Task, task_named

GOOD = ["房间干净", "服务很好", "very nice", "喜欢"]
BAD = ["房间脏", "服务差", "never again", "失望"]
PLACES = ["北京", "上海", "广州", "深圳"]
PEOPLE = ["王小明", "李雷", "韩梅梅", "Jim Green"]
TINY: dict[str, Any] = {
    "size": "nano", "epochs": 4, "batch_size": 8, "learning_rate": 2e-3,
    "max_length": 32, "vocabulary_size": 400, "threads": 1, "min_frequency": 1,
}  # fmt: skip


class Bench(Run):
    """A run that keeps what it is told."""

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self.seed, self.root, self.folder = seed, folder, folder
        self.said: list[str] = []
        self.logged: list[tuple[str, float, int]] = []
        self.spent: dict[str, float] = {}
        self.progressed: list[tuple[float, float, str]] = []

    def within(self, name: str) -> Run:
        return Bench(self.folder / name, self.seed)

    def progress(self, done: float, total: float, what: str = "") -> None:
        self.progressed.append((done, total, what))

    def say(self, message: str) -> None:
        self.said.append(message)

    def drop(self, *_: Any) -> None: ...
    def dropped(self) -> Any: ...

    def spend(self, amount: float, what: str) -> None:
        self.spent[what] = self.spent.get(what, 0) + amount

    def log(self, metric: str, value: float, step: int = 0) -> None:
        self.logged.append((metric, value, step))

    def keep(self, *_: Any) -> Any: ...
    def file(self, *_: Any) -> Any: ...
    def unpack(self, *_: Any) -> Any: ...


def frame(rows: list[tuple[str, str | None, list[tuple[int, int, str]] | None]]) -> pl.DataFrame:
    spans = [
        None if s is None else [{"start": a, "end": b, "label": c} for a, b, c in s]
        for _t, _l, s in rows
    ]
    made = pl.DataFrame(
        {
            "text": [row[0] for row in rows],
            "label": pl.Series([row[1] for row in rows], dtype=pl.String),
            "spans": pl.Series(spans, dtype=SPANS),
        }
    )
    return conform(made)


def classify(rows: int, seed: int) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    made: list[Any] = []
    for i in range(rows):
        words = (GOOD, BAD)[i % 2]
        one, two = random.choice(words, 2)
        made.append((f"{one}，{two} no {random.integers(9)} 酒店", ("good", "bad")[i % 2], None))
    return frame(made)


def several(rows: int, seed: int) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    words = {"clean": "房间干净", "far": "位置偏远", "kind": "服务热情"}
    made: list[Any] = []
    for _ in range(rows):
        has = [label for label in words if random.random() < 0.4]
        text = "，".join([*(words[label] for label in has), f"第{random.integers(9)}天"])
        made.append((text, "|".join(sorted(has)), None))
    return frame(made)


def regress(rows: int, seed: int) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    worth = {"很差": 100, "一般": 110.5, "不错": 121, "完美": 131.5}
    made: list[Any] = []
    for _ in range(rows):
        word = random.choice(list(worth))
        made.append((f"{word}，第{random.integers(9)}天", str(worth[word]), None))
    return frame(made)


def tag(rows: int, seed: int, stretch: int = 1) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    made: list[Any] = []
    for i in range(rows):
        text, spans = "", []
        for _ in range(stretch if i % 3 == 0 else 1):
            person, place = random.choice(PEOPLE), random.choice(PLACES)
            for piece, label in (
                ("昨天，", ""), (person, "PER"), ("和朋友去了", ""), (place, "LOC"), ("旅游。", "")
            ):  # fmt: skip
                if label:
                    spans.append((len(text), len(text) + len(piece), label))
                text += piece
        made.append((text, None, spans))
    return frame(made)


def match(rows: int, seed: int) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    made: list[Any] = []
    for i in range(rows):
        first = random.choice(PLACES)
        others = [place for place in PLACES if place != first]
        second = first if i % 2 else random.choice(others)
        a, b = f"去{first}", f"{second}好玩"
        text = f"{a}\n{b}"
        made.append((text, str(i % 2), [(0, len(a), "first"), (len(a) + 1, len(text), "second")]))
    return frame(made)


MADE = {"classify": classify, "several": several, "regress": regress, "tag": tag, "match": match}
LABELS = {
    "classify": ("bad", "good"), "several": ("clean", "far", "kind"), "regress": (),
    "tag": ("LOC", "PER"), "match": ("0", "1"),
}  # fmt: skip


def task_of(name: str) -> Task:
    return task_named({"use": "classify", "multiple": True} if name == "several" else name)


def lesson(name: str, rows: int = 160, **more: Any) -> Lesson:
    made = MADE[name]
    return Lesson(made(rows, 1, **more), made(40, 2, **more), LABELS[name], task_of(name))


def answered(name: str, model: Any, data: pl.DataFrame) -> float:
    """The share of records answered rightly, as their task writes answers."""
    task = task_of(name)
    found = [answer.written for answer in task.answers(model, task.inputs(data))]
    return float(np.mean([a == b for a, b in zip(found, task.truth(data), strict=True)]))


def card(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "feilun.json").read_text(encoding="utf-8"))
    return read

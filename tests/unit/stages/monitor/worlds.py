"""Texts, and what a model answers to them, as the tests draw them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from feilun.stages.monitor import Sample, Window
from feilun.stages.monitor.reference import HeldOut, Reference, measured
from feilun.store.events import Usage

GOOD = (
    "物流",
    "很快",
    "包装",
    "也好",
    "满意",
    "下次",
    "还来",
    "质量",
    "不错",
    "推荐",
    "great",
    "works",
    "love",
    "fast",
)
BAD = (
    "太差",
    "坏了",
    "失望",
    "退货",
    "客服",
    "态度",
    "恶劣",
    "破损",
    "等了",
    "很久",
    "broke",
    "terrible",
    "refund",
    "late",
)
PLAIN = (
    "手机",
    "耳机",
    "衣服",
    "酒店",
    "房间",
    "书",
    "灯",
    "颜色",
    "昨天",
    "收到",
    "phone",
    "lamp",
    "book",
    "charger",
    "the",
)
STRANGE = ("γάτα", "σκύλος", "νερό", "ουρανός", "δρόμος", "βιβλίο", "ψωμί")


class World:
    """Draws texts of two classes; `positive` is the share of the first. The model errs in one of
    eight."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def texts(self, count: int, positive: float = 0.5, strange: float = 0.0) -> list[list[str]]:
        """`count` rows: text, language, truth, answer, score."""
        rows = []
        for _row in range(count):
            truth = "good" if self.random.random() < positive else "bad"
            words = [*(GOOD if truth == "good" else BAD), *PLAIN]
            if self.random.random() < strange:
                words = STRANGE
            picked = self.random.choice(words, self.random.integers(3, 12))
            wrong = self.random.random() < 1 / 8
            answer = {"good": "bad", "bad": "good"}[truth] if wrong else truth
            score = float(self.random.beta(3, 3) if wrong else self.random.beta(8, 2))
            language = "el" if words is STRANGE else "zh"
            rows.append(["".join(picked), language, truth, answer, score])
        return rows  # type: ignore[return-value]  # the score is a number


def reference(rows: Sequence[Sequence[str]], held: Sequence[Sequence[str]]) -> Reference:
    """The reference of a model that was trained on `rows`."""
    texts, languages, truth, answers, scores = zip(*held, strict=True)
    return measured(
        "sha256:" + "0" * 64,
        [row[0] for row in rows],
        [row[1] for row in rows],
        HeldOut(texts, languages, answers, [[a] for a in answers], scores, truth),
        0.01,
        seed=0,
    )


def window(rows: Sequence[Sequence[str]], made: Reference | None) -> Window:
    """A window of these rows."""
    texts, languages, _truth, answers, scores = zip(*rows, strict=True) if rows else [()] * 5
    sample = Sample(
        texts, languages, [len(text) for text in texts], answers, [[a] for a in answers],
        scores, 0, len(rows), len(rows),
    )  # fmt: skip
    return Window(0.0, 3600.0, Usage(1, len(rows), {}, 1.0, 1.0, 0, 0), {}, sample, made)

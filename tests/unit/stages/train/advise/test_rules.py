"""Rules that need no model."""

from __future__ import annotations

import json

import polars as pl
import pytest

from feilun.core.records import conform
from feilun.models import Lesson
from feilun.stages.train.advise.rules import grams, rule
from feilun.tasks import Classify, Match, Regress, Tag


def lesson(frame: pl.DataFrame, labels: tuple[str, ...], task: object = None) -> Lesson:
    rows = conform(frame)
    cut = rows.height // 2
    return Lesson(rows.head(cut), rows.slice(cut), labels, task or Classify())  # type: ignore[arg-type]


def share(found: Lesson) -> float:
    made = rule(found)
    assert made is not None
    truth = found.task.truth(found.validation)
    return sum(a == t for a, t in zip(made.answers, truth, strict=True)) / len(truth)


def test_words_where_there_are_spaces_and_runs_of_characters_where_there_are_none() -> None:
    assert set(grams("Want Refund 退款!")) == {
        "want", "refund", "want refund", "退", "款", "退款"
    }  # fmt: skip


def test_each_label_has_the_keyword_that_tells_it() -> None:
    texts = {"退款": "第{n}单，请退款给我", "物流": "第{n}单，快递几时到", "其他": "第{n}单，你好"}
    rows = [(t.format(n=n), label) for n in range(40) for label, t in texts.items()]
    frame = pl.DataFrame(rows, schema=["text", "label"], orient="row")
    found = lesson(frame, ("其他", "物流", "退款"))
    assert share(found) == 1.0
    made = rule(found)
    assert made is not None
    assert str(made.what) == "a keyword for each label (你好 → 其他, 递几 → 物流; else 退款)"


def test_a_keyword_that_tells_nothing_is_none() -> None:
    frame = pl.DataFrame({"text": ["一样的话"] * 40, "label": ["a", "b"] * 20})
    assert rule(lesson(frame, ("a", "b"))) is None


def test_several_labels_each_by_its_own_keyword() -> None:
    rows = [("red and blue", "blue|red"), ("only red", "red"), ("just blue", "blue")] * 20
    frame = pl.DataFrame(rows, schema=["text", "label"], orient="row")
    assert share(lesson(frame, ("blue", "red"), Classify(multiple=True))) == 1.0


def test_names_that_were_seen_are_found_again_unless_they_are_mostly_none() -> None:
    def spans(*found: tuple[int, int, str]) -> list[dict[str, object]]:
        return [{"start": s, "end": e, "label": label} for s, e, label in found]

    rows = [
        ("王明在北京", spans((0, 2, "PER"), (3, 5, "LOC"))),
        ("北京欢迎你", spans((0, 2, "LOC"))),
    ]
    # «高» is marked once in four places.
    odd = [("高来了", spans((0, 1, "PER"))), ("山很高", []), ("水高", []), ("高楼", [])]
    frame = pl.DataFrame(
        {"text": [t for t, _s in rows + odd] * 2, "spans": [s for _t, s in rows + odd] * 2},
        strict=False,
    )
    made = rule(lesson(frame, ("LOC", "PER"), Tag()))
    assert made is not None
    assert json.loads(made.answers[0] or "") == [[0, 2, "PER"], [3, 5, "LOC"]]
    assert made.answers[2:] == ["[]"] * 4


def test_pairs_that_share_their_characters_are_the_same() -> None:
    def pair(one: str, two: str) -> tuple[str, list[dict[str, object]]]:
        cut = len(one)
        return f"{one}\n{two}", [
            {"start": 0, "end": cut, "label": "first"},
            {"start": cut + 1, "end": cut + 1 + len(two), "label": "second"},
        ]

    made = []
    for n in range(20):
        made.append((*pair(f"怎么退款{n}", f"怎么退款呢{n}"), "1"))
        made.append((*pair(f"怎么退款{n}", f"天气很好{n}"), "0"))
    frame = pl.DataFrame(
        {
            "text": [text for text, _s, _l in made],
            "spans": [spans for _t, spans, _l in made],
            "label": [label for _t, _s, label in made],
        },
        strict=False,
    )
    assert share(lesson(frame, ("0", "1"), Match())) == 1.0


def test_numbers_have_no_rule() -> None:
    frame = pl.DataFrame({"text": ["a", "b"], "label": ["1", "2"]})
    assert rule(lesson(frame, (), Regress())) is None


@pytest.mark.parametrize("text", ["", "！！！", "   "])
def test_a_text_without_words_has_no_keyword(text: str) -> None:
    assert not list(grams(text))

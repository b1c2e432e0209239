from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from feilun.stages.monitor.slices import Row, band, by_source, terms, weakest

LABELS, KEYS = ("a", "b", "c"), ("k1", "k2")


def rows(count: int, seed: int) -> list[Row]:
    draw = random.Random(seed)
    return [
        Row(
            f"p{seed}-{number}",
            (draw.choice(LABELS),),
            draw.choice(KEYS),
            draw.randint(1, 80),
            draw.random(),
            draw.choice(("zh", "en")),
            frozenset(draw.sample([f"w{n}" for n in range(40)], 3)),
        )
        for number in range(count)
    ]


def test_the_planted_slice_is_found_first() -> None:
    cases = [row._replace(key="k9", terms=row.terms | {"发票"}) for row in rows(20, 1)] + rows(
        30, 2
    )
    others = rows(500, 3) + [row._replace(key="k9") for row in rows(10, 4)]
    found = weakest(cases, others, 5_050, most=5, false_share=0.05)
    assert {(one.kind, one.value) for one in found} == {("key", "k9"), ("term", "发票")}
    key = next(one for one in found if one.kind == "key")
    # 20 wrong ones, and 10 of 510 stand for 98 of 5,000.
    assert (key.cases, key.answers) == (20, 118)
    assert key.low < key.share < key.high
    assert key.elsewhere < 0.01 < key.share
    assert len(key.examples) == 3


def test_chance_alone_gives_hardly_anything() -> None:
    found = sum(
        bool(weakest(rows(60, 2 * n), rows(400, 2 * n + 1), 4_000, most=5, false_share=0.05))
        for n in range(40)
    )
    assert found <= 2 + 4 * 2**0.5


def test_nothing_to_compare_gives_nothing() -> None:
    assert weakest([], rows(5, 1), 5, most=5, false_share=0.05) == []
    assert weakest(rows(5, 1), [], 5, most=5, false_share=0.05) == []


def test_a_part_of_a_term_is_not_told_beside_it() -> None:
    cases = [row._replace(terms=terms("开发票")) for row in rows(20, 1)]
    found = weakest(cases, rows(300, 2), 320, most=9, false_share=0.05)
    assert [one.value for one in found if one.kind == "term"] == ["开发票"]


def test_who_says_wrong_more_often_than_others() -> None:
    judged = [
        row._replace(source="r1" if n % 2 else "r2", wrong=n % 2 == 1 and n % 3 != 0)
        for n, row in enumerate(rows(200, 1))
    ]
    found = by_source(judged, most=5, false_share=0.05)
    assert [(one.value, one.cases, one.answers) for one in found] == [("r1", 67, 100)]
    assert found[0].elsewhere == 0.0


@given(st.text(max_size=200))
def test_terms_are_words_of_the_text(text: str) -> None:
    for term in terms(text):
        assert term in text.lower()
        assert len(term) >= 2


def test_terms_and_bands() -> None:
    assert terms("Refund 退货了 a 12") == {"refund", "退货", "货了", "退货了"}
    assert [band(n) for n in (0, 10, 11, 500, 501)] == ["0–10", "0–10", "11–20", "201–500", "501+"]

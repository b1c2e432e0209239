"""Spans stay on what they were on, whatever becomes of the text."""

from __future__ import annotations

from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feilun.core.records import SCHEMA, conform
from feilun.stages.prepare.markup import Markup
from feilun.stages.prepare.normalise import Normalise
from feilun.stages.prepare.spans import rewritten_in_pieces
from feilun.wheel.runner import LocalRun
from tests.unit.stages.scratch import scratch

Span = tuple[int, int, str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> LocalRun:
    return scratch(tmp_path_factory.mktemp("spans"))


def frame(rows: list[tuple[str | None, list[Span] | None]]) -> pl.DataFrame:
    spans = [
        None if all_ is None else [{"start": a, "end": b, "label": label} for a, b, label in all_]
        for _text, all_ in rows
    ]
    schema = {"text": pl.String(), "spans": SCHEMA["spans"]}
    return conform(pl.DataFrame({"text": [text for text, _ in rows], "spans": spans}, schema))


def rows(found: pl.DataFrame) -> list[tuple[str | None, list[Span] | None]]:
    return [
        (text, None if spans is None else [(s["start"], s["end"], s["label"]) for s in spans])
        for text, spans in found.select("text", "spans").rows()
    ]


def normalised(
    given_: list[tuple[str | None, list[Span] | None]], run: LocalRun
) -> list[tuple[str | None, list[Span] | None]]:
    step = Normalise()
    return rows(rewritten_in_pieces(frame(given_), lambda texts: step.rewritten(texts, run)))


@pytest.mark.parametrize(
    ("text", "spans", "wanted", "moved"),
    [
        # The turns of a chat keep their line break; a space stays a space.
        ("你好！\n ｈｉ", [(0, 3, "user"), (4, 7, "bot")], "你好!\nhi",
         [(0, 3, "user"), (4, 6, "bot")]),
        ("a  b", [(3, 4, "x")], "a b", [(2, 3, "x")]),
        ("我在 ㈱  工作", [(3, 4, "ORG")], "我在 (株) 工作", [(3, 6, "ORG")]),
        # White space on both sides of a cut stands once; none at the ends.
        ("a \n b", [(0, 2, "l"), (2, 5, "r")], "a\nb", [(0, 1, "l"), (2, 3, "r")]),
        ("\n hi there ", [(1, 11, "x")], "hi there", [(0, 8, "x")]),
        # Nested, side by side, the same twice.
        ("㈱㈱", [(0, 1, "a"), (1, 2, "b"), (0, 2, "c"), (0, 2, "c")], "(株)(株)",
         [(0, 3, "a"), (3, 6, "b"), (0, 6, "c"), (0, 6, "c")]),
        # What becomes empty goes; what it was within stays.
        ("\u200b\n x \u200b  ", [(0, 1, "a"), (0, 7, "all"), (3, 4, "x")], "x",
         [(0, 1, "all"), (0, 1, "x")]),
        ("a\x00b", [(0, 1, "x")], "a b", [(0, 1, "x")]),
        # No range of the text: an empty one, one that ends outside.
        ("abc", [(1, 1, "no"), (1, 9, "no"), (0, 2, "yes")], "abc", [(0, 2, "yes")]),
        # Such a one cuts nothing.
        ("e\u0301 x", [(1, 1, "no"), (1, 9, "no"), (-1, 1, "no"), (3, 4, "x")], "é x",
         [(2, 3, "x")]),
        ("👩 x", [(0, 1, "e"), (2, 3, "x")], "👩 x", [(0, 1, "e"), (2, 3, "x")]),
    ],
)  # fmt: skip
def test_spans_move_with_what_they_are_on(
    text: str, spans: list[Span], wanted: str, moved: list[Span], run: LocalRun
) -> None:
    assert normalised([(text, spans)], run) == [(wanted, moved)]


def test_records_with_and_without_spans_keep_their_order(run: LocalRun) -> None:
    given_: list[tuple[str | None, list[Span] | None]] = [
        (" a ", None), (" b ", [(1, 2, "x")]), (None, None), ("\n", [(0, 1, "x")]), (" c", []),
        (None, [(0, 1, "x")]),
    ]  # fmt: skip
    assert normalised(given_, run) == [
        ("a", None), ("b", [(0, 1, "x")]), (None, None), ("", None), ("c", []),
        (None, [(0, 1, "x")]),
    ]  # fmt: skip
    assert normalised([], run) == []


def test_a_line_break_that_markup_makes_at_a_cut_stays(run: LocalRun) -> None:
    text = "一<br>二<p>三</p>"
    spans: list[Span] = [(0, 5, "x"), (5, 6, "y"), (6, 14, "z")]
    step = Markup()
    found = rewritten_in_pieces(frame([(text, spans)]), lambda texts: step.rewritten(texts, run))
    assert rows(found) == [("一\n二\n三", [(0, 1, "x"), (2, 3, "y"), (4, 5, "z")])]


def test_a_text_that_is_not_changed_is_not_trimmed() -> None:
    unchanged = rewritten_in_pieces(frame([(" a ", None)]), lambda texts: texts)
    assert unchanged["text"].to_list() == [" a "]


WORDS = st.lists(
    st.text(st.sampled_from("ab中㈱Ａ \n\u3000\u200b！"), min_size=1, max_size=5),
    min_size=1,
    max_size=6,
)


@settings(max_examples=200, deadline=None)
@given(turns=st.lists(WORDS, min_size=1, max_size=4), data=st.data())
def test_each_part_of_a_text_becomes_what_it_becomes_alone(
    run: LocalRun, turns: list[list[str]], data: st.DataObject
) -> None:
    """Parts side by side, as those of a chat; and rewriting twice is rewriting once."""
    step = Normalise()
    given_: list[tuple[str | None, list[Span] | None]] = []
    for words in turns:
        ends = [0]
        for word in words:
            ends.append(ends[-1] + len(word))
        spans: list[Span] = [(a, b, str(n)) for n, (a, b) in enumerate(pairwise(ends))]
        order = data.draw(st.permutations(spans))
        given_.append(("".join(words), list(order)))
    found = rewritten_in_pieces(frame(given_), lambda texts: step.rewritten(texts, run))
    for (_text, spans_), (text, moved), words in zip(given_, rows(found), turns, strict=True):
        alone = step.rewritten(pl.Series(words, dtype=pl.String), run).to_list()
        left = [label for _a, _b, label in spans_ or [] if alone[int(label)]]
        assert [label for _a, _b, label in moved or []] == left
        assert text is not None
        for start, end, label in moved or []:
            assert text[start:end] == alone[int(label)]
        places = sorted(moved or [])
        assert all(text[a:b] in ("", " ", "\n") for (_s, a, _l), (b, _e, _m) in pairwise(places))
        assert "".join(text.split()) == "".join("".join(alone).split())
        assert text == text.strip()
    again = rewritten_in_pieces(found, lambda texts: step.rewritten(texts, run))
    assert rows(again) == rows(found)


@settings(max_examples=150, deadline=None)
@given(
    text=st.text(max_size=12),
    spans=st.lists(
        st.tuples(st.integers(-2, 14), st.integers(-2, 14), st.sampled_from("xy")), max_size=5
    ),
)
def test_any_spans_give_ranges_of_the_new_text(run: LocalRun, text: str, spans: list[Span]) -> None:
    [(fresh, moved)] = normalised([(text, spans)], run)
    assert fresh is not None
    assert fresh == fresh.strip()
    for start, end, _label in moved or []:
        assert 0 <= start < end <= len(fresh)

"""Tokens with tags, and texts with ranges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feilun.stages.collect import layouts
from feilun.stages.collect.layouts.sequences import entities, in_text
from feilun.stages.collect.source import Quarantine
from tests.unit.stages.collect.layouts import WHERE, marked, numbered, of_json, records

ENGLISH = """\
-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O
German JJ B-NP B-MISC
call NN I-NP O

Peter NNP B-NP B-PER
Blackburn NNP I-NP I-PER

-DOCSTART- -X- O O

London NNP B-NP S-LOC
"""
CHINESE = "中\tB-ORG\n国\tM-ORG\n队\tE-ORG\n赢\tO\n了\tO\n\n2\tB-T\n0\tI-T\n点\tI-T\n \tO\n见\tO\n"


def of_lines(content: str, size: int = 1_000, quarantine: Quarantine | None = None) -> Any:
    frame = numbered(pl.DataFrame({"text": content.split("\n")}, schema={"text": pl.String}))

    def chunks() -> Iterator[pl.DataFrame]:
        yield from frame.iter_slices(size)

    frames = list(layouts.conll_frames(chunks(), WHERE, quarantine or Quarantine()))
    return pl.concat(frames).to_dicts() if frames else []


@pytest.mark.parametrize("size", [1, 2, 3, 1_000])
def test_conll_2003_wherever_the_chunks_are_cut(size: int) -> None:
    first, second, third = of_lines(ENGLISH, size)
    assert first["text"] == "EU rejects German call"
    assert marked(first) == [("ORG", "EU"), ("MISC", "German")]
    assert marked(second) == [("PER", "Peter Blackburn")]
    assert marked(third) == [("LOC", "London")]
    assert [r["row"] for r in (first, second, third)] == [3, 8, 13]
    assert [r["group"] for r in (first, second, third)] == [
        "data/x.jsonl#1", "data/x.jsonl#1", "data/x.jsonl#2",
    ]  # fmt: skip


def test_chinese_characters_are_joined_without_spaces() -> None:
    team, hour = of_lines(CHINESE)
    assert team["text"] == "中国队赢了"
    assert marked(team) == [("ORG", "中国队")]
    assert (hour["text"], marked(hour)) == ("20点 见", [("T", "20点")])
    assert (hour["row"], hour["group"]) == (7, None)


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (["I", "love", "Paris", "."], "I love Paris ."),
        (["我", "在", "New", "York", "。"], "我在New York。"),
        (["我", "用", "i", "P", "h", "o", "n", "e"], "我用iPhone"),
        (["I", "!"], "I !"),
        (["서울", "에서"], "서울 에서"),
        (["東京", "タワー"], "東京タワー"),
        (["a", " ", "b"], "a b"),
        ([], ""),
    ],
)
def test_tokens_make_a_text(tokens: list[str], text: str) -> None:
    joined, places = in_text(tokens)
    assert joined == text
    assert [joined[start:end] for start, end in places] == tokens


@settings(deadline=None)
@given(st.lists(st.text(max_size=4)))
def test_every_token_is_found_again(tokens: list[str]) -> None:
    joined, places = in_text(tokens)
    assert [joined[start:end] for start, end in places] == tokens


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("B-X I-X O B-X", ["0-2 X", "3-4 X"]),
        ("I-X I-X O I-X", ["0-2 X", "3-4 X"]),  # IOB1, or a B that is missing
        ("B-X I-Y", ["0-1 X", "1-2 Y"]),
        ("B-X B-X I-X", ["0-1 X", "1-3 X"]),
        ("S-X B-X I-X E-X O", ["0-1 X", "1-4 X"]),
        ("B-X E-X I-X E-X", ["0-2 X", "2-4 X"]),
        ("E-X E-X", ["0-1 X", "1-2 X"]),
        ("B-X M-X E-X", ["0-3 X"]),
        ("B-X I-X L-X U-Y", ["0-3 X", "3-4 Y"]),
        ("B_X I_X O", ["0-2 X"]),
        ("X-B X-I O", ["0-2 X"]),
        ("B-a-b I-a-b", ["0-2 a-b"]),
        ("X X O Y", ["0-2 X", "3-4 Y"]),
        ("B E S", ["0-2 _", "2-3 _"]),
        ("O O", []),
        ("", []),
    ],
)
def test_tags_are_read_as_conlleval_reads_them(tags: str, found: list[str]) -> None:
    listed = tags.split()
    places = [(n, n + 1) for n in range(len(listed))]
    assert [f"{a}-{b} {label}" for a, b, label in entities(listed, places)] == found


@settings(deadline=None)
@given(st.lists(st.sampled_from(["O", "B-X", "I-X", "B-Y", "I-Y"])))
def test_good_bio_is_read_exactly(tags: list[str]) -> None:
    """Against the definition: B begins, I of the same type goes on, anything else ends."""
    wanted: list[tuple[int, int, str]] = []
    for number, tag in enumerate(tags):
        prefix, kind = tag[0], tag[2:]
        grows = prefix == "I" and wanted and wanted[-1][1:] == (number, kind)
        if grows:
            wanted[-1] = (wanted[-1][0], number + 1, kind)
        elif prefix != "O":
            wanted.append((number, number + 1, kind))
    assert entities(tags, [(n, n + 1) for n in range(len(tags))]) == wanted


def test_remarks_white_space_tokens_and_lines_without_a_tag() -> None:
    quarantine = Quarantine()
    content = "# id 7 domain=en\na O\n  O\n# O\n\nb O\nlonely\nc O\n\n\r\n\u3000 O\nd B-X\n"
    first, third = of_lines(content, quarantine=quarantine)
    assert first["text"] == "a #"
    assert third["text"] == "\u3000d"
    (bad,) = quarantine.shown
    assert (bad.row, bad.reason, bad.excerpt) == (7, "no_tag", "lonely")


def test_lists_of_tokens_and_tags() -> None:
    rows: list[dict[str, Any]] = [
        {"id": 5, "tokens": ["我", "在", "北", "京"], "ner_tags": ["O", "O", "B-LOC", "I-LOC"]},
        {"tokens": ["a"], "ner_tags": ["O", "O"]},
        {"tokens": ["a"], "ner_tags": [3]},
        {"tokens": "a b", "ner_tags": ["O"]},
        {"tokens": ["a", "b"], "ner_tags": None},
    ]
    quarantine = Quarantine()
    city, plain = of_json(rows, "conll", quarantine)
    assert (city["text"], marked(city), city["fields"]) == (
        "我在北京", [("LOC", "北京")], {"id": "5"},
    )  # fmt: skip
    assert (plain["text"], plain["spans"]) == ("a b", None)
    assert [(bad.row, bad.reason) for bad in quarantine.shown] == [
        (2, "bad_tags"), (3, "bad_tags"), (4, "no_text"),
    ]  # fmt: skip


def test_a_chunk_of_lines_is_a_whole_file() -> None:
    lines = numbered(pl.DataFrame({"text": CHINESE.split("\n")}))
    assert layouts.detect(lines) == "conll"
    assert [record["text"] for record in records(lines, "conll")] == ["中国队赢了", "20点 见"]
    assert records(lines.clear(), "conll") == []


@pytest.mark.parametrize(
    "row",
    [
        {"text": "我在北京看😀李雷", "label": [[2, 4, "LOC"], [6, 8, "PER"]]},
        {"data": "我在北京看😀李雷", "labels": [[2, 4, "LOC"], [6, 8, "PER"], [2, 4, "LOC"]]},
        {"text": "我在北京看😀李雷", "entities": [
            {"id": 1, "start_offset": 2, "end_offset": 4, "label": "LOC"},
            {"id": 2, "start_offset": 6, "end_offset": 8, "label": "PER"}]},
        {"text": "我在北京看😀李雷", "spans": [
            {"start": 2, "end": 4, "label": "LOC", "token_start": 1, "token_end": 1},
            {"start": 6, "end": 8, "label": "PER", "token_start": 4, "token_end": 4}],
         "tokens": [{"text": "我", "start": 0, "end": 1, "id": 0}], "_input_hash": 1,
         "answer": "accept"},
        {"text": "我在北京看😀李雷", "entities": [
            {"start": 2, "end": 4, "tag": "LOC"}, {"start": 6, "end": 8, "entity": "PER"}]},
        # UTF-16, as browsers count: told by the text that is quoted
        {"text": "我在北京看😀李雷", "entities": [
            {"start": 2, "end": 4, "type": "LOC", "text": "北京"},
            {"start": 7, "end": 9, "type": "PER", "text": "李雷"}]},
        # CLUENER: the last character is included
        {"text": "我在北京看😀李雷",
         "label": {"LOC": {"北京": [[2, 3]]}, "PER": {"李雷": [[6, 7]]}}},
    ],
)  # fmt: skip
def test_ranges_in_the_manner_of_several_tools(row: dict[str, Any]) -> None:
    (found,) = of_json([row], "spans")
    assert marked(found) == [("LOC", "北京"), ("PER", "李雷")]
    assert found["fields"] is None


def test_what_is_beside_the_ranges_is_kept() -> None:
    rows: list[dict[str, Any]] = [
        {"text": "abc", "entities": [[0, 2, "X"], [1, 3, "Y"]], "label": "good",
         "relations": [{"from_id": 0, "to_id": 1, "type": "r"}]},
        {"text": "d", "entities": []},
        {"text": "e"},
    ]  # fmt: skip
    nested, empty, unknown = of_json(rows, "spans")
    assert marked(nested) == [("X", "ab"), ("Y", "bc")], "ranges may overlap"
    assert nested["label"] == "good"
    assert nested["fields"] == {"relations": rows[0]["relations"]}
    assert (empty["spans"], unknown["spans"]) == ([], None), "none, and not known"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"text": "abc", "entities": [[0, 4, "X"]]}, "bad_spans"),
        ({"text": "abc", "entities": [[-1, 2, "X"]]}, "bad_spans"),
        ({"text": "abc", "entities": [[2, 1, "X"]]}, "bad_spans"),
        ({"text": "abc", "entities": [[1, 1, "X"]]}, "bad_spans"),
        ({"text": "abc", "entities": [[0, 1]]}, "bad_spans"),
        ({"text": "abc", "entities": [[0, 1, None]]}, "bad_spans"),
        ({"text": "abc", "entities": [[0.0, 1, "X"]]}, "bad_spans"),
        ({"text": "abc", "entities": [[False, True, "X"]]}, "bad_spans"),
        ({"text": "abc", "entities": ["X"]}, "bad_spans"),
        ({"text": "abc", "entities": "[[0, 1"}, "bad_spans"),
        ({"text": "abc", "entities": {"X": {"b": [[0, 0]]}}}, "bad_spans"),
        ({"text": "abc", "entities": {"X": {"b": 1}}}, "bad_spans"),
        ({"text": "abc", "entities": [{"start": 0, "end": 1}]}, "bad_spans"),
        ({"text": "abc", "entities": [{"start": 0, "end": 1, "label": "X", "text": "z"}]},
         "bad_spans"),
        ({"text": "", "entities": []}, "no_text"),
        ({"text": None, "entities": [[0, 1, "X"]]}, "no_text"),
        ({"text": "abc", "entities": [], "answer": "reject"}, "not_accepted"),
    ],
)  # fmt: skip
def test_ranges_that_cannot_be_are_told(row: dict[str, Any], reason: str) -> None:
    quarantine = Quarantine()
    (good,) = of_json([row, {"text": "abc", "entities": [[0, 1, "X"]]}], "spans", quarantine)
    assert good["row"] == 2
    assert quarantine.counts == {reason: 1}


@settings(deadline=None)
@given(st.text(max_size=20), st.data())
def test_utf16_offsets_with_a_quote_are_found(text: str, data: st.DataObject) -> None:
    if not text.strip():
        return
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    units = [len(text[:at].encode("utf-16-le")) // 2 for at in (start, end)]
    quote = text[start:end]
    row = {"text": text, "entities": [{"start": units[0], "end": units[1], "label": "X",
                                       "text": quote}]}  # fmt: skip
    (found,) = of_json([row], "spans")
    ((label, covered),) = marked(found)
    assert (label, "".join(covered.split())) == ("X", "".join(quote.split()))

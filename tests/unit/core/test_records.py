"""Records: ids by content, and bytes that are equal when the frames are."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from feilun.core.records import SCHEMA, conform, parquet

ROWS = st.lists(
    st.tuples(st.none() | st.text(max_size=8), st.none() | st.text(max_size=4)), max_size=8
)


def frame(rows: list[tuple[str | None, str | None]]) -> pl.DataFrame:
    return pl.DataFrame(
        [(text, label, "x.csv", at) for at, (text, label) in enumerate(rows, start=1)],
        schema={name: SCHEMA[name] for name in ("text", "label", "source", "row")},
        orient="row",
    )


@settings(max_examples=50)
@given(ROWS)
def test_ids_depend_on_text_and_label_alone(rows: list[tuple[str | None, str | None]]) -> None:
    made = conform(frame(rows))
    assert made.schema == SCHEMA
    by_content: dict[tuple[str, str], str] = {}
    for identity, text, label in made.select("id", "text", "label").rows():
        assert len(identity) == 16
        assert by_content.setdefault((text or "", label or ""), identity) == identity
    if not any("\x00" in (part or "") for row in rows for part in row):
        assert len(set(by_content.values())) == len(by_content)


def test_the_ids_stay_what_they_were() -> None:
    made = conform(frame([("很好", "正面"), ("很好", None), ("", None)]))
    assert made["id"].to_list() == ["2fd3a27c50a40b1f", "761d3fec35400548", "94f6d9cdd1ea8248"]


def test_no_records_have_no_ids_and_the_same_columns() -> None:
    assert conform(frame([])).schema == SCHEMA


def test_equal_frames_are_equal_bytes() -> None:
    rows: list[tuple[str | None, str | None]] = [("很好", "正面"), ("差", None)] * 50
    one, two = parquet(conform(frame(rows))), parquet(conform(frame(rows)))
    assert one == two
    assert parquet(conform(frame(rows[::-1]))) != one

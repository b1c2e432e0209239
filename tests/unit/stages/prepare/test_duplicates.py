"""Duplicates: which of twins stays, and that the others say which."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feilun.stages.prepare.duplicates import Duplicates
from feilun.stages.prepare.twins import twin_key
from tests.unit.stages.scratch import Row, raw, scratch


def apply(rows: list[Row], folder: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    run = scratch(folder)
    return Duplicates().apply(raw(rows), run), run.dropped()


def test_a_labelled_one_stays_before_an_unlabelled_then_the_first(tmp_path: Path) -> None:
    rows: list[Row] = [
        ("很好", None),
        ("很好！", "正面"),
        ("很 好", "负面"),
        ("别的", "正面"),
        ("无标签", None),
        ("无标签。", None),
    ]
    kept, dropped = apply(rows, tmp_path)
    assert kept["text"].to_list() == ["很好！", "别的", "无标签"]
    ids = dict(kept.select("text", "id").rows())
    assert dropped.select("text", "reason", "detail").rows() == [
        ("很好", "duplicate", ids["很好！"]),
        ("很 好", "duplicate", ids["很好！"]),
        ("无标签。", "duplicate", ids["无标签"]),
    ]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from(["a", "A!", "b", "?", "!", "c c"]), st.sampled_from(["x", None])),
        max_size=25,
    )
)
def test_one_of_each_stays_and_twice_is_once(
    rows: list[tuple[str, str | None]], tmp_path: Path
) -> None:
    kept, dropped = apply(list(rows), tmp_path)
    keys = kept.select(twin_key(pl.col("text"))).to_series()
    every = raw(list(rows)).select(twin_key(pl.col("text"))).to_series()
    assert keys.n_unique() == kept.height == every.n_unique()
    assert kept.height + dropped.height == len(rows)
    assert set(dropped["detail"]) <= set(kept["id"])
    labelled = {key for key, row in zip(every, rows, strict=True) if row[1] is not None}
    assert {k for k, label in zip(keys, kept["label"], strict=True) if label} == labelled
    again, nothing = apply(kept.select("text", "label").rows(), tmp_path)
    assert again["text"].to_list() == kept["text"].to_list()
    assert nothing.is_empty()

"""Balance: how much stays of each label, and who."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from feilun.stages.prepare.balance import Balance
from tests.unit.stages.scratch import Row, raw, scratch


def apply(
    step: Balance, rows: list[Row], folder: Path, seed: int = 0
) -> tuple[pl.DataFrame, pl.DataFrame]:
    run = scratch(folder, seed=seed)
    return step.apply(raw(rows), run), run.dropped()


def counts(frame: pl.DataFrame) -> dict[str, int]:
    return dict(frame["label"].drop_nulls().value_counts().iter_rows())


def some(label: str | None, number: int, source: str = "x.csv") -> list[Row]:
    return [(f"{label} {source} {n}", label, source) for n in range(number)]


UNEVEN = [*some("多", 500), *some("中", 60), *some("少", 30)]


@pytest.mark.parametrize(
    ("given_", "wanted"),
    [
        ({}, {"多": 200, "中": 60, "少": 30}),
        ({"least": 10}, {"多": 90, "中": 60, "少": 30}),
        ({"least": 10, "most": 1}, {"多": 30, "中": 30, "少": 30}),
        ({"least": 10, "most": 1.5}, {"多": 45, "中": 45, "少": 30}),
        ({"least": 1, "most": 100}, {"多": 500, "中": 60, "少": 30}),
    ],
)
def test_no_label_keeps_more_than_so_many_times_the_rarest(
    given_: dict[str, float], wanted: dict[str, int], tmp_path: Path
) -> None:
    kept, dropped = apply(Balance.model_validate(given_), UNEVEN, tmp_path)
    assert counts(kept) == wanted
    assert set(dropped["reason"]) <= {"balance"}
    assert kept.height + dropped.height == len(UNEVEN)
    assert kept["row"].is_sorted(), "the order of what stays is kept"


def test_feedback_stays_but_takes_its_place(tmp_path: Path) -> None:
    rows = [*some("多", 40), *some("多", 10, "feedback"), *some("少", 20), *some(None, 50)]
    kept, _dropped = apply(Balance(most=1.5, least=1), rows, tmp_path)
    sources = kept.filter(pl.col("label") == "多")["source"].value_counts().sort("source")
    assert dict(sources.iter_rows()) == {"feedback": 10, "x.csv": 20}
    assert kept["label"].null_count() == 50
    many = [*some("多", 90, "feedback"), *some("多", 5), *some("少", 20)]
    kept, dropped = apply(Balance(most=1, least=1), many, tmp_path)
    assert counts(kept) == {"多": 90, "少": 20}
    assert set(dropped["source"]) == {"x.csv"}


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(random=st.randoms(use_true_random=False), size=st.integers(1, 200))
def test_neither_order_nor_what_else_there_is_changes_who_stays(
    random: object, size: int, tmp_path: Path
) -> None:
    step = Balance(most=2, least=1)
    stays = set(apply(step, UNEVEN, tmp_path)[0]["id"])
    shuffled = list(UNEVEN)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert set(apply(step, shuffled, tmp_path)[0]["id"]) == stays
    # New records take places, but nobody who had gone comes back.
    more = [*UNEVEN, *((f"新 {n}", "多", "x.csv") for n in range(size))]
    assert set(apply(step, more, tmp_path)[0]["id"]) & set(raw(UNEVEN)["id"]) <= stays


def test_another_seed_draws_others(tmp_path: Path) -> None:
    one, two = (set(apply(Balance(least=50), UNEVEN, tmp_path, seed)[0]["id"]) for seed in (0, 1))
    assert len(one) == len(two)
    assert one != two
    # About a fifth (90 of 500) of the frequent label is drawn both times, as chance has it.
    assert 90 + 2 < len(one & two) < 90 + 40


@pytest.mark.parametrize("rows", [[], some(None, 5), some("x", 3), some("x", 3) + some("y", 1)])
def test_too_few_to_balance_stay(rows: list[Row], tmp_path: Path) -> None:
    assert apply(Balance(), rows, tmp_path)[0].height == len(rows)


@pytest.mark.parametrize("bad", [{"most": 0.5}, {"least": 0}, {"most": "x"}, {"weights": True}])
def test_settings_out_of_range_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Balance.model_validate(bad)


def test_it_works_on_the_training_split_only() -> None:
    assert Balance.after_split

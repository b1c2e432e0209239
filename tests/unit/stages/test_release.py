"""Evaluate and release: a win goes live; a tie, a regression and the same model do not."""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl
import pytest

from feilun.core.artifacts import Dataset, Gain, Interval, Report
from feilun.core.records import parquet
from feilun.stages.evaluate.calibration import Calibration
from feilun.stages.release import Gate, GateGiven
from feilun.stages.release.better import Better
from feilun.stages.release.floor import Floor
from feilun.stages.release.rule import Case
from tests.unit.stages.scratch import raw, scratch


def report(low: float = 0.8, live: str | None = "sha256:live", **files: str) -> Report:
    return Report(
        files=files,
        model="sha256:candidate",
        test="t",
        num_test=10,
        confidence=0.95,
        metrics={"macro_f1": Interval(0.9, low, 0.95)},
        per_label={},
        confusion={},
        live=live,
    )


def lead(delta: float, low: float, high: float) -> Case:
    return Case(report(), Gain(metric="accuracy", against="live", delta=delta, low=low, high=high))


@pytest.mark.parametrize(
    ("figures", "minimum", "passed", "word"),
    [
        ((0.05, 0.01, 0.09), 0.0, True, "better"),
        ((0.05, 0.01, 0.09), 0.02, False, "not shown to be better"),
        ((0.05, 0.0, 0.09), 0.0, False, "not shown to be better"),
        ((0.0, 0.0, 0.0), 0.0, False, "not better: the same answers as live"),
        ((-0.01, -0.05, 0.03), 0.0, False, "not shown to be better"),
        ((-0.01, -0.05, 0.01), 0.02, False, "not shown to be better"),
        ((-0.05, -0.09, -0.01), 0.0, False, "regression"),
    ],
)
def test_only_an_interval_above_the_minimum_passes(
    figures: tuple[float, float, float], minimum: float, passed: bool, word: str
) -> None:
    ruling = Better(minimum_gain=minimum).judge(lead(*figures))
    assert ruling.passed == passed
    assert str(ruling.reason).startswith(word)
    if figures[0]:
        assert f"{figures[0]:+.3f}" in str(ruling.reason)


def test_the_floor_looks_at_the_lower_end() -> None:
    case = lead(0.1, 0.1, 0.1)
    assert Floor(minimum=0.8).judge(case).passed
    below = Floor(minimum=0.81).judge(case)
    assert not below.passed
    assert "may be as low as 0.800, the limit is 0.81" in str(below.reason)
    unknown = Floor(metric="nothing", minimum=0.1).judge(case)
    assert not unknown.passed
    assert "nothing" in str(unknown.reason)


def judge(
    folder: Path,
    predicted: float,
    live: float | None,
    rules: list[dict[str, object]] | None = None,
    seed: int = 3,
) -> tuple[bool, str]:
    """The verdict on a candidate right in a share of 400 records, the live one in another."""
    choose, run = random.Random(seed), scratch(folder)
    truth = [choose.choice("ab") for _row in range(400)]

    def answers(right: float) -> list[str]:
        return [t if choose.random() < right else "ab".replace(t, "") for t in truth]

    rows = {"truth": truth, "predicted": answers(predicted)}
    if live is not None:
        rows["live"] = answers(live)
    digest = run.keep(parquet(pl.DataFrame(rows)))
    made = report(live="sha256:live" if live is not None else None, **{"outcomes.parquet": digest})
    train = raw([("1", "a"), ("2", "a"), ("3", "b")])
    dataset = Dataset(
        files={"train.parquet": run.keep(parquet(train))},
        labels=("a", "b"),
        splits={},
        num_raw=0,
        dropped={},
        balance={"train": {"a": 3, "b": 2}},
    )
    gate = Gate.model_validate({"rules": rules} if rules is not None else {})
    verdict = gate.run(GateGiven(made, dataset), run)
    assert gate.run(GateGiven(made, dataset), run) == verdict
    withdrawn = gate.run(GateGiven(made, dataset, withdrawn=True), run)
    assert (withdrawn.released, len(withdrawn.reasons)) == (False, 1)
    return verdict.released, "; ".join(map(str, verdict.reasons))


def test_a_win_is_released_a_tie_and_a_regression_are_not(tmp_path: Path) -> None:
    assert judge(tmp_path, 0.9, 0.6)[0]
    # By chance one equal in forty passes: its interval misses 0 on the upper side.
    assert sum(judge(tmp_path, 0.8, 0.8, seed=seed)[0] for seed in range(40)) <= 4
    released, reason = judge(tmp_path, 0.6, 0.9)
    assert not released
    assert reason.startswith("regression")


def test_the_first_model_is_compared_with_the_commonest_label(tmp_path: Path) -> None:
    released, reason = judge(tmp_path, 0.9, None)
    assert released
    assert "against majority" in reason
    assert not judge(tmp_path, 0.5, None)[0]


def test_every_rule_must_pass_and_every_reason_is_given(tmp_path: Path) -> None:
    rules: list[dict[str, object]] = [{"use": "better"}, {"use": "floor", "minimum": 0.99}]
    released, reason = judge(tmp_path, 0.9, 0.6, rules)
    assert not released
    assert "better" in reason
    assert "below the floor" in reason


def test_the_model_that_is_live_is_not_released_again(tmp_path: Path) -> None:
    same = report(live="sha256:candidate")
    dataset = Dataset(files={}, labels=(), splits={}, num_raw=0, dropped={}, balance={})
    verdict = Gate().run(GateGiven(same, dataset), scratch(tmp_path))
    assert not verdict.released
    assert "live already" in str(verdict.reasons[0])


def test_calibration_is_0_when_scores_are_true_and_the_distance_when_not() -> None:
    true = pl.DataFrame(
        {"predicted": ["a"] * 10, "truth": ["a"] * 8 + ["b"] * 2, "score": [0.8] * 10}
    )
    assert Calibration().measure(true, 0.95, 1)["calibration_error"].value == pytest.approx(0)
    boast = true.with_columns(score=1.0)
    found = Calibration().measure(boast, 0.95, 1)["calibration_error"]
    assert found.value == pytest.approx(0.2)
    assert found.low <= 0.2 <= found.high
    silent = true.with_columns(predicted=pl.lit(None, dtype=pl.String))
    assert Calibration().measure(silent, 0.95, 1) == {}

"""Numbers: read strictly, written shortly, measured as scikit-learn and scipy do."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from feilun.core.records import SCHEMA, conform
from feilun.tasks import BadAnswer, Regress
from feilun.tasks.regress import NotANumber, Value, number, shortest
from feilun.tasks.regression import Ranked, figures, filled

TASK = Regress()
NUMBERS = st.lists(
    st.tuples(st.integers(-20, 20), st.floats(-20, 20).map(lambda x: round(x, 3))),
    min_size=2,
    max_size=30,
)


class Fixed:
    """A model whose figures are given."""

    labels: tuple[str, ...] = ()
    interval = (-0.5, 0.75)

    def __init__(self, *values: float) -> None:
        self._scores = np.array(values, dtype=np.float32)[:, None]

    def scores(self, inputs: object) -> np.ndarray:
        return self._scores


def ranks(values: list[float]) -> np.ndarray:
    """Mean ranks, by the definition."""
    return np.array([sum(v < x for v in values) + sum(v == x for v in values) / 2 for x in values])


@settings(max_examples=80, deadline=None)
@given(NUMBERS)
def test_the_metrics_are_the_formulas(rows: list[tuple[int, float]]) -> None:
    truth, answers = [float(t) for t, _a in rows], [a for _t, a in rows]
    found = TASK.evaluate([shortest(t) for t in truth], [shortest(a) for a in answers], (), seed=1)
    value = {name: figure.value for name, figure in found.metrics.items()}
    assert value["mae"] == pytest.approx(sk.mean_absolute_error(truth, answers))
    assert value["rmse"] == pytest.approx(sk.root_mean_squared_error(truth, answers))
    assert value["r2"] == pytest.approx(sk.r2_score(truth, answers), rel=1e-6, abs=1e-9)
    for figure in found.metrics.values():
        assert figure.low <= figure.value <= figure.high
    assume(len(set(truth)) > 1 and len(set(answers)) > 1)
    wanted = np.corrcoef(ranks(truth), ranks(answers))[0, 1]
    assert value["spearman"] == pytest.approx(wanted, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(NUMBERS, st.integers(0, 2**31))
def test_the_rank_correlation_of_a_resample_is_that_of_its_records(
    rows: list[tuple[int, float]], seed: int
) -> None:
    t, a = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    at = np.random.default_rng(seed).integers(0, len(rows), len(rows))
    assume(len(set(t[at])) > 1 and len(set(a[at])) > 1)
    weights = np.bincount(at, minlength=len(rows)).astype(np.float64)[None, :]
    wanted = np.corrcoef(ranks(t[at].tolist()), ranks(a[at].tolist()))[0, 1]
    assert Ranked(t, a).correlation(weights)[0] == pytest.approx(wanted, abs=1e-9)


def test_metrics_by_hand() -> None:
    found = TASK.evaluate(["1", "2", "3", "6"], ["1", "4", "2", "6"], (), seed=1).metrics
    assert found["mae"].value == pytest.approx(3 / 4)
    assert found["rmse"].value == pytest.approx(np.sqrt(5 / 4))
    assert found["r2"].value == pytest.approx(1 - 5 / 14)
    assert found["spearman"].value == pytest.approx(1 - 6 * 2 / (4 * 15))


def test_of_a_constant_truth_nothing_is_left_to_explain() -> None:
    names = ("r2", "spearman")
    right = figures([0.1] * 30, [0.1] * 30, names, seed=1)
    wrong = figures([0.1] * 3, [0.1, 0.2, 0.3], names, seed=1)
    assert all((values == 1).all() for values in right.values())
    assert [values[0] for values in wrong.values()] == [0, 0]
    assert all(((values == 0) | (values == 1)).all() for values in wrong.values())


def test_large_numbers_keep_their_digits() -> None:
    """A variance of 1 around a thousand million, and numbers up to the largest float32."""
    truth = (1e9 + np.random.default_rng(1).normal(size=500)).tolist()
    answers = [t + 0.1 for t in truth]
    found = figures(truth, answers, ("r2",), seed=1)["r2"]
    assert found[0] == pytest.approx(sk.r2_score(truth, answers), abs=1e-6)
    huge = figures([3e38, -3e38], [-3e38, 3e38], ("rmse", "r2", "spearman"), seed=1)
    assert np.isfinite(np.concatenate(list(huge.values()))).all()


@pytest.mark.parametrize("metric", ["mae", "rmse", "r2", "spearman"])
def test_less_of_an_error_is_a_gain(metric: str) -> None:
    random = np.random.default_rng(3)
    truth = random.normal(size=300)
    near, far = (truth + random.normal(size=300) * spread for spread in (0.2, 0.9))
    written = [[shortest(x) for x in column] for column in (truth, near, far)]
    found = TASK.gain(*written, metric=metric, against="live", seed=1)
    back = TASK.gain(written[0], written[2], written[1], metric=metric, against="live", seed=1)
    assert 0 < found.low < found.delta < found.high
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low), rel=0.1)


def test_the_interval_of_the_mean_absolute_error_holds_it_95_times_in_100() -> None:
    """The mean absolute value of a standard normal is √(2/π)."""
    random, held = np.random.default_rng(4), 0
    for _sample in range(200):
        miss = random.normal(size=120)
        found = TASK.evaluate(["0"] * 120, [shortest(x) for x in miss], (), seed=2).metrics["mae"]
        held += found.low <= np.sqrt(2 / np.pi) <= found.high
    assert 0.88 <= held / 200 <= 0.995


def test_no_answer_counts_as_the_median_of_those_given() -> None:
    truth = np.array([1.0, 2.0, 9.0])
    assert filled(truth, [1.0, None, 4.0]).tolist() == [1, 2.5, 4]
    assert filled(truth, [None, None, None]).tolist() == [9, 9, 1]
    assert filled(np.array([]), []).tolist() == []


def test_to_answer_nothing_is_no_better_than_a_constant() -> None:
    truth = [shortest(x) for x in np.random.default_rng(5).normal(size=200)]
    constant = [TASK.trivial(truth)] * 200
    silent: list[str | None] = [None] * 200
    found = TASK.gain(truth, silent, constant, metric="mae", against="majority", seed=1)
    assert found.high < 0


@pytest.mark.parametrize(
    ("written", "value"),
    [("4", 4), (" -0.5 ", -0.5), ("1e3", 1000), ("+.5", 0.5), ("5.", 5), ("-0", 0), ("007", 7)],
)
def test_numbers_are_read(written: str, value: float) -> None:
    assert number(written) == value


@pytest.mark.parametrize(
    "written",
    [
        "",
        "nan",
        "inf",
        "-Infinity",
        "1e400",
        "4e38",
        "1,234.5",
        "1_000",
        "４",
        "5星",
        "0x1",
        "e5",
        ".",
    ],
)
def test_what_is_no_number_is_refused(written: str) -> None:
    assert number(written) is None
    with pytest.raises(BadAnswer, match="is no answer for the task regress"):
        TASK.record("text", written)
    frame = conform(pl.DataFrame({"id": ["f" * 16], "text": ["x"], "label": [written]}))
    with pytest.raises(NotANumber, match="of record ffffffffffffffff is no number"):
        TASK.truth(frame)


@given(st.floats(-1e30, 1e30))
def test_what_is_written_is_read_back(value: float) -> None:
    assert number(shortest(value)) == value


def test_truths_are_written_as_answers_are() -> None:
    frame = pl.DataFrame({"text": ["a", "b"], "label": ["4.0", "1e-1"]})
    assert TASK.truth(conform(frame)) == ["4", "0.1"]
    assert TASK.labels(conform(frame)) == {}
    assert TASK.record("a", "4.50") == {"text": "a", "label": "4.5", "spans": None}
    assert TASK.trivial(["1", "2", "10", "4"]) == "3"
    assert conform(frame).select(TASK.labelled(), TASK.stratum()).rows() == [(True, "")] * 2
    assert pl.DataFrame(schema=SCHEMA).select(TASK.stratum()).schema.dtypes() == [pl.String]


def test_answers_have_a_range_and_few_digits() -> None:
    one, empty, unknown, infinite = TASK.answers(
        Fixed(0.1, 2, np.nan, np.inf), ["好", "！", "zz", "yy"]
    )
    assert one == Value(0.1, -0.4, 0.85, 0.9)
    assert one.written == "0.1"
    assert empty == Value(None, None, None, 0, "empty")
    assert unknown == infinite == Value(None, None, None, 0, "unknown")
    assert unknown.written is None

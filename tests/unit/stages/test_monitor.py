"""Detectors: figures by hand, and warnings only where something is beyond chance."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feilun.stages.monitor import Level, Monitor, Window
from feilun.stages.monitor.label_shares import LabelShares, wilson
from feilun.stages.monitor.traffic import Traffic
from feilun.store.events import Usage


def window(
    labels: list[str | None],
    *,
    failed: int = 0,
    refused: int = 0,
    latency: float = 5.0,
    **shares: float,
) -> Window:
    answered = Counter(label for label in labels if label is not None)
    usage = Usage(len(labels), len(labels), dict(answered), latency, latency, failed, refused)
    return Window(0.0, 1.0, usage, shares)


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [
        (5, 10, 0.2366, 0.7634),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (50, 100, 0.4038, 0.5962),
    ],
)
def test_the_wilson_interval_has_its_published_values(
    count: int, total: int, low: float, high: float
) -> None:
    assert wilson(count, total, 1.959964) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_wilson_interval_holds_the_share(pair: tuple[int, int]) -> None:
    count, total = pair
    low, high = wilson(count, total, 3.29)
    assert -1e-9 <= low <= count / total + 1e-9
    assert count / total - 1e-9 <= high <= 1 + 1e-9


def test_traffic_counts_requests_predictions_refusals_and_failures() -> None:
    seen = window(["a", "a", None], failed=2, refused=2)
    seen = seen._replace(usage=seen.usage._replace(requests=2))
    found = {signal.name: signal for signal in Traffic().detect(seen)}
    assert found["requests"].value == 4
    assert found["predictions"].value == 3
    assert found["refused"].value == 2
    assert found["error_share"].value == 0.5
    assert found["error_share"].level is Level.WARNING
    assert found["latency_p99_ms"].level is Level.OK
    assert "50.00% failed (5xx); the limit is 0.01" in str(found["error_share"].message)


def test_slow_answers_are_loud() -> None:
    found = {s.name: s for s in Traffic(max_p99_ms=4).detect(window(["a"] * 5))}
    assert found["latency_p99_ms"].level is Level.WARNING
    assert found["latency_p50_ms"].level is Level.OK


def test_an_empty_window_is_quiet() -> None:
    signals = Monitor().run(window([], a=0.5, b=0.5), None)  # type: ignore[arg-type]
    assert {signal.level for signal in signals} == {Level.OK}
    assert all(str(signal.message) for signal in signals)


@pytest.mark.parametrize(
    ("labels", "loud"),
    [
        (["a"] * 50 + ["b"] * 50, set()),
        (["a"] * 95 + ["b"] * 5, {"share.a", "share.b"}),
        (["a"] * 4 + ["b"] * 1, set()),  # too few to tell
        (["a"] * 60 + ["b"] * 40, set()),  # within the tolerance
        (["a"] * 50 + ["b"] * 20 + ["c"] * 30, {"share.b", "share.c"}),
        ([None] * 100, set()),
    ],
)
def test_shares_are_loud_where_they_moved_beyond_chance(
    labels: list[str | None], loud: set[str]
) -> None:
    signals = LabelShares().detect(window(labels, a=0.5, b=0.5))
    assert {signal.name for signal in signals if signal.level is Level.WARNING} == loud

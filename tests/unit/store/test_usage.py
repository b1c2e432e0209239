"""What the event log counts in the database equals what is counted by hand."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feilun.store.events import EventLog, FailureRow, PredictionRow

REQUESTS = st.lists(
    st.tuples(
        st.floats(0, 100, width=32),
        st.lists(st.sampled_from(["正面", "负面", None]), min_size=1, max_size=3),
    ),
    max_size=30,
)


@settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(REQUESTS, st.lists(st.sampled_from([404, 422, 500, 503]), max_size=8))
def test_usage_counts_what_was_recorded(
    tmp_path: Path, requests: list[tuple[float, list[str | None]]], statuses: list[int]
) -> None:
    path = tmp_path / "events.db"
    for old in tmp_path.glob("events.db*"):
        old.unlink()
    log = EventLog(path)
    rows = [
        PredictionRow(f"p{r}-{i}", f"r{r}", 100.0, "m", "t", label, 0.5, None, ms, "k")
        for r, (ms, labels) in enumerate(requests)
        for i, label in enumerate(labels)
    ]
    early = PredictionRow("p-early", "early", 1.0, "m", "t", "正面", 0.5, None, 9e9, "k")
    log.record([early, *rows, *(FailureRow(100.0, "/v1/x", status, "c") for status in statuses)])
    usage = log.usage(50.0)
    log.close()
    labels = Counter(label for _ms, given in requests for label in given)
    assert usage.requests == len(requests)
    assert usage.predictions == labels.total()
    assert usage.labels == {label: n for label, n in labels.items() if label is not None}
    assert usage.failed == sum(status >= 500 for status in statuses)
    assert usage.refused == len(statuses) - usage.failed
    ordered = sorted(ms for ms, _labels in requests)
    for share, found in ((0.5, usage.latency_p50_ms), (0.99, usage.latency_p99_ms)):
        place = max(0, math.ceil(share * len(ordered)) - 1)
        assert found == pytest.approx(ordered[place] if ordered else 0.0)

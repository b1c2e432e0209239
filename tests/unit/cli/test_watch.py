"""The loss, drawn in a line of a terminal."""

from __future__ import annotations

import pytest

from feilun.cli.watch import sparkline


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([0.5], "▁ 0.500"),
        ([0.8, 0.4], "█▁ 0.400"),
        ([float(v) for v in range(48)], "▁▁▁▁▂▂▂▃▃▃▄▄▄▄▅▅▅▆▆▆▇▇▇█ 47.000"),
    ],
)
def test_a_falling_loss_falls(values: list[float], drawn: str) -> None:
    assert sparkline(values) == drawn

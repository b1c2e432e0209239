"""Energy: counters where they can be read, else an assumption that says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from feilun.economics import Economics, Meter
from feilun.economics.energy import WATTS_PER_CORE, Counters


def package(folder: Path, number: int, microjoules: int) -> Path:
    path = folder / f"intel-rapl:{number}"
    path.mkdir()
    (path / "energy_uj").write_text(f"{microjoules}\n")
    (path / "max_energy_range_uj").write_text("262143328850\n")
    part = folder / f"intel-rapl:{number}:0"
    part.mkdir()
    (part / "energy_uj").write_text("999\n")
    return path


def test_counters_of_all_packages_are_summed(tmp_path: Path) -> None:
    first, second = package(tmp_path, 0, 1_000), package(tmp_path, 1, 5_000)
    counters = Counters(tmp_path)
    (first / "energy_uj").write_text(str(1_000 + 3_600_000_000))
    (second / "energy_uj").write_text(str(5_000 + 1_800_000_000))
    found = counters.energy(cpu_seconds=1e9)
    assert found.measured
    assert found.wh == pytest.approx(1.5)


def test_a_counter_that_starts_anew_loses_nothing(tmp_path: Path) -> None:
    path = package(tmp_path, 0, 262_143_328_850 - 1_800_000_000)
    counters = Counters(tmp_path)
    (path / "energy_uj").write_text(str(1_800_000_000))
    assert counters.energy(0.0).wh == pytest.approx(1.0)


def test_without_counters_it_is_an_assumption(tmp_path: Path) -> None:
    found = Counters(tmp_path / "none").energy(cpu_seconds=3600)
    assert not found.measured
    assert found.wh == pytest.approx(WATTS_PER_CORE)


def test_a_counter_that_may_not_be_read_is_none(tmp_path: Path) -> None:
    path = package(tmp_path, 0, 5)
    (path / "energy_uj").write_text("not a number")
    assert not Counters(tmp_path).energy(1.0).measured


def test_carbon_dioxide_only_with_a_region() -> None:
    with Meter() as plain:
        sum(range(200_000))
    assert plain.cost().co2_g is None
    with Meter(500.0) as declared:
        sum(range(2_000_000))
    cost = declared.cost()
    assert cost.energy_wh > 0
    assert cost.co2_g == pytest.approx(cost.energy_wh * 0.5, rel=0.01, abs=1e-6)


def test_a_region_and_its_figure_go_together() -> None:
    assert Economics(region="CN", co2_grams_per_kwh=536.6).region == "CN"
    with pytest.raises(ValidationError, match="together"):
        Economics(region="CN")

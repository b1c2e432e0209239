"""`feilun key`: ends, limits, rotation and usage on the command line."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from feilun.cli.main import main
from feilun.cli.times import BadTime, day, duration_seconds, moment
from feilun.wheel.project import Project

Cap = pytest.CaptureFixture[str]


@pytest.fixture
def inside(project_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEILUN_LANG", "en")
    monkeypatch.chdir(project_folder)
    return project_folder


def said(capsys: Cap, *arguments: str, code: int = 0) -> str:
    assert main(["key", *arguments]) == code
    told = capsys.readouterr()
    return told.err if code else told.out


def parsed(capsys: Cap, *arguments: str) -> Any:
    return json.loads(said(capsys, *arguments, "--json"))


def test_a_key_with_an_end_and_limits(inside: Path, capsys: Cap) -> None:
    key = said(
        capsys, "add", "shop", "--expires", "90d", "--per-minute", "600", "--burst", "50",
        "--monthly", "1000", "--monthly-cost", "7.5",
    ).strip()  # fmt: skip
    entry = parsed(capsys, "list")[0]
    ends = datetime.fromisoformat(entry["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=89) < ends <= timedelta(days=90)
    assert entry["limits"] == {
        "per_minute": 600, "burst": 50, "monthly": 1000, "monthly_cost": 7.5,
    }  # fmt: skip
    shown = said(capsys, "list")
    assert "600 a minute, 50 at once, 1,000 predictions a month, a cost of 7.5 a month" in shown
    assert parsed(capsys, "usage")[0]["cost_left"] == 7.5
    assert "to spend: 7.5" in said(capsys, "usage")
    assert key.split("_")[2] not in shown
    identity = key.split("_")[1]
    told = said(capsys, "limit", identity, "--monthly", "0", "--monthly-cost", "2.5")
    assert "600 a minute, 50 at once, a cost of 2.5 a month" in told
    assert "No limit was given" in said(capsys, "limit", identity, code=2)
    assert "There is no key" in said(capsys, "limit", "nothing", "--monthly", "1", code=3)
    assert "is no time" in said(capsys, "add", "x", "--expires", "yesterday", code=2)
    assert "is no time" in said(capsys, "add", "x", "--expires", "2020-01-01", code=2)


def test_rotating_prints_the_new_secret_of_the_same_key(inside: Path, capsys: Cap) -> None:
    first = said(capsys, "add", "robot").strip()
    second = said(capsys, "rotate", first.split("_")[1], "--grace", "1h").strip()
    assert first != second
    assert first.split("_")[1] == second.split("_")[1]
    with Project.open(inside) as project:
        assert project.keys.check(first).id == project.keys.check(second).id
    revoked = parsed(capsys, "revoke", first.split("_")[1])
    assert (revoked["id"], revoked["name"]) == (first.split("_")[1], "robot")
    assert revoked["revoked_at"]
    assert "is revoked" in said(capsys, "revoke", first.split("_")[1])
    assert "is revoked or expired" in said(capsys, "rotate", first.split("_")[1], code=4)


def test_usage_by_key(inside: Path, capsys: Cap) -> None:
    said(capsys, "add", "idle", "--monthly", "7")
    with Project.open(inside) as project:
        project.predict(["推荐耳机", "terrible lamp"])
    found = {entry["name"]: entry for entry in parsed(capsys, "usage")}
    assert (found["idle"]["predictions"], found["idle"]["left"]) == (0, 7)
    local = found["local"]
    assert (local["requests"], local["predictions"], local["characters"]) == (1, 2, 17)
    assert [one["predictions"] for one in local["days"]] == [2]
    assert "terrible" not in said(capsys, "usage")
    assert parsed(capsys, "usage", "--since", "2999-01-01")[0]["predictions"] == 0
    one = parsed(capsys, "usage", "--key", found["idle"]["key"])
    assert [entry["name"] for entry in one] == ["idle"]


def test_times_are_read_or_refused() -> None:
    assert [duration_seconds(text) for text in ("0s", "5m", "24h", "90d", "2w")] == [
        0, 300, 86400, 90 * 86400, 14 * 86400,
    ]  # fmt: skip
    assert day("2027-01-31") == date(2027, 1, 31)
    assert moment("2999-01-31") == "2999-01-31T00:00:00.000000+00:00"
    for text in ("", "24", "h", "-1h", "1.5h", "9" * 9 + "w", "2027-02-30"):
        with pytest.raises(BadTime):
            moment(text)
        with pytest.raises(BadTime):
            duration_seconds(text)

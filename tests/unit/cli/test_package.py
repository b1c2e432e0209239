"""`feilun package` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from feilun.cli.main import main
from feilun.wheel.packaging.manifest import MANIFEST


def test_the_folder_is_written_and_named(
    project_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "package"
    typed = ["package", str(folder), "-C", str(project_folder)]
    assert main([*typed, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"folder": str(folder)}
    assert main([*typed, "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "package_there"
    assert main([*typed, "--force", "--ref", "model/1"]) == 0
    assert "README.md" in capsys.readouterr().out
    assert main(["serve", "--package", str(tmp_path), "-C", str(tmp_path / "state")]) == 3
    assert MANIFEST in capsys.readouterr().err

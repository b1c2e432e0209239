"""docs/extending.md, followed to the letter: what it says to write is written, and runs.

The package is put on the path as an installer would leave it: its sources, and a `.dist-info`
folder whose `entry_points.txt` holds the lines of its `pyproject.toml`. No network, no build.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from markdown_blocks import ROOT, blocks

PAGE = ROOT / "docs" / "extending.md"
TITLED = [block for block in blocks(PAGE) if block.title]
OURS = "src/feilun/"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the page's package, installed below `installed/`."""
    root = tmp_path_factory.mktemp("acme")
    for block in TITLED:
        path = root / block.title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")
    about = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name, version = about["name"].replace("-", "_"), about["version"]
    info = root / "installed" / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    metadata = f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {version}\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    lines = [f"[{group}]" for group in about["entry-points"]]
    lines += [f"{k} = {v}" for g in about["entry-points"].values() for k, v in g.items()]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def run(package: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`python -m ARGUMENTS` with the package on the path; fails when it does."""
    path = os.pathsep.join((str(package / "src"), str(package / "installed")))
    environment = {**os.environ, "PYTHONPATH": path, "FEILUN_LANG": "en"}
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_each_part_has_one_file_one_test_and_one_line(package: Path) -> None:
    about = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = about["entry-points"]["feilun.parts"]
    assert {name.partition(".")[0] for name in lines} == {
        "source",
        "step",
        "family",
        "check",
        "page",
    }
    for target in lines.values():
        module = target.partition(":")[0].rpartition(".")[2]
        assert (package / "src" / "acme_feilun" / f"{module}.py").is_file()
        assert (package / "tests" / f"test_{module}.py").is_file()


def test_the_tests_of_the_page_pass(package: Path) -> None:
    done = run(package, "pytest", "-q", "-p", "no:cacheprovider", "tests", cwd=package)
    assert "5 passed" in done.stdout, done.stdout


def test_the_tests_of_the_page_can_fail(package: Path, tmp_path: Path) -> None:
    """The negative control: without the step's line, its test must not pass."""
    broken = Path(shutil.copytree(package, tmp_path / "broken"))
    points = next(broken.glob("installed/*/entry_points.txt"))
    text = points.read_text(encoding="utf-8")
    points.write_text(text.replace("step.min_chars", "step.other"), encoding="utf-8")
    with pytest.raises(AssertionError, match="min_chars"):
        run(broken, "pytest", "-q", "-p", "no:cacheprovider", "tests/test_min_chars.py", cwd=broken)


def test_a_project_uses_the_parts_by_name(package: Path) -> None:
    project = package / "project"
    with (ROOT / "examples" / "data" / "tickets.csv").open(encoding="utf-8") as source:
        rows = list(csv.DictReader(source))
    lines = [f"__label__{row['topic']} {row['message']}" for row in rows]
    (project / "tickets.txt").write_text("\n".join([*lines, "__label__refund 钱"]), "utf-8")
    turn = json.loads(run(package, "feilun.cli.main", "turn", "--json", cwd=project).stdout)
    assert turn["architecture"] == "centroid"
    assert turn["released"], turn["reasons"]
    assert "accuracy_long_texts" in turn["metrics"]
    shown = run(package, "feilun.cli.main", "prepare", "--dropped", "too_short", cwd=project)
    assert "钱" in shown.stdout
    answer = run(package, "feilun.cli.main", "predict", "--json", "请给我退款", cwd=project)
    assert json.loads(answer.stdout)[0]["label"] == "refund"


def test_the_family_keeps_the_contract_of_all_families(package: Path) -> None:
    suite = str(ROOT / "tests" / "contract" / "test_families.py")
    done = run(package, "pytest", "-q", "-p", "no:cacheprovider", suite, "-k", "centroid", cwd=ROOT)
    assert "passed" in done.stdout, done.stdout


def test_a_change_of_the_part_makes_its_stage_run_again(package: Path, tmp_path: Path) -> None:
    changed = Path(shutil.copytree(package, tmp_path / "changed"))
    project = changed / "project"
    shutil.rmtree(project / ".feilun", ignore_errors=True)
    (project / "tickets.txt").write_text(
        "".join(f"__label__a 我要退款 {i}\n__label__b 快递到哪了 {i}\n" for i in range(20)), "utf-8"
    )

    def reused() -> bool:
        command = ("feilun.cli.main", "prepare", "--json")
        turn = json.loads(run(changed, *command, cwd=project).stdout)
        return bool(turn["stages"]["prepare"]["reused"])

    assert not reused()
    assert reused()
    step = changed / "src" / "acme_feilun" / "min_chars.py"
    step.write_text(step.read_text("utf-8") + "\n# changed\n", encoding="utf-8")
    assert not reused()

"""Every command through `main`: exit codes, JSON that parses, and a light `--help`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from feilun.cli.main import app, main
from feilun.core.stage import STAGES
from feilun.version import __version__

Cap = pytest.CaptureFixture[str]
GOOD, BAD = "excellent phone, fast delivery", "terrible phone, broke after a day"


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEILUN_LANG", "en")


def said(capsys: Cap, arguments: list[str], code: int = 0) -> str:
    assert main(arguments) == code, capsys.readouterr()
    return capsys.readouterr().out


def told(capsys: Cap, arguments: list[str], code: int) -> str:
    assert main(arguments) == code
    return capsys.readouterr().err


def parsed(capsys: Cap, arguments: list[str], code: int = 0) -> Any:
    return json.loads(said(capsys, [*arguments, "--json"], code))


@pytest.fixture
def inside(project_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project_folder)
    return project_folder


def test_new_makes_a_project_that_turns(
    tmp_path: Path, trained_template: Path, monkeypatch: pytest.MonkeyPatch, capsys: Cap
) -> None:
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "r.csv"
    data.write_bytes((trained_template / "reviews.csv").read_bytes())
    out = said(capsys, ["new", "mine", "--data", "r.csv", "--text", "text", "--label", "label"])
    assert "mine/feilun.toml is ready" in out
    assert "columns: text = text, label = label" in out
    path = tmp_path / "mine" / "feilun.toml"
    path.write_text(path.read_text("utf-8").replace('= "auto"', '= "ngram"'), "utf-8")
    made = parsed(capsys, ["turn", "-C", "mine"])
    assert (made["turn"], made["status"], made["released"]) == (1, "done", True)
    assert list(made["stages"]) == ["collect", "prepare", "train", "evaluate", "release"]
    assert "is there already" in told(capsys, ["new", "mine", "--data", "r.csv"], 4)
    assert "is no task; known: classify" in told(
        capsys, ["new", "x", "--data", "r.csv", "--task", "clasify"], 2
    )


def test_turn_and_its_stages_say_what_they_made(inside: Path, capsys: Cap) -> None:
    out = said(capsys, ["turn"])
    for stage in ("collect", "prepare", "train", "evaluate", "release"):
        assert stage in out
    assert "unchanged" in out
    assert "Turn 2: done in" in out
    for stage in ("collect", "prepare", "train", "evaluate"):
        assert parsed(capsys, [stage])["status"] == "open"
    assert parsed(capsys, ["release"])["status"] == "done"


def test_dropped_records_can_be_seen(inside: Path, capsys: Cap) -> None:
    with (inside / "reviews.csv").open("a", encoding="utf-8") as target:
        target.write("[red]twice[/red],正面\n[red]twice[/red],正面\n")
    said(capsys, ["prepare"])
    out = said(capsys, ["prepare", "--dropped", "all", "--show", "5"])
    assert "duplicate" in out
    assert "[red]twice[/red]" in out, "what users wrote is no markup"
    seen = parsed(capsys, ["prepare", "--dropped", "duplicate"])
    assert seen["count"] == len(seen["records"]) >= 1
    assert parsed(capsys, ["prepare", "--dropped", "nothing"])["count"] == 0


def test_status_show_and_history(inside: Path, capsys: Cap) -> None:
    status = parsed(capsys, ["status"])
    assert status["project"] == "reviews"
    assert status["live"]["architecture"] == "ngram"
    assert status["turns"][0]["metrics"]["accuracy"]["low"] > 0.5
    out = said(capsys, ["status"])
    assert "Live: ngram" in out
    for ref in (
        "records/1",
        "dataset/1",
        "model/live",
        "report/latest",
        status["live"]["model"].join(["model/", ""]),
    ):
        assert said(capsys, ["show", ref])
        assert parsed(capsys, ["show", ref])
    assert parsed(capsys, ["history"])[0]["reason"].startswith("better")
    assert "better" in said(capsys, ["history"])


def test_predict_answers_texts_and_files(inside: Path, capsys: Cap) -> None:
    good, empty = parsed(capsys, ["predict", GOOD, "。"])
    assert (good["label"], empty["label"], empty["reason"]) == ("正面", None, "empty")
    assert good["id"].startswith("p_")
    out = said(capsys, ["predict", GOOD, "。"])
    assert "正面" in out
    assert "– (empty)" in out
    pl.DataFrame({"n": [1, 2], "review": [GOOD, "=cmd"]}).write_csv("in.csv")
    assert "out.csv: 2" in said(capsys, ["predict", "in.csv", "--out", "out.csv"])
    table = pl.read_csv("out.csv", infer_schema=False)
    assert table.columns == ["text", "label", "score", "scores", "reason", "id"]
    assert table["text"].to_list() == [GOOD, "'=cmd"]
    assert table["id"].null_count() == 2, "a file is not logged unless told to"
    said(capsys, ["predict", "in.csv", "--out", "out.jsonl", "--text", "review", "--log"])
    assert json.loads(Path("out.jsonl").read_text("utf-8").splitlines()[0])["id"].startswith("p_")
    assert "no column 'revew'" in told(capsys, ["predict", "in.csv", "--text", "revew"], 2)
    assert "gone.csv is not there" in told(capsys, ["predict", "gone.csv"], 3)
    assert "must be .csv" in told(capsys, ["predict", "x", "--out", "out.xlsx"], 2)
    Path("in.txt").write_text(f"{GOOD}\n\n{BAD}\n", "utf-8")
    assert [a["label"] for a in parsed(capsys, ["predict", "in.txt"])] == ["正面", None, "负面"]


def test_feedback_is_added_imported_and_exported(inside: Path, capsys: Cap) -> None:
    identity = parsed(capsys, ["predict", GOOD])[0]["id"]
    added = parsed(
        capsys, ["feedback", "add", identity, "correction", "负面", "--idempotency-key", "k"]
    )
    assert (
        said(
            capsys, ["feedback", "add", identity, "correction", "负面", "--idempotency-key", "k"]
        ).strip()
        == added["id"]
    )
    assert "out.csv: 1" in said(capsys, ["feedback", "export", "out.csv"])
    assert parsed(capsys, ["feedback", "import", "out.csv"]) == {"added": 1, "refused": []}
    Path("bad.csv").write_text("prediction_id,kind,value\nnobody,rating,true\n")
    assert "0 added, 1 refused" in said(capsys, ["feedback", "import", "bad.csv"], 1)
    assert "rating" in told(capsys, ["feedback", "add", identity, "rating", "9"], 2)


def test_keys_are_added_listed_and_revoked(inside: Path, capsys: Cap) -> None:
    key = said(capsys, ["key", "add", "robot", "--scope", "predict"]).strip()
    identity = key.split("_")[1]
    assert parsed(capsys, ["key", "list"])[0]["scopes"] == ["predict"]
    assert key.split("_")[2] not in said(capsys, ["key", "list"])
    assert "is revoked" in said(capsys, ["key", "revoke", identity])
    assert parsed(capsys, ["key", "list"])[0]["revoked_at"]
    assert "is no scope" in told(capsys, ["key", "add", "x", "--scope", "all"], 2)
    assert "There is no key" in told(capsys, ["key", "revoke", "nothing"], 3)
    assert parsed(capsys, ["key", "add", "x"])["key"].startswith("fw_")


def test_rollback_reproduce_doctor_and_monitor(inside: Path, capsys: Cap) -> None:
    assert "No other model was live" in told(capsys, ["rollback"], 4)
    assert "every byte is equal" in said(capsys, ["reproduce", "dataset/1"])
    assert parsed(capsys, ["reproduce", "model/1"])["same"]
    said(capsys, ["predict", GOOD])
    assert "predictions: 1" in said(capsys, ["monitor"])
    assert {s["name"] for s in parsed(capsys, ["monitor", "--hours", "1"])} >= {
        "requests",
        "error_share",
    }
    found = {f["what"]: f["well"] for f in parsed(capsys, ["doctor"])}
    assert found["stored files"]
    with (inside / "reviews.csv").open("a", encoding="utf-8") as target:
        target.write("more,正面\n")
    out = said(capsys, ["reproduce", "records/1"], 1)
    assert "these inputs have changed since: source.0" in out
    (inside / "reviews.csv").unlink()
    assert "✗ sources" in said(capsys, ["doctor"], 1)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["trun"], "trun"),
        (["turn", "--untl", "train"], "--until"),
        (["turn", "extra"], "extra"),
        (["new", "x"], "--data"),
        (["predict"], "TEXT"),
        (["serve", "--port", "99999"], "--port"),
        (["serve", "--port", "x"], "--port"),
        (["monitor", "--hours", "-1"], "--hours"),
        (["key", "ad"], "ad"),
    ],
)
def test_wrong_usage_is_told_with_the_way_to_help(
    arguments: list[str], wanted: str, capsys: Cap
) -> None:
    error = told(capsys, arguments, 2)
    assert error.startswith("Error: ")
    assert wanted in error
    assert "→ feilun" in error
    assert "--help" in error


def test_the_version_and_the_help_are_told(capsys: Cap) -> None:
    assert said(capsys, ["--version"]).strip() == f"feilun {__version__}"
    out = said(capsys, ["--help"])
    for word in (
        *STAGES,
        "new",
        "turn",
        "status",
        "show",
        "history",
        "predict",
        "rollback",
        "reproduce",
        "doctor",
        "demo",
    ):
        assert word in out
    assert "--dropped" in said(capsys, ["prepare", "-h"])


def test_every_stage_that_can_be_run_has_its_command() -> None:
    names = {command.name for command in app.registered_commands} | {
        g.name for g in app.registered_groups
    }
    assert set(STAGES) <= names


def test_ctrl_c_ends_quietly(monkeypatch: pytest.MonkeyPatch, capsys: Cap) -> None:
    def interrupt(*_arguments: object, **_named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("feilun.cli.options.open_project", interrupt)
    monkeypatch.setattr("feilun.cli.status.open_project", interrupt)
    assert "what was committed is safe" in told(capsys, ["status"], 130)


def test_arguments_that_are_no_text_are_told_not_a_crash(inside: Path, capsys: Cap) -> None:
    """The system hands over bytes that are no UTF-8 as lone surrogates."""
    for arguments in (
        ["show", "\udcff"],
        ["show", "\udcff", "--json"],
        ["feedback", "add", "\udcff", "rating", "true"],
        ["key", "revoke", "\udcff"],
    ):
        assert main(arguments) in {2, 3}
        capsys.readouterr().out.encode()
    assert main(["predict", "很好\udcff", "--json"]) == 0


HEAVY = (
    "pydantic",
    "polars",
    "sqlalchemy",
    "torch",
    "fastapi",
    "numpy",
    "transformers",
    "alembic",
    "onnxruntime",
)


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    # Typer itself imports pydantic when it parses a command's options.
    [(["--help"], HEAVY), (["--version"], HEAVY[1:]), (["turn", "--help"], HEAVY[1:])],
)
def test_help_imports_nothing_heavy(arguments: list[str], heavy: tuple[str, ...]) -> None:
    code = (
        "import sys; from feilun.cli.main import main\n"
        f"assert main({arguments!r}) == 0\n"
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr.strip() == "[]", run.stderr


def test_a_reader_that_goes_away_is_no_error(inside: Path) -> None:
    run = subprocess.run(
        f"{sys.executable} -m feilun.cli.main status --json | head -c 1; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stderr == ""
    assert run.stdout.endswith("0\n")


def test_what_is_written_is_told_as_json_too(inside: Path, capsys: Cap) -> None:
    pl.DataFrame({"text": [GOOD, GOOD]}).write_csv("in.csv")
    told = parsed(capsys, ["predict", "in.csv", "--out", "out.jsonl"])
    assert told == {"rows": 2, "path": "out.jsonl"}
    assert parsed(capsys, ["feedback", "export", "all.csv"])["rows"] == 0
    table = "text,label\n" + "".join(f"好评{i},a\n不好{i},b\n" for i in range(9))
    Path("t.csv").write_text(table, encoding="utf-8")
    made = parsed(capsys, ["new", "another", "--data", "t.csv"])
    assert made["source"]["columns"] == {"text": "text", "label": "label"}


def every_command() -> dict[str, Any]:
    """Every command that does something, by its words."""
    import typer.main

    def inner(command: Any, name: str) -> Iterator[tuple[str, Any]]:
        below = getattr(command, "commands", {})
        for word, each in below.items():
            yield from inner(each, f"{name} {word}".strip())
        if not below or (name and command.invoke_without_command and command.params):
            yield name, command

    return dict(inner(typer.main.get_command(app), ""))


def test_every_command_that_prints_a_result_prints_json() -> None:
    # `serve` runs until it is stopped, `demo` tells a story, the dashboard is JSON already.
    without = {
        name
        for name, command in every_command().items()
        if not any("--json" in one.opts for one in command.params)
    }
    assert without == {"serve", "demo", "monitor dashboard"}


def test_a_reference_has_one_name() -> None:
    named = {
        option
        for command in every_command().values()
        for one in command.params
        if one.metavar == "REF"
        for option in one.opts
    }
    # `--shadow REF` says what becomes of the model.
    assert named == {"ref", "--ref", "--shadow"}


def test_no_help_text_loses_what_stands_in_brackets() -> None:
    """Help is shown as rich's markup, which takes `[serve]` for a style."""
    import typer.main
    from rich.markup import render

    def texts(command: Any) -> Iterator[str]:
        yield command.help or ""
        yield from (getattr(one, "help", None) or "" for one in command.params)
        for inner in getattr(command, "commands", {}).values():
            yield from texts(inner)

    found = list(texts(typer.main.get_command(app)))
    assert len(found) > 200
    assert [text for text in found if render(text).plain != text] == []

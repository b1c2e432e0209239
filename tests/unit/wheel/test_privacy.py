"""How the texts of the log are kept: encrypted, masked, hashed or as they were sent."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from feilun.store.events.vault import VaultKeyLost, VaultKeyOther
from feilun.wheel.exchange import export_feedback
from feilun.wheel.project import Project

SECRET = "我叫李雷，电话13800138000，包装坏了"
NUMBER = "13800138000"
PLAIN = "物流很快，包装也好"


def with_log(folder: Path, settings: str) -> Path:
    toml = folder / "feilun.toml"
    toml.write_text(toml.read_text(encoding="utf-8") + f"\n[serve.log]\n{settings}\n", "utf-8")
    return folder


def raw(folder: Path, what: str = "input, kept, subject", table: str = "predictions") -> list:
    with sqlite3.connect(folder / ".feilun" / "events.db") as connection:
        return connection.execute(f"SELECT {what} FROM {table} ORDER BY rowid").fetchall()


def found(folder: Path, text: str) -> list[str]:
    """The files of the project's state that have the text in them."""
    files = (path for path in (folder / ".feilun").rglob("*") if path.is_file())
    return [path.name for path in files if text.encode() in path.read_bytes()]


@pytest.mark.parametrize("keep", ["vault", "masked", "hash", "full"])
def test_a_text_is_kept_as_the_setting_says(keep: str, project_folder: Path) -> None:
    with_log(project_folder, f'keep = "{keep}"')
    with Project.open(project_folder) as project:
        answers = project.predict([SECRET, PLAIN])
        comment = project.feedback(answers[0].id, "comment", f"请回电{NUMBER}", source="me")
        read = {row["id"]: row["input"] for row in project.events.predictions(0)}
        said = {row["id"]: row["value"] for row in project.events.latest_feedback()}
    (secret, kept, subject), (plain, _kept, _subject) = raw(project_folder)
    assert (kept, subject) == (keep, None)
    assert bool(found(project_folder, NUMBER)) == (keep == "full")
    if keep == "vault":
        assert re.fullmatch(r"v1\.[0-9a-f]{16}\.[A-Za-z0-9+/=]+", secret)
        assert (read[answers[0].id], said[comment]) == (SECRET, f"请回电{NUMBER}")
    elif keep == "masked":
        assert secret == "我叫[NAME],电话[MOBILE],包装坏了" == read[answers[0].id]
        assert plain == PLAIN, "what needs no mask stays as it is"
        assert said[comment] == "请回电[MOBILE]"
    elif keep == "hash":
        assert re.fullmatch(r"[0-9a-f]{64}", secret)
        assert secret != plain
    else:
        assert (secret, plain) == (SECRET, PLAIN)


def test_the_same_text_is_sealed_differently_and_belongs_to_its_row(project_folder: Path) -> None:
    with Project.open(project_folder) as project:
        first, second = (answer.id for answer in project.predict([SECRET, SECRET]))
        (one, *_), (two, *_) = raw(project_folder)
        assert one != two
        with sqlite3.connect(project_folder / ".feilun" / "events.db") as other:
            other.execute("UPDATE predictions SET input = ? WHERE id = ?", (one, second))
        with pytest.raises(VaultKeyOther):
            project.events.predictions(0)
        assert first != second


def test_a_lost_master_key_is_told_and_no_new_one_is_made(project_folder: Path) -> None:
    key = project_folder / ".feilun" / "vault.key"
    with Project.open(project_folder) as project:
        answer = project.predict([SECRET])[0]
    assert key.stat().st_mode & 0o777 == 0o600
    content = key.read_bytes()
    key.unlink()
    with Project.open(project_folder) as project:
        for act in (lambda: project.predict([PLAIN]), lambda: project.events.predictions(0)):
            with pytest.raises(VaultKeyLost):
                act()
        assert not key.exists()
        key.write_bytes(bytes(32))
        with pytest.raises(VaultKeyOther):
            project.events.predictions(0)
    key.write_bytes(content)
    with Project.open(project_folder) as project:
        assert project.events.predictions(0)[0]["id"] == answer.id
        assert project.events.predictions(0)[0]["input"] == SECRET


@pytest.mark.parametrize(
    ("keep", "expected"),
    [("vault", SECRET), ("masked", "我叫[NAME],电话[MOBILE],包装坏了"), ("hash", None)],
)
def test_what_the_next_turn_learns(keep: str, expected: str | None, project_folder: Path) -> None:
    with_log(project_folder, f'keep = "{keep}"')
    with Project.open(project_folder) as project:
        answer = project.predict([SECRET])[0]
        project.feedback(answer.id, "correction", "负面", source="a")
        told: list[str] = []

        class Listener:
            def __getattr__(self, name: str) -> object:
                return lambda *given: told.append(given[1]) if name == "said" else None

        project.turn(until="collect", observer=Listener())  # type: ignore[arg-type]
        import polars as pl

        from feilun.core.records import FEEDBACK_SOURCE, read_shards

        shards = map(project.blobs.get, project.get("records/latest").shards("records"))
        learnt = read_shards(shards).filter(pl.col("source") == FEEDBACK_SOURCE)["text"].to_list()
    assert learnt == ([] if expected is None else [expected])
    assert any("[serve.log] keep" in text for text in told) == (expected is None)


def test_people_see_texts_masked(project_folder: Path) -> None:
    with Project.open(project_folder) as project:
        answer = project.predict([SECRET])[0]
        project.feedback(answer.id, "comment", f"回电{NUMBER}", source="me")
        path = project_folder / "out.jsonl"
        export_feedback(project, path)
    text = path.read_text(encoding="utf-8")
    assert NUMBER not in text
    assert "我叫[NAME]" in text
    assert "回电[MOBILE]" in text


def test_a_repeated_comment_is_known_though_it_is_sealed(project_folder: Path) -> None:
    from feilun.store.events import IdempotencyReused

    with Project.open(project_folder) as project:
        answer = project.predict([SECRET])[0]

        def say(text: str) -> str:
            return project.feedback(answer.id, "comment", text, idempotency_key="once")

        assert say("一样") == say("一样")
        with pytest.raises(IdempotencyReused):
            say("不一样")


def test_a_subject_is_stored_as_a_digest_only(project_folder: Path) -> None:
    with Project.open(project_folder) as project:
        project.predict([PLAIN], subject="customer-4711")
        expected = project.privacy.digest("customer-4711")
    assert [row[2] for row in raw(project_folder)] == [expected]
    assert raw(project_folder, "subject", "vault") == [(expected,)]
    assert not found(project_folder, "customer-4711")
    assert re.fullmatch(r"[0-9a-f]{64}", expected)


def test_pairs_are_masked_side_by_side(project_folder: Path) -> None:
    toml = project_folder / "feilun.toml"
    text = toml.read_text(encoding="utf-8").replace('task = "classify"', 'task = "match"')
    toml.write_text(text, encoding="utf-8")
    with Project.open(project_folder) as project:
        assert project.privacy.masked([f'["电话{NUMBER}","好"]', "no pair"]) == [
            '["电话[MOBILE]","好"]',
            "no pair",
        ]

"""A look at a project: drift, the reference it is told by, and the weakest slices."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from feilun.stages.monitor import Level
from feilun.store.events import PredictionRow
from feilun.wheel import references, signals
from feilun.wheel.project import Project
from tests.conftest import sentences, write_project


def loud(project: Project) -> set[str]:
    return {s.name for s in project.signals() if s.level is Level.WARNING}


def asked(count: int, seed: int = 31) -> list[str]:
    """Texts as the project was trained on, but for the numbers that make each its own."""
    return [text for text, _label in sentences(count, seed)]


def test_a_release_leaves_a_reference(trained_project: Project) -> None:
    release = trained_project.release
    assert release is not None
    found = list((trained_project.folder / references.FOLDER).iterdir())
    assert [path.name.partition("-")[0] for path in found] == [release.model.short]
    assert found[0].stat().st_size < 600_000


def test_a_lost_or_damaged_reference_is_made_again(trained_project: Project) -> None:
    release = trained_project.release
    assert release is not None
    path = next((trained_project.folder / references.FOLDER).iterdir())
    content = path.read_bytes()
    path.write_bytes(content[:1000])
    assert references.reference(trained_project, release.model).unknown_of > 0
    assert path.read_bytes() == content


def test_the_same_kind_of_texts_is_quiet_and_others_are_loud(trained_project: Project) -> None:
    trained_project.predict(asked(200))
    found = {s.name: s for s in trained_project.signals()}
    assert found["inputs.read"].value == 200
    assert "inputs.distance" in found
    assert "label_shift.正面" in found
    assert loud(trained_project) == set()
    strange = [f"слишком поздно доставили {n}, не рекомендую" for n in range(150)]
    trained_project.predict(strange)
    assert loud(trained_project) >= {"inputs.distance", "unknown.share", "column.language"}


def test_what_shadows_answer_does_not_count(trained_project: Project) -> None:
    trained_project.predict(asked(60))
    model = trained_project.control.alias("live")
    assert model is not None
    rows = trained_project.events.predictions(0)
    shadows = [
        PredictionRow(
            f"s{n}", f"s{n}", rows[0]["at"], model.digest, f"привет {n}", "正面", 0.1, None, 1.0,
            "k", "shadow",
        )
        for n in range(200)
    ]  # fmt: skip
    trained_project.events.record(shadows)
    seen = signals.window(trained_project)
    assert seen.sample.total == seen.usage.predictions == 60
    assert not any("привет" in text for text in seen.sample.texts)


def test_a_repeated_text_counts_once(trained_project: Project) -> None:
    trained_project.predict(["物流很快"] * 50 + asked(40))
    sample = signals.window(trained_project).sample
    assert (len(sample.texts), sample.drawn) == (41, 90)


def test_hashed_inputs_are_counted_as_unreadable(trained_project: Project) -> None:
    trained_project.predict(asked(40))
    row = trained_project.events.predictions(0)[0]
    hashed = [
        PredictionRow(
            f"h{n}", "h", row["at"], row["model"], f"{n:064x}", "正面", 0.9, None, 1.0, "k",
            characters=20, kept="hash",
        )
        for n in range(50)
    ]  # fmt: skip
    trained_project.events.record(hashed)
    sample = signals.window(trained_project).sample
    assert (len(sample.texts), sample.unreadable, len(sample.scores)) == (40, 50, 90)
    assert not set(sample.texts) & {one.input for one in hashed}


def test_answers_of_another_model_and_of_a_cascade_are_not_compared(
    trained_project: Project,
) -> None:
    trained_project.predict(asked(40))
    row = trained_project.events.predictions(0)[0]
    other = PredictionRow("o", "o", row["at"], "sha256:other", "x", "正面", 0.9, None, 1.0, "k")
    trained_project.events.record([other])
    sample = signals.window(trained_project).sample
    assert (len(sample.texts), len(sample.scores)) == (41, 40)
    second = other._replace(id="c", input="y", model=row["model"], level=1)
    trained_project.events.record([second])
    assert signals.window(trained_project).sample.scores == []


def test_the_pages_signals_are_kept_for_a_while(
    trained_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = signals.recent(trained_project)
    trained_project.predict(["好"])
    assert signals.recent(trained_project, wait=True) is first
    monkeypatch.setattr(signals, "RECENT_SECONDS", 0.0)
    later = signals.recent(trained_project, wait=True)
    assert later is not first
    assert {one.name: one.value for one in later}["predictions"] == 1


def test_where_it_hurts(trained_project: Project) -> None:
    draw = random.Random(3)
    texts = [f"{text} 开发票" if n % 10 == 0 else text for n, text in enumerate(asked(300))]
    answers = trained_project.predict(texts)
    for text, one in zip(texts, answers, strict=True):
        if "发票" in text or draw.random() < 0.02:
            value = "正面" if one.label == "负面" else "负面"
            trained_project.feedback(one.id, "correction", value, source="ann")
        elif draw.random() < 0.1:
            trained_project.feedback(one.id, "rating", True, source="bob")
    found = trained_project.weakest()
    assert (found.answers, found.looked_at, found.unreadable) == (300, 300, 0)
    assert found.judged >= found.wrong >= 30
    slices = {(one.slice.kind, one.slice.value): one for one in found.by_feedback}
    invoice = slices["term", "开发票"]
    assert (invoice.slice.cases, invoice.slice.answers) == (30, 30)
    assert all("发票" in text for text in invoice.examples)
    assert slices["source", "ann"].slice.share == 1.0
    assert trained_project.weakest(days=1e-9).answers == 0
    assert found.summary()["by_feedback"][0]["examples"]


def test_personal_data_is_masked_where_it_hurts(trained_project: Project) -> None:
    folder = trained_project.root / "feilun.toml"
    text = folder.read_text(encoding="utf-8") + '\n[serve.log]\nkeep = "vault"\n'
    folder.write_text(text, encoding="utf-8")
    with Project.open(trained_project.root) as project:
        for number in range(40):
            answer = project.predict([f"请打 1391234{number:04} 退货 {number}"])[0]
            if number % 2:
                project.feedback(answer.id, "rating", False)
        project.predict(asked(100))
        found = str(project.weakest().summary())
    assert "退货" in found
    assert "1391234" not in found


TABLES = {
    "regress": [(f"{'好' * (1 + n % 5)} 质量 {n}", str(1 + n % 5)) for n in range(160)],
    "classify": [
        (f"{'好的 物流' if n % 2 else '太差 退货'} {n}", ("a|b", "c")[n % 2]) for n in range(160)
    ],
}


@pytest.mark.parametrize("task", ["regress", "{ use = 'classify', multiple = true }"])
def test_other_tasks_have_their_signals(tmp_path: Path, task: str) -> None:
    rows = TABLES["classify" if "classify" in task else "regress"]
    write_project(tmp_path, rows)
    path = tmp_path / "feilun.toml"
    named = task if task.startswith("{") else f'"{task}"'
    settings = path.read_text(encoding="utf-8").replace('task = "classify"', f"task = {named}")
    path.write_text(settings, encoding="utf-8")
    with Project.open(tmp_path) as project:
        assert project.turn().verdict is not None
        project.predict([text for text, _label in rows[:60]])
        found = {signal.name for signal in project.signals()}
        assert found >= {"inputs.distance", "column.characters"}
        assert not any(name.startswith("label_shift") for name in found)
        # Every value has the same score.
        assert task != "regress" or "confidence" not in found
        project.weakest()

"""A cascade: the cheapest that is sure enough answers, and an ordinary model around it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tests.unit.models.neural import lessons

from feilun.models.cascade import ENDING, FOLLOWED, THRESHOLDS, Cascade, Levels, NothingToCascade
from feilun.models.conformal import ALWAYS, NEVER
from feilun.models.folder import NotAModel, load, read_card
from feilun.models.ngram import Ngram
from feilun.tasks.task import Input

LABELS = ("a", "b")


class Sure:
    """A model that is as sure as the text says: `0.8b` is b with 0.8; `?` it knows nothing of."""

    labels = LABELS

    def __init__(self, bonus: float = 0.0, flips: bool = False) -> None:
        self.bonus, self.flips = bonus, flips
        self.asked: list[list[Input]] = []

    def scores(self, inputs: Sequence[Input]) -> np.ndarray:
        self.asked.append(list(inputs))
        rows = np.full((len(inputs), 2), np.nan, dtype=np.float32)
        for row, text in zip(rows, inputs, strict=True):
            if text == "?":
                continue
            assert isinstance(text, str)
            at = int(text.endswith("b")) ^ int(self.flips)
            row[at] = min(float(text[:3]) + self.bonus, 1.0)
            row[1 - at] = 1 - row[at]
        return rows


def levels(folder: Path, members: list[Sure], followed: list[float], ending: list[float]) -> Levels:
    save_file({FOLLOWED: np.array(followed), ENDING: np.array(ending)}, folder / THRESHOLDS)
    card = {"task": "classify", "labels": list(LABELS)}
    names = [f"{at}-sure" for at in range(len(members))]
    return Levels(folder, card, names, members)


def test_each_text_is_answered_by_the_first_that_is_sure_enough(tmp_path: Path) -> None:
    first, second = Sure(), Sure(bonus=0.1)
    made = levels(tmp_path, [first, second], [0.75, 0.75], [0.75, ALWAYS])
    inputs = ["0.9a", "0.7b", "0.6a", "?", "0.8b"]
    found = made.routed(inputs)
    assert found.levels.tolist() == [0, 1, 1, 1, 0]
    assert second.asked == [["0.7b", "0.6a", "?"]]
    assert np.allclose(found.scores[:3].max(axis=1), [0.9, 0.8, 0.7])
    assert np.isnan(found.scores[3]).all()
    assert (found.seconds > 0).all()
    assert made.scores(inputs).tobytes() == found.scores.tobytes()


def test_where_somebody_follows_the_last_answers_only_what_it_is_sure_of(tmp_path: Path) -> None:
    made = levels(tmp_path, [Sure(), Sure(bonus=0.1)], [0.85, 0.75], [0.75, ALWAYS])
    found = made.routed(["0.9a", "0.7b", "0.6a", "?"], leaves=True)
    assert found.levels.tolist() == [0, 1, 2, 2]
    # The last one's own answer is there all the same, for when nobody can be asked.
    assert found.scores[2].max() == pytest.approx(0.7)


def test_a_level_that_may_never_answer_is_not_asked(tmp_path: Path) -> None:
    first, second = Sure(), Sure()
    made = levels(tmp_path, [first, second], [NEVER, NEVER], [NEVER, ALWAYS])
    assert made.routed(["0.9a"]).levels.tolist() == [1]
    assert made.routed(["0.9a"], leaves=True).levels.tolist() == [2]
    assert first.asked == []


def test_nothing_asked_nothing_answered(tmp_path: Path) -> None:
    made = levels(tmp_path, [Sure()], [0.5], [ALWAYS])
    assert made.scores([]).shape == (0, 2)


@pytest.mark.parametrize(
    "wrong",
    [
        {FOLLOWED: np.array([0.5]), ENDING: np.array([0.5])},
        {FOLLOWED: np.array([0.5, np.nan]), ENDING: np.array([0.5, 0.5])},
        {FOLLOWED: np.array([0.5, 0.5])},
    ],
)
def test_thresholds_that_do_not_fit_are_refused(wrong: dict[str, Any], tmp_path: Path) -> None:
    save_file(wrong, tmp_path / THRESHOLDS)
    card = {"task": "classify", "labels": list(LABELS)}
    with pytest.raises(NotAModel):
        Levels(tmp_path, card, ["0-a", "1-b"], [Sure(), Sure()])


def trained(tmp_path: Path, risk: float, rows: int = 240) -> Path:
    lesson = lessons.lesson("classify", rows)
    folder, scratch = tmp_path / "model", tmp_path / "scratch"
    folder.mkdir(parents=True)
    scratch.mkdir()
    members = (Ngram(bits=14, max_chars=1), Ngram(bits=14))
    Cascade(members=members, risk=risk).fit(lesson, folder, lessons.Bench(scratch))
    return folder


def test_it_is_trained_and_opened_like_any_other(tmp_path: Path) -> None:
    folder = trained(tmp_path, 0.2)
    assert read_card(folder)["members"] == ["0-ngram", "1-ngram"]
    assert json.loads((folder / "config.json").read_text())["model_type"] == "feilun-cascade"
    made = load(folder)
    assert isinstance(made, Levels)
    lesson = lessons.lesson("classify", 240)
    inputs = lesson.task.inputs(lesson.validation)
    answers = lesson.task.answers(made, inputs)
    assert [one.written for one in answers].count(None) == 0
    assert made.labels == lesson.labels


def test_a_risk_too_small_to_be_shown_asks_the_last_of_all(tmp_path: Path) -> None:
    folder = trained(tmp_path, 1e-6)
    found = load_file(folder / THRESHOLDS)
    assert found[ENDING].tolist() == [NEVER, ALWAYS]
    assert found[FOLLOWED].tolist() == [NEVER, NEVER]
    made = load(folder)
    assert isinstance(made, Levels)
    assert set(made.routed(["房间干净", "服务差"]).levels.tolist()) == {1}
    assert set(made.routed(["房间干净", "服务差"], leaves=True).levels.tolist()) == {2}


def test_one_member_alone_that_errs_on_nothing_answers_all(tmp_path: Path) -> None:
    folder, scratch = tmp_path / "model", tmp_path / "scratch"
    folder.mkdir()
    scratch.mkdir()
    run = lessons.Bench(scratch)
    lesson = lessons.lesson("classify", 240)
    Cascade(members=(Ngram(bits=14),), risk=0.2).fit(lesson, folder, run)
    assert ("share.0-ngram", 1.0, 0) in run.logged
    made = load(folder)
    assert isinstance(made, Levels)
    found = load_file(folder / THRESHOLDS)
    assert (found[FOLLOWED].tolist(), found[ENDING].tolist()) == ([ALWAYS], [ALWAYS])
    for leaves in (False, True):
        assert made.routed(["房间干净", "天地玄黄"], leaves=leaves).levels.tolist() == [0, 0]


def test_the_cascade_errs_little_more_than_its_last_member(tmp_path: Path) -> None:
    """On records that no threshold was found on: members that err in known places."""
    random = np.random.default_rng(5)
    risk, over = 0.1, 0.0
    from feilun.models.cascade import _thresholds

    for _again in range(300):
        sure = [random.uniform(0.5, 1, 121), random.uniform(0.5, 1, 121), np.ones(121)]
        right = [random.random(121) < s for s in sure[:2]]
        right.append(random.random(121) < 0.9)
        found = _thresholds([s[:120] for s in sure], [r[:120] for r in right], risk)[ENDING]
        level = next(at for at, limit in enumerate(found) if sure[at][120] > limit)
        over += float(not right[level][120]) - float(not right[2][120])
    assert over / 300 <= risk + 3 * (1 / 300) ** 0.5 * 0.4


def test_members_that_cannot_do_the_task_are_no_cascade(tmp_path: Path) -> None:
    lesson = lessons.lesson("tag", 8)
    cascade = Cascade(members=(Cascade(members=(Ngram(),)),))
    with pytest.raises(NothingToCascade):
        cascade.fit(lesson, tmp_path, lessons.Bench(tmp_path / "s"))


def test_the_same_lesson_gives_the_same_bytes(tmp_path: Path) -> None:
    one, two = trained(tmp_path / "1", 0.2), trained(tmp_path / "2", 0.2)
    for path in one.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (two / path.relative_to(one)).read_bytes()

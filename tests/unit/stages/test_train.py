"""Train: what fits the budget is tried, the plan outlives a kill, ties go to the cheaper."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from feilun.core import part
from feilun.core.artifacts import Dataset, Model
from feilun.core.run import Run
from feilun.models import load
from feilun.models.family import Estimate, Family, Lesson
from feilun.models.folder import write_card
from feilun.stages.prepare import Prepare, PrepareGiven
from feilun.stages.train import Train, TrainGiven
from feilun.stages.train.plan import NotForTask, NotInstalled
from feilun.wheel.runner import LocalRun
from tests.unit.stages.scratch import REVIEWS, records, scratch

FITS: list[str] = []
ESTIMATES: list[tuple[str, float]] = []


class Knows:
    """Answers with the label whose mark is in the text, right in the share it was made for."""

    def __init__(self, labels: Sequence[str], right: float) -> None:
        self.labels = tuple(labels)
        self._right = right

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        made = np.full((len(texts), len(self.labels)), 0.1, dtype=np.float32)
        for at, text in enumerate(texts):
            truth = "正面" if "好" in text else "负面"
            right = at < self._right * len(texts)
            answer = self.labels.index(truth) if right else 1 - self.labels.index(truth)
            made[at, answer] = 0.9
        return made


class Fake(Family):
    """A family that takes the seconds it is told to and is right as often as it is told to."""

    use: ClassVar[str] = "cheap"

    seconds: float = 1.0
    right: float = 0.5
    chosen: int = 0

    def estimate(self, lesson: Lesson, budget_seconds: float, run: Run) -> Estimate:
        ESTIMATES.append((self.use, budget_seconds))
        return Estimate(self.model_copy(update={"chosen": len(ESTIMATES)}), self.seconds)

    def fit(self, lesson: Lesson, folder: Path, run: Run) -> None:
        assert not list(folder.iterdir()), "the folder is empty"
        FITS.append(self.use)
        write_card(folder, self.use, lesson.labels, {"right": self.right})
        (folder / "sub").mkdir()
        (folder / "sub" / "weights").write_bytes(b"w" * 10)

    @classmethod
    def load(cls, folder: Path) -> Any:
        card = json.loads((folder / "feilun.json").read_text())
        return Knows(card["labels"], card["settings"]["right"])


class Dear(Fake):
    use: ClassVar[str] = "dear"

    right: float = 1.0


class Begun(Fake):
    """Begins with a pretrained encoder, which takes a tenth of a second to be timed."""

    use: ClassVar[str] = "begun"
    from_encoder: ClassVar[bool] = True

    seconds: float = 4.0
    right: float = 1.0

    def estimate(self, lesson: Lesson, budget_seconds: float, run: Run) -> Estimate:
        time.sleep(0.1)
        return super().estimate(lesson, budget_seconds, run)


class Finer(Begun):
    use: ClassVar[str] = "finer"


class Needy(Fake):
    use: ClassVar[str] = "needy"
    needs: ClassVar[tuple[str, ...]] = ("no_such_module_anywhere",)


@pytest.fixture(autouse=True)
def families(monkeypatch: pytest.MonkeyPatch) -> None:
    points = {
        f"family.{cls.use}": EntryPoint(
            f"family.{cls.use}", f"{__name__}:{cls.__name__}", part.GROUP
        )
        for cls in (Fake, Dear, Begun, Finer, Needy)
    }
    real = part._registered()
    monkeypatch.setattr(part, "_registered", lambda: {**real, **points})
    FITS.clear()
    ESTIMATES.clear()


@pytest.fixture
def run(tmp_path: Path) -> LocalRun:
    return scratch(tmp_path, "train")


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """With forty records to validate on."""
    inner = scratch(tmp_path, "prepare")
    stage = Prepare.model_validate({"split": {"minimum": 4, "validation": 0.45}})
    more = [(f"{text}，第{n}晚", label) for n in range(2) for text, label in REVIEWS]
    return stage.run(PrepareGiven(records(more, inner)), inner)


def auto(*names: str, budget: float = 10.0) -> Train:
    return Train.model_validate(
        {"budget_seconds": budget, "model": {"architecture": "auto", "families": names}}
    )


def left_out(model: Model) -> dict[str, str | None]:
    return {c.architecture: c.left_out and str(c.left_out) for c in model.candidates}


def test_the_dearer_is_taken_when_it_is_clearly_better(dataset: Dataset, run: LocalRun) -> None:
    model = auto("cheap", "dear").run(TrainGiven(dataset), run)
    assert model.architecture == "dear"
    assert model.validation == {"accuracy": 1.0}
    assert [(c.architecture, c.score) for c in model.candidates] == [("cheap", 0.5), ("dear", 1.0)]
    assert model.files.keys() == {"feilun.json", "sub/weights"}
    assert model.parents == (dataset.digest,)
    assert model.made_by["model"]["architecture"] == "dear"  # type: ignore[index, call-overload]
    assert "dear" in str(model.chosen_because)


def test_ties_go_to_the_cheaper(
    dataset: Dataset, run: LocalRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Dear, "load", classmethod(lambda cls, folder: Knows(("正面", "负面"), 0.5)))
    model = auto("cheap", "dear").run(TrainGiven(dataset), run)
    assert [c.score for c in model.candidates] == [0.5, 0.5]
    assert model.architecture == "cheap"


def test_what_does_not_fit_the_budget_is_left_out_with_the_reason(
    dataset: Dataset, run: LocalRun
) -> None:
    model = auto("cheap", "dear", budget=1.5).run(TrainGiven(dataset), run)
    assert FITS == ["cheap"]
    assert [use for use, _budget in ESTIMATES] == ["cheap", "dear"]
    assert [budget for _use, budget in ESTIMATES] == pytest.approx([1.5, 0.5], abs=0.2)
    assert left_out(model)["cheap"] is None
    assert "budget_seconds" in (left_out(model)["dear"] or "")


def test_a_pretrained_encoder_is_planned_before_what_fills_the_rest(
    dataset: Dataset, run: LocalRun
) -> None:
    model = auto("cheap", "dear", "begun", budget=5.9).run(TrainGiven(dataset), run)
    assert [use for use, _budget in ESTIMATES] == ["cheap", "begun", "dear"]
    assert ESTIMATES[2][1] <= 0.8, "measuring took time too"
    assert [one.architecture for one in model.candidates] == ["cheap", "dear", "begun"]
    assert left_out(model)["begun"] is None
    assert left_out(model)["dear"] is not None


def test_nothing_more_is_done_with_an_encoder_that_is_too_slow(
    dataset: Dataset, run: LocalRun
) -> None:
    model = auto("cheap", "begun", "finer", "dear", budget=3.0).run(TrainGiven(dataset), run)
    assert [use for use, _budget in ESTIMATES] == ["cheap", "begun", "dear"]
    assert left_out(model)["finer"] == left_out(model)["begun"] is not None
    assert left_out(model)["dear"] is None


def test_one_candidate_is_trained_even_when_it_does_not_fit(
    dataset: Dataset, run: LocalRun
) -> None:
    assert auto("dear", "cheap", budget=0.5).run(TrainGiven(dataset), run).architecture == "dear"
    assert FITS == ["dear"]


def test_what_is_not_installed_is_left_out_or_told(dataset: Dataset, run: LocalRun) -> None:
    model = auto("needy", "cheap").run(TrainGiven(dataset), run)
    assert model.architecture == "cheap"
    assert "no_such_module_anywhere not installed" in (left_out(model)["needy"] or "")
    for stage in (auto("needy"), Train.model_validate({"model": {"architecture": "needy"}})):
        with pytest.raises(NotInstalled, match="no_such_module_anywhere"):
            stage.run(TrainGiven(dataset), run.within(f"other-{len(stage.model_dump_json())}"))


def test_a_killed_run_goes_on_with_its_plan_and_does_not_train_again(
    dataset: Dataset, run: LocalRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*_arguments: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Dear, "fit", die)
        with pytest.raises(Killed):
            auto("cheap", "dear").run(TrainGiven(dataset), run)
    assert (run.folder / "plan.json").exists()
    (run.folder / "1-dear" / "model" / "half").write_text("what the kill left behind")
    before = list(ESTIMATES)
    model = auto("cheap", "dear").run(TrainGiven(dataset), run)
    assert before == ESTIMATES, "the plan is followed, however fast the machine is today"
    assert FITS == ["cheap", "dear"], "what was trained is not trained again"
    assert model.architecture == "dear"
    assert "half" not in model.files
    undisturbed = auto("cheap", "dear").run(TrainGiven(dataset), scratch(run.root, "undisturbed"))
    assert undisturbed.files == model.files


def test_the_metric_decides_and_is_written_down(dataset: Dataset, run: LocalRun) -> None:
    stage = Train.model_validate({"metric": "macro_f1", "model": {"architecture": "cheap"}})
    model = stage.run(TrainGiven(dataset), run)
    assert model.metric == "macro_f1"
    assert model.validation.keys() == {"macro_f1"}


def test_ngram_really_learns_and_gives_the_same_bytes_twice(
    dataset: Dataset, tmp_path: Path
) -> None:
    stage = Train.model_validate({"model": {"architecture": "ngram", "bits": 14}})
    one, two = (stage.run(TrainGiven(dataset), scratch(tmp_path, name)) for name in ("one", "two"))
    assert one.files == two.files
    assert one.validation["accuracy"] > 0.9


def test_a_stack_takes_what_was_trained_before_it(dataset: Dataset, run: LocalRun) -> None:
    model = auto("cheap", "dear", "stack").run(TrainGiven(dataset), run)
    assert FITS == ["cheap", "dear"], "no member is trained twice"
    assert model.architecture == "dear", "a stack that is no better is dearer"
    stacked = model.candidates[-1]
    assert stacked.architecture == "stack"
    assert stacked.score == 1.0
    members = stacked.settings["members"]
    assert [one["architecture"] for one in members] == ["cheap", "dear"]  # type: ignore[index, union-attr, call-overload]


def test_a_stack_alone_trains_its_members(dataset: Dataset, run: LocalRun) -> None:
    members = [{"architecture": "cheap"}, {"architecture": "dear"}]
    stage = Train.model_validate({"model": {"architecture": "stack", "members": members}})
    model = stage.run(TrainGiven(dataset), run)
    assert FITS == ["cheap", "dear"]
    assert model.architecture == "stack"
    folder = run.unpack(model)
    answers = dataset_answers(folder)
    assert answers == ["正面", "负面"]
    assert not hasattr(load(folder), "embeddings"), "none of its members has any"


def dataset_answers(folder: Path) -> list[str | None]:
    from feilun.tasks import Classify

    return [one.written for one in Classify().answers(load(folder), ["很好", "很差"])]


def test_one_candidate_cannot_be_stacked(dataset: Dataset, run: LocalRun) -> None:
    model = auto("cheap", "stack").run(TrainGiven(dataset), run)
    assert model.architecture == "cheap"
    assert "nothing to stack" in (left_out(model)["stack"] or "")


def test_a_family_that_cannot_do_the_task_is_refused(dataset: Dataset, run: LocalRun) -> None:
    asked = dataset.model_copy(update={"task": "tag"})
    with pytest.raises(NotForTask, match=r"'cheap' cannot do the task 'tag'.*classify"):
        Train.model_validate({"model": {"architecture": "cheap"}}).run(TrainGiven(asked), run)

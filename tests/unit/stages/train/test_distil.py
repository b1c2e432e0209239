"""Distil: what a teacher says of unlabelled records is learnt from, and makes a student better."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from feilun.core import part
from feilun.core.artifacts import Model
from feilun.core.run import Run
from feilun.models import Family, Lesson
from feilun.models.mlp import Mlp
from feilun.models.ngram import Ngram
from feilun.stages.train import Train
from feilun.stages.train.distil import Distil
from feilun.stages.train.teachers import Answers, Opinion, Teacher, TeacherDiffers
from feilun.stages.train.teachers.local import NoTeacher
from feilun.tasks import Classify, Match, Regress, Tag
from feilun.wheel import runner
from tests.unit.models.neural.lessons import Bench
from tests.unit.stages.scratch import scratch
from tests.unit.stages.train.lessons import LABELS, keyed, lesson, reviews

ASKED: list[str] = []


class Oracle(Teacher):
    """Sure of every other text; says nothing of texts with a word that is too long for it."""

    use: ClassVar[str] = "oracle"
    batch: ClassVar[int] = 10

    dies_after: int = 10**9
    said: str = "好"

    def costs(self, tokens: int) -> dict[str, float]:
        return {"endpoint.tokens": float(tokens)}

    def ready(self, lesson: Lesson, model: Model | None, run: Run) -> Answers:
        def answers(frame: pl.DataFrame) -> list[Opinion]:
            if len(ASKED) >= self.dies_after:
                raise KeyboardInterrupt
            ASKED.extend(frame["text"])
            return [self._opinion(text) for text in frame["text"]]

        return answers

    def _opinion(self, text: str) -> Opinion:
        if "x" in text:
            return Opinion(None, tokens=3)
        sure = 0.8 if int(text.rsplit(maxsplit=1)[-1]) % 2 else 0.6
        return Opinion(self.said, sure, (1 - sure, sure), tokens=3)


@pytest.fixture(autouse=True)
def oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("teacher.oracle", f"{__name__}:Oracle", part.GROUP)
    real = part._registered()
    monkeypatch.setattr(part, "_registered", lambda: {**real, "teacher.oracle": point})
    ASKED.clear()


def distil(**settings: Any) -> Distil:
    return Distil.model_validate({"teacher": {"use": "oracle"}} | settings)


def numbered(count: int, start: int = 0, mark: str = "t") -> pl.DataFrame:
    return keyed([(f"{mark} {number}", None) for number in range(start, start + count)])


def small(folder: Path, *unlabelled: pl.DataFrame) -> Lesson:
    train = keyed([("gold 1", "好"), ("gold 2", "差")])
    return lesson(train, folder, *unlabelled, validation=keyed([("gold 3", "好")]))


# A student that was taught is better


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has seen three thousand labels."""
    folder = tmp_path_factory.mktemp("teacher")
    model = folder / "model"
    model.mkdir()
    whole = Lesson(reviews(3000, 4), reviews(60, 2), LABELS)
    Ngram(bits=16).fit(whole, model, Bench(folder))
    return model


def accuracy(family: Family, given: Lesson, where: Path) -> float:
    where.mkdir(parents=True)
    family.fit(given, where, scratch(where.parent))
    test = reviews(400, 9)
    model: Any = type(family).load(where)
    answers = Classify().answers(model, test["text"].to_list())
    return float(np.mean([a.written == t for a, t in zip(answers, test["label"], strict=True)]))


@pytest.mark.parametrize(
    ("family", "margin"),
    [
        (Ngram(bits=16), 0.25),
        (Mlp(size="nano", epochs=5, batch_size=16, learning_rate=5e-3, max_length=32,
             vocabulary_size=2000, min_frequency=1, threads=1), 0.2),
    ],
    ids=["ngram", "mlp"],
)  # fmt: skip
def test_a_student_with_few_labels_learns_from_its_teacher(
    family: Family, margin: float, teacher: Path, tmp_path: Path
) -> None:
    alone = lesson(reviews(40, 1), tmp_path, reviews(600, 3))
    one = distil(teacher={"use": "folder", "path": str(teacher)})
    taught = one.taught(alone, None, scratch(tmp_path))
    assert taught.train.height == 40 + 600
    before = accuracy(family, alone, tmp_path / "alone" / "model")
    after = accuracy(family, taught, tmp_path / "taught" / "model")
    assert after >= before + margin, (before, after)


# What becomes of the lesson


def test_answers_come_after_the_gold_rows_with_their_probabilities(tmp_path: Path) -> None:
    run = Bench(tmp_path / "run")
    given = small(tmp_path, numbered(12))
    taught = distil().taught(given, None, run)
    assert taught.train.head(2).equals(given.train)
    assert taught.validation.equals(given.validation)
    assert taught.train.schema == given.train.schema
    assert set(taught.train["label"][2:]) == {"好"}
    assert taught.soft is not None
    assert taught.soft.dtype == np.float32
    assert taught.soft.shape == (14, 2)
    assert np.isnan(taught.soft[:2]).all()
    wanted = [0.8 if int(t.rsplit(maxsplit=1)[-1]) % 2 else 0.6 for t in taught.train["text"][2:]]
    assert taught.soft[2:, 1] == pytest.approx(wanted)
    assert taught.soft[2:].sum(axis=1) == pytest.approx(1)
    assert run.spent == {"endpoint.tokens": 36, "distilled": 12}


@pytest.mark.parametrize(
    ("temperature", "wanted"), [(2.0, 2 / 3), (1.0, 0.8), (0.5, 16 / 17), (1e-4, 1.0)]
)
def test_the_temperature_evens_out_or_decides(
    temperature: float, wanted: float, tmp_path: Path
) -> None:
    given = small(tmp_path, keyed([("t 1", None)]))
    taught = distil(temperature=temperature).taught(given, None, Bench(tmp_path / "run"))
    assert taught.soft is not None
    assert taught.soft[2, 1] == pytest.approx(wanted)


def test_hard_answers_where_soft_ones_are_not_wanted(tmp_path: Path) -> None:
    given = small(tmp_path, numbered(4))
    taught = distil(soft=False).taught(given, None, Bench(tmp_path / "run"))
    assert taught.soft is None
    assert taught.train.height == 6


def test_what_is_left_out_is_told_and_counted(tmp_path: Path) -> None:
    run = Bench(tmp_path / "run")
    given = small(tmp_path, numbered(20), numbered(5, mark="x"))
    taught = distil(least_confidence=0.8, most=22).taught(given, None, run)
    used = taught.train.height - 2
    assert {int(text.rsplit(maxsplit=1)[-1]) % 2 for text in taught.train["text"][2:]} == {1}
    assert len(ASKED) == 22
    assert run.spent["distilled"] == used > 0
    assert run.spent["distilled.left_out"] == 25 - used
    (told,) = run.said
    assert f"{used} unlabelled records" in told
    assert "3 beyond" in told


def test_the_same_records_are_drawn_every_time_and_most_of_them_still_when_others_join(
    tmp_path: Path,
) -> None:
    def drawn(number: int, *shards: pl.DataFrame) -> set[str]:
        folder = tmp_path / str(number)
        folder.mkdir()
        taught = distil(most=40).taught(small(folder, *shards), None, Bench(folder / "run"))
        return set(taught.train["text"][2:])

    whole = numbered(200)
    first = drawn(0, whole)
    assert len(first) == 40
    assert drawn(1, whole[::-1]) == first
    assert drawn(2, whole[:70], whole[70:]) == first
    grown = drawn(3, whole, numbered(100, start=200))
    assert len(grown & first) > 15
    assert grown & set(whole["text"]) <= first


def test_twins_are_asked_about_once_and_what_is_known_not_at_all(tmp_path: Path) -> None:
    known = keyed([("gold 2", None), ("Gold 3!", None)])
    again = keyed([("t 1", None), ("T 1", None), ("t 1", None)])
    taught = distil().taught(small(tmp_path, known, again, again), None, Bench(tmp_path / "run"))
    assert len(ASKED) == 1
    assert taught.train.height == 3


def test_a_killed_run_asks_nobody_twice_and_ends_the_same(tmp_path: Path) -> None:
    given = small(tmp_path, numbered(35), numbered(35, start=40))
    run = Bench(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        distil(teacher={"use": "oracle", "dies_after": 30}).taught(given, None, run)
    assert len(ASKED) == 30
    taught = distil().taught(given, None, run)
    assert len(ASKED) == len(set(ASKED)) == 70
    assert run.spent["endpoint.tokens"] == 70 * 3, "also those of the killed one"
    undisturbed = distil().taught(given, None, Bench(tmp_path / "other"))
    assert taught.train.equals(undisturbed.train)
    assert taught.soft is not None
    assert undisturbed.soft is not None
    assert taught.soft.tobytes() == undisturbed.soft.tobytes()


def test_without_unlabelled_records_it_is_said_and_nothing_changes(tmp_path: Path) -> None:
    for at, shards in enumerate([(), (numbered(0),), (keyed([("gold 1", None)]),)]):
        folder = tmp_path / str(at)
        folder.mkdir()
        given, run = small(folder, *shards), Bench(folder / "run")
        assert distil().taught(given, None, run) is given
        assert "no unlabelled records" in run.said[0]


def test_answers_that_are_none_of_the_task_are_left_out(tmp_path: Path) -> None:
    run = Bench(tmp_path / "run")
    given = small(tmp_path, numbered(3))._replace(task=Regress(), labels=())
    taught = distil().taught(given, None, run)
    assert taught.train.height == 2
    assert taught.soft is None
    assert run.spent["distilled.left_out"] == 3


def test_settings_are_checked() -> None:
    for wrong in (
        {"most": 0},
        {"temperature": 0},
        {"least_confidence": 2},
        {"teacher": {"use": "model", "ref": "model/latest"}},
        {"teacher": {"use": "model", "ref": "dataset/1"}},
        {"teacher": {"use": "endpoint", "endpoint": "ftp://x", "model": "m"}},
        {"teacher": {"use": "endpoint", "endpoint": "http://x", "model": "m", "token": "abc"}},
    ):
        with pytest.raises(ValidationError):
            distil(**wrong)
    assert distil().model_dump(mode="json")["teacher"]["use"] == "oracle"


# Models as teachers


def taught_by(model: Path, given: Lesson, folder: Path, **more: Any) -> Lesson:
    one = distil(teacher={"use": "folder", "path": str(model)}, **more)
    return one.taught(given, None, Bench(folder / "run"))


def fitted(given: Lesson, folder: Path) -> Path:
    folder.mkdir()
    Ngram(bits=12).fit(given, folder, Bench(folder.parent))
    return folder


def test_probabilities_are_put_in_the_order_of_the_dataset(teacher: Path, tmp_path: Path) -> None:
    given = lesson(reviews(10, 1), tmp_path, reviews(50, 3))
    found = taught_by(teacher, given, tmp_path)
    other = given._replace(labels=LABELS[::-1])
    turned = taught_by(teacher, other, tmp_path / "turned")
    assert found.soft is not None
    assert turned.soft is not None
    assert np.array_equal(found.soft[10:], turned.soft[10:, ::-1])
    best = [LABELS[at] for at in found.soft[10:].argmax(axis=1)]
    assert found.train["label"][10:].to_list() == best


def test_a_teacher_of_other_labels_or_another_task_is_refused(
    teacher: Path, tmp_path: Path
) -> None:
    given = lesson(reviews(10, 1), tmp_path, reviews(20, 3))
    with pytest.raises(TeacherDiffers, match="好, 差; the dataset: 中, 好, 差"):
        taught_by(teacher, given._replace(labels=("差", "好", "中")), tmp_path)
    with pytest.raises(TeacherDiffers, match="classify; the dataset: classify multiple"):
        taught_by(teacher, given._replace(task=Classify(multiple=True)), tmp_path)
    with pytest.raises(NoTeacher, match="nowhere"):
        taught_by(tmp_path / "nowhere", given, tmp_path)


def test_a_folder_counts_by_its_bytes(teacher: Path, tmp_path: Path) -> None:
    import shutil

    one = distil(teacher={"use": "folder", "path": "copy"}).teacher
    with pytest.raises(NoTeacher):
        one.reads(tmp_path)
    copy = Path(shutil.copytree(teacher, tmp_path / "copy"))
    before = one.reads(tmp_path)
    other = Path(shutil.copytree(teacher, tmp_path / "elsewhere" / "copy")).parent
    assert one.reads(other) == before
    (copy / "README.md").write_text("changed", encoding="utf-8")
    assert one.reads(tmp_path) != before


def test_a_teacher_of_tags_gives_its_entities(tmp_path: Path) -> None:
    from tests.unit.models.neural.lessons import tag

    frame = tag(200, 1)
    spans = [list(row) for row in frame["spans"]]
    labelled = keyed([(f"{text} {at}", None) for at, text in enumerate(frame["text"])], spans)
    few = lesson(
        labelled[:20], tmp_path, keyed([(text, None) for text in labelled["text"][50:90]]),
        validation=labelled[20:40], labels=("LOC", "PER"), task=Tag(),
    )  # fmt: skip
    model = fitted(few._replace(train=labelled[40:]), tmp_path / "teacher")
    taught = taught_by(model, few, tmp_path)
    assert taught.soft is None
    new = taught.train[20:]
    assert new.height > 10
    assert new["label"].null_count() == new.height
    truth = dict(zip(labelled["text"], labelled["spans"].to_list(), strict=True))
    right = sum(row == truth[text] for text, row in zip(new["text"], new["spans"].to_list()))  # noqa: B905
    assert right > 0.8 * new.height


def test_a_teacher_of_numbers_gives_its_values(tmp_path: Path) -> None:
    from tests.unit.models.neural.lessons import regress

    frame = keyed([(f"{t} {i}", label) for i, (t, label) in
                   enumerate(regress(200, 1).select("text", "label").iter_rows())])  # fmt: skip
    few = lesson(
        frame[:20], tmp_path, frame[100:], validation=frame[20:40], labels=(), task=Regress()
    )
    model = fitted(few._replace(train=frame[:100]), tmp_path / "teacher")
    taught = taught_by(model, few, tmp_path)
    assert taught.soft is None
    truth = dict(zip(frame["text"], frame["label"], strict=True))
    new = taught.train[20:]
    assert new.height > 50
    errors = [abs(float(a) - float(truth[t])) for t, a in zip(new["text"], new["label"])]  # noqa: B905
    assert np.mean(errors) < 3


def test_a_teacher_of_several_labels_gives_those_that_hold(tmp_path: Path) -> None:
    from tests.unit.models.neural.lessons import several

    frame = several(200, 1).select("text", "label").iter_rows()
    labelled = keyed([(f"{text} {at}", label) for at, (text, label) in enumerate(frame)])
    few = lesson(
        labelled[:20], tmp_path, labelled[100:], validation=labelled[20:40],
        labels=("clean", "far", "kind"), task=Classify(multiple=True),
    )  # fmt: skip
    model = fitted(few._replace(train=labelled[40:100]), tmp_path / "teacher")
    taught = taught_by(model, few, tmp_path)
    assert taught.soft is None
    new = taught.train[20:]
    assert new.height == 100
    truth = dict(labelled.select("text", "label").rows())
    assert (
        np.mean([truth[text] == label for text, label in new.select("text", "label").rows()]) > 0.8
    )
    assert any("|" in label for label in new["label"])


def test_a_teacher_of_pairs_gives_its_probabilities(tmp_path: Path) -> None:
    from tests.unit.models.neural.lessons import match

    frame = match(300, 1)
    texts = [f"{text} {at}" for at, text in enumerate(frame["text"])]
    spans = [
        [dict(s, end=s["end"] + (len(text) - len(old)) * (s["label"] == "second")) for s in row]
        for row, text, old in zip(frame["spans"], texts, frame["text"], strict=True)
    ]
    labelled = keyed(list(zip(texts, frame["label"], strict=True)), spans)
    few = lesson(
        labelled[:20], tmp_path, labelled[200:], validation=labelled[20:40],
        labels=("0", "1"), task=Match(),
    )  # fmt: skip
    model = fitted(few._replace(train=labelled[40:200]), tmp_path / "teacher")
    taught = taught_by(model, few, tmp_path)
    assert taught.soft is not None
    assert taught.soft[20:].sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert set(taught.train["text"][20:]) == set(texts[200:])
    student = fitted(taught, tmp_path / "student")
    assert (student / "feilun.json").exists()


# Families take what is soft


TINY = Mlp(size="nano", epochs=6, batch_size=8, learning_rate=5e-3, max_length=32,
           vocabulary_size=400, min_frequency=1, threads=1)  # fmt: skip


@pytest.mark.parametrize("family", [Ngram(bits=12), TINY], ids=["ngram", "mlp"])
def test_a_family_learns_how_unsure_its_teacher_is(family: Family, tmp_path: Path) -> None:
    """Where the teacher cannot tell, its thirty opinions do not outvote ten gold labels."""
    said = [("或许", "差" if at % 4 == 0 else "好") for at in range(40)]
    vague = keyed([(f"{word} {at}", label) for at, (word, label) in enumerate(said)])
    clear = [(f"{'棒极了' if at % 2 else '糟透了'} {at}", LABELS[at % 2]) for at in range(80)]
    hard = Lesson(pl.concat([keyed(clear), vague]), keyed(clear[:20]), LABELS)
    soft = np.full((120, 2), np.nan, dtype=np.float32)
    soft[80:][vague["label"].to_numpy() == "好"] = (0.49, 0.51)
    sure = []
    for name, given in (("hard", hard), ("soft", hard._replace(soft=soft))):
        where = tmp_path / name / "model"
        where.mkdir(parents=True)
        family.fit(given, where, scratch(tmp_path))
        model: Any = type(family).load(where)
        rows = model.scores(["或许", "棒极了", "糟透了"])
        assert rows[1, 1] > 0.6
        assert rows[2, 0] > 0.6, "the gold labels are learnt as ever"
        sure.append(float(rows[0, 1]))
    assert sure[0] > 0.6 > 0.5 > sure[1], sure


def test_a_teacher_of_another_package_counts_with_its_code() -> None:
    taught = Train.model_validate({"distil": {"teacher": {"use": "oracle"}}})
    assert runner._foreign_code(taught).keys() == {__name__}
    assert runner._foreign_code(Train()) == {}

"""Many shards and many processes give what one gives; a killed run goes on with the next shard."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feilun.core.artifacts import SPLITS, Dataset, Records, sharded
from feilun.core.errors import Missing
from feilun.core.records import parquet, read_shards
from feilun.core.similarity import near_duplicates
from feilun.stages.prepare import Prepare, PrepareGiven, shard
from feilun.stages.prepare import given as given_to
from feilun.stages.prepare.tasks import Tasks
from feilun.stages.prepare.twins import twin_texts
from feilun.stages.prepare.workers import WorkerGone, Workers
from feilun.wheel.project import Project
from feilun.wheel.runner import LocalRun
from tests.unit.stages.scratch import REVIEWS, Row, raw, scratch

STEPS = [
    {"use": "normalise"},
    {"use": "conflicts"},
    {"use": "duplicates"},
    {"use": "mask", "kinds": ["mobile"]},
    {"use": "near_duplicates"},
]
"""Two passes: a row step stands behind corpus steps."""
CALLS: list[Row] = [
    (
        f"{'很好' if n % 2 else '很差'}，打 138{n:04}5678 找我{'，谢谢' * (n % 3)}",
        "正面" if n % 2 else "负面",
    )
    for n in range(40)
]


def in_shards(rows: list[Row], run: LocalRun, size: int, order: list[int] | None = None) -> Records:
    frame = raw(rows)
    parts = [frame.slice(at, size) for at in range(0, frame.height, size)]
    parts = [parts[n] for n in order] if order else parts
    files = sharded("records", [run.keep(parquet(part)) for part in parts])
    return Records(files=files, num_rows=frame.height)


def prepare(records: Records, run: LocalRun, workers: int = 1, **more: object) -> Dataset:
    stage = Prepare.model_validate(
        {"split": {"minimum": 4}, "steps": STEPS, "workers": workers} | more
    )
    return stage.run(PrepareGiven(records, ()), run)


def contents(dataset: Dataset, run: LocalRun) -> dict[str, pl.DataFrame]:
    return {
        name: read_shards(run.file(digest) for digest in dataset.shards(name))
        for name in (*SPLITS, "dropped")
    }


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given_to, "MOST_ROWS", 20)
    monkeypatch.setattr(shard, "MOST_ROWS", 20)


@pytest.mark.usefixtures("small_shards")
def test_two_processes_over_many_shards_give_the_bytes_of_one(tmp_path: Path) -> None:
    rows = [*REVIEWS, *CALLS, *REVIEWS[:7], ("", "正面")]
    made = []
    for workers in (1, 2):
        run = scratch(tmp_path, seed=3)
        made.append(prepare(in_shards(rows, run, 16), run, workers))
    one, two = made
    assert one.digest == two.digest
    assert len(one.shards("train")) > 1
    assert one.dropped["duplicate"] == 7
    assert one.dropped["empty"] == 1
    assert one.found["masked.mobile"] == 40
    assert [count.step for count in one.funnel] == [*(s["use"] for s in STEPS), "split"]
    assert sum(one.splits.values()) + sum(one.dropped.values()) == len(rows) == one.num_raw


@pytest.mark.usefixtures("small_shards")
@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(order=st.permutations(range(7)))
def test_the_order_of_shards_does_not_matter(order: list[int], tmp_path: Path) -> None:
    rows = [*REVIEWS, *CALLS]
    found = []
    for wanted in (None, order):
        run = scratch(tmp_path, seed=3)
        steps = [{"use": "normalise"}, {"use": "duplicates"}]
        dataset = prepare(in_shards(rows, run, 15, wanted), run, steps=steps)
        found.append({name: dataset.shards(name) for name in SPLITS})
    assert found[0] == found[1], "other bytes"


def test_one_shard_or_many_find_the_same_near_duplicates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [*REVIEWS, *CALLS, *CALLS[:20]]
    run = scratch(tmp_path, seed=3)
    whole = contents(prepare(in_shards(rows, run, 1000), run), run)
    monkeypatch.setattr(given_to, "MOST_ROWS", 9)
    run = scratch(tmp_path, seed=3)
    parted = contents(prepare(in_shards(rows, run, 9), run), run)
    for name, frame in whole.items():
        assert set(frame["text"]) == set(parted[name]["text"]), name
    assert "near_duplicate" in set(whole["dropped"]["reason"])


def test_a_dropped_duplicate_says_which_record_was_kept(tmp_path: Path) -> None:
    run = scratch(tmp_path)
    found = contents(prepare(in_shards([*REVIEWS, *REVIEWS[:3]], run, 1000), run), run)
    dropped = found["dropped"].filter(pl.col("reason") == "duplicate")
    kept = pl.concat([found[name].select("id", "text") for name in SPLITS])
    both = dropped.join(kept, left_on="detail", right_on="id", how="left", suffix="_kept")
    assert both.height == 3
    assert both["text"].to_list() == both["text_kept"].to_list()


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("stop_at", range(1, 24, 3))
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(tmp_path: Path, stop_at: int) -> None:
    rows = [*REVIEWS, *CALLS]
    run = scratch(tmp_path, seed=3)
    records = in_shards(rows, run, 16)
    wanted = prepare(records, run).digest
    run = scratch(tmp_path, seed=3)
    told = 0

    def progress(done: float, total: float, what: str = "") -> None:
        nonlocal told
        told += 1
        if told == stop_at:
            raise Killed

    run.progress = progress  # type: ignore[method-assign]
    with pytest.raises(Killed):
        prepare(records, run)
    del run.progress  # type: ignore[method-assign]
    assert prepare(records, run).digest == wanted


@pytest.mark.usefixtures("small_shards")
def test_what_was_done_before_the_kill_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = scratch(tmp_path, seed=3)
    records = in_shards([*REVIEWS, *CALLS], run, 16)
    prepare(records, run)
    monkeypatch.setattr(
        "feilun.stages.prepare.normalise.Normalise.apply",
        lambda *_given: pytest.fail("done again"),
    )
    prepare(records, run)


def test_a_scratch_folder_from_before_a_restart_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = scratch(tmp_path, seed=3)
    records = in_shards(REVIEWS, run, 100)
    wanted = prepare(records, run).digest
    for path in run.folder.rglob("*.arrow"):
        path.write_bytes(b"")
    boot = tmp_path / "boot"
    boot.write_text("another one")
    monkeypatch.setattr(given_to, "_BOOT", boot)
    assert prepare(records, run).digest == wanted


def test_a_corpus_parted_for_other_cores_is_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(given_to, "LEAST_ROWS", 10)
    run = scratch(tmp_path, seed=3)
    records = in_shards(REVIEWS, run, 10_000)
    made = {prepare(records, run, workers=number).digest for number in (2, 3, 1)}
    assert len(made) == 1


def setup(folder: Path) -> dict[str, object]:
    return {
        "prepare": Prepare().model_dump(mode="json"),
        "seed": 0,
        "root": str(folder),
        "folder": str(folder),
    }


def test_a_worker_that_dies_is_told(tmp_path: Path) -> None:
    with Workers(setup(tmp_path), 2) as workers, pytest.raises(WorkerGone):
        list(workers.map([{"act": "no such thing"}, {"act": "no such thing"}]))


def test_an_error_in_a_worker_keeps_its_kind_and_its_mend(tmp_path: Path) -> None:
    raw(REVIEWS).write_parquet(tmp_path / "records.parquet")
    prepare = Prepare.model_validate({"steps": [{"use": "filter", "stop_file": "gone.txt"}]})
    task = {"act": "rows", "pass": 0, "inputs": [str(tmp_path / "records.parquet")], "offset": 0}
    tasks = [task | {"shard": number, "part": [0, 1]} for number in range(2)]
    given = setup(tmp_path) | {"prepare": prepare.model_dump(mode="json")}
    with Workers(given, 2) as workers, pytest.raises(Missing, match=r"gone\.txt") as caught:
        list(workers.map(tasks))
    assert caught.value.remedy


def test_no_process_is_left_behind(tmp_path: Path) -> None:
    with Workers(setup(tmp_path), 2) as workers:
        processes = [workers._started() for _number in range(2)]
        assert all(process.poll() is None for process in processes)
    assert all(process.poll() is not None for process in processes)


def test_a_task_without_an_act_is_no_task(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        Tasks(Prepare(), seed=0, root=tmp_path, folder=tmp_path).do({"act": "sing"})


@pytest.mark.usefixtures("small_shards")
def test_what_is_made_after_the_split_is_of_the_training_split_and_leaks_nothing(
    tmp_path: Path,
) -> None:
    said = {"正面": "酒店的房间很干净，以后还会再来", "负面": "声音太吵了，其他都好，加强管理"}
    rows: list[Row] = [
        (f"{said[label]}{chr(0x4E00 + n) * 3}", label)
        for n, label in enumerate(["正面", "负面"] * 45)
    ]
    made = []
    for workers in (1, 2):
        run = scratch(tmp_path, seed=3)
        steps = [
            {"use": "normalise"},
            {"use": "duplicates"},
            {"use": "augment", "share": 1.0, "check": False},
        ]
        split = {"minimum": 4, "near_duplicates": 0.9}
        dataset = prepare(in_shards(rows, run, 16), run, workers, steps=steps, split=split)
        made.append(dataset)
    assert made[0].digest == made[1].digest
    found = contents(made[0], run)
    added = found["train"].filter(pl.col("source").str.starts_with("augment:"))
    assert 0 < added.height == made[0].found["augment.added"]
    parents = added["fields"].str.json_path_match("$.parent")
    assert set(parents) <= set(found["train"]["id"]), "only of what is trained on"
    keys = pl.concat([found[name]["key"] for name in SPLITS])
    assert keys.is_unique().all()
    for name in ("validation", "test"):
        assert not found[name]["source"].str.starts_with("augment:").any()
    measured = pl.concat([found[name] for name in ("validation", "test")])
    both = twin_texts(pl.concat([measured, added]))
    near = near_duplicates(both, threshold=0.9).slice(measured.height)
    assert (near >= measured.height).all(), "a made text is nearly one that is measured on"
    assert made[0].splits["train"] == found["train"].height
    assert sum(made[0].balance["train"].values()) == found["train"].height


def test_balance_changes_train_alone(tmp_path: Path) -> None:
    rows: list[Row] = [*REVIEWS, *((f"很好，{chr(0x6000 + n)}的", "正面") for n in range(120))]
    run = scratch(tmp_path, seed=3)
    steps = [{"use": "balance", "most": 1.5, "least": 10}]
    even = prepare(in_shards(rows, run, 1000), run, steps=steps)
    run = scratch(tmp_path, seed=3)
    whole = prepare(in_shards(rows, run, 1000), run, steps=[])
    assert even.shards("test") == whole.shards("test")
    assert even.shards("validation") == whole.shards("validation")
    assert even.balance["train"]["正面"] == int(1.5 * even.balance["train"]["负面"])
    assert even.dropped["balance"] == whole.splits["train"] - even.splits["train"]
    assert sum(even.splits.values()) + sum(even.dropped.values()) == even.num_raw


def test_what_a_step_reads_is_part_of_what_prepare_was_made_of(tmp_path: Path) -> None:
    stage = Prepare.model_validate({"steps": [{"use": "filter", "stop_file": "stop.txt"}]})
    given = PrepareGiven(Records(files={}, num_rows=0))
    unread = stage.inputs(given, tmp_path)
    (tmp_path / "stop.txt").write_text("坏")
    before = stage.inputs(given, tmp_path)
    (tmp_path / "stop.txt").write_text("好")
    assert len({str(unread), str(before), str(stage.inputs(given, tmp_path))}) == 3


def test_only_what_a_step_tells_goes_with_the_dataset(
    tmp_path: Path, trained_project: Project
) -> None:
    """The survey of `augment` names the folder of the model that is live: scratch, and no file."""
    assert trained_project.release is not None
    live = trained_project.release.model
    names = []
    for place in ("one", "another"):
        run = scratch(tmp_path / place, seed=3)
        for name, digest in live.files.items():
            assert run.keep(trained_project.blobs.get(digest)) == digest, name
        steps = [{"use": "label_errors"}, {"use": "augment", "methods": ["delete"]}]
        stage = Prepare.model_validate({"split": {"minimum": 4}, "steps": steps})
        records = in_shards([*REVIEWS, *CALLS], run, 1000)
        made = stage.run(PrepareGiven(records, (), live), run)
        texts = [run.file(digest).read_bytes() for digest in made.files.values()]
        assert not any(str(tmp_path).encode() in text for text in texts), "a path of this machine"
        names.append((set(made.files), made.digest))
    assert names[0] == names[1], "the dataset depends on where it was made"
    assert "suspects.json" in names[0][0]
    assert not any("survey" in name for name in names[0][0])


def test_the_frozen_test_of_an_older_version_is_understood(tmp_path: Path) -> None:
    """Its key was the text's form, and it had no spans, group, time or fields."""
    run = scratch(tmp_path, seed=3)
    first = prepare(in_shards(REVIEWS, run, 1000), run, steps=[])
    (digest,) = first.shards("test")
    test = pl.read_parquet(run.file(digest))
    old = test.select("id", "text", "label", "source", "row").with_columns(
        pl.col("text").alias("key")
    )
    frozen = run.keep(parquet(old))
    run = scratch(tmp_path, seed=3)
    asked = test["text"][0]
    more: list[Row] = [row for row in REVIEWS if row[0] != asked]
    more.append((f"{asked}！", "正面", "feedback"))
    stage = Prepare.model_validate({"split": {"minimum": 4}, "steps": []})
    second = stage.run(PrepareGiven(in_shards(more, run, 1000), (frozen,)), run)
    assert second.shards("test") == (frozen,)
    assert second.dropped == {"in_test": 1}
    found = contents(second, run)
    assert not set(found["train"]["text"]) & set(test["text"])


def test_a_worker_takes_no_module_from_the_users_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "polars.py").write_text("raise SystemExit('not this one')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    raw(REVIEWS).write_parquet(tmp_path / "records.parquet")
    task = {"act": "rows", "pass": 0, "inputs": [str(tmp_path / "records.parquet")], "offset": 0}
    tasks = [task | {"shard": number, "part": [0, 1]} for number in range(2)]
    with Workers(setup(tmp_path), 2) as workers:
        assert len(list(workers.map(tasks))) == 2

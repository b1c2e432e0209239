"""Diff: every row that came, went, changed or moved is counted once, with its reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feilun.core.artifacts import SPLITS, Dataset, Records, sharded
from feilun.core.records import conform, parquet
from feilun.core.text import hashed
from feilun.store.control import ArtifactNotFound
from feilun.wheel.diff import diff, settings_diff
from feilun.wheel.project import NotADataset, Project
from tests.conftest import write_project

Line = tuple[str, str, str | None, str, int]
"""Split, text, label, source, row."""
A, B = "正面", "负面"
BASE: list[Line] = [
    *(("train", f"train text {n}", A if n % 2 else B, "a.csv", n) for n in range(1, 41)),
    *(("validation", f"validation text {n}", A if n % 2 else B, "a.csv", n) for n in range(41, 51)),
    *(("test", f"test text {n}", A if n % 2 else B, "a.csv", n) for n in range(51, 61)),
    *(("unlabelled", f"unlabelled text {n}", None, "a.csv", n) for n in range(61, 66)),
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with Project.open(write_project(tmp_path_factory.mktemp("diff"), [])) as opened:
        yield opened


def frame_of(lines: Sequence[Line], ids: dict[int, str] | None = None) -> pl.DataFrame:
    made = pl.DataFrame(
        [line[1:] for line in lines],
        schema={"text": pl.String, "label": pl.String, "source": pl.String, "row": pl.Int64},
        orient="row",
    )
    made = conform(made)
    if ids is not None:
        made = made.with_columns(
            pl.col("row").replace_strict(ids, default=None).fill_null(pl.col("id")).alias("id")
        )
    return made.with_columns(hashed(made["text"]).alias("key"))


def put(
    project: Project,
    lines: Sequence[Line],
    dropped: Sequence[tuple[Line, str]] = (),
    *,
    pieces: int = 1,
    ids: dict[int, str] | None = None,
    made_by: dict[str, Any] | None = None,
) -> str:
    """Stores a dataset of these lines; its reference. `ids`: those of some rows, by row."""
    files: dict[str, str] = {}
    for split in SPLITS:
        frame = frame_of([line for line in lines if line[0] == split], ids)
        size = max(-(-frame.height // pieces), 1)
        shards = [frame.slice(at, size) for at in range(0, max(frame.height, 1), size)]
        files |= sharded(split, [project.blobs.put(parquet(shard)) for shard in shards])
    lost = frame_of([line for line, _reason in dropped], ids).with_columns(
        pl.Series("reason", [reason for _line, reason in dropped], dtype=pl.String),
        step=pl.lit("duplicates"),
    )
    files["dropped.parquet"] = project.blobs.put(parquet(lost))
    reasons = [reason for _line, reason in dropped]
    dataset = Dataset(
        files=files,
        labels=tuple(sorted({line[2] for line in lines if line[2]})),
        splits={split: sum(line[0] == split for line in lines) for split in SPLITS},
        num_raw=len(lines) + len(dropped),
        dropped={reason: reasons.count(reason) for reason in sorted(set(reasons))},
        made_by=made_by or {},
    )
    project.put(dataset)
    return f"dataset/{dataset.digest}"


def test_the_same_dataset_has_no_difference(project: Project) -> None:
    ref = put(project, BASE)
    found = diff(project, ref, ref)
    assert found.same
    assert found.rows["train"] == (40, 40, 0, 0, 0, 0, 0)
    assert found.labels["train"].distance == 0
    assert found.labels["train"].p is None
    assert (found.came, found.went, found.moved, found.settings) == ({}, {}, {}, {})
    assert all(not examples for examples in found.examples.values())


def test_shards_do_not_count(project: Project) -> None:
    assert diff(project, put(project, BASE), put(project, BASE, pieces=3)).same


def test_what_came_and_went_is_counted_with_its_reason(project: Project) -> None:
    extra: list[Line] = [("train", f"more {n}", A, "b.csv", n) for n in range(1, 8)]
    was_dropped: Line = ("train", "was a duplicate", B, "a.csv", 90)
    first = put(project, [*BASE], [(was_dropped, "duplicate")])
    second = put(project, [*BASE[2:], *extra, was_dropped], [(BASE[0], "label_error")])
    found = diff(project, first, second, show=3)
    assert found.rows["train"] == (40, 46, 8, 2, 0, 0, 0)
    assert found.rows["test"] == (10, 10, 0, 0, 0, 0, 0)
    assert found.came == {"new": 7, "duplicate": 1}
    assert found.went == {"gone": 1, "label_error": 1}
    assert found.sources == {"a.csv": (65, 64), "b.csv": (0, 7)}
    assert found.dropped == {"duplicate": (1, 0), "label_error": (0, 1)}
    assert not found.same
    assert len(found.examples["came"]) == 3
    assert {row["text"] for row in found.examples["went"]} == {"train text 1", "train text 2"}
    assert found.examples["went"][0]["split"] == "train"


def test_a_row_that_moved_is_neither_in_nor_out(project: Project) -> None:
    moved = [("test", *BASE[0][1:]), *BASE[1:]]
    found = diff(project, put(project, BASE), put(project, moved), show=2)
    assert found.moved == {("train", "test"): 1}
    assert found.rows["train"] == (40, 39, 0, 0, 0, 0, 1)
    assert found.rows["test"] == (10, 11, 0, 0, 0, 1, 0)
    (example,) = found.examples["moved"]
    assert (example["split"], example["before"]) == ("test", {"split": "train"})


def test_a_text_prepared_otherwise_is_changed_and_the_labels_stand(project: Project) -> None:
    ids = {line[4]: f"{line[4]:016x}" for line in BASE}
    masked = [(s, t.replace("text", "[X]"), *rest) for s, t, *rest in BASE]
    found = diff(project, put(project, BASE, ids=ids), put(project, masked, ids=ids), show=1)
    assert found.changed_texts == len(BASE)
    assert (found.changed_labels, found.came, found.went) == (0, {}, {})
    assert found.labels["train"].p is None
    assert found.lengths["train"].means[0] > found.lengths["train"].means[1]
    (example,) = found.examples["changed"]
    assert example["before"]["text"].replace("text", "[X]") == example["text"]


def test_a_label_corrected_at_its_place_is_changed(project: Project) -> None:
    corrected = [BASE[0], (*BASE[1][:2], A, *BASE[1][3:]), *BASE[2:]]
    found = diff(project, put(project, BASE), put(project, corrected), show=1)
    assert (found.changed_labels, found.changed_texts) == (1, 0)
    assert found.rows["train"] == (40, 40, 0, 0, 1, 0, 0)
    assert found.labels["train"].counts == {A: (20, 21), B: (20, 19)}
    assert found.examples["changed"][0]["before"] == {"label": B}


def test_feedback_and_made_texts_have_no_place(project: Project) -> None:
    for source in ("feedback", "augment:swap"):
        one: list[Line] = [("train", "one", A, source, 1)]
        two: list[Line] = [("train", "two", A, source, 1)]
        found = diff(project, put(project, [*BASE, *one]), put(project, [*BASE, *two]))
        assert (found.came, found.went) == ({"new": 1}, {"gone": 1})


def test_a_shift_of_labels_is_told_apart_from_chance(project: Project) -> None:
    one_sided: list[Line] = [("train", f"more {n}", A, "b.csv", n) for n in range(30)]
    even: list[Line] = [("train", f"more {n}", A if n % 2 else B, "b.csv", n) for n in range(30)]
    base = put(project, BASE)
    shift = diff(project, base, put(project, [*BASE, *one_sided])).labels["train"]
    assert shift.p is not None
    assert shift.p < 0.01
    assert shift.distance == pytest.approx(50 / 70 - 0.5)
    shift = diff(project, base, put(project, [*BASE, *even])).labels["train"]
    assert shift.p is not None
    assert shift.p > 0.5


def test_labels_that_are_new_or_lost_are_named(project: Project) -> None:
    other = [(s, t, "中性" if lab == A else lab, *rest) for s, t, lab, *rest in BASE]
    found = diff(project, put(project, BASE), put(project, other))
    assert (found.new_labels, found.lost_labels) == (("中性",), (A,))
    assert found.labels["test"].counts == {B: (5, 5), "中性": (0, 5), A: (5, 0)}


def test_an_empty_dataset_can_be_compared(project: Project) -> None:
    found = diff(project, put(project, []), put(project, BASE))
    assert found.rows["train"].came == 40
    assert found.labels["train"].distance == 1
    assert diff(project, put(project, []), put(project, [])).same


def test_settings_are_matched_by_the_names_of_steps() -> None:
    first: dict[str, Any] = {
        "use": "prepare",
        "steps": [{"use": "normalise", "form": "NFKC"}, {"use": "duplicates"}],
        "split": {"test": 0.2},
    }
    second: dict[str, Any] = {
        "use": "prepare",
        "steps": [
            {"use": "mask", "mode": "drop"}, {"use": "normalise", "form": "NFC"},
            {"use": "duplicates"}, {"use": "mask", "mode": "placeholder"},
        ],
        "split": {"test": 0.2},
    }  # fmt: skip
    assert settings_diff(first, second) == {
        "steps": (
            '["normalise", "duplicates"]', '["mask", "normalise", "duplicates", "mask"]',
        ),
        "steps.mask.mode": (None, '"drop"'),
        "steps.mask#2.mode": (None, '"placeholder"'),
        "steps.normalise.form": ('"NFKC"', '"NFC"'),
    }  # fmt: skip
    assert settings_diff(first, first) == {}


def test_only_datasets_can_be_compared(project: Project) -> None:
    project.put(Records(files={}, num_rows=0))
    ref = put(project, BASE)
    with pytest.raises(NotADataset, match="records/latest is a records") as caught:
        diff(project, ref, "records/latest")
    assert caught.value.remedy == "feilun show dataset/latest"
    with pytest.raises(ArtifactNotFound):
        diff(project, ref, "dataset/9999")


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_the_sums_agree(project: Project, data: st.DataObject) -> None:
    texts = st.lists(st.integers(0, 30), unique=True, max_size=20)
    sides = st.sampled_from(SPLITS[:3])

    def drawn(name: str) -> list[Line]:
        return [
            (data.draw(sides), f"text {n}", data.draw(st.sampled_from([A, B])), name, n)
            for n in data.draw(texts)
        ]  # fmt: skip

    one, two = drawn("x.csv"), drawn("x.csv")
    found = diff(project, put(project, one), put(project, two))
    for rows in found.rows.values():
        assert rows.second == rows.first + rows.came - rows.went + rows.moved_in - rows.moved_out
    assert sum(found.came.values()) == sum(rows.came for rows in found.rows.values())
    assert sum(found.went.values()) == sum(rows.went for rows in found.rows.values())
    back = diff(project, put(project, two), put(project, one))
    assert (sum(back.came.values()), sum(back.went.values())) == (
        sum(found.went.values()), sum(found.came.values()),
    )  # fmt: skip
    assert back.moved == {(b, a): count for (a, b), count in found.moved.items()}
    assert {s: shift.distance for s, shift in back.labels.items()} == pytest.approx(
        {s: shift.distance for s, shift in found.labels.items()}
    )

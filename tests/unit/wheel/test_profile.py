"""The profile of a dataset: what became of its records."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feilun.wheel.profile import histogram, profile
from feilun.wheel.project import NotADataset, Project
from tests.conftest import sentences, write_project

STEPS = """
[[prepare.steps]]
use = "normalise"

[[prepare.steps]]
use = "mask"
kinds = ["mobile"]

[[prepare.steps]]
use = "conflicts"

[[prepare.steps]]
use = "duplicates"

[[prepare.steps]]
use = "label_errors"
"""


@pytest.fixture
def prepared(tmp_path: Path) -> Project:
    rows = sentences(400)
    rows += [rows[0]] * 5 + [("", "正面"), ("打 13800001234 找我", "负面")]
    root = write_project(tmp_path / "reviews", rows)
    path = root / "feilun.toml"
    path.write_text(path.read_text(encoding="utf-8") + STEPS, encoding="utf-8")
    project = Project.open(root)
    project.turn(until="prepare")
    return project


def test_every_record_is_accounted_for(prepared: Project) -> None:
    found = profile(prepared)
    assert found.num_raw == 407
    assert found.num_kept + sum(found.dropped.values()) == found.num_raw
    first, last = found.funnel[0], found.funnel[-1]
    assert (first.step, first.before) == ("normalise", 407)
    assert (last.step, last.after) == ("split", found.num_kept)
    for one, two in zip(found.funnel, found.funnel[1:], strict=False):
        assert one.after == two.before, "between two steps nothing is lost"
    assert found.dropped["empty"] == 1
    assert found.dropped["duplicate"] >= 5
    assert sum(split.num_rows for split in found.splits) == found.num_kept
    assert sum(split.share for split in found.splits) == pytest.approx(1)


def test_it_tells_of_clusters_personal_data_and_doubtful_labels(prepared: Project) -> None:
    found = profile(prepared)
    assert found.personal == {"mobile": 1}
    largest = found.clusters[0]
    assert largest.num_dropped >= 5
    assert sentences(1)[0][0][:4] in largest.kept
    assert found.suspects, "one label in twenty is wrong"
    assert all(suspect.label != suspect.suggested for suspect in found.suspects)
    assert found.examples["empty"][0].row == 406
    assert set(found.languages) & {"zh", "en"}


def test_what_was_dropped_before_it_was_masked_is_shown_masked(tmp_path: Path) -> None:
    rows = [("打13800001234", "正面"), ("打13800001234", "正面"), *sentences(60)]
    root = write_project(tmp_path / "reviews", rows)
    path = root / "feilun.toml"
    first = '[[prepare.steps]]\nuse = "filter"\nshorter_than = 14\n'
    plain = path.read_text(encoding="utf-8")
    path.write_text(f'{plain}\n{first}[[prepare.steps]]\nuse = "mask"\n', encoding="utf-8")
    with Project.open(root) as project:
        project.turn(until="prepare")
        assert "13800001234" in str(project.dropped()["text"].to_list()), "it is kept as it was"
        assert "13800001234" not in str(profile(project))
        assert "[MOBILE]" in str(profile(project).examples["too_short"])
    path.write_text(f"{plain}\n{first}", encoding="utf-8")
    with Project.open(root) as project:
        project.turn(until="prepare")
        assert "13800001234" in str(profile(project)), "without the step nothing is masked"


def test_only_a_dataset_has_a_profile(prepared: Project) -> None:
    with pytest.raises(NotADataset) as caught:
        profile(prepared, "records/latest")
    assert caught.value.remedy


@given(lengths=st.lists(st.integers(1, 100_000), max_size=200))
def test_a_histogram_counts_each_length_once(lengths: list[int]) -> None:
    bins = histogram(lengths)
    assert sum(count for _low, _high, count in bins) == len(lengths)
    for low, high, count in bins:
        assert count == sum(low <= length <= high for length in lengths)

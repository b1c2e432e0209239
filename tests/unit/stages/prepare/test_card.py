"""The data card: its front matter is what Hugging Face reads, its tables hold any name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from feilun.stages.prepare.card import card
from tests.unit.stages.prepare.described import facts


def parts(text: str) -> tuple[dict[str, Any], str]:
    empty, front, body = text.split("---\n", 2)
    assert empty == ""
    return yaml.safe_load(front), body


def cells(line: str) -> list[str]:
    """The cells of a table's line, where `\\|` is no end of one."""
    return [cell.strip() for cell in line.replace("\\|", "¦").strip("|").split("|")]


def test_the_front_matter_names_the_files_of_each_split(tmp_path: Path) -> None:
    front, _body = parts(card(facts(tmp_path)))
    assert front["pretty_name"] == "评论 reviews"
    assert front["language"] == ["zh", "en"]
    assert front["task_categories"] == ["text-classification"]
    assert front["size_categories"] == ["n<1K"]
    (config,) = front["configs"]
    assert config["config_name"] == "default"
    assert config["data_files"] == [
        {"split": "train", "path": ["train-00000.parquet", "train-00001.parquet"]},
        {"split": "validation", "path": ["validation.parquet"]},
        {"split": "test", "path": ["test.parquet"]},
    ]
    assert all((tmp_path / path).exists() for one in config["data_files"] for path in one["path"])


@pytest.mark.parametrize(
    ("count", "category"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (99_999, "10K<n<100K"),
     (10_000_000, "10M<n<100M"), (10**9, "n>1B")],
)  # fmt: skip
def test_size_categories(tmp_path: Path, count: int, category: str) -> None:
    front, _body = parts(card(facts(tmp_path, splits={"train": count})))
    assert front["size_categories"] == [category]


def test_the_sections_tell_what_is_known(tmp_path: Path) -> None:
    _front, body = parts(card(facts(tmp_path)))
    for wanted in (
        "# 评论 reviews", "## Splits", "## Collection", "## Preparation", "## Personal data",
        "## Known limits", "| 好 | 5 | 1 | 2 | 0 |", "| data/评论.csv | 16 |",
        "| duplicate | 2 |", "| mobile | 3 |", "1. `normalise`", "`split (test = 0.2",
        "Jaccard similarity of 0.7",
    ):  # fmt: skip
        assert wanted in body


def test_what_was_not_done_is_not_claimed(tmp_path: Path) -> None:
    bare: dict[str, Any] = {"steps": [], "split": {"near_duplicates": 0}}
    _front, body = parts(card(facts(tmp_path, made_by=bare, found={}, dropped={}, sources={})))
    assert "Not looked for" in body
    assert "nearly equal ones may stand in train and test" in body
    assert "Nothing was dropped" in body
    _front, body = parts(card(facts(tmp_path, found={"label_errors.suspects": 4})))
    assert "4 labels were suspected" in body
    assert "Looked for and not found" in body


@pytest.mark.parametrize("name", ["a|b", "two\nlines", "<script>x</script>", "`x`", "# no heading"])
def test_names_are_no_markup(tmp_path: Path, name: str) -> None:
    balance = {"train": {name: 3, "b": 1}}
    known = facts(tmp_path, name=name, labels=(name, "b"), balance=balance, sources={name: 4})
    front, body = parts(card(known))
    assert front["pretty_name"] == name
    assert "<script" not in body
    tables = [line for line in body.splitlines() if line.startswith("|")]
    widths = {len(cells(line)) for line in tables if "好" not in line}
    assert widths <= {2, 3, 5}
    assert sum(line.startswith("# ") for line in body.splitlines()) == 1


def test_many_labels_are_cut(tmp_path: Path) -> None:
    balance = {"train": {f"label {n}": 1000 - n for n in range(80)}}
    _front, body = parts(card(facts(tmp_path, balance=balance)))
    assert "| label 49 |" in body
    assert "| label 50 |" not in body
    assert "30 labels more" in body


@pytest.mark.parametrize("mode", ["placeholder", "surrogate", "drop"])
def test_the_mode_of_masking_is_told(tmp_path: Path, mode: str) -> None:
    made_by = {"steps": [{"use": "mask", "mode": mode}]}
    _front, body = parts(card(facts(tmp_path, made_by=made_by)))
    said = {"placeholder": "placeholder", "surrogate": "invented", "drop": "were dropped"}
    assert said[mode] in body

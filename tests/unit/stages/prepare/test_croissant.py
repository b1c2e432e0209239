"""Croissant: mlcroissant loads it without a complaint, and reads every record by it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from feilun.core.artifacts import SPLITS
from feilun.stages.prepare.croissant import croissant
from feilun.stages.prepare.facts import described
from tests.unit.stages.prepare.described import facts, frame

mlcroissant = pytest.importorskip("mlcroissant")
pandas = pytest.importorskip("pandas")
# Of rdflib about itself, and of pandas about a call within mlcroissant.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning:rdflib"),
    pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def parquet_without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """pandas reads Parquet with pyarrow, which is no dependency of ours; polars gives the same
    Python values."""

    def read(source: Any) -> Any:
        table = pl.read_parquet(source)
        columns = {name: pandas.Series(table[name].to_list(), dtype=object)
                   for name in table.columns}  # fmt: skip
        return pandas.DataFrame(columns)

    monkeypatch.setattr(pandas, "read_parquet", read)


def loaded(folder: Path, content: dict[str, Any]) -> Any:
    path = folder / "croissant.json"
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return mlcroissant.Dataset(jsonld=path)


def issues(dataset: Any) -> tuple[set[str], set[str]]:
    found = dataset.metadata.ctx.issues
    return found.errors, found.warnings


def test_it_loads_without_error_or_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        dataset = loaded(tmp_path, croissant(facts(tmp_path, published="2026-01-02")))
    assert issues(dataset) == (set(), set())
    assert caplog.records == []
    assert dataset.metadata.name == "评论 reviews"


def test_without_a_date_that_alone_is_missed(tmp_path: Path) -> None:
    errors, warnings = issues(loaded(tmp_path, croissant(facts(tmp_path))))
    assert errors == set()
    (warning,) = warnings
    assert "datePublished" in warning


def test_every_record_can_be_read_by_it(tmp_path: Path) -> None:
    dataset = loaded(tmp_path, croissant(facts(tmp_path)))
    records = list(dataset.records("records"))
    assert len(records) == 14
    by_split: dict[str, int] = {}
    for record in records:
        split = record["records/split"].decode()
        by_split[split] = by_split.get(split, 0) + 1
    assert by_split == {"train": 9, "validation": 2, "test": 3}
    test = [record for record in records if record["records/split"] == b"test"]
    wanted = frame("test", 3)
    for column in ("id", "text", "label", "source", "fields", "group"):
        read = [record[f"records/{column}"] for record in test]
        assert [None if v is None else v.decode() for v in read] == wanted[column].to_list()
    assert [record["records/key"] for record in test] == wanted["key"].to_list()
    assert [record["records/row"] for record in test] == [1, 2, 3]
    assert [record["records/time"].hour for record in test] == [1, 2, 3]
    assert test[2]["records/spans"] == [
        {"records/spans/start": 0, "records/spans/end": 2, "records/spans/label": "物".encode()},
        {"records/spans/start": 3, "records/spans/end": 4, "records/spans/label": "人".encode()},
    ]


@pytest.mark.parametrize(("split", "rows"), [("train", 9), ("validation", 2), ("test", 3)])
def test_one_split_can_be_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, split: str, rows: int
) -> None:
    dataset = loaded(tmp_path, croissant(facts(tmp_path, published="2026-01-02")))
    with caplog.at_level(logging.WARNING):
        found = list(dataset.records("records", filters={"records/split": split}))
    assert [record["records/row"] for record in found] == list(range(1, rows + 1))
    assert caplog.records == []


def test_dropped_records_are_described_too(tmp_path: Path) -> None:
    dataset = loaded(tmp_path, croissant(facts(tmp_path)))
    dropped = list(dataset.records("dropped"))
    assert [record["dropped/reason"] for record in dropped] == [b"duplicate"] * 2


def test_files_are_named_with_their_digests(tmp_path: Path) -> None:
    known = facts(tmp_path)
    content = croissant(known)
    files = {f["@id"]: f for f in content["distribution"] if f["@type"] == "cr:FileObject"}
    assert {name: f["sha256"] for name, f in files.items()} == {
        name: file.sha256 for name, file in known.files.items()
    }
    for name, file in files.items():
        assert (tmp_path / file["contentUrl"]).stat().st_size == known.files[name].size


def test_what_is_not_known_is_said(tmp_path: Path) -> None:
    content = croissant(facts(tmp_path))
    assert content["license"].startswith("Not stated")
    assert "datePublished" not in content
    assert "mobile: 3 found" in content["rai:personalSensitiveInformation"]
    bare = croissant(facts(tmp_path, made_by={"steps": []}, found={}, sources={}))
    assert "Not looked for" in bare["rai:personalSensitiveInformation"][0]
    assert "inLanguage" not in bare
    none = croissant(facts(tmp_path, found={}))
    assert none["rai:personalSensitiveInformation"] == ["Looked for; none was found."]


def test_where_an_endpoint_stands_is_not_told(tmp_path: Path) -> None:
    text = b"".join(described(facts(tmp_path)).values()).decode()
    assert "augment" in text
    assert "10.0.0.7" not in text
    assert "env:LLM" not in text


@pytest.mark.parametrize(
    "name", ['quotes " and \\ and {braces}', "行\n二", "@type", "a/b#c?d=%20", "x" * 500]
)
def test_any_name_will_do(tmp_path: Path, name: str) -> None:
    known = facts(tmp_path, name=name, labels=(name, "other"), published="2026-01-02")
    dataset = loaded(tmp_path, croissant(known))
    assert issues(dataset) == (set(), set())
    assert dataset.metadata.name == name


def test_an_empty_dataset_is_described(tmp_path: Path) -> None:
    known = facts(tmp_path, files={}, splits=dict.fromkeys(SPLITS, 0), labels=(), balance={})
    errors, _warnings = issues(loaded(tmp_path, croissant(known)))
    assert errors == set()


def test_equal_facts_give_equal_bytes(tmp_path: Path) -> None:
    one, two = described(facts(tmp_path)), described(facts(tmp_path))
    assert one == two
    assert list(one) == ["croissant.json", "README.md"]
    assert json.loads(one["croissant.json"]) == croissant(facts(tmp_path))

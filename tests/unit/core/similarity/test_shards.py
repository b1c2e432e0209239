"""Clusters of shards: what all their texts at once give, however they are cut up."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feilun.core.similarity import near_duplicates, shards
from feilun.core.similarity.shards import cluster_shards, remove_shards
from feilun.core.text import utf8
from tests.unit.core.similarity.test_clusters import ODD, edited, generated


def sign_shard(keys: pl.Series, folder: Path, number: int, threshold: float) -> None:
    shards.sign_shard(utf8(keys), folder, number, threshold)


def clustered(
    texts: list[str | None], cuts: list[int], folder: Path, threshold: float = 0.7
) -> list[int]:
    """The clusters of `texts`, cut into shards before each row of `cuts`."""
    edges = [0, *sorted(min(cut, len(texts)) for cut in cuts), len(texts)]
    for number, (first, last) in enumerate(pairwise(edges)):
        sign_shard(pl.Series(texts[first:last], dtype=pl.String), folder, number, threshold)
    found: list[int] = cluster_shards(folder, len(edges) - 1, threshold).tolist()
    remove_shards(folder)
    return found


def at_once(texts: list[str | None], threshold: float = 0.7) -> list[int]:
    series = pl.Series(texts, dtype=pl.String)
    return near_duplicates(series, threshold=threshold).to_list()


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    texts=st.lists(st.one_of(st.none(), ODD), max_size=14),
    cuts=st.lists(st.integers(0, 14), max_size=5),
    threshold=st.sampled_from([0.3, 0.7, 0.95]),
)
def test_any_texts_in_any_shards_are_clustered_as_all_at_once(
    texts: list[str | None], cuts: list[int], threshold: float, tmp_path: Path
) -> None:
    folder = tmp_path / "similar"
    assert clustered(texts, cuts, folder, threshold) == at_once(texts, threshold)
    assert not folder.exists()


@pytest.mark.parametrize("num_shards", [1, 2, 7])
def test_near_duplicates_are_found_across_shards(num_shards: int, tmp_path: Path) -> None:
    draw = random.Random(1)
    texts: list[str | None] = [*generated(2000, seed=2)]
    texts += [edited(text or "", draw) for text in texts[:400]] + texts[300:500]
    draw.shuffle(texts)
    cuts = [draw.randrange(len(texts)) for _ in range(num_shards - 1)]
    found = clustered(texts, cuts, tmp_path)
    assert found == at_once(texts)
    assert len(set(found)) < 2100  # of 2,600: planted and repeated ones are joined


def test_a_finished_shard_is_kept_and_an_unfinished_one_is_made_again(tmp_path: Path) -> None:
    keys = pl.Series(generated(50, seed=3))
    sign_shard(keys, tmp_path, 0, 0.7)
    (path,) = tmp_path.iterdir()
    kept = path.stat().st_mtime_ns, path.stat().st_ino
    sign_shard(keys, tmp_path, 0, 0.7)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == kept
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    sign_shard(keys, tmp_path, 0, 0.7)
    assert path.read_bytes() == content
    sign_shard(keys, tmp_path, 0, 0.9)  # other bands
    assert path.read_bytes() != content
    assert list(tmp_path.iterdir()) == [path]


def test_shards_that_do_not_fit_are_told(tmp_path: Path) -> None:
    sign_shard(pl.Series(["abcdefgh"] * 3), tmp_path, 0, 0.7)
    with pytest.raises(FileNotFoundError):
        cluster_shards(tmp_path, 2, 0.7)
    with pytest.raises(ValueError, match="signed"):
        cluster_shards(tmp_path, 1, 0.9)
    with pytest.raises(ValueError, match="threshold"):
        sign_shard(pl.Series(["a"]), tmp_path, 1, 0.0)


def test_removing_leaves_what_is_not_ours(tmp_path: Path) -> None:
    sign_shard(pl.Series(["abcdefgh"]), tmp_path, 0, 0.7)
    (tmp_path / ".000001.near.123").write_bytes(b"killed half-way")
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    remove_shards(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    remove_shards(tmp_path / "never")


def test_no_shards_are_no_rows(tmp_path: Path) -> None:
    assert cluster_shards(tmp_path, 0, 0.7).tolist() == []

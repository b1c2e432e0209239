"""What became of the records of one dataset, gathered for people: the report and its page.

Counts are exact. Lengths and languages are those of a sample, the first `SAMPLE` records of each
split: a split is in the order of hashes, so these are drawn at random.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from feilun.core.artifacts import SPLITS, Dataset, Records, StepCount
from feilun.core.errors import shortened
from feilun.stages.prepare.language import language_shares

if TYPE_CHECKING:
    from feilun.wheel.project import Project

SAMPLE = 5_000
EXAMPLES = 3
LARGEST = 10
SUSPECTS = 20
_TEXT = 160


class Example(NamedTuple):
    """One record, shortened for a table."""

    text: str
    label: str
    source: str
    row: int
    detail: str


class Cluster(NamedTuple):
    """Records that say (nearly) the same: the one that stayed, and some that were dropped."""

    kept: str
    num_dropped: int
    examples: list[str]


class Suspect(NamedTuple):
    """A record whose label is probably wrong."""

    text: str
    label: str
    suggested: str
    confidence: float


class SplitFacts(NamedTuple):
    """One split: its records, their share, the mean length in characters, feedback in it."""

    name: str
    num_rows: int
    share: float
    mean_length: float
    num_added: int


class Profile(NamedTuple):
    """Everything that the report shows."""

    ref: str
    digest: str
    created_at: str
    num_raw: int
    num_kept: int
    unreadable: dict[str, int]
    funnel: tuple[StepCount, ...]
    dropped: dict[str, int]
    examples: dict[str, list[Example]]
    balance: dict[str, dict[str, int]]
    lengths: pl.DataFrame  # `split`, `length`: a row per sampled record
    languages: dict[str, int]
    personal: dict[str, int]
    counted: dict[str, float]
    clusters: list[Cluster]
    suspects: list[Suspect]
    splits: list[SplitFacts]

    @property
    def labels(self) -> list[str]:
        """Every label, the most frequent first."""
        total: dict[str, int] = {}
        for counts in self.balance.values():
            for label, count in counts.items():
                total[label] = total.get(label, 0) + count
        return sorted(total, key=lambda label: (-total[label], label))


def profile(project: Project, ref: str = "dataset/latest") -> Profile:
    """The profile of the dataset that `ref` names; raises `NotADataset`."""
    name, dataset = project.dataset(ref)
    stored = project.stored(name)
    samples = {name: _sample(project, dataset, name) for name in SPLITS}
    personal = {
        name.removeprefix("masked."): int(count)
        for name, count in dataset.found.items()
        if name.startswith("masked.")
    }
    every = pl.concat([sample for sample in samples.values() if sample.height])
    return Profile(
        ref=name,
        digest=dataset.short,
        created_at=stored.created_at,
        num_raw=dataset.num_raw,
        num_kept=sum(dataset.splits.values()),
        unreadable=_unreadable(project, dataset),
        funnel=dataset.funnel,
        dropped=dict(sorted(dataset.dropped.items(), key=lambda item: -item[1])),
        examples=_examples(project, ref),
        balance=dataset.balance,
        lengths=pl.concat(
            sample.select(
                pl.lit(name).alias("split"), pl.col("text").str.len_chars().alias("length")
            )
            for name, sample in samples.items()
        ).drop_nulls(),
        languages=language_shares(every.select("text")),
        personal=dict(sorted(personal.items(), key=lambda item: -item[1])),
        counted={n: c for n, c in dataset.found.items() if not n.startswith("masked.")},
        clusters=_clusters(project, dataset, ref),
        suspects=_suspects(project, dataset),
        splits=[_split(dataset, name, samples[name]) for name in SPLITS],
    )


def _sample(project: Project, dataset: Dataset, name: str) -> pl.DataFrame:
    wanted = pl.scan_parquet(project.blobs.get(dataset.shards(name)[0]))
    return wanted.select("id", "text", "label", "source").head(SAMPLE).collect()


def _unreadable(project: Project, dataset: Dataset) -> dict[str, int]:
    records = project.get(f"records/{dataset.parents[0]}")
    assert isinstance(records, Records)
    return records.unreadable


def _examples(project: Project, ref: str) -> dict[str, list[Example]]:
    frame = project.dropped(ref).group_by("reason", maintain_order=True).head(EXAMPLES)
    frame = frame.with_columns(project.shown(_said(frame), ref).alias("text"))
    found: dict[str, list[Example]] = {}
    for row in frame.to_dicts():
        found.setdefault(row["reason"], []).append(
            Example(
                _short(row["text"]),
                row["label"] or "",
                shortened(row["source"], 40),
                row["row"],
                row["detail"] or "",
            )
        )
    return found


def _clusters(project: Project, dataset: Dataset, ref: str) -> list[Cluster]:
    """The largest clusters, by how many of their records were dropped."""
    alike = ("duplicate", "near_duplicate")
    gone = project.dropped(ref).filter(
        pl.col("reason").is_in(alike) & pl.col("detail").is_not_null()
    )
    largest = (
        gone.group_by("detail")
        .agg(pl.len().alias("num"), pl.col("text").unique(maintain_order=True).head(EXAMPLES))
        .sort("num", "detail", descending=[True, False])
        .head(LARGEST)
    )
    kept = _texts(project, dataset, largest["detail"])
    texts = largest["text"].explode()
    known = dict(zip(texts, project.shown(texts, ref), strict=True))
    return [
        Cluster(
            _short(kept.get(row["detail"])), row["num"], [_short(known[t]) for t in row["text"]]
        )
        for row in largest.to_dicts()
    ]


def _texts(project: Project, dataset: Dataset, ids: pl.Series) -> dict[str, str]:
    """The texts of the records with those ids, wherever they stand."""
    paths = [project.blobs.get(digest) for name in SPLITS for digest in dataset.shards(name)]
    found = pl.concat(
        pl.scan_parquet(path)
        .select("id", "text")
        .filter(pl.col("id").is_in(ids.implode()))
        .collect()
        for path in paths
    )
    return dict(found.rows())


def _suspects(project: Project, dataset: Dataset) -> list[Suspect]:
    """What `label_errors` suspects: the records it reported, or dropped."""
    digest = dataset.files.get("suspects.json")
    if digest is None:
        return []
    rows = json.loads(project.blobs.get(digest).read_bytes())["first"]
    return [
        Suspect(_short(row["text"]), row["label"], row["suggested"], row["confidence"])
        for row in rows[:SUSPECTS]
    ]


def _split(dataset: Dataset, name: str, sample: pl.DataFrame) -> SplitFacts:
    length: Any = sample["text"].str.len_chars().mean()
    added = int(dataset.found.get("augment.added", 0)) if name == "train" else 0
    total = max(1, sum(dataset.splits.values()))
    count = dataset.splits[name]
    return SplitFacts(name, count, count / total, float(length or 0.0), added)


def _said(frame: pl.DataFrame) -> pl.Series:
    return frame.select(pl.coalesce("text", "fields").fill_null("")).to_series()


def _short(text: str | None) -> str:
    return shortened(text or "", _TEXT)


def histogram(lengths: Sequence[int]) -> list[tuple[int, int, int]]:
    """Counts in bins that grow by half: (from, to, count), both ends included."""
    edges = [1]
    while edges[-1] <= max(lengths, default=1):
        edges.append(max(edges[-1] + 1, round(edges[-1] * 1.5)))
    counts = [0] * (len(edges) - 1)
    ordered = pl.Series(edges, dtype=pl.Int64)
    for place, count in (
        pl.select(
            ordered.search_sorted(pl.Series(lengths, dtype=pl.Int64), side="right").alias("bin")
        )
        .to_series()
        .value_counts()
        .rows()
    ):
        if place:
            counts[min(place, len(counts)) - 1] += count
    return [
        (low, high - 1, count) for low, high, count in zip(edges, edges[1:], counts, strict=False)
    ]

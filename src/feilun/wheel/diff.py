"""What changed from one dataset to another: rows, labels, sources, lengths, settings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
from pydantic import JsonValue

from feilun.core.artifacts import SPLITS, Dataset
from feilun.core.records import id_numbers, id_texts
from feilun.core.text import hashed
from feilun.wheel.shift import Labels, Lengths, labels_shift, lengths_shift

if TYPE_CHECKING:
    from feilun.wheel.project import Project

NEW, GONE = "new", "gone"
"""Why a row came, or went: it is new in the sources, or gone from them; else the reason for which
the other dataset dropped it."""
KINDS = ("came", "went", "changed", "moved")
_READ = ("id", "text", "label", "source", "row")
_ROWS = {
    "id": pl.UInt64, "content": pl.UInt64, "size": pl.UInt32, "label": pl.Categorical,
    "source": pl.Categorical, "row": pl.Int64, "split": pl.UInt8,
}  # fmt: skip


class Rows(NamedTuple):
    """The rows of one split: how many `first` and `second` have; how many `came` that the first
    dataset has nowhere, `went` that the second has nowhere, stayed but `changed` their text or
    label, and `moved_in` from or `moved_out` to another split."""

    first: int
    second: int
    came: int
    went: int
    changed: int
    moved_in: int
    moved_out: int


class Diff(NamedTuple):
    """Everything that differs.

    `rows`, `labels` and `lengths` by split. `came` and `went` count by reason (see `NEW`, `GONE`),
    `moved` by (from, to). `changed_texts` and `changed_labels` count rows that stayed, or stand in
    the place of another (same source, same row). `sources` and `dropped` count by source and by
    reason (first, second). `settings` are those that differ, written as JSON (None: not there).
    `examples` has rows of each of `KINDS`: `id`, `split`, `label`, `text`, and in `before` what
    changed.
    """

    first: str
    second: str
    rows: dict[str, Rows]
    came: dict[str, int]
    went: dict[str, int]
    moved: dict[tuple[str, str], int]
    changed_texts: int
    changed_labels: int
    labels: dict[str, Labels]
    new_labels: tuple[str, ...]
    lost_labels: tuple[str, ...]
    lengths: dict[str, Lengths]
    sources: dict[str, tuple[int, int]]
    dropped: dict[str, tuple[int, int]]
    settings: dict[str, tuple[str | None, str | None]]
    examples: dict[str, list[dict[str, Any]]]

    @property
    def same(self) -> bool:
        """Whether every row is in the same split with the same text and label."""
        rows = self.rows.values()
        return not any(r.came or r.went or r.changed or r.moved_in or r.moved_out for r in rows)


def diff(project: Project, first: str, second: str, show: int = 5) -> Diff:
    """Compares two datasets (`dataset/1`, `dataset/latest`), with up to `show` examples of each
    kind of change; raises `NotADataset`.

    A row is the same row when its id is, the digest of what was collected; and, where that has
    changed, when it stands at the same place of the same source. So a row put in the middle of a
    CSV file looks new, and those after it look as before.

    Memory: 130 bytes a row of both together (measured with a million each, in 2.4 s); texts are
    read shard by shard.
    """
    (ref_one, one), (ref_two, two) = project.dataset(first), project.dataset(second)
    before, after = _rows(project, one), _rows(project, two)
    pairs = _paired(before, after)
    came = after.join(pairs, left_on="at", right_on="at_after", how="anti")
    went = before.join(pairs, left_on="at", right_on="at", how="anti")
    stayed = _stayed(before, after, pairs)
    moved = stayed.filter(pl.col("split") != pl.col("split_after"))
    texts = stayed["content"].ne_missing(stayed["content_after"])
    relabelled = stayed.select(_text("label").ne_missing(_text("label_after"))).to_series()
    changed = stayed.filter(texts | relabelled)
    names = set(one.labels), set(two.labels)
    kinds = {"came": came, "went": went, "changed": changed, "moved": moved}
    return Diff(
        first=ref_one,
        second=ref_two,
        rows={
            name: Rows(
                _height(before, number), _height(after, number), _height(came, number),
                _height(went, number), _height(changed, number, "split_after"),
                _height(moved, number, "split_after"), _height(moved, number),
            )
            for number, name in enumerate(SPLITS)
        },
        came=_reasons(project, one, came, NEW),
        went=_reasons(project, two, went, GONE),
        moved={
            (SPLITS[a], SPLITS[b]): count
            for a, b, count in moved.group_by("split", "split_after").len().sort(pl.all()).rows()
        },
        changed_texts=int(texts.sum()),
        changed_labels=int(relabelled.sum()),
        labels=_labels(before, after, stayed),
        new_labels=tuple(sorted(names[1] - names[0])),
        lost_labels=tuple(sorted(names[0] - names[1])),
        lengths=_lengths(before, after, stayed),
        sources=_side_by_side(_counted(before["source"]), _counted(after["source"])),
        dropped=_side_by_side(one.dropped, two.dropped),
        settings=settings_diff(one.made_by, two.made_by),
        examples={kind: _examples(project, one, two, kind, kinds[kind].head(show))
                  for kind in KINDS},
    )  # fmt: skip


def settings_diff(
    first: dict[str, JsonValue], second: dict[str, JsonValue]
) -> dict[str, tuple[str | None, str | None]]:
    """The settings that differ, by dotted name; steps are matched by name and order, not by
    their number."""
    found: dict[str, tuple[str | None, str | None]] = {}
    one, two = dict(_flat("", first)), dict(_flat("", second))
    for name in sorted({*one, *two}):
        if one.get(name) != two.get(name):
            found[name] = (one.get(name), two.get(name))
    return found


def _rows(project: Project, dataset: Dataset) -> pl.DataFrame:
    """A row per record, ordered by id: `at` (its number), and the columns of `_ROWS`."""
    parts = [pl.DataFrame(schema=_ROWS)]
    for number, name in enumerate(SPLITS):
        for frame in _shards(project, dataset, name):
            parts.append(
                frame.select(
                    id_numbers(pl.col("id")),
                    hashed(frame["text"]).alias("content"),
                    pl.col("text").str.len_chars().fill_null(0).cast(pl.UInt32).alias("size"),
                    pl.col("label", "source").cast(pl.Categorical),
                    "row",
                    pl.lit(number, pl.UInt8).alias("split"),
                )
            )
    return pl.concat(parts).sort("id", "split", "content").with_row_index("at")


def _shards(project: Project, dataset: Dataset, name: str) -> Iterator[pl.DataFrame]:
    for digest in dataset.shards(name):
        yield pl.read_parquet(project.blobs.get(digest), columns=list(_READ))


def _paired(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """`at` and `at_after` of each row that both have."""
    pairs = _matched(before, after, ["id"])
    place = ["source", "row"]
    left = [
        # Feedback has no place; a made text has its parent's.
        frame.join(pairs, left_on="at", right_on=at, how="anti").filter(
            ~_text("source").str.contains("^(feedback$|augment:)")
        )
        for frame, at in ((before, "at"), (after, "at_after"))
    ]
    return pl.concat([pairs, _matched(left[0], left[1], place)])


def _matched(before: pl.DataFrame, after: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """Rows that are the only ones with their value of `by`, on both sides."""
    one, two = (
        frame.select("at", *by).unique(by, keep="none").drop_nulls() for frame in (before, after)
    )
    return one.join(two, on=by, suffix="_after").select("at", "at_after")


def _stayed(before: pl.DataFrame, after: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """Both sides of each pair: the columns of `before`, those of `after` with `_after`."""
    renamed = after.rename({name: f"{name}_after" for name in after.columns})
    return pairs.join(before, on="at").join(renamed, on="at_after").sort("at_after")


def _height(frame: pl.DataFrame, split: int, column: str = "split") -> int:
    return int((frame[column] == split).sum())


def _reasons(
    project: Project, other: Dataset, rows: pl.DataFrame, otherwise: str
) -> dict[str, int]:
    """Why the `other` dataset has not got these rows, the most frequent reason first."""
    left, counts = rows.select("id"), dict[str, int]()
    for digest in other.shards("dropped"):
        frame = pl.read_parquet(project.blobs.get(digest), columns=["id", "reason"])
        dropped = frame.with_columns(id_numbers(pl.col("id"))).unique("id", maintain_order=True)
        found = left.join(dropped, on="id")
        for reason, count in _counted(found["reason"]).items():
            counts[reason] = counts.get(reason, 0) + count
        left = left.join(dropped, on="id", how="anti")
    if left.height:
        counts[otherwise] = left.height
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _labels(before: pl.DataFrame, after: pl.DataFrame, stayed: pl.DataFrame) -> dict[str, Labels]:
    alike = stayed.filter(_text("label").eq_missing(_text("label_after")))
    labels = pl.concat([before["label"], after["label"]]).cast(pl.String).unique().drop_nulls()
    names = sorted(labels.to_list())
    found = {}
    for number, split in enumerate(SPLITS[:3]):
        parts = [_counted(frame["label"]) for frame in _parts(number, before, after, alike)]
        groups = np.array([[part.get(name, 0) for name in names] for part in parts])
        found[split] = labels_shift(names, groups.reshape(3, len(names)).astype(np.int64))
    return found


def _lengths(before: pl.DataFrame, after: pl.DataFrame, stayed: pl.DataFrame) -> dict[str, Lengths]:
    alike = stayed.filter(pl.col("size") == pl.col("size_after"))
    return {
        split: lengths_shift(
            *(frame["size"].to_numpy() for frame in _parts(number, before, after, alike))
        )
        for number, split in enumerate(SPLITS)
    }


def _parts(
    split: int, before: pl.DataFrame, after: pl.DataFrame, alike: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The rows of a split that only the first has, that both have alike, only the second has."""
    both = alike.filter((pl.col("split") == split) & (pl.col("split_after") == split))
    inside = pl.col("split") == split
    return (
        before.filter(inside).join(both, on="at", how="anti"),
        both,
        after.filter(inside).join(both, left_on="at", right_on="at_after", how="anti"),
    )


def _text(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.String)


def _examples(
    project: Project, one: Dataset, two: Dataset, kind: str, rows: pl.DataFrame
) -> list[dict[str, Any]]:
    """The rows with their texts, which are read now."""
    if rows.is_empty():
        return []
    if kind in {"came", "went"}:
        texts = _texts(project, two if kind == "came" else one, rows["id"])
        return [_told(row, texts) for row in rows.iter_rows(named=True)]
    then, now = _texts(project, one, rows["id"]), _texts(project, two, rows["id_after"])
    told = []
    for row in rows.iter_rows(named=True):
        after = {name: row[f"{name}_after"] for name in ("id", "split", "label", "source", "row")}
        before, example = _told(row, then), _told(after, now)
        before = {
            name: before[name]
            for name in ("split", "label", "text")
            if before[name] != example[name]
        }
        told.append({**example, "before": before})
    return told


def _told(row: dict[str, Any], texts: dict[int, str | None]) -> dict[str, Any]:
    return {
        "id": id_texts(pl.Series([row["id"]], dtype=pl.UInt64))[0],
        "split": SPLITS[row["split"]],
        "label": row["label"],
        "source": row["source"],
        "row": row["row"],
        "text": texts.get(row["id"]),
    }


def _texts(project: Project, dataset: Dataset, ids: pl.Series) -> dict[int, str | None]:
    found: dict[int, str | None] = {}
    wanted = id_texts(ids).implode()
    for name in SPLITS:
        for digest in dataset.shards(name):
            path = project.blobs.get(digest)
            rows = pl.scan_parquet(path).filter(pl.col("id").is_in(wanted)).select("id", "text")
            frame = rows.collect().with_columns(id_numbers(pl.col("id")))
            found |= dict(frame.rows())
            if len(found) == len(ids):
                return found
    return found


def _counted(values: pl.Series) -> dict[str, int]:
    counts = values.cast(pl.String).rename("value").drop_nulls().value_counts()
    return dict(counts.sort("count", "value", descending=[True, False]).rows())


def _side_by_side(first: dict[str, int], second: dict[str, int]) -> dict[str, tuple[int, int]]:
    both = {name: (first.get(name, 0), second.get(name, 0)) for name in {*first, *second}}
    return dict(sorted(both.items(), key=lambda item: (-max(item[1]), item[0])))


def _flat(name: str, value: JsonValue) -> Iterator[tuple[str, str]]:
    """Each setting by its dotted name. Of a list of parts the order, and the settings of each
    under its own name (`steps.mask.mode`; a second one is `steps.mask#2`)."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}" if name else key, inner)
        return
    if (
        isinstance(value, list)
        and value
        and all(isinstance(part, dict) and "use" in part for part in value)
    ):
        parts = [dict(part) for part in value if isinstance(part, dict)]
        uses = [str(part.pop("use")) for part in parts]
        yield name, json.dumps(uses, ensure_ascii=False)
        for number, (use, part) in enumerate(zip(uses, parts, strict=True)):
            nth = uses[:number].count(use) + 1
            if part:
                yield from _flat(f"{name}.{use}" + (f"#{nth}" if nth > 1 else ""), part)
        return
    yield name, json.dumps(value, ensure_ascii=False, sort_keys=True)

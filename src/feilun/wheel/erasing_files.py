"""An erasure in the stored files: rows out of Parquet files, and what was trained on them."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import polars as pl
import sqlalchemy as sa

from feilun.core.artifacts import Artifact, Model
from feilun.core.records import (
    FEEDBACK_SOURCE,
    GATEWAY_SOURCE,
    LEARNT_ONLY,
    PREDICTIONS_SOURCE,
    TEACHER_SOURCE,
    parquet,
)
from feilun.store.control import StoredArtifact
from feilun.wheel.erasing_log import Found
from feilun.wheel.identifiers import Identifiers
from feilun.wheel.workspace import Workspace

_PARQUET = b"PAR1"
_OF_THE_LOG = (*LEARNT_ONLY, GATEWAY_SOURCE)
"""Sources that read the project's own log, where the rows are gone."""
_LEAST_TEXT = 8
"""Characters of a record's text that is looked for in files which are no tables."""


class FilesErased(NamedTuple):
    """The stored files that lost rows or went whole; how many rows went, and how many of them
    came from sources outside the project, by source."""

    changed: tuple[str, ...]
    num_rows: int
    sources: dict[str, int]


def erase_files(
    workspace: Workspace, found: Found, identifiers: Identifiers, receipt: str
) -> FilesErased:
    """Takes the rows out of every stored table: those made of the removed rows of the log, and
    those with an identifier in one of their texts; then, by their ids, out of the reports."""
    of_models = _of_models(workspace)
    changed: list[str] = []
    gone: list[pl.DataFrame] = []
    later: list[str] = []
    for digest in list(workspace.blobs.digests()):
        frame = _table(workspace, digest)
        if frame is None or "text" not in frame.columns:
            if digest not in of_models:
                later.append(digest)
            continue
        hit = frame.select(_made_of(frame, found)).to_series() | _named(frame, identifiers)
        if hit.any():
            gone.append(frame.filter(hit))
            workspace.blobs.erase(digest, parquet(frame.filter(~hit)), receipt)
            changed.append(digest)
    rows = pl.concat([frame.select("id", "text", "source") for frame in gone]) if gone else None
    if rows is not None or identifiers:
        changed += _rest(workspace, later, rows, identifiers, receipt)
    if rows is None:
        return FilesErased(tuple(changed), 0, {})
    outside = [source for source in rows["source"] if source and source not in _OF_THE_LOG]
    return FilesErased(tuple(changed), rows.height, dict(sorted(Counter(outside).items())))


def trained_on(workspace: Workspace, changed: tuple[str, ...]) -> list[StoredArtifact]:
    """The artifacts that name one of the files, and all that were made of those, oldest first.
    They are made anew when they are asked for: their fingerprints are forgotten."""
    everything = sorted(
        workspace.control.artifacts(limit=10_000_000), key=lambda stored: stored.created_at
    )
    files = set(changed)
    touched: dict[str, StoredArtifact] = {}
    for stored in everything:
        made_of = {*stored.artifact.parents, *stored.inputs.values()}
        if files & set(stored.artifact.files.values()) or made_of & touched.keys():
            touched[stored.artifact.digest] = stored
    with workspace.control.database.write() as connection:
        for digest in touched:
            connection.execute(
                sa.text("DELETE FROM fingerprints WHERE digest = :digest"), {"digest": digest}
            )
    return list(touched.values())


def erased_of(workspace: Workspace, artifact: Artifact) -> tuple[str, ...]:
    """The receipts of the erasures that took rows out of the artifact's files; none as a rule."""
    gone = (workspace.blobs.erased(digest) for digest in artifact.files.values())
    return tuple(sorted({one.receipt for one in gone if one is not None}))


def _of_models(workspace: Workspace) -> set[str]:
    """The files of models: numbers, and a vocabulary. They go when the next model is trained."""
    return {
        digest
        for stored in workspace.control.artifacts("model", limit=10_000_000)
        if isinstance(stored.artifact, Model)
        for digest in stored.artifact.files.values()
    }


def _table(workspace: Workspace, digest: str) -> pl.DataFrame | None:
    path = workspace.blobs.path(digest)
    with path.open("rb") as source:
        if source.read(len(_PARQUET)) != _PARQUET:
            return None
    return pl.read_parquet(path)


def _made_of(frame: pl.DataFrame, found: Found) -> pl.Expr:
    """Whether a record was made of a removed row of the log."""
    if not {"source", "row"} <= set(frame.columns):
        return pl.repeat(False, pl.len())
    by_source = {
        FEEDBACK_SOURCE: found.feedback,
        PREDICTIONS_SOURCE: found.predictions,
        GATEWAY_SOURCE: found.exchanges,
        TEACHER_SOURCE: found.exchanges,
    }
    hits = [
        (pl.col("source") == source) & pl.col("row").is_in(list(rows.values()))
        for source, rows in by_source.items()
    ]
    return pl.any_horizontal(hits).fill_null(False)


def _named(frame: pl.DataFrame, identifiers: Identifiers) -> pl.Series:
    """Whether one of a record's texts has an identifier."""
    hit = pl.repeat(False, frame.height, eager=True)
    if identifiers:
        for name, kind in frame.schema.items():
            if kind == pl.String and name != "id":
                hit = hit | identifiers.within(frame[name])
    return hit


def _rest(
    workspace: Workspace,
    digests: list[str],
    rows: pl.DataFrame | None,
    identifiers: Identifiers,
    receipt: str,
) -> list[str]:
    """The files without texts in columns: outcomes lose the rows by id; a text file (a card, a
    list of suspects) that has an identifier, or the text of a removed row, goes whole."""
    ids = [] if rows is None else rows["id"].unique().to_list()
    texts = [] if rows is None else rows["text"].drop_nulls().unique().to_list()
    longer = [text.encode() for text in texts if len(text) >= _LEAST_TEXT]
    changed = []
    for digest in digests:
        frame = _table(workspace, digest)
        if frame is not None:
            if "id" in frame.columns and frame.schema["id"] == pl.String:
                hit = frame["id"].is_in(ids)
                if hit.any():
                    workspace.blobs.erase(digest, parquet(frame.filter(~hit)), receipt)
                    changed.append(digest)
            continue
        content = workspace.blobs.path(digest).read_bytes()
        if identifiers.within_bytes(content) or any(text in content for text in longer):
            workspace.blobs.erase(digest, None, receipt)
            changed.append(digest)
    return changed

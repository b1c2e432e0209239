"""Erasing a person: from the log, the vault and the stored files; and what must be trained anew."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from feilun.core.artifacts import Model
from feilun.core.errors import Busy, Conflict, Invalid
from feilun.core.i18n import _
from feilun.store.clock import new_id, now
from feilun.store.disk import lock
from feilun.store.events.batches import Batches
from feilun.wheel.erasing_files import erase_files, trained_on
from feilun.wheel.erasing_log import Found, Sought, find, remove
from feilun.wheel.identifiers import Identifiers

if TYPE_CHECKING:
    from feilun.wheel.workspace import Workspace


class NobodyNamed(Invalid):
    """Neither a person nor a text that names one was given."""

    def __init__(self) -> None:
        super().__init__(
            _("Nobody is named: an erasure needs a subject or a text."),
            remedy="feilun erase SUBJECT --text 13800138000",
        )


class BatchesUnfinished(Conflict):
    """Inputs that wait to be predicted may be about the person, in files of their own."""

    def __init__(self, count: int) -> None:
        super().__init__(
            _("{count} batch(es) not finished; their inputs may be about the person.").format(
                count=count
            ),
            remedy=_(
                "Wait until they have ended, or cancel them; then run the same command again."
            ),
        )


class StillRead(Busy):
    """Everything is erased, but a reader keeps the write-ahead log from being emptied."""

    def __init__(self) -> None:
        super().__init__(
            _(
                "The rows are erased, but another process still reads an older state of events.db, "
                "and its write-ahead log keeps them until it has ended."
            ),
            remedy=_("End what reads events.db, then run the same command again."),
        )


class Receipt(NamedTuple):
    """What an erasure did: no names, no texts. `rows` are records in stored files, `files` how
    many of those were changed; `others` rows of further tables of the log; `models` the models
    that learnt from them (`model/3`), `live` those of them that are live; `sources`: how many
    rows came from outside, by source: there they are still, and must be removed by hand."""

    id: str
    at: str
    by: str
    predictions: int = 0
    feedback: int = 0
    keys: int = 0
    others: int = 0
    rows: int = 0
    files: int = 0
    artifacts: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    live: bool = False
    sources: tuple[tuple[str, int], ...] = ()

    def shown(self) -> dict[str, Any]:
        """The receipt as JSON values, as commands print it and the API answers it."""
        sources = [{"source": source, "rows": count} for source, count in self.sources]
        return {**self._asdict(), "sources": sources}


def sought_by(workspace: Workspace, subject: str | None, texts: Sequence[str]) -> Sought:
    """What an erasure looks for; raises `NobodyNamed`, `IdentifierTooShort`."""
    if not subject and not texts:
        raise NobodyNamed()
    digest = workspace.privacy.digest(subject) if subject else None
    hashed = frozenset(workspace.privacy.text_digest(text) for text in texts)
    return Sought(digest, subject or None, Identifiers(texts), hashed)


def erase(workspace: Workspace, subject: str | None, texts: Sequence[str], by: str) -> Receipt:
    """See `Project.erase`."""
    sought = sought_by(workspace, subject, texts)
    with lock(workspace.folder / "turn.lock", what=workspace.settings.project.name):
        if unfinished := Batches(workspace.events.database).open():
            raise BatchesUnfinished(len(unfinished))
        found = find(workspace.events, sought)
        receipt = Receipt(new_id("er"), now(), by)
        # The files first: a kill in between leaves the rows by which the next try finds them.
        receipt = _files(workspace, found, sought.identifiers, receipt)
        keys, others = remove(workspace.events, found, sought)
        receipt = receipt._replace(
            predictions=len(found.predictions),
            feedback=len(found.feedback),
            keys=keys,
            others=others,
        )
        _written(workspace, receipt)
        if not workspace.events.database.settle(rewrite=True):
            raise StillRead()
    return receipt


def receipts(workspace: Workspace) -> list[Receipt]:
    """See `Project.erasures`."""
    with workspace.events.database.read() as connection:
        rows = connection.scalars(sa.text("SELECT content FROM erasures ORDER BY at DESC")).all()
    return [_read(json.loads(row)) for row in rows]


def _files(
    workspace: Workspace, found: Found, identifiers: Identifiers, receipt: Receipt
) -> Receipt:
    erased = erase_files(workspace, found, identifiers, receipt.id)
    # What an unfinished turn left to go on with: it may hold the rows, and is made anew.
    shutil.rmtree(workspace.folder / "work", ignore_errors=True)
    known = {done.id for done in receipts(workspace)}
    # With those of an erasure that was killed before its receipt was written.
    unfinished = [d for d, gone in workspace.blobs.erasures() if gone.receipt not in known]
    touched = trained_on(workspace, (*erased.changed, *unfinished))
    live = workspace.control.alias("live")
    models = [stored for stored in touched if isinstance(stored.artifact, Model)]
    return receipt._replace(
        rows=erased.num_rows,
        files=len(erased.changed),
        artifacts=tuple(f"{stored.artifact.kind}/{stored.number}" for stored in touched),
        models=tuple(f"model/{stored.number}" for stored in models),
        live=live is not None and any(s.artifact.digest == live.digest for s in models),
        sources=tuple(erased.sources.items()),
    )


def _written(workspace: Workspace, receipt: Receipt) -> None:
    with workspace.events.database.write() as connection:
        connection.execute(
            sa.text(
                'INSERT INTO erasures (id, at, "by", content) VALUES (:id, :at, :by, :content)'
            ),
            {
                "id": receipt.id,
                "at": receipt.at,
                "by": receipt.by,
                "content": json.dumps(receipt._asdict(), ensure_ascii=False),
            },
        )


def _read(content: dict[str, object]) -> Receipt:
    fixed = {
        name: tuple(tuple(v) if isinstance(v, list) else v for v in value)
        if isinstance(value, list)
        else value
        for name, value in content.items()
    }
    return Receipt(**fixed)  # type: ignore[arg-type]

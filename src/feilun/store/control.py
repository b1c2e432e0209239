"""The control database: turns, artifacts, fingerprints and aliases, committed together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

from feilun.core.artifacts import Artifact, Cost
from feilun.core.errors import Conflict, Missing
from feilun.core.i18n import _
from feilun.core.refs import Ref
from feilun.store.clock import now
from feilun.store.database import Database

RUNNING, OPEN, FAILED, DONE = "running", "open", "failed", "done"
"""A turn is `running` until its process ends it (or is killed); `open` when it was only asked
to go part of the way; `failed` on an error; `done` once the gate has spoken. All but `done`
are gone on with by the next `feilun turn`."""


class ArtifactNotFound(Missing):
    """No artifact has that name."""

    def __init__(self, ref: Ref) -> None:
        super().__init__(
            _("There is no {ref} in this project.").format(ref=ref),
            remedy="feilun status",
        )


class LiveMoved(Conflict):
    """What is live changed while the candidate was compared with its predecessor."""

    def __init__(self, name: str) -> None:
        super().__init__(
            _("'{name}' was moved by somebody else in the meantime; nothing was released.").format(
                name=name
            ),
            remedy="feilun turn",
        )


class TurnNotFound(Missing):
    """No turn has that number."""

    def __init__(self, number: int) -> None:
        super().__init__(
            _("There is no turn {number}.").format(number=number), remedy="feilun status"
        )


class StepRow(NamedTuple):
    """What one stage did in a turn; `reused` when its artifact was already there."""

    stage: str
    artifact: str | None
    reused: bool
    cost: Cost


class TurnRow(NamedTuple):
    """One revolution as it stands in the database."""

    number: int
    status: str
    until: str
    events_through: int
    started_at: str
    ended_at: str | None
    verdict: dict[str, Any] | None
    error: str | None


class AliasRow(NamedTuple):
    """One move of an alias: from `at` on, `name` pointed to `digest`."""

    seq: int
    name: str
    digest: str
    turn: int | None
    by: str
    reason: str
    at: str


class StoredArtifact(NamedTuple):
    """An artifact with what its digest does not cover."""

    artifact: Artifact
    number: int
    stage: str
    inputs: dict[str, str]
    cost: Cost
    code: str
    created_at: str


class Control:
    """`control.db`."""

    def __init__(self, path: Path) -> None:
        self.database = Database(path, "control")

    def close(self) -> None:
        """Closes the database."""
        self.database.close()

    # Turns

    def begin_turn(self, until: str, events_through: int) -> TurnRow:
        """The unfinished turn, to be gone on with, or a new one.

        A killed turn keeps the feedback it began with, so that it ends as it would have; an
        open or failed one takes in what came since, up to `events_through`.
        """
        with self.database.write() as connection:
            row = connection.execute(
                sa.text("SELECT number, status, events_through FROM turns WHERE status != :done"),
                {"done": DONE},
            ).first()
            if row is not None:
                through = row.events_through if row.status == RUNNING else events_through
                connection.execute(
                    sa.text(
                        "UPDATE turns SET until = :until, status = :status, error = NULL,"
                        " events_through = :through WHERE number = :number"
                    ),
                    {
                        "until": until,
                        "number": row.number,
                        "status": RUNNING,
                        "through": through,
                    },
                )
                number = row.number
            else:
                newest = connection.scalar(sa.text("SELECT coalesce(max(number), 0) FROM turns"))
                number = int(newest or 0) + 1
                connection.execute(
                    sa.text(
                        "INSERT INTO turns (number, status, until, events_through, started_at)"
                        " VALUES (:number, :status, :until, :through, :at)"
                    ),
                    {
                        "number": number,
                        "status": RUNNING,
                        "until": until,
                        "through": events_through,
                        "at": now(),
                    },
                )
        return self.turn(number)

    def end_turn(
        self, number: int, status: str, *, verdict: str | None = None, error: str | None = None
    ) -> None:
        """Writes down how the turn ended; `verdict` is JSON."""
        with self.database.write() as connection:
            connection.execute(
                sa.text(
                    "UPDATE turns SET status = :status, ended_at = :at, verdict = :verdict,"
                    " error = :error WHERE number = :number"
                ),
                {
                    "status": status,
                    "at": now(),
                    "verdict": verdict,
                    "error": error,
                    "number": number,
                },
            )

    def turn(self, number: int) -> TurnRow:
        """The turn with that number; raises `TurnNotFound`."""
        rows = self._turns("WHERE number = :number", number=number)
        if not rows:
            raise TurnNotFound(number)
        return rows[0]

    def turns(self, limit: int = 50) -> list[TurnRow]:
        """The newest turns, newest first."""
        return self._turns("ORDER BY number DESC LIMIT :limit", limit=limit)

    def _turns(self, clause: str, **values: Any) -> list[TurnRow]:
        with self.database.read() as connection:
            rows = connection.execute(
                sa.text(
                    "SELECT number, status, until, events_through, started_at, ended_at, verdict,"
                    f" error FROM turns {clause}"  # clauses are ours
                ),
                values,
            )
            return [
                TurnRow(**{**row, "verdict": json.loads(row["verdict"] or "null")})
                for row in rows.mappings()
            ]

    def steps(self, turn: int) -> list[StepRow]:
        """What the stages of a turn did, in the order in which they ended."""
        with self.database.read() as connection:
            rows = connection.execute(
                sa.text(
                    "SELECT stage, artifact, reused, cost FROM steps WHERE turn = :turn"
                    " ORDER BY ended_at"
                ),
                {"turn": turn},
            )
            return [
                StepRow(r.stage, r.artifact, bool(r.reused), Cost.model_validate_json(r.cost))
                for r in rows
            ]

    def end_step(
        self,
        turn: int,
        stage: str,
        artifact: str | None,
        *,
        reused: bool,
        cost: Cost,
    ) -> None:
        """Writes down that a stage of the turn is finished; a resumed turn that finds what it
        had made before it was killed keeps that cost."""
        with self.database.write() as connection:
            connection.execute(
                sa.text(
                    "INSERT INTO steps (turn, stage, artifact, reused, cost, ended_at) VALUES"
                    " (:turn, :stage, :artifact, :reused, :cost, :at)"
                    " ON CONFLICT (turn, stage) DO UPDATE SET artifact = excluded.artifact,"
                    " reused = excluded.reused, ended_at = excluded.ended_at, cost = CASE WHEN"
                    " steps.artifact = excluded.artifact AND excluded.reused THEN steps.cost"
                    " ELSE excluded.cost END"
                ),
                {
                    "turn": turn,
                    "stage": stage,
                    "artifact": artifact,
                    "reused": reused,
                    "cost": cost.model_dump_json(),
                    "at": now(),
                },
            )

    def forget_steps(self, turn: int, stages: Sequence[str]) -> None:
        """Takes back that the stages are finished: what they made came of something older."""
        with self.database.write() as connection:
            for stage in stages:
                connection.execute(
                    sa.text("DELETE FROM steps WHERE turn = :turn AND stage = :stage"),
                    {"turn": turn, "stage": stage},
                )

    # Artifacts

    def put(
        self,
        artifact: Artifact,
        *,
        stage: str,
        inputs: Mapping[str, str],
        cost: Cost,
        code: str,
        fingerprint: str | None = None,
    ) -> StoredArtifact:
        """Stores an artifact whose blobs are already durable; the same one twice is one."""
        with self.database.write() as connection:
            values = {
                "digest": artifact.digest,
                "kind": artifact.kind,
                "stage": stage,
                "content": artifact.model_dump_json(),
                "inputs": json.dumps(dict(inputs)),
                "cost": cost.model_dump_json(),
                "code": code,
                "at": now(),
            }
            connection.execute(
                sa.text(
                    "INSERT INTO artifacts (digest, kind, number, stage, content, inputs, cost,"
                    " code, created_at) SELECT :digest, :kind, coalesce(max(number), 0) + 1,"
                    " :stage, :content, :inputs, :cost, :code, :at FROM artifacts"
                    " WHERE kind = :kind ON CONFLICT (digest) DO NOTHING"
                ),
                values,
            )
            if fingerprint is not None:
                connection.execute(
                    sa.text(
                        "INSERT INTO fingerprints (fingerprint, digest) VALUES (:f, :d)"
                        " ON CONFLICT (fingerprint) DO UPDATE SET digest = excluded.digest"
                    ),
                    {"f": fingerprint, "d": artifact.digest},
                )
        return self.get(Ref(artifact.kind, artifact.digest))

    def made(self, fingerprint: str) -> Artifact | None:
        """The artifact that was made under this fingerprint, if any."""
        with self.database.read() as connection:
            row = connection.execute(
                sa.text(
                    "SELECT a.kind, a.content FROM fingerprints f"
                    " JOIN artifacts a ON a.digest = f.digest WHERE f.fingerprint = :f"
                ),
                {"f": fingerprint},
            ).first()
        return Artifact.restore(row.kind, json.loads(row.content)) if row is not None else None

    def get(self, ref: Ref) -> StoredArtifact:
        """The artifact that `ref` names; raises `ArtifactNotFound`."""
        where = "kind = :kind AND "
        if ref.is_digest:
            where += "digest >= :name AND digest < :name || 'g' ORDER BY number LIMIT 1"
        elif ref.is_number:
            where += "number = CAST(:name AS INTEGER)"
        elif ref.name == "latest":
            where += "number = (SELECT max(number) FROM artifacts WHERE kind = :kind)"
        else:
            where += (
                "digest = (SELECT digest FROM aliases WHERE name = :name ORDER BY seq DESC LIMIT 1)"
            )
        with self.database.read() as connection:
            row = connection.execute(
                sa.text(
                    "SELECT number, stage, kind, content, inputs, cost, code, created_at"
                    f" FROM artifacts WHERE {where}"  # clauses are ours
                ),
                {"kind": ref.kind, "name": ref.name[:80]},
            ).first()
        if row is None:
            raise ArtifactNotFound(ref)
        return StoredArtifact(
            Artifact.restore(row.kind, json.loads(row.content)),
            row.number,
            row.stage,
            json.loads(row.inputs),
            Cost.model_validate_json(row.cost),
            row.code,
            row.created_at,
        )

    def artifacts(self, kind: str | None = None, limit: int = 100) -> list[StoredArtifact]:
        """The newest artifacts (of one kind), newest first."""
        with self.database.read() as connection:
            rows = connection.execute(
                sa.text(
                    "SELECT kind, digest FROM artifacts WHERE :kind IS NULL OR kind = :kind"
                    " ORDER BY created_at DESC, number DESC LIMIT :limit"
                ),
                {"kind": kind, "limit": limit},
            ).all()
        return [self.get(Ref(row.kind, row.digest)) for row in rows]

    # Aliases

    def alias(self, name: str) -> AliasRow | None:
        """Where the alias points now, since when and why; None when it was never set."""
        rows = self.history(name, limit=1)
        return rows[0] if rows else None

    def alias_before(self, name: str, turn: int) -> AliasRow | None:
        """Where the alias pointed when `turn` had not moved it yet."""
        return next((row for row in self.history(name) if row.turn != turn), None)

    def history(self, name: str, limit: int = 1000) -> list[AliasRow]:
        """Every move of the alias, newest first."""
        with self.database.read() as connection:
            rows = connection.execute(
                sa.text(
                    'SELECT seq, name, digest, turn, "by", reason, at FROM aliases'
                    " WHERE name = :name ORDER BY seq DESC LIMIT :limit"
                ),
                {"name": name, "limit": limit},
            )
            return [AliasRow(*row) for row in rows]

    def move_alias(
        self,
        name: str,
        digest: str,
        *,
        expected: str | None,
        by: str,
        reason: str,
        turn: int | None = None,
    ) -> AliasRow:
        """Points the alias to `digest` if it still points to `expected`; raises `LiveMoved`."""
        with self.database.write() as connection:
            current = connection.scalar(
                sa.text("SELECT digest FROM aliases WHERE name = :name ORDER BY seq DESC LIMIT 1"),
                {"name": name},
            )
            if current == digest:
                pass
            elif current != expected:
                raise LiveMoved(name)
            else:
                connection.execute(
                    sa.text(
                        'INSERT INTO aliases (name, digest, turn, "by", reason, at)'
                        " VALUES (:name, :digest, :turn, :by, :reason, :at)"
                    ),
                    {
                        "name": name,
                        "digest": digest,
                        "turn": turn,
                        "by": by,
                        "reason": reason,
                        "at": now(),
                    },
                )
        moved = self.alias(name)
        assert moved is not None
        return moved

    def drop_alias(self, name: str) -> None:
        """Takes an alias away with its history: for those that answer to nobody."""
        with self.database.write() as connection:
            connection.execute(sa.text("DELETE FROM aliases WHERE name = :name"), {"name": name})

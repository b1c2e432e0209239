"""Predictions of a stretch of time, drawn at random: what it costs does not grow with the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from feilun.store.events.predictions import ANSWERED

if TYPE_CHECKING:
    from feilun.store.events.log import EventLog

_ANSWERED = f"p.{ANSWERED} AND p.at >= :since AND p.at < :until"
_COLUMNS = ", ".join(
    f"p.{name}"
    for name in (
        "id", "seq", "at", "model", "input", "label", "score", "reason", "latency_ms", "key",
        "route", "level", "characters", "kept",
    )
)  # fmt: skip
_AT_ONCE = 500
_MOST_DRAWS = 20


class Drawn(NamedTuple):
    """`rows` of predictions (with their texts, as far as they can be read: `kept` tells), of
    about `total` that there were."""

    rows: list[dict[str, Any]]
    total: int


class Opinion(NamedTuple):
    """Feedback of a stretch of time: ratings, bad ones (below a half), answers given, and answers
    corrected to something else."""

    ratings: int
    bad: int
    answers: int
    corrected: int


def drawn(log: EventLog, since: float, until: float, size: int, seed: int) -> Drawn:
    """At most `size` of the predictions from `since` to `until` (seconds since 1970) that people
    were answered with, each as likely as any other; all of them where they are no more.

    Drawn are places of the log, and those of other times or routes are thrown away: reading a
    thousand rows of a million takes no longer than of ten thousand.
    """
    with log.database.read() as connection:
        first, last, total = connection.execute(
            sa.text(
                f"SELECT min(p.seq), max(p.seq), count(*) FROM predictions p WHERE {_ANSWERED}"
            ),
            {"since": since, "until": until},
        ).one()
        if not total:
            return Drawn([], 0)
        rows = _rows(connection, (first, last), (since, until), size, seed)
        return Drawn(log.vault.open(connection, rows, "input", "id", "kept"), int(total))


def _rows(
    connection: sa.Connection,
    span: tuple[int, int],
    times: tuple[float, float],
    size: int,
    seed: int,
) -> list[dict[str, Any]]:
    first, last = span
    num = last - first + 1
    random = np.random.default_rng(seed)
    few = num <= 2 * size
    picked = (
        random.permutation(num)
        if few
        else random.choice(num, min(num, _MOST_DRAWS * size), replace=False)
    )
    places = [first + int(at) for at in picked]
    found: list[dict[str, Any]] = []
    for at in range(0, len(places), _AT_ONCE):
        some = places[at : at + _AT_ONCE]
        query = sa.text(
            f"SELECT {_COLUMNS} FROM predictions p WHERE p.seq IN :places AND {_ANSWERED}"
        ).bindparams(sa.bindparam("places", expanding=True))
        given = {"places": some, "since": times[0], "until": times[1]}
        read = {row["seq"]: dict(row) for row in connection.execute(query, given).mappings()}
        # In the order in which they were drawn, or the last ones would be the log's first.
        found += [read[place] for place in some if place in read]
        if len(found) >= size:
            break
    return found[:size]


def opinions(log: EventLog, model: str, spans: Sequence[tuple[float, float]]) -> list[Opinion]:
    """What people said of the answers of `model`, for each stretch of time (since, until) in
    which they were given. A rating counts as it stands; a correction to the very answer is none."""
    answers = f"FROM predictions p WHERE p.model = :model AND {_ANSWERED}"
    said = "FROM feedback f JOIN predictions p ON p.id = f.prediction"
    said += f" WHERE p.model = :model AND {_ANSWERED}"
    value = "json_extract(f.value, '$')"
    found = []
    with log.database.read() as connection:
        for since, until in spans:
            given = {"model": model, "since": since, "until": until}
            counted = connection.scalar(sa.text(f"SELECT count(*) {answers}"), given)
            ratings, bad = connection.execute(
                sa.text(
                    f"SELECT count(*), coalesce(sum({value} < 0.5), 0) {said} AND f.kind = 'rating'"
                ),
                given,
            ).one()
            corrected = connection.scalar(
                sa.text(
                    f"SELECT count(DISTINCT p.id) {said} AND f.kind = 'correction'"
                    f" AND trim({value}) != coalesce(p.label, '')"
                ),
                given,
            )
            found.append(Opinion(int(ratings), int(bad), int(counted or 0), int(corrected or 0)))
    return found


def costs(log: EventLog, since: float, until: float) -> float:
    """What the answers of a stretch of time cost, in the project's currency."""
    with log.database.read() as connection:
        found = connection.scalar(
            sa.text("SELECT sum(cost) FROM predictions WHERE at >= :since AND at < :until"),
            {"since": since, "until": until},
        )
    return float(found or 0.0)


def judged(log: EventLog, since: float, until: float, size: int) -> list[dict[str, Any]]:
    """The predictions from `since` to `until` that people judged, with `said` (the kind), `value`
    (a JSON text) and `source` of each rating and correction: the newest `size`, newest first."""
    with log.database.read() as connection:
        rows = connection.execute(
            sa.text(
                f"SELECT {_COLUMNS}, f.kind AS said, f.value, f.source FROM feedback f"
                " JOIN predictions p ON p.id = f.prediction"
                f" WHERE {_ANSWERED}"
                " AND f.kind IN ('rating', 'correction') ORDER BY f.seq DESC LIMIT :size"
            ),
            {"since": since, "until": until, "size": size},
        ).mappings()
        return log.vault.open(connection, map(dict, rows), "input", "id", "kept")

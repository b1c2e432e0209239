"""Gateway: what was asked of a hosted model, with its answers as labels."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import sqlalchemy as sa
from pydantic import Field

from feilun.stages.collect.logged import Wanted, logged, time_of_row
from feilun.stages.collect.source import Piece, Source

if TYPE_CHECKING:
    import polars as pl

CHUNK = 5_000
"""Exchanges in memory at a time."""
_SAID = (
    "(SELECT value FROM feedback f WHERE f.prediction = x.id AND f.kind = '{kind}'"
    " ORDER BY f.seq DESC LIMIT 1) AS {kind}"
)
_ROWS = sa.text(
    "SELECT seq, at, messages, text, answer,"
    f" {_SAID.format(kind='correction')}, {_SAID.format(kind='rating')}"
    " FROM exchanges x WHERE seq > :after AND seq <= :newest AND outcome = 'answered'"
    " AND kept NOT IN ('hash', 'removed') AND coalesce(finish, '') <> 'length'"
    " ORDER BY seq LIMIT :limit"
)
_AROUND = " \t\r\n\"'`*“”‘’「」『』《》.。!！,，:：;；"
_FENCE = re.compile(r"\A\s*```[a-zA-Z]*\s*|\s*```\s*\Z")
_BAD_RATING = 0.5


class Gateway(Source):
    """The chats that the gateway logged, from this project's own event log; none before the first.

    The text is what the user said last, between `after` and `before` where they are given; the
    label is the model's answer: one of `labels` and nothing else, or JSON with the `key`. Other
    answers leave the text without a label, and so does one that was rated below 0.5; a correction
    takes the answer's place. Feedback counts that was there when the turn began. Texts and answers
    are masked, as they are logged.
    """

    use: ClassVar[str] = "gateway"
    accumulates: ClassVar[bool] = True

    labels: tuple[str, ...] = Field(
        (), description="answers that are labels; empty: those that come as JSON, whatever they are"
    )
    answers: Literal["auto", "text", "json"] = Field(
        "auto", description="text: the answer is the label; json: it holds it; auto: either"
    )
    key: str = Field("label", min_length=1, description="of the label in an answer that is JSON")
    system: str = Field("", description="only chats in whose first message this stands; empty: all")
    after: str = Field("", description="the text begins behind these words of the message")
    before: str = Field("", description="the text ends before these words of the message")
    measured: bool = Field(
        True, description="false: learnt from alone, where people have labelled the test"
    )

    def pieces(self, root: Path, since: str | None) -> Iterator[Piece]:
        """One piece: the chats since the last turn; none while there is no event log."""
        from feilun.core.records import GATEWAY_SOURCE, TEACHER_SOURCE

        name = GATEWAY_SOURCE if self.measured else TEACHER_SOURCE
        return logged(name, root, since, Wanted("exchanges", _ROWS, CHUNK), self._records)

    def label(self, answer: str) -> str | None:
        """The label in an answer; None where it is none."""
        if self.answers != "text":
            found = self._known(_from_json(answer, self.key))
            if found is not None:
                return found
        if self.answers == "json" or not self.labels:
            return None
        return self._known(answer)

    def text(self, said: str) -> str | None:
        """What of a message is to be learnt from; None where the words around it are missing."""
        begin = said.find(self.after)
        if begin < 0:
            return None
        begin += len(self.after)
        end = said.find(self.before, begin) if self.before else len(said)
        return said[begin:end].strip() or None if end >= 0 else None

    def _known(self, answer: str | None) -> str | None:
        if answer is None or not self.labels:
            return answer
        plain = answer.strip(_AROUND).casefold()
        return next((label for label in self.labels if label.casefold() == plain), None)

    def _records(self, rows: list[dict[str, Any]]) -> pl.DataFrame:
        import polars as pl

        kept = [row for row in rows if not self.system or self.system in _first(row["messages"])]
        found = [
            (self.text(row["text"]), self._labelled(row), row["seq"], row["at"]) for row in kept
        ]
        schema = {"text": pl.String, "label": pl.String, "row": pl.Int64, "at": pl.Float64}
        frame = pl.DataFrame(
            [row for row in found if row[0] is not None], schema=schema, orient="row"
        )
        return frame.select("text", "label", "row", time_of_row())

    def _labelled(self, row: dict[str, Any]) -> str | None:
        if row["correction"] is not None:
            return str(json.loads(row["correction"])).strip()
        rating = None if row["rating"] is None else json.loads(row["rating"])
        if row["answer"] is None or (rating is not None and float(rating) < _BAD_RATING):
            return None
        return self.label(row["answer"])


def _from_json(answer: str, key: str) -> str | None:
    """The value under `key` in an answer that is JSON, or has one object in it."""
    bare = _FENCE.sub("", answer)
    for text in (bare, bare[bare.find("{") : bare.rfind("}") + 1]):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            continue
        value = found.get(key) if isinstance(found, dict) else None
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return str(value).strip() or None
    return None


def _first(messages: str) -> str:
    """The text of the first message."""
    found = json.loads(messages)
    content = found[0].get("content") if found and isinstance(found[0], dict) else None
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)

"""How the texts of the log are kept, and who sees what of them.

Everything that is written passes `Privacy.keep`, whatever asked for it: the event log calls it
for a whole commit at once. What is read comes opened from the log; people are shown
`Privacy.shown` of it, the turn learns from `Privacy.learnt`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from feilun.store.clock import new_id
from feilun.store.events import Event, FeedbackRow, PredictionRow, storable
from feilun.store.events.vault import REMOVED, SealingKey

if TYPE_CHECKING:
    from feilun.stages.prepare.step import Rewrite
    from feilun.wheel.workspace import Workspace

NOT_LEARNT = frozenset({"hash", REMOVED})
"""How a text is kept that nothing can be learnt from."""
NOTHING_SHOWN = "–"
_INPUT, _KEPT = (PredictionRow._fields.index(name) for name in ("input", "kept"))


class Privacy:
    """The privacy of one project's log, as `[serve.log]` says."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._settings = workspace.settings

    def digest(self, subject: str) -> str:
        """The name of a person as it is stored: HMAC-SHA256 (RFC 2104) under the project's
        pepper, in hex. The same person has the same one; who has no pepper learns nothing."""
        return self._digest("subject", subject)

    def text_digest(self, text: str) -> str:
        """What the log has of a text under `keep = "hash"`."""
        return self._digest("text", text)

    def keep(self, events: Sequence[Event]) -> tuple[Sequence[Event], Sequence[Event]]:
        """The events as they are to be written, one for one, and the keys of the vault that must
        be written with them. Raises `VaultKeyLost`."""
        policy = self._settings.serve.log.keep
        if policy == "full":
            return events, ()
        if policy == "vault":
            return self._sealed(events)
        texts = [_text(event) for event in events]
        if policy == "masked":
            given = [text for text in texts if text is not None]
            fresh = iter(self.masked(given))
        else:
            fresh = (self.text_digest(text) for text in texts if text is not None)
        return [
            event if text is None else self._changed(event, next(fresh), policy)
            for event, text in zip(events, texts, strict=True)
        ], ()

    def masked(self, texts: Sequence[str]) -> list[str]:
        """Texts without personal data: as the project's own step `mask` writes them, after the
        rewriting steps before it; as `normalise` and `mask` do where it has none. A text in
        which that finds nothing stays as it is."""
        import polars as pl

        if not texts:
            return []
        pairs = [_pair(text) for text in texts] if self._of_pairs else [None] * len(texts)
        flat = [side for text, two in zip(texts, pairs, strict=True) for side in two or (text,)]
        given = pl.Series("text", [storable(text) for text in flat], dtype=pl.String)
        before = given
        for step in self._masking[:-1]:
            before = step.rewritten(before, self._run).fill_null("")
        after = self._masking[-1].rewritten(before, self._run).fill_null("")
        fresh = iter(given.zip_with(after == before, after).to_list())
        return [
            next(fresh) if two is None else _written([next(fresh), next(fresh)]) for two in pairs
        ]

    def shown(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Rows of feedback or predictions, opened, as people may see them: inputs and comments
        masked, unless the project keeps them in full and has no step `mask`."""
        if self._settings.serve.log.keep == "full" and not self._masks:
            return [_told(row) for row in rows]
        inputs = self.masked([str(row["input"]) for row in rows])
        comments = [row for row in rows if row.get("kind") == "comment"]
        values = dict(
            zip(
                map(id, comments),
                self.masked([str(row["value"]) for row in comments]),
                strict=True,
            )
        )
        return [
            _told(
                {**row, "input": text} | ({"value": values[id(row)]} if id(row) in values else {})
            )
            for row, text in zip(rows, inputs, strict=True)
        ]

    def learnt(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows of feedback that can be learnt from: those whose text is there. It is masked
        at once where the project masks, so that no stored record holds personal data; but for
        the task `tag`, whose places would move: there `prepare` masks, spans and all."""
        kept = [row for row in rows if row["kept"] not in NOT_LEARNT]
        tags = self._settings.project.task.use == "tag"
        if not self._masks or tags or self._settings.serve.log.keep == "full":
            return kept
        texts = self.masked([row["input"] for row in kept])
        return [{**row, "input": text} for row, text in zip(kept, texts, strict=True)]

    def _sealed(self, events: Sequence[Event]) -> tuple[list[Event], list[Event]]:
        keys: dict[str | None, SealingKey] = {}
        written: list[Event] = []
        for event in events:
            text = _text(event)
            if text is None:
                written.append(event)
                continue
            assert isinstance(event, (PredictionRow, FeedbackRow))
            key = keys.get(event.subject)
            if key is None:
                key = keys[event.subject] = self._workspace.events.vault.key(event.subject)
            identity = event.id or new_id("fb")
            sealed = self._workspace.events.vault.seal(key, identity, text)
            written.append(self._changed(event, sealed, "vault", identity))
        return written, [key.row for key in keys.values()]

    def _changed(self, event: Event, text: str, kept: str, identity: str = "") -> Event:
        if isinstance(event, PredictionRow):
            # As `_replace` does, in a third of its time: this is done for every prediction.
            before, after = event[:_INPUT], event[_INPUT + 1 : _KEPT]
            return PredictionRow._make((*before, text, *after, kept, *event[_KEPT + 1 :]))
        assert isinstance(event, FeedbackRow)
        digest = self._digest("comment", str(event.value))
        return event._replace(value=text, kept=kept, digest=digest, id=identity or event.id)

    def _digest(self, purpose: str, text: str) -> str:
        content = f"{purpose}\x00{storable(text)}".encode()
        return hmac.new(self._pepper, content, hashlib.sha256).hexdigest()

    @cached_property
    def _pepper(self) -> bytes:
        return self._workspace.keys.pepper()

    @cached_property
    def _of_pairs(self) -> bool:
        return self._settings.project.task.use == "match"

    @cached_property
    def _masks(self) -> bool:
        """Whether the project masks what it learns from."""
        return any(step.use == "mask" for step in self._settings.prepare.steps)

    @cached_property
    def _masking(self) -> tuple[Rewrite, ...]:
        from feilun.stages.prepare.mask import Mask
        from feilun.stages.prepare.normalise import Normalise
        from feilun.stages.prepare.step import Rewrite

        if not self._masks:
            return (Normalise(), Mask())
        steps: list[Rewrite] = []
        for step in self._settings.prepare.steps:
            if isinstance(step, Mask):
                mode = "placeholder" if step.mode == "drop" else step.mode
                return (*steps, step.model_copy(update={"mode": mode}))
            if isinstance(step, Rewrite):
                steps.append(step)
        raise AssertionError("a step is called `mask` and is none")

    @cached_property
    def _run(self) -> Any:
        from feilun.wheel.runner import LocalRun

        return LocalRun(
            "prepare",
            seed=self._settings.project.seed,
            root=self._workspace.root,
            folder=self._workspace.folder / "work" / "mask-now",
            blobs=self._workspace.blobs,
        )


def _text(event: Event) -> str | None:
    """The free text of an event; None where it has none, or has been dealt with."""
    if isinstance(event, PredictionRow):
        return event.input if event.kept == "full" else None
    if isinstance(event, FeedbackRow) and event.kind == "comment" and event.kept == "full":
        return str(event.value)
    return None


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """The row without digests that say nothing to people."""
    told = dict(row)
    if row.get("kept") in NOT_LEARNT:
        told["input"] = NOTHING_SHOWN
    if row.get("value_kept") in NOT_LEARNT:
        told["value"] = NOTHING_SHOWN
    return told


def _pair(text: str) -> list[str] | None:
    """The two texts of a logged pair; None where it is not one."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    two = isinstance(found, list) and len(found) == 2 and all(isinstance(t, str) for t in found)
    return found if two else None


def _written(pair: list[str]) -> str:
    return json.dumps(pair, ensure_ascii=False, separators=(",", ":"))

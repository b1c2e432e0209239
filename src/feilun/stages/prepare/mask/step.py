"""The step `mask`."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from typing import ClassVar, Literal, get_args

import polars as pl
from pydantic import Field

from feilun.core.run import Run
from feilun.stages.prepare.mask.kinds import KINDS, Kind, Span
from feilun.stages.prepare.mask.surrogates import key, known, surrogate
from feilun.stages.prepare.step import Step

KEY_FILE = "mask.key"
ROUNDS = 8
"""A find may stand right beside another one and only be seen when that one is masked. Every round
leaves less text; who writes more than seven such neighbours in a chain does it on purpose."""

KindName = Literal[
    "url", "email", "iban", "company_code", "resident_id", "bank_card", "permit", "passport", "ssn",
    "mobile", "phone", "landline", "plate", "ip", "account", "address", "name",
]  # fmt: skip
Writer = Callable[[str, str], str]


class Mask(Step):
    """Puts something else in the place of personal data, in Chinese and English texts.

    `placeholder` writes a fixed token (`[MOBILE]`), `surrogate` a value of the same form that is
    nobody's and the same each time, under the key in `.feilun/mask.key`; `drop` drops the record
    as `personal_data`. It stands right after `normalise`, which makes full-width digits plain.
    """

    use: ClassVar[str] = "mask"

    kinds: tuple[KindName, ...] = Field(
        get_args(KindName), min_length=1, description="what is looked for"
    )
    mode: Literal["placeholder", "surrogate", "drop"] = Field(
        "placeholder", description="what is done with it"
    )

    def apply(self, frame: pl.DataFrame, run: Run) -> pl.DataFrame:
        chosen = [kind for kind in KINDS if kind.name in self.kinds]
        write, ours = self._writer(run)
        texts, counts = frame["text"], Counter[str]()
        changed = pl.Series([False]).new_from_index(0, frame.height)
        at = pl.Series(range(frame.height), dtype=pl.UInt32)
        for _round in range(ROUNDS):
            rows, fresh = _masked(texts.gather(at), at, chosen, write, ours, counts)
            if not rows:
                break
            at = pl.Series(rows, dtype=pl.UInt32)
            texts = texts.scatter(at, pl.Series(fresh, dtype=pl.String))
            changed = changed.scatter(at, True)
        for kind, count in sorted(counts.items()):
            run.spend(count, f"masked.{kind}")
        frame = frame.with_columns(texts.alias("text"))
        if self.mode != "drop":
            return frame
        # What is dropped is kept and shown to who asks: masked, too.
        run.drop(frame.filter(changed), self.use, "personal_data")
        return frame.filter(~changed)

    def _writer(self, run: Run) -> tuple[Writer, bool]:
        """What writes the replacement of a kind's value; whether surrogates are left alone."""
        if self.mode == "surrogate":
            secret = key(run.root / ".feilun" / KEY_FILE)
            return (lambda kind, value: surrogate(secret, kind, value)), True
        tokens = {kind.name: kind.token for kind in KINDS}
        return (lambda kind, _value: tokens[kind]), False


def _masked(
    texts: pl.Series, at: pl.Series, kinds: list[Kind], write: Writer, ours: bool,
    counts: Counter[str],
) -> tuple[list[int], list[str]]:  # fmt: skip
    """The rows (of `at`) that change, and their new texts; adds to `counts`."""
    hints = texts.to_frame("text").select(
        pl.col("text").str.contains(kind.hint).fill_null(False).alias(kind.name) for kind in kinds
    )
    some = hints.select(pl.any_horizontal(pl.all())).to_series()
    if not some.any():
        return [], []
    rows, fresh = [], []
    flags = hints.filter(some).iter_rows()
    for row, text, flagged in zip(at.filter(some), texts.filter(some), flags, strict=True):
        hinted = [kind for kind, flag in zip(kinds, flagged, strict=True) if flag]
        spans = found(text, hinted, ours)
        if spans:
            rows.append(row)
            fresh.append(_replaced(text, spans, write))
            counts.update(kind for _start, _end, kind in spans)
    return rows, fresh


def found(text: str, kinds: list[Kind], ours: bool = False) -> list[tuple[int, int, str]]:
    """What is to be masked in `text`: start, end, kind; in their order, without overlaps.

    Where two claim a place, the kind that comes first in `KINDS` has it, then the longer, then
    the earlier. With `ours`, surrogates claim their place and stay.
    """
    taken: list[Span] = []
    kept: list[tuple[int, int, str]] = []
    for kind in kinds:
        for start, end in sorted(set(kind.search(text)), key=lambda s: (s[0] - s[1], s[0])):
            place = bisect_left(taken, (start, end))
            before = place > 0 and taken[place - 1][1] > start
            if end <= start or before or (place < len(taken) and taken[place][0] < end):
                continue
            taken.insert(place, (start, end))
            if not (ours and known(kind.name, text[start:end])):
                kept.append((start, end, kind.name))
    return sorted(kept)


def _replaced(text: str, spans: list[tuple[int, int, str]], write: Writer) -> str:
    pieces, last = [], 0
    for start, end, kind in spans:
        pieces += [text[last:start], write(kind, text[start:end])]
        last = end
    return "".join([*pieces, text[last:]])

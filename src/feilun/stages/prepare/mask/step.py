"""The step `mask`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from pydantic import Field

from feilun.core.run import Run
from feilun.stages.prepare.step import Rewrite

if TYPE_CHECKING:
    import polars as pl

    from feilun.stages.prepare.mask.finder import Find

KEY_FILE = "mask.key"
ROUNDS = 8
"""A find may stand right beside another one and only be seen when that one is masked. Every round
leaves less text; who writes more than seven such neighbours in a chain does it on purpose."""

KindName = Literal[
    "url", "email", "iban", "company_code", "resident_id", "bank_card", "permit", "passport", "ssn",
    "mobile", "phone", "landline", "plate", "ip", "account", "address", "name",
]  # fmt: skip
Writer = Callable[[str, str], str]


class Mask(Rewrite):
    """Puts something else in the place of personal data, in Chinese and English texts.

    `placeholder` writes a fixed token (`[MOBILE]`), `surrogate` a value of the same form that is
    nobody's and the same each time, under the key in `.feilun/mask.key`; `drop` drops the record
    as `personal_data` (what is kept of it is masked, and without spans). It stands right after
    `normalise`, which makes full-width digits plain. `text` alone is masked, not `fields`.
    """

    use: ClassVar[str] = "mask"

    kinds: tuple[KindName, ...] = Field(
        get_args(KindName), min_length=1, description="what is looked for"
    )
    mode: Literal["placeholder", "surrogate", "drop"] = Field(
        "placeholder", description="what is done with it"
    )
    names: Literal["announced", "likely"] = Field(
        "likely",
        description="Chinese names: only those that a word beside them announces, or all that are"
        " likely to be one",
    )

    def rewritten(self, texts: pl.Series, run: Run) -> pl.Series:
        # A process that serves knows the settings and masks nothing.
        import polars as pl

        from feilun.stages.prepare.mask.finder import Finder

        write, ours = self._writer(run)
        finder = Finder(self.kinds, self.names, ours)
        counts = Counter[str]()
        texts = texts.clone()  # `scatter` writes in place
        at, some = pl.int_range(len(texts), dtype=pl.UInt32, eager=True), texts
        for _round in range(ROUNDS):
            rows, fresh = [], []
            for row, text, finds in finder(some):
                rows.append(row)
                fresh.append(_replaced(text, finds, write))
                for _start, _end, kind in finds:
                    counts[kind] += 1
            if not rows:
                break
            # Only what changed can have changed neighbours. The ends of what changed are trimmed
            # in any case: done here, the next round sees what a second masking would.
            at = at.gather(rows)
            some = pl.Series(texts.name, fresh, dtype=pl.String).str.strip_chars()
            texts = texts.scatter(at, some)
        for kind, count in sorted(counts.items()):
            run.spend(count, f"masked.{kind}")
        return texts

    def apply(self, frame: pl.DataFrame, run: Run) -> pl.DataFrame:
        if self.mode != "drop":
            return super().apply(frame, run)
        import polars as pl

        from feilun.core.records import SPANS

        masked = self.rewritten(frame["text"], run)
        changed = masked.ne_missing(frame["text"])
        # What is dropped is kept and shown to who asks: masked, too. Spans would miss their place.
        hidden = frame.with_columns(masked.alias("text"), pl.lit(None, dtype=SPANS).alias("spans"))
        run.drop(hidden.filter(changed), self.use, "personal_data")
        return frame.filter(~changed)

    def _writer(self, run: Run) -> tuple[Writer, bool]:
        """What writes the replacement of a kind's value; whether surrogates are left alone."""
        if self.mode == "surrogate":
            from feilun.stages.prepare.mask.surrogates import key, surrogate

            secret = key(run.root / ".feilun" / KEY_FILE)
            return (lambda kind, value: surrogate(secret, kind, value)), True
        from feilun.stages.prepare.mask.kinds import KINDS

        tokens = {kind.name: kind.token for kind in KINDS}
        return (lambda kind, _value: tokens[kind]), False


def _replaced(text: str, finds: list[Find], write: Writer) -> str:
    if len(finds) == 1:
        start, end, kind = finds[0]
        return text[:start] + write(kind, text[start:end]) + text[end:]
    pieces, last = [], 0
    for start, end, kind in finds:
        pieces += [text[last:start], write(kind, text[start:end])]
        last = end
    return "".join([*pieces, text[last:]])

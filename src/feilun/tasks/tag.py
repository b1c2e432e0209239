"""Tag: the entities in a text, what they are and where they stand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from feilun.core.errors import Invalid, shortened
from feilun.core.i18n import _
from feilun.tasks import metrics, spans
from feilun.tasks.counted import Counted
from feilun.tasks.spans import Span
from feilun.tasks.task import (
    EMPTY,
    UNKNOWN,
    Answer,
    BadAnswer,
    Entity,
    Input,
    Tagger,
    contentless,
)

if TYPE_CHECKING:
    import polars as pl


class BadSpans(Invalid):
    """A record's spans do not fit its text, or overlap."""

    def __init__(self, record: str, span: Span, problem: str) -> None:
        super().__init__(
            _("The span {span} of record {record} cannot be learnt: {problem}.").format(
                span=spans.shown(span), record=shortened(record), problem=problem
            ),
            remedy=_(
                "Mend the record in its source (of two spans that overlap, keep one), "
                "then: feilun turn"
            ),
        )


class Entities(NamedTuple):
    """The entities of a text by their start, none within another; None without an answer.

    `score` is the product of their scores: the probability that each of them is right, were they
    independent; 1 where none was found. It says nothing of those that were missed.
    """

    entities: tuple[Entity, ...] | None
    score: float
    reason: str | None = None

    @property
    def written(self) -> str | None:
        """`[[0,2,"PER"],[5,7,"LOC"]]`."""
        if self.entities is None:
            return None
        return spans.written((one.start, one.end, one.label) for one in self.entities)


def _items(written: str) -> Collection[metrics.Item]:
    return [(label, (start, end)) for start, end, label in spans.read(written)]


class Tag(Counted):
    """A record is a text and, for training, its `spans` (none: []; not labelled: null).

    Loss: the negative log-likelihood of the tokens' BIO tags. Metrics as seqeval counts by
    default: an entity is right when start, end and label are (`f1`, `precision` and `recall`
    over all entities; `macro_f1`, the mean over the labels). A text without an answer has no
    entities.
    """

    use: ClassVar[str] = "tag"

    @property
    def counting(self) -> metrics.Counting:
        return _COUNTING

    def labelled(self) -> pl.Expr:
        import polars as pl

        return pl.col("spans").is_not_null()

    def stratum(self) -> pl.Expr:
        import polars as pl

        return pl.lit("")

    def labels(self, frame: pl.DataFrame) -> Counter[str]:
        import polars as pl

        found = frame.select(pl.col("spans").explode()).to_series().drop_nulls()
        return Counter(found.struct.field("label").drop_nulls().to_list())

    def inputs(self, frame: pl.DataFrame) -> Sequence[Input]:
        return frame["text"].to_list()

    def entities(self, frame: pl.DataFrame) -> list[list[Span]]:
        """The spans of each labelled record by their start, as they may be learnt; raises
        `BadSpans` where one is empty, outside the text or overlaps another."""
        found: list[list[Span]] = []
        for record, text, given in frame.select("id", "text", "spans").iter_rows():
            if not given:
                found.append([])
                continue
            row = spans.ordered(given)
            wrong = spans.fault(row, len(text or ""))
            if wrong is not None:
                raise BadSpans(record, *wrong)
            found.append(row)
        return found

    def truth(self, frame: pl.DataFrame) -> list[str]:
        return [spans.written(row) for row in self.entities(frame)]

    def record(self, written_input: str, written: str) -> dict[str, Any]:
        wanted = _('a JSON list of [start, end, label], such as [[0, 2, "PER"]]')
        try:
            found = spans.read(written)
        except ValueError:
            raise BadAnswer(self.use, written, wanted) from None
        wrong = spans.fault(found, len(written_input))
        if wrong is not None:
            span, problem = wrong
            raise BadAnswer(self.use, spans.shown(span), problem)
        rows = [{"start": start, "end": end, "label": label} for start, end, label in found]
        return {"text": written_input, "label": None, "spans": rows}

    def counted(self, written: str) -> list[str]:
        return sorted({label for _start, _end, label in spans.read(written)})

    def answers(self, model: Tagger, inputs: Sequence[Input]) -> list[Answer]:
        texts = [str(text) for text in inputs]
        answers: list[Answer] = []
        for text, found in zip(texts, model.entities(texts), strict=True):
            reason = EMPTY if contentless(text) else UNKNOWN if found is None else None
            if reason is not None or found is None:
                answers.append(Entities(None, 0.0, reason))
                continue
            score = 1.0
            for one in found:
                score *= one.score
            answers.append(Entities(tuple(found), score))
        return answers

    def trivial(self, truth: Sequence[str]) -> str:
        """No entities: no other spans fit every text."""
        return "[]"


_COUNTING = metrics.Counting(
    {
        "f1": metrics.micro_f1,
        "precision": metrics.micro_precision,
        "recall": metrics.micro_recall,
        "macro_f1": metrics.macro_f1,
    },
    read=_items,
)

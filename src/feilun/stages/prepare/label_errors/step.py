"""Labels that are probably wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import ClassVar, Literal, NamedTuple, Self

import numpy as np
import polars as pl
from pydantic import Field

from feilun.core.i18n import _
from feilun.core.run import Run
from feilun.stages.prepare.corpus import DROPS, Corpus
from feilun.stages.prepare.label_errors.confident import (
    Doubts,
    Prune,
    doubted,
    first_by_doubt,
    joint,
    pruned,
)
from feilun.stages.prepare.label_errors.cross_validation import CrossValidated
from feilun.stages.prepare.lots import lots
from feilun.stages.prepare.step import CorpusStep, StepUnfit
from feilun.tasks import Task

SUSPECTS = "suspects.json"
"""The file in `run.folder` that tells of the suspects."""
MOST_SHOWN, MOST_SHOWN_CHARS = 200, 200
LONGEST = 2_000
"""Characters of a text that are read: what it is about is said by then."""
MOST_CHARS = 10_000_000
"""Characters the models are trained on; training takes 100 bytes a character (measured): 1 GB."""
PIECE = 4_000_000
"""Characters scored at a time."""
_FOUND = {
    "at": pl.UInt32, "label": pl.String, "suggested": pl.String,
    "confidence": pl.Float64, "own": pl.Float64, "doubt": pl.Float64, "drop": pl.Boolean,
}  # fmt: skip
_PIECE = {
    "at": pl.UInt32, "key": pl.UInt64, "label": pl.String, "_label": pl.String,
    "fold": pl.Int64, "text": pl.String,
}  # fmt: skip
_NO_PIECE = pl.DataFrame(schema=_PIECE)


class Found(NamedTuple):
    """`suspects`, the most doubtful first: `at`, `label`, `suggested`, the probabilities
    of the suggested (`confidence`) and of the given label (`own`), the margin between them
    over the labels' thresholds (`doubt`), and whether `most_share` lets it `drop`; `judged`
    counts, by label, the records that were looked at."""

    suspects: pl.DataFrame
    judged: dict[str, int]


class LabelErrors(CorpusStep):
    """Tells which labels are probably wrong (confident learning); drops them as `label_error`
    when told to.

    Each record is judged by `ngram` models that were trained without it and its twins: the
    records are cut into `folds` by their key, label by label, so the order they came in
    does not count. Records without text or label, and labels on fewer than `folds` different
    texts, are not judged.

    A record is a suspect when another label is more probable than its own and as probable as
    with those that bear it. Not every suspect is an error: on reviews with a tenth of the labels
    flipped, four in ten had their label from the start (benchmarks/label_errors.py). So nothing
    is dropped unless `action` says so, and then of no label more than `most_share`, the most
    doubtful ones. Put this step after `near_duplicates`: a copy in another fold confirms a
    wrong label; and after `mask`: the report shows suspects' texts. It is for the task `classify`
    with one label per record: what judges is a classifier of texts.
    """

    use: ClassVar[str] = "label_errors"
    tells: ClassVar[tuple[str, ...]] = (SUSPECTS,)

    action: Literal["report", "drop"] = Field(
        "report", description="report: suspects stay and are listed; drop: they go"
    )
    prune: Prune = Field(
        "confident",
        description="confident: off the diagonal of the confident joint; noise_rate, class: as "
        "many as it expects, by pair of labels or by label; both: what these two agree on",
    )
    most_share: float = Field(
        0.1, gt=0, le=0.5, description="most that is dropped of any label's records"
    )
    folds: int = Field(5, ge=2, le=20, description="parts the records are cut into")
    rounds: int = Field(
        2, ge=1, le=3, description="trainings; each further one leaves out what is doubted so far"
    )
    most: int = Field(
        200_000,
        ge=1_000,
        description="records to train on (of 10 million characters at most); beyond, a sample is "
        "taken, and all are judged",
    )

    def fitted(self, task: Task) -> Self:
        """Raises `StepUnfit` where the records are no texts with one label."""
        if task.use != "classify" or not task.exclusive:
            raise StepUnfit(self.use, task.use)
        return self

    def decide(self, corpus: Corpus, run: Run) -> pl.DataFrame:
        """The suspects to drop; writes `suspects.json` into `run.folder`."""
        found = self.found(corpus, run.seed)
        dropped = found.suspects.filter(pl.col("drop") & (self.action == "drop"))
        content = self._told(found, dropped.height, corpus)
        text = json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True)
        (run.folder / SUSPECTS).write_text(text + "\n", encoding="utf-8")
        run.spend(found.suspects.height, "label_errors.suspects")
        values = {"count": found.suspects.height, "judged": sum(found.judged.values())}
        if self.action == "drop":
            sentence = _(
                "label_errors: {count:,} of {judged:,} labels look wrong; dropped: {gone:,}"
            )
            run.say(sentence.format(gone=dropped.height, **values))
        elif found.suspects.height:
            sentence = _(
                "label_errors: {count:,} of {judged:,} labels look wrong; they stay until "
                'action = "drop" is set.'
            )
            run.say(sentence.format(**values))
        detail = pl.struct("suggested", pl.col("confidence").round(4)).struct.json_encode()
        return dropped.select(
            "at", pl.lit("label_error").alias("reason"), detail.alias("detail")
        ).cast(DROPS)  # type: ignore[arg-type]  # a dict of types is what it takes

    def found(self, corpus: Corpus, seed: int) -> Found:
        """Every suspect, whatever `action` says."""
        labelled = corpus.known.filter(pl.col("label").is_not_null())
        folded = _folded(labelled, self.folds, seed)
        taught = pl.concat([_NO_PIECE, *_pieces(corpus, _sample(folded, self.most))])
        labels = _learnable(taught, self.folds)
        if len(labels) < 2:
            return Found(pl.DataFrame(schema=_FOUND), {})
        models = self._models(taught, labels, seed)
        parts, at, counts = [], [], np.zeros((len(labels), len(labels)), dtype=np.int64)
        totals = np.zeros(len(labels), dtype=np.int64)
        for unclassed in _pieces(corpus, folded):
            piece = _classed(unclassed, labels)
            chances = models.chances(piece["text"].to_list(), piece["fold"].to_numpy())
            sure = ~np.isnan(chances[:, 0])
            given = piece["class"].to_numpy()[sure]
            doubts, more = doubted(chances[sure], given, models.least)
            counts += more
            totals += np.bincount(given, minlength=len(labels))
            parts.append(doubts)
            at.append(piece["at"].to_numpy()[sure][doubts.row])
        doubts = Doubts(*(np.concatenate(column) for column in zip(*parts, strict=True)))
        suspects = pruned(doubts, joint(counts, totals), self.prune)
        gone = first_by_doubt(doubts, suspects, np.floor(totals * self.most_share).astype(np.int64))
        names = pl.Series(labels)
        frame = pl.DataFrame({
            "at": np.concatenate(at), "label": names.gather(doubts.given),
            "suggested": names.gather(doubts.suggested),
            "confidence": doubts.confidence.astype(np.float64),
            "own": doubts.own.astype(np.float64), "doubt": doubts.doubt.astype(np.float64),
            "drop": gone,
        }).filter(suspects)  # fmt: skip
        frame = frame.join(corpus.known.select("at", "id"), on="at")
        judged = {label: int(n) for label, n in zip(labels, totals, strict=True)}
        return Found(frame.sort(-pl.col("doubt"), "id", "at").select(*_FOUND), judged)

    def _models(self, taught: pl.DataFrame, labels: list[str], seed: int) -> CrossValidated:
        # Sorted, so that what is learnt does not depend on who came first.
        taught = _classed(taught, labels).sort("key", "text", "class")
        return CrossValidated(
            taught["text"].to_list(),
            taught["class"].to_numpy(),
            taught["fold"].to_numpy(),
            num_classes=len(labels),
            rounds=self.rounds,
            seed=seed,
        )

    def _told(self, found: Found, dropped: int, corpus: Corpus) -> dict[str, object]:
        """What `suspects.json` holds: counts by label and by pair, and the first suspects with
        their shortened texts."""
        suspects = found.suspects
        shown = suspects.head(MOST_SHOWN)
        texts = pl.concat(
            [
                frame.join(shown.select("at"), on="at", how="semi").select(
                    "at", "id", "source", "row", _shortened(pl.col("text"))
                )
                for frame in corpus.frames()
            ]
        )
        listed = shown.join(texts, on="at", how="left", maintain_order="left").with_columns(
            pl.col("confidence", "own").round(4)
        )
        by_label = dict(suspects["label"].value_counts().rows())
        pairs = suspects.group_by("label", "suggested").len("count")
        return {
            "action": self.action,
            "judged": sum(found.judged.values()),
            "suspects": suspects.height,
            "dropped": dropped,
            "labels": {
                label: {"judged": count, "suspects": by_label.get(label, 0)}
                for label, count in found.judged.items()
            },
            "pairs": pairs.sort("count", "label", "suggested", descending=[True, False, False])
            .head(MOST_SHOWN)
            .to_dicts(),
            "first": listed.select(
                "id", "label", "suggested", "confidence", "own", "source", "row", "text"
            ).to_dicts(),
        }


def _shortened(text: pl.Expr) -> pl.Expr:
    long = text.str.len_chars() > MOST_SHOWN_CHARS
    return pl.when(long).then(text.str.head(MOST_SHOWN_CHARS - 1) + "…").otherwise(text)


def _folded(known: pl.DataFrame, folds: int, seed: int) -> pl.DataFrame:
    """`known` with its `lot`, drawn from key and seed, and `fold`: the keys of each label are
    dealt out in the order of their lots, so twins are in one fold and labels in all."""
    known = known.with_columns(lots(known["key"], f"{seed}:folds"))
    keys = known.group_by("key").agg(pl.col("label").min().alias("_label"), pl.col("lot").first())
    dealt = keys.sort("_label", "lot", "key").select(
        "key", "_label", (pl.int_range(pl.len()).over("_label") % folds).alias("fold")
    )
    return known.join(dealt, on="key", how="left", maintain_order="left")


def _sample(folded: pl.DataFrame, most: int) -> pl.DataFrame:
    """The records with the lowest lots: at most `most`, and about `MOST_CHARS` characters."""
    ordered = folded.sort("lot", "key", "id").head(most)
    chars = pl.col("size").clip(upper_bound=LONGEST).cast(pl.Int64).cum_sum()
    return ordered.filter(chars <= MOST_CHARS)


def _learnable(taught: pl.DataFrame, folds: int) -> list[str]:
    """The labels, sorted, with `folds` different texts or more: each fold has one of them."""
    texts = taught.filter(pl.col("label") == pl.col("_label")).group_by("label")
    counted = texts.agg(pl.col("key").n_unique().alias("texts"))
    return counted.filter(pl.col("texts") >= folds)["label"].sort().to_list()


def _pieces(corpus: Corpus, wanted: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The records of `wanted` that have a text, some `PIECE` characters at a time: the columns
    of `_PIECE`; the text is cut to its beginning."""
    wanted = wanted.select("at", "key", "label", "_label", "fold")
    for frame in corpus.frames():
        texts = frame.select("at", pl.col("text").str.head(LONGEST)).filter(pl.col("text") != "")
        own = texts.join(wanted, on="at", maintain_order="left").select(*_PIECE)
        number = own["text"].str.len_chars().cast(pl.Int64).cum_sum() // PIECE
        if own.height:
            yield from own.with_columns(number.alias("_piece")).partition_by(
                "_piece", maintain_order=True, include_key=False
            )


def _classed(piece: pl.DataFrame, labels: list[str]) -> pl.DataFrame:
    """The records with one of `labels`, and its place there as `class`."""
    classes = pl.DataFrame({"label": labels, "class": np.arange(len(labels))})
    return piece.join(classes, on="label", maintain_order="left")

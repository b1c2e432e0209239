"""What must be known of the training split before a new text can be judged: its texts, how
many each label has, and a model that says whether a new text still has its parent's label."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import polars as pl

from feilun.core.run import Run
from feilun.core.text import hashed
from feilun.models import folder as model_folder
from feilun.models.family import Lesson
from feilun.models.ngram import Ngram
from feilun.stages.prepare.augment.edits import Lots
from feilun.stages.prepare.twins import twin_key
from feilun.tasks.task import Scorer

CARD = "survey.json"
MADE = "augment:"
"""What the source of every made record begins with."""
MOST_LEARNT = 40_000
"""Records that each of the two models is trained on."""
LEAST_OF_LABEL = 200
"""Of a rare label at least so many are among them, if there are."""
FEW = 40
"""Below so many labelled records, or with one label, there is no model to ask."""
MOST_LOST = 0.15
"""The probability of its label that a text may lose by being changed."""

Frames = Callable[[], Iterator[pl.DataFrame]]


class Candidate(NamedTuple):
    """A new text and what it was made of."""

    parent: str
    label: str | None
    before: str
    after: str


class Survey:
    """What is known of the training split; `Survey.of` makes it, a folder keeps it.

    `labels` counts the records of each label, `keys` are the sorted hashes of all twin keys
    (8 bytes per record, not loaded but mapped), `models` are two predictors, each trained on
    the records that the other has not seen (or twice the one that was given).
    """

    def __init__(self, folder: Path) -> None:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        self.labels: dict[str, int] = card["labels"]
        self.keys: np.ndarray = np.load(folder / "keys.npy", mmap_mode="r")
        paths = [Path(path) if path.startswith("/") else folder / path for path in card["models"]]
        loaded = {path: cast(Scorer, model_folder.load(path)) for path in paths}
        self.models: list[Scorer] = [loaded[path] for path in paths]

    @classmethod
    def of(
        cls,
        frames: Frames,
        run: Run,
        folder: Path,
        model: Path | None = None,
        *,
        judges: bool = True,
    ) -> Survey:
        """Goes over the training split twice and keeps what it finds in `folder`, all or
        nothing. `model` is the folder of a model to ask instead of training two, such as the
        live one; without `judges` there is none."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            keys, labels = _counted(frames())
            np.save(draft / "keys.npy", keys)
            names = []
            if judges:
                names = (
                    [str(model.resolve())] * 2 if model else _trained(frames, labels, draft, run)
                )
            card = json.dumps({"labels": labels, "models": names}, ensure_ascii=False)
            (draft / CARD).write_text(card, encoding="utf-8")
            draft.replace(folder)
        except OSError:
            # Another process was faster; it found the same.
            if not (folder / CARD).exists():
                raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return cls(folder)

    def known(self, texts: pl.Series) -> np.ndarray:
        """For each text whether a twin of it is in the training split already."""
        keys = twins(texts).to_numpy()
        at = np.searchsorted(self.keys, keys)
        at[at == len(self.keys)] = 0
        return np.asarray(self.keys[at] == keys) if len(self.keys) else np.zeros(len(keys), bool)

    def kept(self, candidates: Sequence[Candidate]) -> list[bool]:
        """For each new text whether it still has its label, as far as a model can tell.

        The model that has not seen the parent gives both texts a probability of the label. The
        new one's may be lower by `MOST_LOST` at most; and where the parent's label was the most
        probable one it must be so for the new text. (To ask only whether the model agrees with
        the label would keep the easy texts and lose the hard ones.) What no model can judge is
        kept.
        """
        verdicts = [True] * len(candidates)
        sides = [_side(candidate.parent) for candidate in candidates]
        for side, model in enumerate(self.models):
            number = {label: at for at, label in enumerate(model.labels)}
            asked = [
                at
                for at, candidate in enumerate(candidates)
                # A model learns from one side and judges the other.
                if sides[at] != side and candidate.label in number
            ]
            if not asked:
                continue
            labels = np.array([number[candidates[at].label or ""] for at in asked])
            before = np.nan_to_num(model.scores([candidates[at].before for at in asked]))
            after = np.nan_to_num(model.scores([candidates[at].after for at in asked]))
            row = np.arange(len(asked))
            lost = before[row, labels] - after[row, labels] > MOST_LOST
            turned = (before.argmax(1) == labels) & (after.argmax(1) != labels)
            for at, wrong in zip(asked, lost | turned, strict=True):
                verdicts[at] = not wrong
        return verdicts


def twins(texts: pl.Series) -> pl.Series:
    """The hash of each text's twin key (UInt64)."""
    return hashed(texts.to_frame("text").select(twin_key(pl.col("text"))).to_series())


def originals(frame: pl.DataFrame) -> pl.DataFrame:
    """The records that were not made by `augment`."""
    return frame.filter(~pl.col("source").fill_null("").str.starts_with(MADE))


def _counted(frames: Iterable[pl.DataFrame]) -> tuple[np.ndarray, dict[str, int]]:
    keys = [np.empty(0, dtype=np.uint64)]
    counts: dict[str, int] = {}
    for frame in frames:
        keys.append(twins(frame["text"].drop_nulls()).to_numpy())
        for label, count in originals(frame)["label"].drop_nulls().value_counts().iter_rows():
            counts[label] = counts.get(label, 0) + count
    every = np.concatenate(keys)
    every.sort()
    return every, dict(sorted(counts.items()))


def _trained(frames: Frames, labels: dict[str, int], folder: Path, run: Run) -> list[str]:
    """Trains the two models; their folders' names, none where there is too little."""
    total = sum(labels.values())
    if len(labels) < 2 or total < FEW:
        return []
    share = min(1.0, 2 * MOST_LEARNT / total)
    wanted = {label: max(share, LEAST_OF_LABEL / count) for label, count in labels.items()}
    pieces = []
    for frame in frames():
        usable = originals(frame).filter(
            pl.col("text").is_not_null() & pl.col("label").is_in(list(labels))
        )
        rows = usable.select("id", "text", "label")
        taken = [
            Lots("learnt", record).share() < wanted[label]
            for record, label in rows.select("id", "label").iter_rows()
        ]
        pieces.append(rows.filter(pl.Series(taken, dtype=pl.Boolean)))
    learnt = pl.concat(pieces).sort("id")
    sides = pl.Series([_side(record) for record in learnt["id"]], dtype=pl.Int8)
    # Few buckets: what is asked is a difference between two texts, not the last point of accuracy.
    family = Ngram(bits=18, folds=2)
    names = []
    for side in (0, 1):
        rows = learnt.filter(sides == side)
        found = rows["label"].value_counts().filter(pl.col("count") >= 4)["label"].to_list()
        rows = rows.filter(pl.col("label").is_in(found))
        if len(found) < 2:
            return []
        name = f"model-{side}"
        (folder / name).mkdir()
        lesson = Lesson(rows, rows.clear(), tuple(sorted(found)))
        family.fit(lesson, folder / name, run.within(f"check-{side}"))
        names.append(name)
    return names


def _side(record: str) -> int:
    return Lots("side", record).below(2)

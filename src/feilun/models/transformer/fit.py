"""One training, from frames to the finished folder."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import tokenizers
import torch
import torch.nn.functional as F  # noqa: N812  # its name everywhere
import transformers

from feilun.core.errors import FeilunError
from feilun.core.i18n import _
from feilun.core.run import Run
from feilun.models.family import LabelUnknown, NothingToLearn
from feilun.models.folder import write_card
from feilun.models.transformer import card, engine, export
from feilun.models.transformer import tokenizer as tokens
from feilun.models.transformer.calibrate import Checked, calibrate
from feilun.models.transformer.checkpoint import Checkpoints, Position, State, describe

if TYPE_CHECKING:
    import polars as pl

    from feilun.models.transformer.settings import Settings

CHECKPOINT_SECONDS = 30.0
"""At most so long between two checkpoints; what a kill costs."""
POOL = 50
"""Batches whose texts are sorted by length together: padding falls to 3 % (review sentences), and
texts of like length still meet in ever other company."""


class LossNotFinite(FeilunError):
    """The loss, or its gradient, became infinite or not a number."""

    def __init__(self, step: int, rate: float) -> None:
        super().__init__(
            _(
                "Training broke down at step {step}: the loss is no longer a number. The highest "
                "learning rate was {rate:g}; the last good checkpoint is kept."
            ).format(step=step, rate=rate),
            remedy=_("Set a lower learning_rate in [train], for example {rate:g}.").format(
                rate=rate / 10
            ),
        )


class Split(NamedTuple):
    """Texts as ids with their labels' numbers."""

    encoded: tokens.Encoded
    target: np.ndarray


class Material(NamedTuple):
    """All that training reads."""

    settings: Settings
    labels: tuple[str, ...]
    tokenizer: tokenizers.Tokenizer
    train: Split
    validation: Split
    weight: np.ndarray
    """Of each label in the loss, float32."""


def fit(
    settings: Settings,
    train: pl.DataFrame,
    validation: pl.DataFrame,
    labels: Sequence[str],
    folder: Path,
    run: Run,
) -> None:
    """Trains `settings` (every choice made) and writes the model into `folder`."""
    assert settings.threads is not None
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # theirs
    device = engine.pick_device(settings.device)
    name = _fingerprint(settings, train, validation, labels, run.seed)
    checkpoints = Checkpoints(run.folder / f"transformer-{name}")
    with engine.steady(settings.threads, run.seed, device):
        material = _material(settings, train, validation, tuple(labels), run)
        training = Training(material, checkpoints, device, run)
        best = training.to_the_end()
        run.progress(training.total, training.total, _("writing the model"))
        _write(material, training.network, best, folder)


def _fingerprint(
    settings: Settings,
    train: pl.DataFrame,
    validation: pl.DataFrame,
    labels: Sequence[str],
    seed: int,
) -> str:
    """Twelve hex digits over all that decides a training's outcome: whose checkpoint it is."""
    digest = hashlib.sha256()
    versions = [torch.__version__, transformers.__version__, tokenizers.__version__]
    content = [settings.model_dump(mode="json"), list(labels), seed, versions]
    digest.update(describe(content).encode())
    for frame in (train, validation):
        for column in ("text", "label"):
            for value in frame[column]:
                digest.update(repr(value).encode() + b"\n")
    return digest.hexdigest()[:12]


def _material(
    settings: Settings,
    train: pl.DataFrame,
    validation: pl.DataFrame,
    labels: tuple[str, ...],
    run: Run,
) -> Material:
    assert settings.vocabulary_size is not None
    texts = [text or "" for text in train["text"]]
    run.progress(0, len(texts), _("training the tokenizer"))
    tokenizer = tokens.train(
        texts,
        settings.vocabulary_size,
        min_frequency=settings.min_frequency,
        lowercase=settings.lowercase,
        progress=lambda done, total: run.progress(done, total, _("training the tokenizer")),
    )
    splits = []
    for frame in (train, validation):
        encoded = tokens.encode(tokenizer, [text or "" for text in frame["text"]])
        splits.append(_known(Split(encoded, _targets(frame["label"].to_list(), labels))))
    if not len(splits[0].target):
        raise NothingToLearn(len(train))
    counts = np.bincount(splits[0].target, minlength=len(labels))
    weight = np.ones(len(labels), dtype=np.float32)
    if settings.class_weight == "balanced":
        present = max(int((counts > 0).sum()), 1)
        weight = (counts.sum() / (present * np.maximum(counts, 1))).astype(np.float32)
    return Material(settings, labels, tokenizer, splits[0], splits[1], weight)


def _targets(given: list[str | None], labels: tuple[str, ...]) -> np.ndarray:
    number = {label: i for i, label in enumerate(labels)}
    unknown = next((label for label in given if label not in number), None)
    if unknown is not None or None in given:
        raise LabelUnknown(unknown, labels)
    return np.array([number[label] for label in given if label is not None], dtype=np.int64)


def _known(split: Split) -> Split:
    """The split without the texts in which there is nothing to judge by."""
    keep = split.encoded.known()
    lengths = split.encoded.lengths
    ids = split.encoded.ids[np.repeat(keep, lengths)]
    start = np.concatenate([[0], np.cumsum(lengths[keep])])
    return Split(tokens.Encoded(ids, start), split.target[keep])


class Training:
    """A training under way; `total` steps at most, fewer when it stops early."""

    def __init__(
        self, material: Material, checkpoints: Checkpoints, device: torch.device, run: Run
    ) -> None:
        settings = material.settings
        assert settings.epochs is not None
        assert settings.learning_rate is not None
        self.material, self.checkpoints, self.run = material, checkpoints, run
        self.device, self.epochs, self.rate = device, settings.epochs, settings.learning_rate
        self.network = engine.Network(
            settings.preset,
            material.tokenizer.get_vocab_size(),
            material.labels,
            settings.dropout,
        ).to(device)
        self.optimizer = self.network.adamw(self.rate, settings.weight_decay)
        self.weight = torch.from_numpy(material.weight).to(device)
        self.per_epoch = -(-len(material.train.target) // settings.batch_size)
        self.total = self.per_epoch * self.epochs
        self.saved_at = time.monotonic()
        self.tokens = 0
        self.losses: list[float] = []

    @property
    def state(self) -> State:
        """What a checkpoint holds."""
        return State(self.network, self.optimizer, self.device)

    def to_the_end(self) -> Checked:
        """Trains, or goes on training, until the last epoch or until patience is out; leaves
        the best epoch's weights in `network`, and returns how they do on validation."""
        position = self.checkpoints.restore(self.state)
        if position is None:
            position = Position()
        elif position.step:
            self.run.say(_("Going on from step {step}.").format(step=position.step))
        while not position.finished:
            position = self._epoch(position)
        if position.best_epoch >= 0:
            self.checkpoints.restore_best(self.network, position.best_epoch)
        return self.check()

    def _epoch(self, position: Position) -> Position:
        """The rest of an epoch, then validation; what follows is in the position returned."""
        order = list(self._plan(position.epoch))
        shown = _("training, epoch {epoch} of {epochs}").format(
            epoch=position.epoch + 1, epochs=self.epochs
        )
        for rows, start, length in order[position.batch :]:
            self._step(position.step, rows, start, length)
            position = position.model_copy(
                update={"batch": position.batch + 1, "step": position.step + 1}
            )
            self.run.progress(position.step, self.total, shown)
            if position.step % max(self.total // 200, 1) == 0:
                self._report(position.step)
            if time.monotonic() - self.saved_at >= CHECKPOINT_SECONDS:
                self._save(position)
        position = self._judge(position)
        self._report(position.step)
        self._save(position)
        self.checkpoints.forget_all_but(position.best_epoch)
        return position

    def _judge(self, position: Position) -> Position:
        """The position after validating a whole epoch."""
        checked = self.check()
        after = {"epoch": position.epoch + 1, "batch": 0}
        last = position.epoch + 1 >= self.epochs
        if not len(self.material.validation.target):
            return position.model_copy(update={**after, "finished": last})
        self.run.log("validation_loss", checked.loss, position.step)
        self.run.log("validation_accuracy", checked.accuracy, position.step)
        if checked.loss < position.best_loss:
            self.checkpoints.save_best(self.network, position.epoch)
            best = {
                "best_epoch": position.epoch,
                "best_loss": checked.loss,
                "best_accuracy": checked.accuracy,
                "waited": 0,
            }
            return position.model_copy(update={**after, **best, "finished": last})
        waited = position.waited + 1
        over = last or waited >= self.material.settings.patience
        return position.model_copy(update={**after, "waited": waited, "finished": over})

    def _step(self, step: int, rows: np.ndarray, start: np.ndarray, length: np.ndarray) -> None:
        """One optimizer step; raises `LossNotFinite` before any weight is touched by it."""
        split, settings = self.material.train, self.material.settings
        ids, mask = tokens.matrix(split.encoded.ids, start, length)
        target = torch.from_numpy(split.target[rows]).to(self.device)
        logits = self.network.logits(
            torch.from_numpy(ids).to(self.device),
            torch.from_numpy(mask.astype(bool)).to(self.device),
            training=True,
        )
        loss = F.cross_entropy(
            logits, target, self.weight, label_smoothing=settings.label_smoothing
        )
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        norm = torch.nn.utils.clip_grad_norm_(
            list(self.network.parameters.values()), settings.clip_norm
        )
        value = loss.item()
        if not np.isfinite(value) or not bool(torch.isfinite(norm)):
            raise LossNotFinite(step, self.rate)
        share = engine.rate_at(step, self.total, settings.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * share
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.losses.append(value)
        self.tokens += int(mask.sum())

    def _plan(self, epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """The batches of an epoch: rows, and where each row's tokens begin and how many are
        read. Of a text longer than the window, every epoch reads another stretch."""
        settings, encoded = self.material.settings, self.material.train.encoded
        assert settings.max_length is not None
        random = np.random.default_rng([self.run.seed & 0xFFFFFFFF, epoch])
        lengths = encoded.lengths
        read = np.minimum(lengths, settings.max_length - tokens.FRAME)
        start = encoded.start[:-1] + random.integers(0, lengths - read, endpoint=True)
        shuffled = random.permutation(len(lengths))
        pool = settings.batch_size * POOL
        batches = []
        for at in range(0, len(shuffled), pool):
            near = shuffled[at : at + pool]
            near = near[np.argsort(read[near], kind="stable")]
            batches += [
                near[i : i + settings.batch_size] for i in range(0, len(near), settings.batch_size)
            ]
        for i in random.permutation(len(batches)):
            rows = batches[i]
            yield rows, start[rows], read[rows]

    def check(self) -> Checked:
        """How the network does on validation, as its users will see it: windows averaged,
        probabilities calibrated. With no validation texts, nothing is known."""
        split, settings = self.material.validation, self.material.settings
        assert settings.max_length is not None
        if not len(split.target):
            return Checked(float("nan"), float("nan"), 1.0)
        found = tokens.windows(split.encoded, settings.max_length)
        logits = np.empty((len(found.text), len(self.material.labels)))
        order = np.argsort(found.length, kind="stable")
        for at in range(0, len(order), 64):
            rows = order[at : at + 64]
            ids, mask = tokens.matrix(split.encoded.ids, found.start[rows], found.length[rows])
            with torch.no_grad():
                logits[rows] = (
                    self.network.logits(
                        torch.from_numpy(ids).to(self.device),
                        torch.from_numpy(mask.astype(bool)).to(self.device),
                        training=False,
                    )
                    .cpu()
                    .numpy()
                )
        return calibrate(logits, found.text, split.target)

    def _report(self, step: int) -> None:
        if self.losses:
            self.run.log("loss", sum(self.losses) / len(self.losses), step)
        self.losses = []

    def _save(self, position: Position) -> None:
        self.checkpoints.save(self.state, position)
        self.run.spend(self.tokens, "tokens")
        self.tokens = 0
        self.saved_at = time.monotonic()


def _write(material: Material, network: engine.Network, checked: Checked, folder: Path) -> None:
    """Everything in the folder; raises `ExportDiffers` if the two forms of the model do."""
    settings, split = material.settings, material.train
    assert settings.max_length is not None
    export.fold_temperature(network, checked.temperature)
    export.write(network, folder)
    sample = tokens.windows(
        tokens.Encoded(split.encoded.ids, split.encoded.start[:65]), settings.max_length
    )
    rows = np.concatenate([np.arange(min(8, len(sample.text))), [int(sample.length.argmax())]])
    ids, mask = tokens.matrix(split.encoded.ids, sample.start[rows], sample.length[rows])
    export.check(network, folder, ids, mask)
    tokens.save(material.tokenizer, folder, settings.max_length, settings.lowercase)
    write_card(folder, settings.use, material.labels, settings.model_dump(mode="json"))
    facts = card.Facts(
        labels=material.labels,
        settings=settings,
        num_train=len(split.target),
        num_validation=len(material.validation.target),
        num_parameters=sum(p.numel() for p in network.parameters.values()),
        vocabulary=material.tokenizer.get_vocab_size(),
        loss=checked.loss,
        accuracy=checked.accuracy,
        temperature=checked.temperature,
    )
    (folder / "README.md").write_text(card.written(facts), encoding="utf-8", newline="\n")

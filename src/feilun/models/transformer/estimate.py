"""What training would take, from a few real steps of the smallest size on the user's texts."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from feilun.core.i18n import _
from feilun.core.run import Run
from feilun.models.family import Estimate
from feilun.models.transformer import tokenizer as tokens
from feilun.models.transformer.sizes import SIZES, Size, epochs_for

if TYPE_CHECKING:
    import polars as pl

    from feilun.models.transformer.settings import Settings

SAMPLE_TEXTS, SAMPLE_CHARACTERS = 512, 100_000
PROBE_SECONDS = 1.2
PACE = {"nano": 1.0, "micro": 1.8, "mini": 2.1, "small": 2.1, "base": 2.1}
"""Multiply-adds per second of each size against nano's, whose small matrices keep the cores
less busy: measured on two cores 10.8, 20.4 and 24.0 G/s for the first three, a little less
assumed; taken over for the others."""
SECONDS_PER_MILLION = 0.1
"""To write, export and check a model, per million parameters, beside a second for any
(measured 0.06: nano 0.12 s, micro 0.30, mini 0.90)."""
OTHERS = 1.12
"""Validation and checkpoints, as a factor on the steps alone."""


class Probe(NamedTuple):
    """What the probe found about this machine and these texts."""

    import_seconds: float
    seconds_per_character: float
    lengths: np.ndarray
    """Tokens of each sampled text."""
    macs_per_second: float
    num_rows: int
    num_characters: int


def estimate(settings: Settings, train: pl.DataFrame, budget: float, run: Run) -> Estimate:
    """Size and epochs within `budget` seconds, if any are, and the seconds they would take.

    With size `auto`, the biggest size that the number of texts merits and for which at least
    half the epochs they deserve fit; else nano. Epochs left open shrink to what fits, to one
    at the least. The seconds are an upper end: training may stop early.
    """
    run.progress(0, 1, _("measuring this machine"))
    probe = _probe(settings, train, run)
    run.progress(1, 1, _("measuring this machine"))
    open_sizes = list(SIZES) if settings.size == "auto" else [settings.size]
    merited = [n for n in open_sizes if len(open_sizes) == 1 or probe.num_rows >= SIZES[n].rows]
    wanted = settings.epochs or epochs_for(probe.num_rows)
    for name in reversed(merited):
        chosen = settings.resolved(probe.num_rows, name)  # type: ignore[arg-type]  # a key of SIZES
        fixed, per_epoch = _cost(probe, chosen)
        fits = int(max(budget - fixed, 0) / per_epoch)
        epochs = wanted if settings.epochs else max(1, min(wanted, fits))
        enough = epochs <= fits and epochs >= wanted / 2
        if enough or name == merited[0]:
            resolved = chosen.model_copy(update={"epochs": epochs})
            return Estimate(resolved, fixed + epochs * per_epoch)
    raise AssertionError("unreachable: the first merited size always returns")


def _cost(probe: Probe, chosen: Settings) -> tuple[float, float]:
    """Seconds that any training of `chosen` takes, and seconds per epoch."""
    size = chosen.preset
    million = size.parameters() / 1e6
    fixed = probe.import_seconds + 1.0 + SECONDS_PER_MILLION * million
    fixed += probe.seconds_per_character * probe.num_characters
    macs = _macs_per_text(size, probe.lengths) * probe.num_rows
    pace = probe.macs_per_second * PACE[chosen.size]
    # The optimizer and the clipping pass over every weight, at the speed of memory.
    steps = -(-probe.num_rows // chosen.batch_size)
    return fixed, (macs / pace + steps * million * 0.004) * OTHERS


def _macs_per_text(size: Size, lengths: np.ndarray) -> float:
    read = np.minimum(lengths + tokens.FRAME, size.max_length)
    return float(np.mean([size.flops_per_text(float(n)) for n in read]))


@cache
def _import_seconds() -> float:
    """How long torch and transformers took to import in this process, the first time."""
    begun = time.monotonic()
    import feilun.models.transformer.fit  # noqa: F401

    return time.monotonic() - begun


def _probe(settings: Settings, train: pl.DataFrame, run: Run) -> Probe:
    import_seconds = _import_seconds()
    texts = train["text"]
    sample = [text or "" for text in texts.gather_every(max(len(texts) // SAMPLE_TEXTS, 1))]
    sample = [text[: SAMPLE_CHARACTERS // 50] for text in sample][:SAMPLE_TEXTS] or ["-"]
    begun = time.monotonic()
    tokenizer = tokens.train(sample, 2_000, min_frequency=1, lowercase=settings.lowercase)
    encoded = tokens.encode(tokenizer, sample)
    per_character = (time.monotonic() - begun) / max(sum(map(len, sample)), 1)
    return Probe(
        import_seconds,
        per_character,
        encoded.lengths,
        _pace(settings, encoded, run.seed),
        max(len(texts), 1),
        int(texts.str.len_chars().sum() or 0),
    )


def _pace(settings: Settings, encoded: tokens.Encoded, seed: int) -> float:
    """Multiply-adds per second of nano's steps, forward passes counted alone."""
    import torch

    from feilun.models.transformer import engine

    nano = settings.model_copy(update={"size": "nano"}).resolved(1)
    assert nano.threads is not None
    size = nano.preset
    device = engine.pick_device(settings.device)
    random = np.random.default_rng(0)
    found = tokens.windows(encoded, size.max_length)
    with engine.steady(nano.threads, seed, device):
        network = engine.Network(size, size.vocabulary, ("a", "b"), settings.dropout).to(device)
        optimizer = network.adamw(0.0, 0.0)
        done, seconds, begun = 0.0, 0.0, time.monotonic()
        for round_ in range(40):
            rows = random.choice(len(found.text), settings.batch_size)
            # Batches of near-equal length, as in training.
            length = np.full(len(rows), int(np.median(found.length[rows])))
            length = np.minimum(length, found.length[rows])
            ids, mask = tokens.matrix(encoded.ids, found.start[rows], length)
            at = time.monotonic()
            logits = network.logits(
                torch.from_numpy(ids).to(device),
                torch.from_numpy(mask.astype(bool)).to(device),
                training=True,
            )
            logits.logsumexp(1).sum().backward()  # type: ignore[no-untyped-call]  # torch's
            optimizer.step()
            optimizer.zero_grad()
            if round_ >= 2:  # the first two warm caches and thread pools up
                seconds += time.monotonic() - at
                done += len(rows) * size.flops_per_text(float(ids.shape[1]))
            if round_ >= 3 and time.monotonic() - begun > PROBE_SECONDS:
                break
    return done / max(seconds, 1e-9)

"""What training would take, from a few real steps on the user's texts."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from feilun.core.i18n import _
from feilun.core.run import Run
from feilun.models.family import Estimate, Lesson
from feilun.models.neural.sizes import epochs_for

if TYPE_CHECKING:
    from feilun.models.neural.settings import Neural
    from feilun.models.neural.training import Training

SAMPLE, CHARACTERS = 512, 100_000
"""Inputs, and characters of texts, that are sampled."""
PROBE_SECONDS, FEWEST_STEPS = 1.0, 3
FASTER = 2.5
"""By how much a bigger size may do more multiply-adds per second than a smaller one, whose
matrices keep the cores less busy; more was not seen (transformer nano to mini: 2.2)."""
SECONDS_PER_MILLION = 0.1
"""To write, export and check a model, per million parameters, beside a second for any
(measured 0.06: transformer nano 0.12 s, micro 0.30, mini 0.90)."""
OTHERS = 1.12
"""Validation and checkpoints, as a factor on the steps alone."""


class Pace(NamedTuple):
    """What one size was measured to take on this machine and these texts."""

    per_step: float
    """Seconds."""
    per_character: float
    """Seconds, to train a tokenizer and to encode."""
    macs: float
    """Multiply-adds of a step's forward pass."""
    parameters: int


def estimate(settings: Neural, lesson: Lesson, budget: float, run: Run) -> Estimate:
    """Size and epochs within `budget` seconds, if any are, and the seconds they would take.

    With size `auto`, the biggest size that the number of texts merits and for which at least
    half the epochs they deserve fit; else the smallest. Epochs left open shrink to what fits,
    to one at the least. Every size that may fit is timed itself: a few steps of it, the fewest
    that tell. The seconds are an upper end: training may stop early.
    """
    told = _("measuring this machine")
    run.progress(0, 1, told)
    imports = _import_seconds()
    rows = max(len(lesson.train), 1)
    merited = [name for name, size in settings.sizes.items() if rows >= size.rows]
    names = (merited or list(settings.sizes)[:1]) if settings.size == "auto" else [settings.size]
    wanted = settings.epochs or epochs_for(rows)
    found: list[Estimate] = []
    pace = None
    for number, name in enumerate(names):
        chosen = settings.resolved(rows, name)
        steps = -(-rows // chosen.batch_size)
        if pace is not None and not _may_fit(chosen, pace, lesson, budget, steps * wanted / 2):
            break
        pace = _pace(chosen, lesson, run)
        run.progress(number + 1, len(names), told)
        characters = int(lesson.train["text"].str.len_chars().sum() or 0)
        fixed = imports + 1 + SECONDS_PER_MILLION * pace.parameters / 1e6
        fixed += pace.per_character * characters
        per_epoch = max(steps * pace.per_step * OTHERS, 1e-6)
        fits = int(max(budget - fixed, 0) / per_epoch)
        epochs = wanted if settings.epochs else max(1, min(wanted, fits))
        if found and not (epochs <= fits and epochs >= wanted / 2):
            break
        resolved = chosen.model_copy(update={"epochs": epochs})
        found.append(Estimate(resolved, fixed + epochs * per_epoch))
    run.progress(1, 1, told)
    return found[-1]


def _may_fit(chosen: Neural, smaller: Pace, lesson: Lesson, budget: float, steps: float) -> bool:
    """Whether a size might fit, going by the multiply-adds of the one below it."""
    assert chosen.vocabulary_size is not None
    sketch = chosen.sketch(chosen.vocabulary_size, 0)
    length = _length(chosen, lesson)
    macs = chosen.batch_size * sketch.macs(length, "states")
    return steps * smaller.per_step * macs / max(smaller.macs, 1) / FASTER <= budget


def _length(chosen: Neural, lesson: Lesson) -> int:
    assert chosen.max_length is not None
    characters = float(lesson.train["text"].str.len_chars().mean() or 1)  # type: ignore[arg-type]
    return min(int(characters) + 2, chosen.max_length)


@cache
def _import_seconds() -> float:
    """How long torch took to import in this process, the first time."""
    begun = time.monotonic()
    import feilun.models.neural.fit  # noqa: F401

    return time.monotonic() - begun


def _sample(lesson: Lesson) -> Lesson:
    """Inputs spread evenly over the training records, with texts short enough to time."""
    import polars as pl

    frame = lesson.train.gather_every(max(len(lesson.train) // SAMPLE, 1)).head(SAMPLE)
    characters = frame["text"].str.len_chars().cum_sum().fill_null(0)
    frame = frame.filter(characters - characters.min() <= CHARACTERS) if len(frame) else frame
    if not len(frame):
        frame = lesson.train.head(1)
    return lesson._replace(train=frame, validation=pl.DataFrame(schema=frame.schema), soft=None)


def _pace(chosen: Neural, lesson: Lesson, run: Run) -> Pace:
    """Real steps of one size."""
    from feilun.models.neural import fit
    from feilun.models.neural.checkpoint import Checkpoints
    from feilun.models.neural.descent import Place
    from feilun.models.neural.device import pick_device, pick_precision, steady
    from feilun.models.neural.network import Network
    from feilun.models.neural.training import Training

    assert chosen.threads is not None
    sample = _sample(lesson)
    device = pick_device(chosen.device)
    place = Place(device, pick_precision(chosen.precision, device))
    quiet = run.within(f"probe-{chosen.size}")
    with steady(chosen.threads, run.seed, device):
        begun = time.monotonic()
        material = fit.material(chosen, sample, quiet)
        characters = max(int(sample.train["text"].str.len_chars().sum() or 0), 1)
        per_character = (time.monotonic() - begun) / characters
        reader = material.train.reader
        assert chosen.vocabulary_size is not None
        # The vocabulary of all texts, not of these few.
        vocabulary = max(chosen.vocabulary_size, reader.vocabulary)
        encoder = chosen.encoder(vocabulary, reader.frame.pad, fit.head_read(material))
        network = Network(encoder, fit.head(material, encoder.width)).to(device)
        training = Training(material, network, Checkpoints(quiet.folder), place, quiet)
        per_step, macs = _timed(training)
    parameters = sum(p.numel() for p in network.parameters())
    return Pace(per_step, per_character, macs, parameters)


def _timed(training: Training) -> tuple[float, float]:
    """Seconds and multiply-adds of a step, the mean over those that fit `PROBE_SECONDS`."""
    settings, shelf = training.material.settings, training.material.train
    read = training.network.head.read
    training.network.train()
    took: list[float] = []
    macs: list[float] = []
    begun = time.monotonic()
    for epoch in range(40):
        plan = shelf.plan(0, epoch, settings.batch_size)
        for rows in plan.batches:
            at = time.monotonic()
            tokens = training.tokens
            training.step(0, training.parts(plan, rows))
            # A sample may hold fewer texts than a batch.
            scale = settings.batch_size / len(rows)
            took.append((time.monotonic() - at) * scale)
            length = int((training.tokens - tokens) / len(rows))
            macs.append(settings.batch_size * training.network.encoder.macs(length, read))
            enough = len(took) > FEWEST_STEPS and time.monotonic() - begun > PROBE_SECONDS
            if enough or time.monotonic() - begun > 8 * PROBE_SECONDS:
                break
        else:
            continue
        break
    # The first steps warm caches and thread pools up.
    warm = min(2, len(took) - 1)
    return float(np.mean(took[warm:])), float(np.mean(macs[warm:]))

"""One training, from a lesson to the finished folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tokenizers
import torch

from feilun.core.i18n import _
from feilun.core.run import Run
from feilun.models.family import Lesson, NothingToLearn
from feilun.models.folder import write_card
from feilun.models.neural import card, export, int8, memory, parallel, tags
from feilun.models.neural.batches import Shelf
from feilun.models.neural.calibrate import Checked
from feilun.models.neural.checkpoint import Checkpoints, Position
from feilun.models.neural.descent import Place
from feilun.models.neural.device import pick_device, pick_precision, steady
from feilun.models.neural.examples import Examples, examples
from feilun.models.neural.heads import Classes, Head, Several, Tokens, Use, Value, head_for
from feilun.models.neural.network import Network
from feilun.models.neural.training import Material, Training

if TYPE_CHECKING:
    from feilun.models.neural.encoder import Read
    from feilun.models.neural.settings import Neural

UNCALIBRATED = 1.645
"""Standard deviations that hold 90 % of a normal distribution, where nothing was validated."""


def fit(settings: Neural, lesson: Lesson, folder: Path, run: Run) -> None:
    """Trains `settings` (every choice made) and writes the model into `folder`."""
    assert settings.threads is not None
    device = pick_device(settings.device)
    place = Place(device, pick_precision(settings.precision, device))
    parallel.check(settings, device)
    name = _fingerprint(settings, lesson, run.seed)
    checkpoints = Checkpoints(run.folder / f"{settings.use}-{name}")
    with steady(settings.threads, run.seed, device):
        given = material(settings, lesson, run)
        _tell_what_is_long(given, run)
        reader = given.train.reader
        _check_memory(given, device)
        encoder = settings.encoder(reader.vocabulary, reader.frame.pad, head_read(given))
        network = Network(encoder, head(given, encoder.width)).to(device)
        training = Training(given, network, checkpoints, place, run)
        position = checkpoints.restore(training.state)
        if position is None:
            settings.prime(encoder, reader, lesson, run)
            position = Position()
        elif position.step:
            run.say(_("Going on from step {step}.").format(step=position.step))
        if settings.processes > 1 and not position.finished:
            position = parallel.descend(training, position)
        best = training.to_the_end(position)
        run.progress(training.total, training.total, _("writing the model"))
        _write(given, network, lesson, best, folder)
        if settings.int8 == "on":
            int8.write(settings, lesson, folder, run)


def _fingerprint(settings: Neural, lesson: Lesson, seed: int) -> str:
    """Twelve hex digits over all that decides a training's outcome: whose checkpoint it is."""
    digest = hashlib.sha256()
    versions = [torch.__version__, tokenizers.__version__]
    task = lesson.task.model_dump(mode="json")
    content = [settings.model_dump(mode="json"), task, list(lesson.labels), seed, versions]
    digest.update(json.dumps(content, sort_keys=True, ensure_ascii=False).encode())
    for frame in (lesson.train, lesson.validation):
        for column in ("text", "label", "spans"):
            if column in frame.columns:
                for value in frame[column].to_list():
                    digest.update(repr(value).encode() + b"\n")
    for path in lesson.unlabelled:
        digest.update(f"{path.name} {path.stat().st_size}\n".encode())
    if lesson.soft is not None:
        digest.update(np.ascontiguousarray(lesson.soft).tobytes())
    return digest.hexdigest()[:12]


def material(settings: Neural, lesson: Lesson, run: Run) -> Material:
    """The lesson as a network reads it; trains the tokenizer."""
    reader = settings.reader(lesson, run)
    told = _("reading the texts")
    train = examples(
        lesson,
        lesson.train,
        reader,
        lesson.soft,
        progress=lambda done, total: run.progress(done, total, told),
    )
    validation = examples(lesson, lesson.validation, reader)
    if not train.num:
        raise NothingToLearn(len(lesson.train))
    twin = lesson.task.use == "match" and settings.pairs == "twin"
    mean, spread = 0.0, 1.0
    if train.aim == "value":
        mean = float(train.target.mean())
        spread = float(train.target.std()) or 1.0
        train, validation = (
            # Not `_replace`: it goes by len(), which counts inputs here.
            Examples(
                one.encoded, ((one.target - mean) / spread).astype(np.float32), one.aim, one.width
            )
            for one in (train, validation)
        )
    shelves = (Shelf(reader, train, twin), Shelf(reader, validation, twin))
    return Material(settings, lesson.labels, *shelves, mean, spread)


def _tell_what_is_long(material: Material, run: Run) -> None:
    """Says once how many texts are longer than the network reads at once."""
    long = material.train.num_long + material.validation.num_long
    if long:
        run.say(
            _(
                "{count} of {total} texts are longer than max_length = {length} tokens: each is "
                "read in several windows."
            ).format(
                count=long,
                total=material.train.examples.num + material.validation.examples.num,
                length=material.train.reader.max_length,
            )
        )


def _check_memory(material: Material, device: torch.device) -> None:
    settings, shelf = material.settings, material.train
    read = head_read(material)
    sketch = settings.sketch(shelf.reader.vocabulary, shelf.reader.frame.pad, read)
    frame = shelf.reader.frame
    around = frame.around_two if shelf.paired else frame.around_one
    length = int(shelf.windows.read.max(initial=0)) + around
    tagging = shelf.examples.aim == "tokens"
    outputs = len(tags.names(material.labels) if tagging else material.labels) or 1
    texts = 2 if shelf.twin else 1
    need = memory.needed(settings, sketch, read, length, texts, outputs)
    memory.check(settings, need, device, settings.processes)


def head_read(material: Material) -> Read:
    """What the head of the task reads of an encoder."""
    if material.train.examples.aim == "tokens":
        return "states"
    return "embedding" if material.train.twin else "pooled"


def head(material: Material, width: int) -> Head:
    """The head of the task, with its first weights."""
    settings, shown = material.settings, material.train.examples
    outputs = tags.names(material.labels) if shown.aim == "tokens" else material.labels
    weight = None
    if settings.class_weight == "balanced" and shown.aim != "value":
        weight = torch.from_numpy(_balanced(shown.target, len(outputs)))
    use = Use(settings.dropout, settings.label_smoothing, weight, bool(settings.crf))
    return head_for(shown.aim, material.train.twin, width, outputs, use)


def _balanced(target: np.ndarray, outputs: int) -> np.ndarray:
    """A weight per label: all labels alike in sum; where several may hold, as much for those
    that have a label as for those that have not (to 100 times)."""
    if target.ndim > 1 and not np.allclose(target.sum(axis=1), 1):
        share = target.mean(axis=0)
        ratio: np.ndarray = np.clip((1 - share) / np.maximum(share, 1e-6), 1, 100)
        return ratio.astype(np.float32)
    counts = target.sum(axis=0) if target.ndim > 1 else np.bincount(target, minlength=outputs)
    present = max(int((counts > 0).sum()), 1)
    weight: np.ndarray = counts.sum() / (present * np.maximum(counts, 1))
    return weight.astype(np.float32)


def _write(
    material: Material, network: Network, lesson: Lesson, checked: Checked, folder: Path
) -> None:
    """Everything in the folder; raises `ExportDiffers` if the two forms of the model do."""
    settings, shelf = material.settings, material.train
    network.encoder.settle()
    more = _fold(network.head, checked, material)
    export.write(network, folder, shelf.paired)
    rows = np.unique([*range(min(8, len(shelf.windows.text))), int(shelf.windows.read.argmax())])
    export.check(network, folder, shelf.matrix(shelf.windows.at(rows)), shelf.paired)
    settings.save_tokenizer(shelf.reader, folder)
    frame = shelf.reader.frame
    write_card(
        folder,
        settings.use,
        material.labels,
        settings.model_dump(mode="json"),
        lesson.task,
        frame={**frame._asdict(), "unknown": sorted(frame.unknown)},
        max_length=shelf.reader.max_length,
        twin=shelf.twin,
        **more,
    )
    facts = card.Facts(
        task=lesson.task.use,
        labels=material.labels,
        settings=settings,
        counts=(shelf.examples.num, material.validation.examples.num),
        num_parameters=sum(p.numel() for p in network.parameters()),
        vocabulary=shelf.reader.vocabulary,
        checked=checked,
    )
    (folder / "README.md").write_text(card.written(facts), encoding="utf-8", newline="\n")


def _fold(head: Head, checked: Checked, material: Material) -> dict[str, object]:
    """Puts what validation found into the head's weights; returns what the card says of it."""
    if isinstance(head, Value):
        head.scale(material.mean, material.spread)
        far = UNCALIBRATED * material.spread
        return {"interval": list(checked.fold) or [-far, far]}
    if isinstance(head, Several) and checked.fold:
        head.shift(torch.tensor(checked.fold))
    elif isinstance(head, Classes | Tokens) and checked.fold:
        head.cool(checked.fold[0])
    if isinstance(head, Tokens):
        return {"tags": list(head.labels)}
    return {}

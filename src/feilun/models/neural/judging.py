"""How a network does on validation, by what its task asks."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from feilun.models.neural import calibrate, tags
from feilun.models.neural.batches import Shelf
from feilun.models.neural.calibrate import Checked
from feilun.models.neural.heads import Tokens
from feilun.models.neural.network import Network
from feilun.models.neural.reading import owned, places

if TYPE_CHECKING:
    from feilun.models.neural.descent import Place
    from feilun.models.neural.training import Material

BATCH = 64
"""Windows at once."""


def checked(network: Network, material: Material, place: Place) -> Checked:
    """Loss and metrics of `network`, which is in evaluation mode, on the validation examples."""
    shelf = material.validation
    aim = shelf.examples.aim
    with torch.no_grad():
        if aim == "tokens":
            return _tags(network, material, place)
        if network.twin:
            outputs = _of_twins(network, shelf, place)
            text = np.arange(shelf.examples.num)
        else:
            outputs, text = _of_windows(network, shelf, place), shelf.windows.text
    target = shelf.examples.target
    if aim == "classes":
        return calibrate.classes(outputs, text, target)
    if aim == "several":
        return calibrate.several(outputs, text, target)
    return calibrate.value(outputs, text, target, material.spread)


def _given(shelf: Shelf, rows: np.ndarray, place: Place) -> tuple[Tensor, Tensor, Tensor | None]:
    matrix = shelf.matrix(shelf.windows.at(rows))
    kinds = place.moved(matrix.kinds) if shelf.paired else None
    return place.moved(matrix.ids), place.moved(matrix.mask.astype(bool)), kinds


def _of_windows(network: Network, shelf: Shelf, place: Place) -> np.ndarray:
    """The outputs of every window, `[windows, outputs]` float64."""
    outputs = np.empty((len(shelf.windows.text), network.head.linear.out_features))
    for rows in shelf.by_length(BATCH):
        outputs[rows] = network(*_given(shelf, rows, place)).cpu().numpy()
    return outputs


def _of_twins(network: Network, shelf: Shelf, place: Place) -> np.ndarray:
    """The outputs of every pair; of a long text the mean of its windows' vectors stands."""
    vectors = np.empty((len(shelf.windows.text), network.encoder.width), dtype=np.float32)
    for rows in shelf.by_length(BATCH):
        vectors[rows] = network.read(*_given(shelf, rows, place)).float().cpu().numpy()
    texts = calibrate.averaged(vectors, shelf.windows.text, 2 * shelf.examples.num)
    found: Tensor = network.head(place.moved(texts.astype(np.float32)))
    return found.cpu().double().numpy()


def _tags(network: Network, material: Material, place: Place) -> Checked:
    """The loss per token, and the F1 of whole entities (right in place and label)."""
    shelf, head = material.validation, network.head
    assert isinstance(head, Tokens)
    examples = shelf.examples
    logits = np.empty((len(examples.encoded.ids), head.linear.out_features))
    low, high = owned(shelf.windows)
    loss = weight = 0.0
    for rows in shelf.by_length(BATCH):
        windows = shelf.windows.at(rows)
        matrix = shelf.matrix(windows)
        mask = place.moved(matrix.mask.astype(bool))
        output = network(place.moved(matrix.ids), mask)
        if head.crf is not None:
            target = place.moved(shelf.aimed(windows, rows, matrix))
            loss += float(head.loss(output, target, mask))
            weight += float(head.weights(target))
        whose, column, at = places(windows, len(shelf.reader.frame.before))
        mine = (at >= low[rows][whose]) & (at < high[rows][whose])
        logits[at[mine]] = output.cpu().numpy()[whose[mine], column[mine]]
    fold: tuple[float, ...] = ()
    if head.crf is None:
        found = calibrate.classes(logits, np.arange(len(logits)), examples.target)
        fold, mean = found.fold, found.loss
    else:
        mean = loss / max(weight, 1.0)
    return Checked(mean, {"f1": _entity_f1(head, material, logits)}, fold)


def _entity_f1(head: Tokens, material: Material, logits: np.ndarray) -> float:
    start = material.validation.examples.encoded.start
    target = material.validation.examples.target
    given = tags.chain(logits.shape[1], learnt(head))
    spots = np.arange(int(np.diff(start).max(initial=0)))
    stretches = list(pairwise(start.tolist()))
    answers = tags.several(
        [logits[a:b] for a, b in stretches],
        [(spots[: b - a], spots[: b - a] + 1) for a, b in stretches],
        given,
        material.labels,
    )
    hits = num_found = num_true = 0
    for (a, b), found in zip(stretches, answers, strict=True):
        truth = set(tags.stretches(target[a:b]))
        number = {label: i for i, label in enumerate(material.labels)}
        mine = {(one.start, one.end, number[one.label]) for one in found}
        hits += len(truth & mine)
        num_found += len(mine)
        num_true += len(truth)
    return 2 * hits / max(num_found + num_true, 1)


def learnt(head: Tokens) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """The scores of neighbours, of the first tag and of the last, where the head learns them."""
    if head.crf is None:
        return None
    parts = (head.crf.transitions, head.crf.start, head.crf.end)
    between, start, end = (part.detach().cpu().numpy() for part in parts)
    return between, start, end

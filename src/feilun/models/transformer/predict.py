"""The half that predicts: ONNX Runtime and `tokenizers`, neither torch nor transformers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from feilun.core.i18n import _
from feilun.models.folder import NotAModel, read_card
from feilun.models.transformer import tokenizer as tokens
from feilun.tasks.task import contentless

BATCH_TOKENS = 4096
"""Padded tokens in one call of the engine; bounds its memory (75 MB for nano) while keeping
the matrices large enough to fill the cores."""
TEXTS_AT_ONCE, CHARACTERS_AT_ONCE = 4096, 1 << 22
"""Texts, and characters of texts, whose ids are held at the same time."""
ONNX = "model.onnx"


class Onnx:
    """A trained classifier; `labels` in the order of the columns of `scores`.

    Thread-safe: ONNX Runtime's `Session.run` and the tokenizer may be called from any number of
    threads, and nothing else is shared. The engine's threads sleep between calls.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        """Opens and tries out the model in `folder`; raises `NotAModel` on anything amiss."""
        card = read_card(folder)
        try:
            self.labels = _labels(card)
            self._max_length = int(card["settings"]["max_length"])
            if not tokens.FRAME < self._max_length <= 65_536:
                raise ValueError(f"max_length {self._max_length}")
            self._tokenizer = tokens.open_saved(folder / "tokenizer.json")
            self._session = _session(folder / ONNX, threads)
            self._try_out()
        except NotAModel:
            raise
        except BaseException as error:
            # A panic inside `tokenizers` (Rust) arrives as a BaseException of its own, and a
            # damaged file must not end the process that opens it.
            if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)):
                raise
            raise NotAModel(folder, f"{type(error).__name__}: {str(error)[:200]}") from error

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """Calibrated probabilities float32 `[len(texts), len(labels)]`, in the texts' order.

        A text longer than the model's `max_length` is read in windows whose probabilities are
        averaged (of one longer than 64 windows, 64 evenly spread). NaN where a text has
        nothing to judge by, or nothing the vocabulary knows. Memory is bounded, whatever the
        number of texts and their length.
        """
        result = np.empty((len(texts), len(self.labels)), dtype=np.float32)
        for part in _parts(texts):
            result[part] = self._scores(list(texts[part]))
        return result

    def _scores(self, texts: list[str]) -> np.ndarray:
        encoded = tokens.encode(self._tokenizer, texts)
        found = tokens.windows(encoded, self._max_length)
        known = encoded.known() & np.array([not contentless(text) for text in texts])
        wanted = np.flatnonzero(known[found.text])
        order = wanted[np.argsort(found.length[wanted], kind="stable")]
        total = np.zeros((len(texts), len(self.labels)), dtype=np.float64)
        for rows in _batches(order, found.length):
            ids, mask = tokens.matrix(encoded.ids, found.start[rows], found.length[rows])
            np.add.at(total, found.text[rows], softmax(self._logits(ids, mask)))
        total[~known] = np.nan
        mean: np.ndarray = (total / total.sum(axis=1, keepdims=True)).astype(np.float32)
        return mean

    def _logits(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        found = self._session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]
        return np.asarray(found, dtype=np.float64)

    def _try_out(self) -> None:
        """Asks once for the highest id at full length: ids, places and labels must all fit."""
        size = self._tokenizer.get_vocab_size()
        top = max(self._tokenizer.get_vocab().values())
        if top >= 1_000_000 or size <= len(tokens.SPECIAL):
            raise ValueError(f"vocabulary {size}")
        for i, token in enumerate(tokens.SPECIAL):
            if self._tokenizer.token_to_id(token) != i:
                raise ValueError(f"{token} is not entry {i}")
        ids = np.full((1, self._max_length), top, dtype=np.int64)
        logits = self._logits(ids, np.ones_like(ids))
        if logits.shape != (1, len(self.labels)) or not np.isfinite(logits).all():
            raise ValueError(_("its answer does not fit its labels"))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis."""
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: np.ndarray = raised / raised.sum(axis=-1, keepdims=True)
    return result


def _labels(card: dict[str, Any]) -> tuple[str, ...]:
    labels = card["labels"]
    if not isinstance(labels, list) or not labels or len(set(labels)) != len(labels):
        raise ValueError("labels")
    if not all(isinstance(label, str) for label in labels):
        raise ValueError("labels")
    return tuple(labels)


def _session(path: Path, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    # An explicit count also keeps ONNX Runtime from pinning its threads to cores.
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads burn a core between requests.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # The arena and the memory pattern keep the largest batch's memory for ever; batches here
    # differ in shape, so the pattern never fits the next one anyway.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = 4
    # Bytes, not a path: weights outside the file cannot be pulled in by a relative name.
    return ort.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])


def _parts(texts: Sequence[str]) -> Iterator[slice]:
    """Runs of texts that are handled together; a longer text is a run of its own."""
    begin = size = 0
    for at, text in enumerate(texts):
        if at > begin and (at - begin == TEXTS_AT_ONCE or size + len(text) > CHARACTERS_AT_ONCE):
            yield slice(begin, at)
            begin, size = at, 0
        size += len(text)
    if begin < len(texts):
        yield slice(begin, len(texts))


def _batches(order: np.ndarray, length: np.ndarray) -> Iterator[np.ndarray]:
    """Runs of `order`, sorted by `length`, of about `BATCH_TOKENS` padded tokens each."""
    at = 0
    while at < len(order):
        end = min(at + BATCH_TOKENS, len(order))
        fits = (np.arange(1, end - at + 1) * (length[order[at:end]] + tokens.FRAME)) <= BATCH_TOKENS
        taken = max(int(fits.sum()), 1)
        yield order[at : at + taken]
        at += taken

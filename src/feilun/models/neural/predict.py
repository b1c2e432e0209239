"""The half that predicts: ONNX Runtime and `tokenizers`, neither torch nor transformers."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from safetensors.numpy import load as load_tensors

from feilun.core.i18n import _
from feilun.models.folder import NotAModel, read_card, read_task
from feilun.models.neural import tags
from feilun.models.neural.aim import Aim, aim_of
from feilun.models.neural.calibrate import sigmoid, softmax
from feilun.models.neural.reading import (
    Encoded,
    Frame,
    Reader,
    Windows,
    open_tokenizer,
    owned,
    places,
)
from feilun.tasks.task import Entity, Input, contentless

BATCH_TOKENS = 256
"""Padded tokens in one call of the network, by one thread. With more, what stands between two
layers leaves the cache, and a request's batches do not divide among the cores: four layers of 256
answer 990 texts a second in groups of 64 on two cores, 830 with 4096 tokens and both cores on each
call, which also take 70 MB more."""
TEXTS_AT_ONCE, CHARACTERS_AT_ONCE = 4096, 1 << 20
"""Texts, and characters of texts, whose ids are held at the same time."""
LONGEST = 65_536
ONNX, BESIDE, OUTPUT = "model.onnx", "feilun-head.safetensors", "output"
INT8 = "model-int8.onnx"
"""The same in eight bits, where the card says that it is chosen."""


class Engine:
    """A model's folder opened and tried out: ids in, figures out.

    Thread-safe: ONNX Runtime's `Session.run` and the tokenizer may be called from any number of
    threads, and nothing else is shared. Of several batches each is read by a thread of its own:
    threads that share one wait for each other at every layer, which is slower by a fifth, and by
    half where something else wants a processor too.
    """

    def __init__(
        self, folder: Path, card: dict[str, Any], threads: int, network: str | None = None
    ) -> None:
        self.task = read_task(card)
        self.aim: Aim = aim_of(self.task)
        self.twin = bool(card["twin"])
        self.width = 2 if self.task.use == "match" else 1
        self.labels = _labels(card, self.aim)
        frame = _frame(card["frame"])
        max_length = int(card["max_length"])
        if not frame.around_two < max_length <= LONGEST:
            raise ValueError(f"max_length {max_length}")
        self.reader = Reader(open_tokenizer(folder / "tokenizer.json"), frame, max_length)
        chosen = INT8 if dict(card.get("int8") or {}).get("chosen") else ONNX
        self._session = _session(folder / (network or chosen))
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, "network")
        self._names = {one.name for one in self._session.get_inputs()}
        beside = folder / BESIDE
        self.beside = load_tensors(beside.read_bytes()) if beside.exists() else {}
        self._try_out()

    def known(self, encoded: Encoded, inputs: Sequence[Input]) -> np.ndarray:
        """For each input, whether all its texts say something."""
        says = self.reader.known(encoded).reshape(-1, self.width).all(axis=1)
        result: np.ndarray = says & np.array([not _silent(given) for given in inputs], dtype=bool)
        return result

    def run(self, ids: np.ndarray, windows: Windows) -> np.ndarray:
        """The network's output for a batch of windows over `ids`."""
        matrix = self.reader.matrix(ids, windows)
        return self._ask(matrix.ids, matrix.mask, matrix.kinds)

    def _ask(self, ids: np.ndarray, mask: np.ndarray, kinds: np.ndarray) -> np.ndarray:
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": kinds}
        given = {name: value for name, value in given.items() if name in self._names}
        return np.asarray(self._session.run([OUTPUT], given)[0])

    def outputs(
        self, ids: np.ndarray, windows: Windows, wanted: np.ndarray
    ) -> Iterator[tuple[np.ndarray, Windows, np.ndarray]]:
        """Of each batch of the windows `wanted`: their numbers, they, and the network's output."""

        def read(rows: np.ndarray) -> tuple[np.ndarray, Windows, np.ndarray]:
            some = windows.at(rows)
            return rows, some, self.run(ids, some)

        coming: deque[Future[tuple[np.ndarray, Windows, np.ndarray]]] = deque()
        batches = list(self._batches(windows, wanted))
        if self._threads == 1 or len(batches) == 1:
            yield from map(read, batches)
            return
        for rows in batches:
            coming.append(self._pool.submit(read, rows))
            if len(coming) > 2 * self._threads:  # no more outputs than that at the same time
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()

    def _batches(self, windows: Windows, wanted: np.ndarray) -> Iterator[np.ndarray]:
        """Runs of the windows `wanted`, sorted by length, of about `BATCH_TOKENS` padded tokens
        each."""
        length = windows.read + self.reader.frame.around_two
        order = wanted[np.argsort(length[wanted], kind="stable")]
        at = 0
        while at < len(order):
            most = length[order[at : at + BATCH_TOKENS]]
            fits = np.arange(1, len(most) + 1) * most <= BATCH_TOKENS
            taken = max(int(fits.sum()), 1)
            yield order[at : at + taken]
            at += taken

    def _try_out(self) -> None:
        """Asks once for the highest id at full length: ids, places and outputs must all fit."""
        size = self.reader.vocabulary
        frame = self.reader.frame
        around = [*frame.before, *frame.between, *frame.after, frame.pad, *frame.unknown]
        if size >= 10_000_000 or not frame.unknown or max(around) >= size or min(around) < 0:
            raise ValueError(f"vocabulary {size}")
        ids = np.full((1, self.reader.max_length), size - 1, dtype=np.int64)
        output = self._ask(ids, np.ones_like(ids), np.zeros_like(ids))
        wanted = {
            "tokens": (1, self.reader.max_length, 2 * len(self.labels) + 1),
            "value": (1, 1),
        }.get(self.aim, (1, len(self.labels)))
        if self.twin:
            wanted = (1, len(self.beside["head.linear.weight"][0]) // 4)
        if output.shape != wanted or not np.isfinite(output).all():
            raise ValueError(_("its answer does not fit its labels"))


class Scores:
    """A trained network that answers with figures; `labels` in the order of the columns."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.labels = engine.labels
        self._columns = 1 if engine.aim == "value" else len(engine.labels)

    def scores(self, inputs: Sequence[Input]) -> np.ndarray:
        """Probabilities (or a value) float32 `[len(inputs), columns]`, in the inputs' order.

        An input longer than the model's `max_length` is read in windows whose answers are
        averaged (of one longer than 64 windows, 64 evenly spread). NaN where an input has
        nothing to judge by, or nothing the vocabulary knows. Memory is bounded, whatever the
        number of inputs and their length.
        """
        result = np.empty((len(inputs), self._columns), dtype=np.float32)
        for part in _parts(inputs):
            result[part] = self._scores(list(inputs[part]))
        return result

    def _scores(self, inputs: list[Input]) -> np.ndarray:
        engine = self.engine
        encoded = engine.reader.encode(_texts(inputs))
        pairs = engine.width > 1
        found = engine.reader.pairs(encoded) if pairs else engine.reader.windows(encoded)
        known = engine.known(encoded, inputs)
        total = np.zeros((len(inputs), self._columns), dtype=np.float64)
        wanted = np.flatnonzero(known[found.text])
        for _rows, windows, output in engine.outputs(encoded.ids, found, wanted):
            np.add.at(total, windows.text, self._answers(output))
        total[~known] = np.nan
        counts = np.bincount(found.text, minlength=len(inputs))
        mean: np.ndarray = (total / counts[:, None]).astype(np.float32)
        return mean

    def _answers(self, output: np.ndarray) -> np.ndarray:
        figures = output.astype(np.float64)
        if self.engine.aim == "classes":
            return softmax(figures)
        return sigmoid(figures) if self.engine.aim == "several" else figures


class Values(Scores):
    """A trained network that answers with a number; `interval` are the offsets from it that
    held 90 % of the validation residuals."""

    def __init__(self, engine: Engine, interval: Sequence[float]) -> None:
        super().__init__(engine)
        low, high = (float(one) for one in interval)
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise ValueError(f"interval {interval}")
        self.interval = (low, high)


class Twins(Scores):
    """A trained network that compares two texts by their vectors."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._weight = engine.beside["head.linear.weight"].astype(np.float64)
        self._bias = engine.beside["head.linear.bias"].astype(np.float64)
        if self._weight.shape[0] != len(self.labels) or self._bias.shape != (len(self.labels),):
            raise ValueError(_("its answer does not fit its labels"))

    def embeddings(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of length 1, float32 `[len(texts), width]`; of a long text the mean of its
        windows'. A row of NaN where a text has nothing in it that the model knows."""
        width = self._weight.shape[1] // 4
        result = np.empty((len(texts), width), dtype=np.float32)
        for part in _parts(texts):
            result[part] = self._vectors(list(texts[part]))
        return result

    def _scores(self, inputs: list[Input]) -> np.ndarray:
        vectors = self._vectors(_texts(inputs)).astype(np.float64)
        vectors *= vectors.shape[1] ** 0.5
        u, v = vectors[0::2], vectors[1::2]
        features = np.concatenate([u, v, np.abs(u - v), u * v], axis=1)
        return softmax(features @ self._weight.T + self._bias).astype(np.float32)

    def _vectors(self, texts: list[str]) -> np.ndarray:
        engine = self.engine
        encoded = engine.reader.encode(texts)
        found = engine.reader.windows(encoded)
        known = engine.reader.known(encoded)
        known &= np.array([not contentless(text) for text in texts], dtype=bool)
        total = np.zeros((len(texts), self._weight.shape[1] // 4))
        wanted = np.flatnonzero(known[found.text])
        for _rows, windows, output in engine.outputs(encoded.ids, found, wanted):
            np.add.at(total, windows.text, output)
        total[~known] = np.nan
        length = np.linalg.norm(total, axis=1, keepdims=True)
        unit: np.ndarray = (total / np.maximum(length, 1e-12)).astype(np.float32)
        return unit


class Tags:
    """A trained network that finds entities; `labels` are their kinds."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.labels = engine.labels
        learnt = None
        if "head.crf.transitions" in engine.beside:
            names = ("transitions", "start", "end")
            between, start, end = (engine.beside[f"head.crf.{name}"] for name in names)
            learnt = (between, start, end)
        self._chain = tags.chain(2 * len(self.labels) + 1, learnt)

    def entities(self, texts: Sequence[str]) -> list[list[Entity] | None]:
        """The entities of each text by their start, none within another; None where a text has
        nothing to judge by, or nothing the vocabulary knows.

        A text longer than the model's `max_length` is read in windows that overlap by a
        quarter, each answering for its middle.
        """
        found: list[list[Entity] | None] = []
        for part in _parts(texts):
            found += self._entities(list(texts[part]))
        return found

    def _entities(self, texts: list[str]) -> list[list[Entity] | None]:
        engine = self.engine
        encoded = engine.reader.encode(texts, places=True)
        assert encoded.begin is not None
        assert encoded.end is not None
        windows = engine.reader.overlapping(encoded)
        low, high = owned(windows)
        known = engine.known(encoded, texts)
        logits = np.zeros((len(encoded.ids), len(self._chain.start)), dtype=np.float32)
        wanted = np.flatnonzero(known[windows.text])
        for rows, some, output in engine.outputs(encoded.ids, windows, wanted):
            whose, column, at = places(some, len(engine.reader.frame.before))
            mine = (at >= low[rows][whose]) & (at < high[rows][whose])
            logits[at[mine]] = output[whose[mine], column[mine]]
        stretches = [slice(a, b) for a, b in zip(encoded.start, encoded.start[1:], strict=False)]
        numbers = np.flatnonzero(known)
        answers = tags.several(
            [logits[stretches[i]] for i in numbers],
            [(encoded.begin[stretches[i]], encoded.end[stretches[i]]) for i in numbers],
            self._chain,
            self.labels,
        )
        found: list[list[Entity] | None] = [None] * len(texts)
        for i, entities in zip(numbers, answers, strict=True):
            found[i] = entities
        return found


def opened(folder: Path, threads: int = 1, network: str | None = None) -> Scores | Tags:
    """What answers for the model in `folder`; raises `NotAModel` on anything amiss. `network` is
    the file's name; left out: the one that was chosen."""
    card = read_card(folder)
    try:
        engine = Engine(folder, card, threads, network)
        if engine.aim == "tokens":
            return Tags(engine)
        if engine.aim == "value":
            return Values(engine, card["interval"])
        return Twins(engine) if engine.twin else Scores(engine)
    except BaseException as error:
        # A panic inside `tokenizers` (Rust) arrives as a BaseException of its own, and a
        # damaged file must not end the process that opens it.
        if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)):
            raise
        raise NotAModel(folder, f"{type(error).__name__}: {str(error)[:200]}") from error


def _labels(card: dict[str, Any], aim: Aim) -> tuple[str, ...]:
    labels = card["labels"]
    if not isinstance(labels, list) or len(set(labels)) != len(labels):
        raise ValueError("labels")
    if bool(labels) == (aim == "value") or not all(isinstance(label, str) for label in labels):
        raise ValueError("labels")
    return tuple(labels)


def _frame(written: dict[str, Any]) -> Frame:
    before, between, after = (
        tuple(int(one) for one in written[name]) for name in ("before", "between", "after")
    )
    unknown = frozenset(int(one) for one in written["unknown"])
    return Frame(before, between, after, int(written["pad"]), unknown, bool(written["kinds"]))


def _session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # The arena and the memory pattern keep the largest batch's memory for ever; batches here
    # differ in shape, so the pattern never fits the next one anyway.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = 4
    # Bytes, not a path: weights outside the file cannot be pulled in by a relative name.
    session = ort.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    # It keeps them for a change of providers, which never comes: the whole file once more.
    session._model_bytes = None
    return session


def _texts(inputs: Sequence[Input]) -> list[str]:
    """All texts in a row: one of each input, or two of each pair."""
    return [text for one in inputs for text in ([one] if isinstance(one, str) else one)]


def _silent(given: Input) -> bool:
    """Whether one of its texts has nothing to judge by."""
    return any(contentless(text) for text in ([given] if isinstance(given, str) else given))


def _parts(inputs: Sequence[Input]) -> Iterator[slice]:
    """Runs of inputs that are handled together; a longer one is a run of its own."""
    begin = size = 0
    for at, given in enumerate(inputs):
        length = len(given) if isinstance(given, str) else sum(map(len, given))
        full = at - begin == TEXTS_AT_ONCE or size + length > CHARACTERS_AT_ONCE
        if at > begin and full:
            yield slice(begin, at)
            begin, size = at, 0
        size += length
    if begin < len(inputs):
        yield slice(begin, len(inputs))

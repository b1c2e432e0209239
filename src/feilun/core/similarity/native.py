"""The compiled `signatures.c` and `links.c` with types: NumPy arrays in, NumPy arrays out.

The libraries have no Python ABI in them and are called through ctypes, which releases the GIL
for the length of a call. They check nothing; whoever adds a call here checks the sizes here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any, ClassVar, NamedTuple

import numpy as np

from feilun.core.compiled import library_path, load_library, usable_cores
from feilun.core.text import Texts, hashes

SLOTS = 128
"""Values in a sketch; `texts.h` says so too."""
DIGEST_BITS = 120
"""Slots of which a digest keeps a bit."""
LEVELS = 3
"""How strictly digests are compared: a row of `allowed` each."""
MOST_TEXTS = 2**32 - 2
"""Row numbers are 32 bits."""

_ROWS_PER_PIECE = 1024
_POINTER, _INT = ctypes.c_void_p, ctypes.c_int64
_SIGN: dict[str, list[Any]] = {
    "fl_lenders": [_POINTER],
    "fl_sign": [*[_POINTER] * 2, *[_INT] * 5, *[_POINTER] * 3],
}
_LINK: dict[str, list[Any]] = {
    "fl_pick": [*[_POINTER] * 2, *[_INT] * 4, _POINTER],
    "fl_pick_hashes": [_POINTER, *[_INT] * 4, _POINTER],
    "fl_link": [_POINTER, _POINTER, *[_INT] * 3],
    "fl_flatten": [_POINTER, _INT],
}
_NO_MEMORY = -1


class Bands(NamedTuple):
    """`num` bands of `rows` slots each; texts that share one of them may be compared."""

    num: int
    rows: int


class Signatures(NamedTuple):
    """Of each text: its hash (uint64), its digest (two uint64), its keys (uint32, a row per
    band; anything for a text without shingles)."""

    hashes: np.ndarray
    digests: np.ndarray
    keys: np.ndarray


class Stored(NamedTuple):
    """Texts in files. Text i has the bytes starts[i]:starts[i + 1] (int64) of all; those from
    row firsts[f] on are in the open file files[f], at their start plus shifts[f]."""

    starts: np.ndarray
    files: np.ndarray
    firsts: np.ndarray
    shifts: np.ndarray

    @property
    def num(self) -> int:
        """How many texts."""
        return len(self.starts) - 1


class _Rows(ctypes.Structure):
    """The layout of `Rows` in links.c."""

    _fields_: ClassVar = [
        *((name, _POINTER) for name in ("content", "starts", "files", "firsts", "shifts")),
        ("num_files", _INT),
        *((name, _POINTER) for name in ("hashes", "digests", "allowed", "parent")),
        ("threshold", ctypes.c_double),
    ]


@cache
def _signatures() -> ctypes.CDLL:
    return load_library(library_path(__file__, "signatures"), _SIGN, set())


@cache
def _lenders() -> np.ndarray:
    table = np.empty((SLOTS, SLOTS), dtype=np.uint8)
    _signatures().fl_lenders(_at(table))
    return table


@cache
def _links() -> ctypes.CDLL:
    return load_library(library_path(__file__, "links"), _LINK, _LINK.keys() - {"fl_flatten"})


def sign(texts: Texts, bands: Bands, num_threads: int | None = None) -> Signatures:
    """The texts' signatures, by `num_threads` (None: one per processor) over ranges of rows."""
    _check(texts)
    if bands.num < 1 or bands.rows < 1 or bands.num * bands.rows > SLOTS:
        raise ValueError(f"{bands} do not fit into {SLOTS} slots")
    made = Signatures(
        hashes=np.empty(texts.num, dtype=np.uint64),
        digests=np.empty((texts.num, 2), dtype=np.uint64),
        keys=np.empty((bands.num, texts.num), dtype=np.uint32),
    )
    library, lenders = _signatures(), _lenders()

    def piece(first: int) -> None:
        last = min(first + _ROWS_PER_PIECE, texts.num)
        made.hashes[first:last] = hashes(Texts(texts.content, texts.starts[first : last + 1]))
        library.fl_sign(
            _at(texts.content), _at(texts.starts), texts.num, first, last, bands.num,
            bands.rows, _at(lenders), _at(made.digests), _at(made.keys),
        )  # fmt: skip

    firsts = range(0, texts.num, _ROWS_PER_PIECE)
    each([partial(piece, first) for first in firsts], num_threads)
    return made


class Rows:
    """What linking reads of all rows, and the clusters it makes: `parent`.

    `digests` is written to: a text that is equal to an earlier one leaves the bands.
    """

    def __init__(
        self,
        texts: Texts | Stored,
        hashed: np.ndarray,
        digests: np.ndarray,
        allowed: np.ndarray,
        threshold: float,
    ) -> None:
        _check(texts)
        if len(hashed) != texts.num or digests.shape != (texts.num, 2):
            raise ValueError("signatures of other texts")
        if hashed.dtype != np.uint64 or digests.dtype != np.uint64 or allowed.dtype != np.int32:
            raise TypeError("expected uint64 hashes and digests, int32 limits")
        if allowed.shape != (LEVELS, SLOTS + 1):
            raise ValueError(f"limits for {LEVELS} levels and {SLOTS} slots are wanted")
        self.num, self.hashes, self.digests = texts.num, hashed, digests
        self.parent = np.arange(texts.num, dtype=np.uint32)
        given = {"starts": texts.starts, "hashes": hashed, "digests": digests,
                 "allowed": allowed, "parent": self.parent}  # fmt: skip
        given |= (
            {"content": texts.content}
            if isinstance(texts, Texts)
            else {"files": texts.files, "firsts": texts.firsts, "shifts": texts.shifts}
        )
        self._kept = given  # the arrays live as long as their addresses are used
        self._rows = _Rows(
            num_files=0 if isinstance(texts, Texts) else len(texts.files),
            threshold=threshold,
            **{name: _at(array) for name, array in given.items()},
        )

    def pick(self, keys: np.ndarray, first: int, part: int, bits: int, out: np.ndarray) -> int:
        """Writes to `out` (uint64) the records of the rows from `first` on that are in bands and
        whose key (uint32, one per row) has `part` as its upper `bits`; returns how many."""
        self._check_room(len(keys), first, out)
        digests = self.digests[first : first + len(keys)]
        answer = _links().fl_pick(
            _at(keys), _at(digests), len(keys), first, 32 - bits, part, _at(out)
        )
        return int(answer)

    def pick_twins(self, num: int, first: int, part: int, bits: int, out: np.ndarray) -> int:
        """The same for all of the `num` rows from `first` on: their key is half of their hash."""
        self._check_room(num, first, out)
        hashed = self.hashes[first : first + num]
        answer = _links().fl_pick_hashes(_at(hashed), num, first, 32 - bits, part, _at(out))
        return int(answer)

    def _check_room(self, num: int, first: int, out: np.ndarray) -> None:
        if num > len(out) or first < 0 or first + num > self.num or out.dtype != np.uint64:
            raise ValueError(f"no room for {num} records from row {first} on")

    def link(self, records: np.ndarray, bits: int, *, twins: bool) -> None:
        """Joins the rows of `records`, whose keys agree in their upper `bits`, that are equal
        (`twins`) or alike. Threads may do so at once, if no two have records with one key."""
        if bits > 8:
            raise ValueError(f"{bits} bits are more than 8")
        row = ctypes.byref(self._rows)
        _checked(_links().fl_link(row, _at(records), len(records), bits, twins))

    def flat(self) -> np.ndarray:
        """The first row of each row's cluster, uint32."""
        _links().fl_flatten(_at(self.parent), self.num)
        return self.parent


def each(tasks: Sequence[Callable[[], None]], num_threads: int | None) -> None:
    """Does all tasks, `num_threads` (None: one per processor) at a time."""
    workers = min(usable_cores() if num_threads is None else num_threads, len(tasks))
    if workers <= 1:
        for task in tasks:
            task()
        return
    with ThreadPoolExecutor(workers) as pool:
        for done in [pool.submit(task) for task in tasks]:
            done.result()


def _check(texts: Texts | Stored) -> None:
    starts = texts.starts
    if starts.dtype != np.int64 or len(starts) < 1:
        raise TypeError("expected int64 starts")
    if texts.num > MOST_TEXTS:
        raise ValueError(f"{texts.num} texts are more than {MOST_TEXTS}")
    if starts[0] < 0 or bool((starts[1:] < starts[:-1]).any()):
        raise ValueError("starts must ascend")
    if isinstance(texts, Stored):
        if not len(texts.files) == len(texts.firsts) == len(texts.shifts):
            raise ValueError("a file has one first row and one shift")
        if any(array.dtype != np.int64 for array in (texts.files, texts.firsts, texts.shifts)):
            raise TypeError("expected int64 files, first rows and shifts")
        return
    if texts.content.dtype != np.uint8:
        raise TypeError("expected uint8 content")
    if starts[-1] > len(texts.content):
        raise ValueError("starts must end within the content")


def _at(array: np.ndarray) -> int:
    if not array.flags.c_contiguous:
        raise TypeError("expected a contiguous array")
    return array.ctypes.data


def _checked(answer: int) -> None:
    if answer == _NO_MEMORY:
        raise MemoryError
    if answer < 0:
        raise OSError("a text could not be read back from its file")

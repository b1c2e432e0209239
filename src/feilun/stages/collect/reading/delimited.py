"""CSV and TSV: records that stand well are read by polars, the others one by one.

The grammar is that of RFC 4180, and both ways obey it: a field that begins with a quote ends at
the next quote that is not doubled, and there a separator or the end of the line must follow;
any other quote is a character like others. Lines end with LF or CRLF. An empty field is null,
`""` is empty text. Blank lines are no records and are not counted.

A record is quarantined as `ragged` (more or fewer fields than the header), `open_quote` (a
quote that does not end as it must: only the line on which the record began is given up, and
reading goes on with the next), `not_text` (a NUL, or bytes that do not fit the encoding) or
`too_long`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from feilun.core.i18n import _
from feilun.stages.collect.reading.errors import UnreadableFile
from feilun.stages.collect.reading.header import ROW, named_apart
from feilun.stages.collect.reading.lines import EXCERPT_BYTES
from feilun.stages.collect.reading.quoted import Grammar, Taken, take

_LARGEST, _SMALLEST = 4 << 20, 256 << 10
"""Bytes looked at together; after a bad record fewer, so that few are looked at twice."""
_ONE_BY_ONE = 64 << 10
"""Bytes read record by record after a bad one, before polars is tried again."""
_MOST_COLUMNS = 10_000
_LF, _CR, _QUOTE = b'\n\r"'
_MARK = b"\xef\xbb\xbf"


class Delimited:
    """The table of one CSV or TSV text, read from blocks of UTF-8.

    `quarantine` is called with the number, the reason and the beginning of each bad record.
    Holds a block and `most` bytes (of one record) at most, and the frames made of them.
    """

    def __init__(
        self,
        blocks: Iterator[bytes],
        separator: str,
        most: int,
        path: object,
        quarantine: Callable[[int, str, bytes], None],
    ) -> None:
        self._blocks = blocks
        self._grammar = Grammar(separator.encode(), 0, most)
        self._path = str(path)
        self._quarantine = quarantine
        self._schema: dict[str, pl.DataType] = {}
        self._row = 0
        self._buffer = b""
        self._final = False
        self._skipping = False  # the rest of a line that is too long
        self._window = _LARGEST

    def frames(self) -> Iterator[pl.DataFrame]:
        """Frames of text columns and `_row`; none where there is no header; raises
        `UnreadableFile` where the header is bad."""
        if not self._header():
            return
        while True:
            yield from self._drained()
            if self._final:
                return
            self._more()

    def _more(self) -> None:
        block = next(self._blocks, None)
        if block is None:
            self._final = True
            if self._buffer and not self._buffer.endswith(b"\n"):
                self._buffer += b"\n"
            return
        if self._skipping:
            end = block.find(b"\n") + 1
            if not end:
                return
            block, self._skipping = block[end:], False
        self._buffer += block

    def _header(self) -> bool:
        taken: Taken | None = None
        while taken is None or not (taken.fields or taken.reason):
            if taken is not None:
                self._buffer = self._buffer[taken.end :]  # a blank line
            if not self._buffer and self._final:
                return False
            taken = take(self._buffer, 0, self._grammar, final=self._final)
            if taken is None:
                self._more()
        form = "tsv" if self._grammar.separator == b"\t" else "csv"
        if taken.fields is None:
            told = {
                "not_text": _("its first line, the header, is not text"),
                "open_quote": _("its first line, the header, has a quote that does not end"),
                "too_long": _("its first line, the header, is longer than most_bytes"),
            }
            raise UnreadableFile(self._path, form, told[taken.reason])
        if len(taken.fields) > _MOST_COLUMNS:
            told_count = _("{count:,} columns; the limit is {most:,}").format(
                count=len(taken.fields), most=_MOST_COLUMNS
            )
            raise UnreadableFile(self._path, form, told_count)
        names = named_apart(field or "" for field in taken.fields)
        self._schema = dict.fromkeys(names, pl.String())
        self._grammar = self._grammar._replace(width=len(names))
        self._buffer = self._buffer[taken.end :]
        return True

    def _drained(self) -> Iterator[pl.DataFrame]:
        """The records of the buffer; what is left of it begins a record that goes on."""
        at = 0
        while at < len(self._buffer):
            read, frame, good = self._together(at)
            if frame is not None and frame.height:
                yield frame
            at += read
            rest = len(self._buffer) - at
            if good and read:
                self._window = min(2 * self._window, _LARGEST)
            elif good and self._window < rest:
                self._window *= 2
            elif not good or self._final or rest > self._grammar.most:
                self._window = _SMALLEST
                read, frame = self._one_by_one(at)
                if frame is not None:
                    yield frame
                at += read
                if not read:
                    break
            else:
                break
        self._buffer = self._buffer[at:]

    def _together(self, at: int) -> tuple[int, pl.DataFrame | None, bool]:
        """How many bytes from `at` were read by polars, their records, and whether nothing
        after them has to be read one by one."""
        window = self._buffer[at : at + self._window]
        shape = _shape(window, self._grammar.separator[0])
        if not len(shape.ends):
            return 0, None, not shape.broken
        if b"\0" in window[: shape.ends[-1]]:
            return 0, None, False
        codes = np.frombuffer(window, np.uint8)
        starts = np.concatenate([[0], shape.ends[:-1]])
        sizes = shape.ends - starts
        blank = (sizes == 1) | ((sizes == 2) & (codes[starts] == _CR))
        long = sizes > self._grammar.most
        wrong = ~blank & ((shape.fields != self._grammar.width) | long)
        if np.any(wrong & ~shape.single):
            return 0, None, False
        keep = ~(blank | wrong)
        frame = self._parsed(_picked(window, starts, shape.ends, keep), int(keep.sum()))
        if frame is None:
            return 0, None, False
        rows = self._row + np.cumsum(~blank)
        for place in np.flatnonzero(wrong).tolist():
            line = window[starts[place] : shape.ends[place]]
            reason = "too_long" if long[place] else "ragged" if _is_text(line) else "not_text"
            self._quarantine(int(rows[place]), reason, line[:EXCERPT_BYTES])
        self._row = int(rows[-1])
        frame = frame.with_columns(pl.Series(ROW, rows[keep], dtype=pl.Int64))
        return int(shape.ends[-1]), frame, not shape.broken

    def _parsed(self, records: bytes, height: int) -> pl.DataFrame | None:
        if not height:
            return pl.DataFrame(schema=self._schema)
        if records.startswith(_MARK) or _has_lone_return(records):
            return None  # polars drops the mark, and sometimes such a return
        try:
            frame = pl.read_csv(
                records,
                has_header=False,
                schema=self._schema,
                separator=self._grammar.separator.decode(),
                quote_char='"',
            )
        except pl.exceptions.PolarsError:
            return None  # bytes that are not UTF-8
        return frame if frame.height == height else None

    def _one_by_one(self, at: int) -> tuple[int, pl.DataFrame | None]:
        start, records, rows = at, [], []
        while at < len(self._buffer) and at - start < _ONE_BY_ONE:
            taken = take(self._buffer, at, self._grammar, final=self._final)
            if taken is None:
                break
            end = taken.end
            if end < 0:
                self._skipping, end = True, len(self._buffer)
            if taken.fields is not None:
                self._row += 1
                records.append(taken.fields)
                rows.append(self._row)
            elif taken.reason:
                self._row += 1
                excerpt = self._buffer[at : min(end, at + EXCERPT_BYTES)]
                self._quarantine(self._row, taken.reason, excerpt)
            at = end
        if not records:
            return at - start, None
        frame = pl.DataFrame(records, schema=self._schema, orient="row")
        return at - start, frame.with_columns(pl.Series(ROW, rows, dtype=pl.Int64))


class _Shape(NamedTuple):
    """The records of a window, from its beginning on, as far as their quotes stand well."""

    ends: npt.NDArray[np.int64]  # of each, after its line feed
    fields: npt.NDArray[np.int64]  # how many each has
    single: npt.NDArray[np.bool_]  # it is on one line
    broken: bool  # a quote that does not stand well comes after them


def _shape(window: bytes, separator: int) -> _Shape:
    codes = np.frombuffer(window, np.uint8)
    feeds, separators = codes == _LF, codes == separator
    inner, stop = np.empty(0, np.int64), len(window)
    if b'"' in window:
        is_quote = codes == _QUOTE
        stop = _first_break(codes, np.flatnonzero(is_quote), separator)
        inside = _inside(is_quote)
        inner = np.flatnonzero(feeds & inside)
        feeds &= ~inside
        separators &= ~inside
    ends = np.flatnonzero(feeds[:stop]) + 1
    fields = np.diff(np.searchsorted(np.flatnonzero(separators), ends), prepend=0) + 1
    single = np.diff(np.searchsorted(inner, ends), prepend=0) == 0
    return _Shape(ends, fields, single, stop < len(window))


def _inside(quotes: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Where an odd number of quotes stands before, or is reached: inside of a field.

    The parity of 64 places at once, by shifts, as simdjson does it; `np.cumsum` over the bytes
    takes 30 times as long (9 ms for 4 MiB).
    """
    size = len(quotes)
    packed = np.zeros(-(-size // 64), np.uint64)
    packed.view(np.uint8)[: -(-size // 8)] = np.packbits(quotes, bitorder="little")
    for shift in (1, 2, 4, 8, 16, 32):
        packed ^= packed << np.uint64(shift)
    odd_before = np.bitwise_xor.accumulate((packed >> np.uint64(63)).astype(np.uint8))
    packed[1:] ^= np.uint64(0) - odd_before[:-1].astype(np.uint64)
    return np.unpackbits(packed.view(np.uint8), count=size, bitorder="little").view(np.bool_)


def _first_break(
    codes: npt.NDArray[np.uint8], quotes: npt.NDArray[np.int64], separator: int
) -> int:
    """Where the first quote is that neither begins nor ends a field as it must; the length of
    the window if there is none."""
    opening, closing = quotes[0::2], quotes[1::2]
    before = codes[np.maximum(opening - 1, 0)]
    begins = (before == separator) | (before == _LF) | (opening == 0)
    # Of a doubled quote the first «closes» and the second «opens» again.
    begins[1:] |= opening[1:] == closing[: len(opening) - 1] + 1
    last = len(codes) - 1
    after = codes[np.minimum(closing + 1, last)]
    ends = (after == separator) | (after == _LF) | (after == _QUOTE)
    ends |= (after == _CR) & (codes[np.minimum(closing + 2, last)] == _LF)
    # What follows the window's last bytes is not known; no record ends there either.
    ends |= closing >= last - 1
    wrong = np.concatenate([opening[~begins], closing[~ends], [len(codes)]])
    return int(wrong.min())


def _picked(
    window: bytes,
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    keep: npt.NDArray[np.bool_],
) -> bytes:
    """The records to keep, one after the other."""
    if keep.all():
        return window[: ends[-1]]
    edges = np.flatnonzero(np.diff(keep.astype(np.int8), prepend=0, append=0))
    runs = zip(edges[0::2].tolist(), edges[1::2].tolist(), strict=True)
    return b"".join(window[starts[first] : ends[after - 1]] for first, after in runs)


def _has_lone_return(records: bytes) -> bool:
    """Whether a carriage return is not followed by a line feed."""
    if b"\r" not in records:
        return False
    codes = np.frombuffer(records, np.uint8)
    returns = codes == _CR
    return bool(returns[-1] or np.any(returns[:-1] & (codes[1:] != _LF)))


def _is_text(record: bytes) -> bool:
    try:
        record.decode()
    except UnicodeDecodeError:
        return False
    return True

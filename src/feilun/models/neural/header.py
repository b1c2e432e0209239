"""The header of a safetensors file, checked before anything else is read or allocated.

The format (huggingface.co/docs/safetensors): eight bytes with the header's length, the header as
JSON, then the tensors' bytes without a gap. Whoever opens a file from elsewhere trusts that
header with how much memory to take.
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any, NamedTuple

from feilun.core.errors import Invalid, shortened
from feilun.core.i18n import _

MOST_BYTES = 25 << 20
"""Of a header; some 100 bytes per tensor, so 250,000 of them."""
MOST_AXES = 16
BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "I8", "U8", "BOOL"), 8),
    "F4": 4,
}


class HostileWeights(Invalid):
    """A safetensors file's header claims what cannot be; nothing of it was loaded."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(
            _("{file} is refused before it is loaded: {reason}.").format(
                file=shortened(file), reason=reason
            ),
            remedy=_("Fetch it again from where you trust it; a damaged download looks the same."),
        )


class Tensor(NamedTuple):
    """One tensor as the header has it: `shape` of numbers of `kind` (`F32`, `BF16`, …)."""

    kind: str
    shape: tuple[int, ...]

    @property
    def numbers(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


def tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name; raises `HostileWeights` unless they lie in the
    file one after the other, without gap or overlap, each as long as its shape says. Reads the
    header only, and that only if it is shorter than the file and than 25 MB."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            if len(start) < 8:
                raise HostileWeights(path.name, _("it is shorter than a header"))
            (length,) = struct.unpack("<Q", start)
            if length > min(MOST_BYTES, size - 8):
                raise HostileWeights(
                    path.name,
                    _(
                        "its header claims {length} bytes; the file has {size}, "
                        "the limit is {limit}"
                    ).format(length=length, size=size, limit=MOST_BYTES),
                )
            text = file.read(length)
    except OSError as error:
        raise HostileWeights(path.name, str(error.strerror)) from None
    return _checked(path.name, _parsed(path.name, text), size - 8 - length)


def _parsed(file: str, text: bytes) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _value in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise HostileWeights(
                file, _("the name '{name}' stands twice in it").format(name=shortened(twice))
            )
        return found

    try:
        header = json.loads(text.decode(), object_pairs_hook=once)
    except (ValueError, RecursionError):
        raise HostileWeights(file, _("its header is no JSON")) from None
    if not isinstance(header, dict):
        raise HostileWeights(file, _("its header is no JSON"))
    header.pop("__metadata__", None)
    return header


def _checked(file: str, header: dict[str, Any], room: int) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    places: list[tuple[int, int, str]] = []
    for name, entry in header.items():
        tensor, begin, end = _entry(file, name, entry)
        bits = tensor.numbers * BITS[tensor.kind]
        if bits != 8 * (end - begin):
            raise HostileWeights(
                file,
                _("'{name}' of shape {shape} cannot lie in {size} bytes").format(
                    name=shortened(name),
                    shape=shortened(list(tensor.shape)),
                    size=shortened(end - begin),
                ),
            )
        found[name] = tensor
        places.append((begin, end, name))
    at = 0
    for begin, end, name in sorted(places):
        if begin != at or end > room:
            raise HostileWeights(
                file,
                _("'{name}' overlaps another, leaves a gap or ends outside the file").format(
                    name=shortened(name)
                ),
            )
        at = end
    if at != room:
        raise HostileWeights(file, _("there are bytes that no tensor claims"))
    return found


def _entry(file: str, name: str, entry: Any) -> tuple[Tensor, int, int]:
    """One tensor with the first and the last + 1 of its bytes."""

    def whole(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0

    try:
        kind, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        fits = kind in BITS and isinstance(shape, list) and len(shape) <= MOST_AXES
        if not fits or not all(whole(value) for value in (*shape, begin, end)):
            raise ValueError
    except (TypeError, ValueError, KeyError):
        raise HostileWeights(
            file, _("'{name}' has no proper type, shape or place").format(name=shortened(name))
        ) from None
    return Tensor(kind, tuple(shape)), begin, end

"""Personal data out of what is sent on, and back into the answer.

What is personal is found by the engine of the step `mask`. In its place stands `[MOBILE_1]`: the
same value has the same number in all of one chat, so that the answer can say which one it means.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from feilun.service.gateway.errors import NotMaskable
from feilun.store.events import storable

if TYPE_CHECKING:
    from feilun.stages.prepare.mask import Mask

_STRUCTURE = frozenset({"role", "type", "id", "tool_call_id", "model", "object", "finish_reason"})
"""Keys whose values are words of the API."""
_PLACEHOLDER = re.compile(r"\[[A-Z][A-Z_]*_[0-9]+\]")
_TEXTUAL = frozenset({"text", "refusal"})


class Masked(NamedTuple):
    """A value with placeholders, and what each of them stands for."""

    value: Any
    values: dict[str, str]


class Masker:
    """Finds what the settings of the step `mask` look for, in any JSON value."""

    def __init__(self, step: Mask) -> None:
        from feilun.stages.prepare.mask.finder import Finder
        from feilun.stages.prepare.mask.kinds import KINDS
        from feilun.stages.prepare.mask.step import ROUNDS

        self._finder = Finder(step.kinds, step.names)
        self._rounds = ROUNDS
        self._words = {kind.name: kind.token[1:-1] for kind in KINDS}

    def masked(self, value: Any) -> Masked:
        """`value` with placeholders in its texts, but for the API's own words; takes some
        milliseconds of processor time."""
        texts = list(dict.fromkeys(strings(value)))
        values, fresh = self._texts(texts)
        changed = dict(zip(texts, fresh, strict=True))
        return Masked(rewritten(value, lambda text: changed.get(text, text)), values)

    def hidden(self, text: str) -> str:
        """`text` with a fixed word in each place (`[MOBILE]`), as the step writes it."""
        masked = self.masked(text)
        return str(fixed(masked.value, masked.values))

    def _texts(self, texts: Sequence[str]) -> tuple[dict[str, str], list[str]]:
        import polars as pl

        # A placeholder that somebody wrote themselves is not to become somebody's number.
        taken = {found for text in texts for found in _PLACEHOLDER.findall(text)}
        numbers: dict[str, int] = {}
        by_value: dict[tuple[str, str], str] = {}
        values: dict[str, str] = {}

        def write(kind: str, found: str) -> str:
            whole = restored(found, values)
            if (kind, whole) not in by_value:
                while True:
                    numbers[kind] = numbers.get(kind, 0) + 1
                    placeholder = f"[{self._words[kind]}_{numbers[kind]}]"
                    if placeholder not in taken:
                        break
                by_value[kind, whole] = placeholder
                values[placeholder] = whole
            return by_value[kind, whole]

        # What a server says may hold halves of characters.
        fresh = [storable(text) for text in texts]
        for _round in range(self._rounds):
            series = pl.Series(fresh, dtype=pl.String)
            some = list(self._finder(series))
            for row, text, finds in some:
                pieces, last = [], 0
                for start, end, kind in finds:
                    pieces += [text[last:start], write(kind, text[start:end])]
                    last = end
                fresh[row] = "".join([*pieces, text[last:]])
            if not some:
                break
        return values, fresh


def check(messages: Sequence[Any]) -> None:
    """Passes where every message is text; raises `NotMaskable`."""
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else []:
            kind = part.get("type", "text") if isinstance(part, dict) else "text"
            if kind not in _TEXTUAL:
                raise NotMaskable(str(kind))


def strings(value: Any) -> Iterator[str]:
    """Every text in a JSON value but for the API's own words; keys are none."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name not in _STRUCTURE:
                yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def rewritten(value: Any, write: Callable[[str], str]) -> Any:
    """`value` with its texts (see `strings`) put through `write`."""
    if isinstance(value, str):
        return write(value)
    if isinstance(value, dict):
        return {
            name: inner if name in _STRUCTURE else rewritten(inner, write)
            for name, inner in value.items()
        }
    return [rewritten(inner, write) for inner in value] if isinstance(value, list) else value


def fixed(value: Any, values: Mapping[str, str]) -> Any:
    """`value` with each placeholder as the step `mask` writes it: `[MOBILE_1]` as `[MOBILE]`."""
    words = {placeholder: placeholder.rpartition("_")[0] + "]" for placeholder in values}
    return rewritten(value, lambda text: restored(text, words))


def restored(text: str, values: Mapping[str, str]) -> str:
    """`text` with what the placeholders stand for."""
    if "[" not in text or not values:
        return text
    return _PLACEHOLDER.sub(lambda found: values.get(found[0], found[0]), text)


class Restorer:
    """Puts values back into text that comes in pieces; a placeholder may be cut anywhere.

    In `arguments` (of a call: JSON) the values are written as JSON writes them within quotes.
    """

    def __init__(self, values: Mapping[str, str], *, arguments: bool = False) -> None:
        self._values = (
            {name: json.dumps(value, ensure_ascii=False)[1:-1] for name, value in values.items()}
            if arguments
            else values
        )
        self._held = ""

    def feed(self, piece: str) -> str:
        """What can be said with this piece; the beginning of a placeholder is held back."""
        text = self._held + piece
        start = text.rfind("[")
        tail = text[start:] if start >= 0 else ""
        open_ended = bool(tail) and any(
            len(tail) < len(name) and name.startswith(tail) for name in self._values
        )
        cut = start if open_ended else len(text)
        self._held = text[cut:]
        return restored(text[:cut], self._values)

    def rest(self) -> str:
        """What is still held back, once nothing follows."""
        held, self._held = self._held, ""
        return held


class ChunkRestorer:
    """Puts values back into the chunks of a stream, each choice and each call for itself."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._open: dict[tuple[int, str, int], Restorer] = {}

    def restored(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """The chunk as it is to be passed on; with a choice's end comes what was held back."""
        if not self._values:
            return chunk
        return {**chunk, "choices": [self._choice(choice) for choice in chunk["choices"]]}

    def rest(self) -> list[dict[str, Any]]:
        """What is still held back, as choices, where a stream ends without telling of an end."""
        choices: dict[int, dict[str, Any]] = {}
        for index, _name, _place in list(self._open):
            self._end(index, choices.setdefault(index, {}))
        return [
            {"index": index, "delta": delta, "finish_reason": None}
            for index, delta in choices.items()
            if delta
        ]

    def _choice(self, choice: dict[str, Any]) -> dict[str, Any]:
        index = choice.get("index", 0)
        delta = dict(choice.get("delta") or {})
        for name, value in delta.items():
            if isinstance(value, str) and name not in _STRUCTURE:
                delta[name] = self._of(index, name, 0).feed(value)
        if delta.get("tool_calls"):
            delta["tool_calls"] = [self._call(index, call) for call in delta["tool_calls"]]
        if choice.get("finish_reason"):
            self._end(index, delta)
        return {**choice, "delta": delta}

    def _call(self, index: int, call: dict[str, Any]) -> dict[str, Any]:
        function = call.get("function")
        if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
            return call
        place = call.get("index", 0)
        restorer = self._of(index, "tool_calls", place if isinstance(place, int) else 0)
        return {
            **call,
            "function": {**function, "arguments": restorer.feed(function["arguments"])},
        }

    def _of(self, index: int, name: str, place: int) -> Restorer:
        arguments = name == "tool_calls"
        return self._open.setdefault(
            (index, name, place), Restorer(self._values, arguments=arguments)
        )

    def _end(self, index: int, delta: dict[str, Any]) -> None:
        for (choice, name, place), restorer in self._open.items():
            rest = restorer.rest() if choice == index else ""
            if rest and name == "tool_calls":
                end = {"index": place, "function": {"arguments": rest}}
                delta["tool_calls"] = [*(delta.get("tool_calls") or []), end]
            elif rest:
                delta[name] = (delta.get(name) or "") + rest


def restored_completion(completion: dict[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    """A whole completion with what the placeholders stand for."""
    restorer = ChunkRestorer(values)
    choices = []
    for choice in completion["choices"]:
        said = restorer.restored(
            {
                "choices": [
                    {
                        **choice,
                        "delta": _numbered(choice.get("message") or {}),
                        "finish_reason": choice.get("finish_reason") or "stop",
                    }
                ]
            }
        )["choices"][0]
        message = said.pop("delta")
        for call in message.get("tool_calls") or []:
            call.pop("index", None)
        choices.append({**said, "message": message, "finish_reason": choice.get("finish_reason")})
    return {**completion, "choices": choices} if values else completion


def _numbered(message: dict[str, Any]) -> dict[str, Any]:
    calls = message.get("tool_calls")
    if not calls:
        return message
    return {**message, "tool_calls": [{**call, "index": at} for at, call in enumerate(calls)]}

"""`alpaca`, `sharegpt`, `messages`, `preference`, `completion`: records that have parts.

Each becomes one text, its parts joined by line feeds, with a span per part labelled by its role
(`rows.parts` gives them back). What is no text, such as tool calls, images and ids, goes to
`fields`; what belongs to one turn of a chat goes to `fields.turns`, under the turn's number
from 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from feilun.stages.collect.layouts.rows import Built, Turn, Unfit, joined, nested, rest_of
from feilun.stages.collect.source import Quarantine

Record = Mapping[str, Any]
Found = tuple[list[Turn], dict[str, Any]]
"""The parts of a record and what goes to its fields."""

ROLES = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "observation": "tool",
    "function": "tool",
    "function_response": "tool",
    "developer": "system",
}
"""Other names of the roles `system`, `user`, `assistant`, `tool`; a role that is not here keeps
its name (`function_call`)."""

_ROLE_KEYS, _CONTENT_KEYS = ("role", "from"), ("content", "value")
_WORDLESS = ("tool_calls", "function_call", "refusal", "audio")
"""What a message without content may have instead."""


def messages(
    chunk: pl.DataFrame, columns: Mapping[str, str], where: str, quarantine: Quarantine
) -> pl.DataFrame:
    """One record per chat, `[{role, content}, …]` or `[{from, value}, …]`; a column `system`
    comes first. Refused: `not_messages`, `no_text`."""

    def read(record: Record) -> Found:
        turns, extra = _turns(record[columns["messages"]])
        system = record.get(columns.get("system", ""))
        if isinstance(system, str) and system:
            turns.insert(0, ("system", system))
            extra = {str(int(number) + 1): more for number, more in extra.items()}
        return turns, {"turns": extra} if extra else {}

    return _each(chunk, columns, where, quarantine, read)


def alpaca(
    chunk: pl.DataFrame, columns: Mapping[str, str], where: str, quarantine: Quarantine
) -> pl.DataFrame:
    """One record per instruction: system, then what `history` has (pairs of instruction and
    output), instruction, input, output. System and input are no part where they are empty.
    Refused: `not_messages` (of `history`), `no_text`."""

    def read(record: Record) -> Found:
        cell = {role: record.get(column) for role, column in columns.items()}
        turns: list[Turn] = []
        if _said(cell.get("system")):
            turns.append(("system", _words(cell["system"])))
        history = nested(cell.get("history")) or []
        if not isinstance(history, list):
            raise Unfit("not_messages")
        for pair in history:
            if not isinstance(pair, list) or len(pair) != 2:
                raise Unfit("not_messages")
            asked, answered = pair
            turns += [("instruction", _words(asked)), ("output", _words(answered))]
        turns.append(("instruction", _words(cell["instruction"])))
        if _said(cell.get("input")):
            turns.append(("input", _words(cell["input"])))
        if cell.get("output") is not None:
            turns.append(("output", _words(cell["output"])))
        return turns, {}

    return _each(chunk, columns, where, quarantine, read)


def preference(
    chunk: pl.DataFrame, columns: Mapping[str, str], where: str, quarantine: Quarantine
) -> pl.DataFrame:
    """One record per pair of answers: system, prompt (and input), chosen, rejected; a prompt
    that is only in both answers stays there. A side that is a list of messages has a part per
    turn: `prompt.user`, `chosen.assistant`. Refused: `not_messages`, `no_text`."""

    def read(record: Record) -> Found:
        return _sides(record, columns, ("system", "prompt", "input", "chosen", "rejected"))

    return _each(chunk, columns, where, quarantine, read)


def completion(
    chunk: pl.DataFrame, columns: Mapping[str, str], where: str, quarantine: Quarantine
) -> pl.DataFrame:
    """One record per prompt and completion, texts or lists of messages (`prompt.user`). A
    verdict (`label` of unpaired preferences, true or false) is the label `true` or `false`.
    Refused: `not_messages`, `no_text`."""

    def read(record: Record) -> Found:
        return _sides(record, columns, ("prompt", "completion"))

    return _each(chunk, columns, where, quarantine, read)


def _each(
    chunk: pl.DataFrame,
    columns: Mapping[str, str],
    where: str,
    quarantine: Quarantine,
    read: Callable[[Record], Found],
) -> pl.DataFrame:
    built = Built(where, quarantine)
    used = frozenset(columns.values())
    for record in chunk.iter_rows(named=True):
        try:
            turns, fields = read(record)
            text, spans = joined(turns)
            if not text.strip():
                raise Unfit("no_text")
        except Unfit as unfit:
            seen = {name: value for name, value in record.items() if name in used}
            built.refuse(record["_row"], unfit.reason, seen)
            continue
        built.add(record["_row"], text, spans, record, columns, rest_of(record, used) | fields)
    frame = built.frame()
    # A verdict is written True by Python and true by JSON.
    verdict = pl.col("label").str.to_lowercase()
    return frame.with_columns(
        pl.when(verdict.is_in(("true", "false"))).then(verdict).otherwise("label").alias("label")
    )


def _sides(record: Record, columns: Mapping[str, str], sides: tuple[str, ...]) -> Found:
    turns: list[Turn] = []
    extra: dict[str, Any] = {}
    for side in sides:
        value = record.get(columns.get(side, ""))
        if value is None and side in ("chosen", "rejected", "completion"):
            raise Unfit("no_text")
        if value is None or (value == "" and side in ("system", "input")):
            continue
        said = nested(value)
        if isinstance(said, Mapping):
            said = [said]  # LLaMA-Factory: chosen = {"from": "gpt", "value": …}
        if _are_messages(said):
            found, more = _turns(said)
            extra |= {str(len(turns) + int(number)): what for number, what in more.items()}
            turns += [(f"{side}.{role}", text) for role, text in found]
        else:
            turns.append((side, _words(value)))
    return turns, {"turns": extra} if extra else {}


def _turns(value: Any) -> Found:
    """The turns of a list of messages, and what each has beside its text, by its number."""
    value = nested(value)
    if not isinstance(value, list) or not value:
        raise Unfit("not_messages")
    turns: list[Turn] = []
    extra: dict[str, Any] = {}
    for number, message in enumerate(value):
        if not isinstance(message, Mapping):
            raise Unfit("not_messages")
        role_key = next((key for key in _ROLE_KEYS if message.get(key)), None)
        text_key = next((key for key in _CONTENT_KEYS if key in message), "content")
        content = message.get(text_key)
        if role_key is None or (content is None and not any(map(message.get, _WORDLESS))):
            raise Unfit("not_messages")
        text, others = _content(content)
        role = str(message[role_key]).strip().lower()
        turns.append((ROLES.get(role, role), text))
        more = {
            key: item
            for key, item in message.items()
            if key not in (role_key, text_key) and item is not None
        }
        if others:
            more["content"] = others
        if more:
            extra[str(number)] = more
    return turns, extra


def _are_messages(value: Any) -> bool:
    """Whether a side is messages, and not an answer that is itself JSON."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(message, Mapping)
            and any(isinstance(message.get(key), str) for key in _ROLE_KEYS)
            and any(key in message for key in (*_CONTENT_KEYS, *_WORDLESS))
            for message in value
        )
    )


def _content(content: Any) -> tuple[str, list[Any]]:
    """The text of a message's content, and those of its parts that are none."""
    if content is None:
        return "", []
    if isinstance(content, str):
        return content, []
    if not isinstance(content, list):
        raise Unfit("not_messages")
    texts, others = [], []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, Mapping) and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif isinstance(part, Mapping):
            others.append({key: item for key, item in part.items() if item is not None})
        else:
            raise Unfit("not_messages")
    return "\n".join(texts), others


def _said(value: Any) -> bool:
    return value is not None and value != ""


def _words(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return str(value)
    raise Unfit("not_messages")

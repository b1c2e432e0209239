"""Chat completions: whole, in chunks, and from one to the other.

The shapes are those of OpenAI's API; what is not known here is passed on as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from feilun.store.events import storable

_TEXTS = ("content", "refusal", "reasoning_content", "reasoning")
"""The fields of a message that come as pieces of text; the last two are other servers' names for
what a model thinks before it answers."""


class NoCompletion(ValueError):
    """The content is no chat completion; the server may have said why."""

    def __init__(self, said: str = "") -> None:
        super().__init__(said)
        self.said = said


class Tokens(NamedTuple):
    """What an answer cost; `estimated` where the server did not say."""

    prompt: int
    completion: int
    estimated: bool


def read(content: str | bytes, *, of: str = "choices") -> dict[str, Any]:
    """The completion, or the chunk, in a JSON text; raises `NoCompletion`."""
    try:
        found = json.loads(content, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise NoCompletion from None
    if not isinstance(found, dict):
        raise NoCompletion
    if found.get("error"):
        raise NoCompletion(error_text(found))
    choices = found.get(of)
    if not isinstance(choices, list) or not all(_is_choice(choice) for choice in choices):
        raise NoCompletion
    return found


def _refuse(_constant: str) -> None:
    raise ValueError


def _is_choice(choice: Any) -> bool:
    if not isinstance(choice, dict) or not isinstance(choice.get("index", 0), int):
        return False
    said = choice.get("message", choice.get("delta"))
    calls = said.get("tool_calls") or [] if isinstance(said, dict) else None
    return isinstance(calls, list) and all(isinstance(call, dict) for call in calls)


def error_text(found: Any) -> str:
    """What a server says in OpenAI's shape of errors; empty where it says nothing."""
    error = found.get("error") if isinstance(found, dict) else None
    said = error.get("message") if isinstance(error, dict) else error
    return said if isinstance(said, str) else ""


class Assembly:
    """The completion that chunks add up to."""

    def __init__(self) -> None:
        self.usage: dict[str, Any] | None = None
        self._head: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}

    @property
    def complete(self) -> bool:
        """Whether every choice has come to its end."""
        choices = self._choices.values()
        return bool(choices) and all(choice["finish_reason"] for choice in choices)

    def add(self, chunk: dict[str, Any]) -> None:
        """Takes one more chunk."""
        if isinstance(chunk.get("usage"), dict):
            self.usage = chunk["usage"]
        for name in ("created", "model", "system_fingerprint", "service_tier"):
            if chunk.get(name) is not None:
                self._head[name] = chunk[name]
        for given in chunk["choices"]:
            index = given.get("index", 0)
            choice = self._choices.setdefault(
                index, {"index": index, "message": {"role": "assistant"}, "finish_reason": None}
            )
            choice["finish_reason"] = given.get("finish_reason") or choice["finish_reason"]
            _add_delta(choice["message"], given.get("delta") or {})

    def completion(self) -> dict[str, Any]:
        """What has come so far, as one completion."""
        choices = [self._choices[index] for index in sorted(self._choices)]
        for choice in choices:
            choice["message"].setdefault("content", None)
        usage = {} if self.usage is None else {"usage": self.usage}
        return {"object": "chat.completion", **self._head, "choices": choices, **usage}


def _add_delta(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        if name in _TEXTS and isinstance(value, str):
            message[name] = (message.get(name) or "") + value
        elif name == "tool_calls" and isinstance(value, list):
            calls = message.setdefault("tool_calls", [])
            for call in value:
                _add_call(calls, call)
        elif value is not None and name not in _TEXTS:
            message[name] = value


def _add_call(calls: list[dict[str, Any]], given: dict[str, Any]) -> None:
    place = given.get("index", 0)
    place = place if isinstance(place, int) and 0 <= place <= len(calls) else len(calls)
    if place == len(calls):
        calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
    call = calls[place]
    call["id"] = given.get("id") or call["id"]
    function = given.get("function")
    for name in ("name", "arguments"):
        piece = function.get(name) if isinstance(function, dict) else None
        if isinstance(piece, str):
            call["function"][name] += piece


def chunks(completion: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A whole completion as the chunks of a stream, its usage in the last, without choices."""
    head = {name: value for name, value in completion.items() if name not in {"choices", "usage"}}
    head["object"] = "chat.completion.chunk"
    for choice in completion["choices"]:
        said = choice.get("message") or {}
        delta = {name: value for name, value in said.items() if value is not None}
        calls = delta.get("tool_calls") or []
        if calls:
            delta["tool_calls"] = [{"index": at, **call} for at, call in enumerate(calls)]
        index = choice.get("index", 0)
        yield {**head, "choices": [{"index": index, "delta": delta, "finish_reason": None}]}
        end = {"index": index, "delta": {}, "finish_reason": choice.get("finish_reason") or "stop"}
        yield {**head, "choices": [end]}
    if isinstance(completion.get("usage"), dict):
        yield {**head, "choices": [], "usage": completion["usage"]}


def answer_text(completion: dict[str, Any]) -> str | None:
    """What the first choice says: its text, or else the arguments of its first call."""
    for choice in completion["choices"][:1]:
        message = choice.get("message") or {}
        if isinstance(message.get("content"), str) and message["content"]:
            return str(message["content"])
        for call in message.get("tool_calls") or []:
            function = call.get("function")
            if isinstance(function, dict) and isinstance(function.get("arguments"), str):
                return str(function["arguments"])
        return message["refusal"] if isinstance(message.get("refusal"), str) else None
    return None


def finish_reason(completion: dict[str, Any]) -> str | None:
    """Why the first choice ended, as the model says."""
    reasons = [choice.get("finish_reason") for choice in completion["choices"][:1]]
    return storable(reasons[0]) if reasons and isinstance(reasons[0], str) else None


def tokens(completion: dict[str, Any], prompt: str) -> Tokens:
    """The tokens that the server counted, or an estimate from the characters."""
    usage = completion.get("usage")
    counted = usage if isinstance(usage, dict) else {}
    given = [counted.get(name) for name in ("prompt_tokens", "completion_tokens")]
    numbers = [n for n in given if type(n) is int and 0 <= n < 2**40]
    if len(numbers) == 2:
        return Tokens(numbers[0], numbers[1], False)
    said = "".join(
        json.dumps(choice.get("message"), ensure_ascii=False)
        if (choice.get("message") or {}).get("tool_calls")
        else (choice.get("message") or {}).get("content") or ""
        for choice in completion["choices"]
    )
    return Tokens(estimated_tokens(prompt), estimated_tokens(said), True)


def estimated_tokens(text: str) -> int:
    """About how many tokens a text has: 0.3 for an ASCII character, 0.6 for any other, which is
    the rule of thumb that DeepSeek's documentation gives for English and Chinese."""
    num_ascii = sum(map(str.isascii, text))
    return round(0.3 * num_ascii + 0.6 * (len(text) - num_ascii))

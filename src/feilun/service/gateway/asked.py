"""What a chat asks: checked, and in the parts that are needed here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from feilun.core.i18n import _
from feilun.service.gateway.errors import ChatUnusable, ModelNotFound, OwnModel
from feilun.service.gateway.masking import strings
from feilun.service.shapes import whole

DEEPEST = 48
"""Levels of lists and objects in a body."""
_OWN = ("model/", "sha256:")
_PERSON = ("safety_identifier", "user")
"""Where OpenAI's API has an application's name for its user."""


class Asked(NamedTuple):
    """A chat: the body as it was sent, the model it names and the name of that one upstream;
    whether the answer is to come as a stream, and with the tokens that it cost; the person whom it
    is about, by the name that the application gives them."""

    body: dict[str, Any]
    model: str
    upstream: str
    stream: bool
    wants_usage: bool
    num_characters: int
    subject: str | None


def read(body: Mapping[str, Any], models: Mapping[str, str], task: str) -> Asked:
    """The chat in a body; raises `ChatUnusable`, `ModelNotFound`, `OwnModel`."""
    sound = {name: _sound(value, name, 1) for name, value in body.items()}
    model = sound["model"]
    if model not in models and (model == "live" or model.startswith(_OWN)):
        raise OwnModel(model, task)
    if models and model not in models:
        raise ModelNotFound(model, models)
    options = sound.get("stream_options")
    usage = bool(options.get("include_usage")) if isinstance(options, dict) else False
    return Asked(
        sound,
        model,
        models.get(model, model),
        bool(sound.get("stream")),
        usage,
        sum(map(len, strings(sound["messages"]))),
        next((sound[name] for name in _PERSON if _is_name(sound.get(name))), None),
    )


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _sound(value: Any, name: str, depth: int) -> Any:
    """`value` as JSON and UTF-8 can hold it: halves of characters are replaced."""
    if depth > DEEPEST:
        raise ChatUnusable(name, _("it is too deeply nested"))
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ChatUnusable(name, _("a number is not finite"))
    if isinstance(value, dict):
        return {whole(key): _sound(inner, name, depth + 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [_sound(inner, name, depth + 1) for inner in value]
    return value


def kept_messages(messages: Sequence[Any]) -> list[Any]:
    """The messages as they are logged: of a picture or a recording only that it was there."""
    return [
        {**message, "content": [_kept(part) for part in message["content"]]}
        if isinstance(message, dict) and isinstance(message.get("content"), list)
        else message
        for message in messages
    ]


def _kept(part: Any) -> Any:
    if not isinstance(part, dict) or part.get("type", "text") in {"text", "refusal"}:
        return part
    return {"type": part["type"]}


def last_said(messages: Sequence[Any]) -> str:
    """The text of the user's last message; empty where there is none."""
    for message in reversed(messages):
        if isinstance(message, dict) and message.get("role") == "user":
            return message_text(message)
    return ""


def message_text(message: Mapping[str, Any]) -> str:
    """The text of one message; of several parts those that are text, a line each."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))

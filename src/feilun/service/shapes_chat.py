"""What a chat and its answer look like: OpenAI's shapes, of which only the parts that are needed
here are named; everything else is passed on."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from feilun.core.i18n import N_
from feilun.service.shapes import Text

MAX_FIELDS = 64


class ChatMessage(BaseModel):
    """One message; other fields are passed on."""

    model_config = ConfigDict(extra="allow", frozen=True)

    role: Annotated[Text, Field(min_length=1, max_length=40)] = Field(examples=["user"])
    content: Any = Field(None, description=N_("a text, or a list of parts"), examples=["你好"])


class ChatRequest(BaseModel):
    """A chat in the shape of OpenAI's API; parameters that are not named here are passed on."""

    model_config = ConfigDict(
        extra="allow",
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "model": "gpt-4o-mini",
                    "messages": [{"role": "user", "content": "物流很快，包装也好"}],
                    "temperature": 0,
                }
            ]
        },
    )

    model: Annotated[Text, Field(min_length=1, max_length=200)]
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    stream: bool | None = Field(None, description=N_("send the answer piece by piece"))
    stream_options: dict[str, Any] | None = Field(
        None, description=N_("include_usage: end a stream with what it cost")
    )
    temperature: float | None = Field(
        None, description=N_("0: an answer that was given before may be given again")
    )

    @model_validator(mode="before")
    @classmethod
    def _few(cls, value: Any) -> Any:
        if isinstance(value, dict) and len(value) > MAX_FIELDS:
            raise PydanticCustomError("too_many_fields", "too many fields", {"limit": MAX_FIELDS})
        return value


class ChatChoice(BaseModel):
    """One answer to a chat."""

    model_config = ConfigDict(extra="allow")

    index: int = 0
    message: dict[str, Any] = Field(examples=[{"role": "assistant", "content": "正面"}])
    finish_reason: str | None = Field(None, examples=["stop"])


class ChatAnswer(BaseModel):
    """The server's answer, under an id of ours; it is stored before its end is sent."""

    model_config = ConfigDict(extra="allow")

    id: str = Field(
        description=N_("what feedback refers to"), examples=["chat_01a200d5f685b3e20c7b877"]
    )
    object: str = "chat.completion"
    choices: list[ChatChoice]
    usage: dict[str, Any] | None = None

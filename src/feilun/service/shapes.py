"""What requests and answers look like; the OpenAPI document is made from these."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from feilun.core.i18n import N_

MAX_FIELDS = 32
_LARGEST = 1e15
_REPLACEMENT = "\ufffd"


def whole(value: Any) -> Any:
    """Text without lone surrogates: JSON can spell them, UTF-8 cannot, so they would fail later."""
    if isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in _suspects(value)):
        return "".join(_REPLACEMENT if "\ud800" <= char <= "\udfff" else char for char in value)
    return value


def _suspects(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        return value
    return ""


def _as_list(value: Any) -> Any:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise PydanticCustomError("text_or_texts", "must be a text or a list of texts")
    return value


def _value(value: Any) -> Any:
    if isinstance(value, str | bool):
        return whole(value)
    if isinstance(value, int | float) and math.isfinite(_float(value)) and abs(value) <= _LARGEST:
        return value
    raise PydanticCustomError("feedback_value", "must be text, true, false or a finite number")


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


Text = Annotated[str, BeforeValidator(whole)]


class Asked(BaseModel):
    """A request's body: unknown fields are refused, so that a misspelt one is not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _few(cls, value: Any) -> Any:
        # Each unknown field makes an error object: a hostile body could hold 400 000 of them.
        if isinstance(value, dict) and len(value) > MAX_FIELDS:
            raise PydanticCustomError("too_many_fields", "too many fields", {"limit": MAX_FIELDS})
        return value


Subject = Annotated[
    Text,
    Field(
        min_length=1,
        max_length=200,
        description=N_("the person it is about, as you name them; stored as a digest only"),
        examples=["customer-4711"],
    ),
]


class ClassifyRequest(Asked):
    """One text, or several."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"input": "物流很快，包装也好"}, {"input": ["好", "bad"]}]}
    )

    input: Annotated[
        list[Text],
        FailFast(),
        Field(min_length=1),
        BeforeValidator(_as_list),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "string"},
                    {"type": "array", "items": {"type": "string"}, "minItems": 1},
                ],
                "description": N_(
                    "A text, or a list of them; [serve] limits how many and how long."
                ),
            }
        ),
    ]
    subject: Subject | None = None


class TagRequest(ClassifyRequest):
    """One text, or several, in which entities are to be found."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"input": "李雷在上海工作"}]})


class RegressRequest(ClassifyRequest):
    """One text, or several, each of which is to get a number."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"input": "物流很快，包装也好"}]})


def _as_pairs(value: Any) -> Any:
    flat = isinstance(value, list) and len(value) == 2 and all(isinstance(v, str) for v in value)
    return [value] if flat else value


class MatchRequest(Asked):
    """One pair of texts, or several pairs."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"input": ["怎么退款", "如何申请退款"]},
                {"input": [["怎么退款", "如何申请退款"], ["怎么退款", "发票在哪里开"]]},
            ]
        }
    )

    input: Annotated[
        list[tuple[Text, Text]],
        FailFast(),
        Field(min_length=1),
        BeforeValidator(_as_pairs),
        WithJsonSchema(
            {
                "type": "array",
                "minItems": 1,
                "items": {
                    "anyOf": [
                        {"type": "string"},
                        {
                            "type": "array",
                            "items": {"type": "string"},
                            "minItems": 2,
                            "maxItems": 2,
                        },
                    ]
                },
                "description": N_("Two texts, or a list of pairs of them."),
            }
        ),
    ]
    subject: Subject | None = None


class EmbeddingsRequest(ClassifyRequest):
    """One text, or several, in the shape of OpenAI's API; `model` is ignored: the live model
    answers."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"input": ["怎么退款"]}]})

    model: Annotated[Text, Field(max_length=200)] = ""
    encoding_format: Literal["float"] = "float"


class _OneResult(BaseModel):
    id: str = Field(
        description=N_("what feedback refers to"), examples=["p_01a200d5f685b3e20c7b877"]
    )
    score: float = Field(ge=0, le=1, description=N_("how sure the model is"), examples=[0.93])
    reason: Literal["empty", "unknown", "person"] | None = Field(
        None, description=N_("why there is no answer")
    )


class EntityFound(BaseModel):
    """A stretch of the text, in code points: `text[start:end]`."""

    start: int = Field(ge=0, examples=[0])
    end: int = Field(ge=0, examples=[2])
    label: str = Field(examples=["PER"])
    score: float = Field(ge=0, le=1, examples=[0.98])


class TagResult(_OneResult):
    """The entities of one text, by their start."""

    entities: list[EntityFound] | None


class MatchResult(_OneResult):
    """Whether two texts go together; `similarity` is the probability that they do."""

    label: str | None = Field(examples=["1"])
    scores: dict[str, float] = Field(examples=[{"0": 0.1, "1": 0.9}])
    similarity: float = Field(ge=0, le=1, examples=[0.9])


class RegressResult(_OneResult):
    """A number, with the ends of the interval that holds nine in ten of them."""

    value: float | None = Field(examples=[4.2])
    low: float | None = Field(examples=[3.1])
    high: float | None = Field(examples=[5.0])


class LabelsResult(_OneResult):
    """Every label that holds, where a text may have several."""

    labels: list[str] = Field(examples=[["物流", "包装"]])
    scores: dict[str, float]


class Result(BaseModel):
    """The answer to one input; `label` is null when there is nothing to judge by, and `reason`
    then says why (`empty`, `unknown`, or `person`: it waits for somebody to answer)."""

    id: str = Field(
        description=N_("what feedback refers to"), examples=["p_01a200d5f685b3e20c7b877"]
    )
    label: str | None = Field(examples=["正面"])
    score: float = Field(ge=0, le=1, description=N_("the probability of `label`"), examples=[0.93])
    scores: dict[str, float] = Field(examples=[{"正面": 0.93, "负面": 0.07}])
    reason: Literal["empty", "unknown", "person"] | None = None


class ClassifyAnswer(BaseModel):
    """One result per input, in their order; every one is stored before this is sent."""

    id: str = Field(description=N_("this request"), examples=["r_01a200d5f685b9b78d809ab"])
    model: str = Field(
        description=N_("the digest of the model that answered"), examples=["sha256:8f9…"]
    )
    results: list[Result | LabelsResult]


class _Answered(BaseModel):
    id: str = Field(description=N_("this request"), examples=["r_01a200d5f685b9b78d809ab"])
    model: str = Field(
        description=N_("the digest of the model that answered"), examples=["sha256:8f9…"]
    )


class TagAnswer(_Answered):
    """One result per input, in their order; every one is stored before this is sent."""

    results: list[TagResult]


class MatchAnswer(_Answered):
    """One result per pair, in their order; every one is stored before this is sent."""

    results: list[MatchResult]


class RegressAnswer(_Answered):
    """One result per input, in their order; every one is stored before this is sent."""

    results: list[RegressResult]


class Vector(BaseModel):
    """One text's place in the model's space; all zeros where the model knows nothing of it."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float]


class CharactersUsed(BaseModel):
    """Characters, where OpenAI's API counts tokens."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(BaseModel):
    """One vector per input, in their order."""

    object: Literal["list"] = "list"
    model: str
    data: list[Vector]
    usage: CharactersUsed


class FeedbackRequest(Asked):
    """What somebody says of one prediction."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "prediction_id": "p_01a200d5f685b3e20c7b877",
                    "kind": "correction",
                    "value": "负面",
                    "source": "reviewer-3",
                    "idempotency_key": "ticket-1042",
                }
            ]
        }
    )

    prediction_id: Annotated[Text, Field(min_length=1, max_length=80)]
    kind: Literal["rating", "correction", "outcome", "comment"] = Field(
        description=N_(
            "rating: 0 to 1, true or false; correction: the true label; "
            "outcome: what came of it; comment: free text"
        )
    )
    value: Annotated[
        Any,
        BeforeValidator(_value),
        WithJsonSchema(
            {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]},
        ),
    ]
    source: Annotated[Text, Field(max_length=200)] = Field(
        "", description=N_("who says so; the key's name when left out")
    )
    idempotency_key: Annotated[Text, Field(min_length=1, max_length=200)] | None = Field(
        None, description=N_("the same key with the same feedback is recorded once")
    )
    subject: Subject | None = None


class FeedbackAnswer(BaseModel):
    """The feedback's id; it is stored before this is sent."""

    id: str = Field(examples=["fb_01a200d5f685b3e20c7b877"])


class OpenPrediction(BaseModel):
    """A prediction that waits for a person's answer."""

    id: str = Field(
        description=N_("what feedback refers to"), examples=["p_01a200d5f685b3e20c7b877"]
    )
    object: Literal["open_prediction"] = "open_prediction"
    at: float = Field(description=N_("seconds since 1970"), examples=[1795310132.5])
    input: str | None = Field(
        description=N_("as the log keeps it; null where it keeps no readable text"),
        examples=["物流很快，但是包装破了"],
    )
    model: str = Field(
        description=N_("the digest of the model that was not sure enough"), examples=["sha256:8f9…"]
    )


class QueueAnswer(BaseModel):
    """What waits for a person, the oldest first."""

    object: Literal["list"] = "list"
    waiting: int = Field(ge=0, description=N_("how many wait; at most 100 are listed"))
    data: list[OpenPrediction]


class Figure(BaseModel):
    """A metric with the ends of its interval."""

    value: float
    low: float
    high: float


class ModelEntry(BaseModel):
    """One model of the project."""

    id: str = Field(description=N_("its digest"), examples=["sha256:8f9…"])
    object: Literal["model"] = "model"
    created: int = Field(description=N_("seconds since 1970"), examples=[1795310132])
    number: int
    architecture: str = Field(examples=["ngram"])
    live: bool = Field(description=N_("whether it is what is released"))
    metrics: dict[str, Figure] = Field(description=N_("on the frozen test"))


class OfferedModel(BaseModel):
    """A model that the gateway offers; when it was made (`created`) is not known."""

    id: str = Field(description=N_("what a chat names it"), examples=["gpt-4o-mini"])
    object: Literal["model"] = "model"
    created: Literal[0] = 0
    owned_by: str = Field(description=N_("the server that answers"), examples=["api.example.com"])


class ModelList(BaseModel):
    """The newest models, newest first; then those that the gateway offers."""

    object: Literal["list"] = "list"
    data: list[ModelEntry | OfferedModel]


class State(BaseModel):
    """A word on how the process is."""

    status: Literal["ok", "ready"]


class FieldProblem(BaseModel):
    """One field that cannot be used."""

    field: str
    message: str


class Problem(BaseModel):
    """What went wrong; `code` is stable, the rest is for people."""

    code: str = Field(examples=["prediction_not_found"])
    message: str
    remedy: str | None
    type: str = Field(
        description=N_("the sort of error, as OpenAI's clients know them"),
        examples=["invalid_request_error"],
    )
    param: str | None = Field(None, description=N_("the field at fault"))
    fields: list[FieldProblem] | None = None


class ErrorAnswer(BaseModel):
    """The one shape of every error."""

    error: Problem

"""What GET /v1/monitor and GET /v1/monitor/weakest answer."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from feilun.core.i18n import N_


class SignalEntry(BaseModel):
    """One figure of the window."""

    name: str = Field(examples=["inputs.distance"])
    value: float
    level: Literal["ok", "warning"]
    message: str = Field(description=N_("for people, in the reader's language"))
    threshold: float | None = Field(description=N_("where it turns loud, if that is one number"))
    detector: str = Field(examples=["inputs"])


class SignalList(BaseModel):
    """The signals of one look, in the order of the detectors."""

    object: Literal["list"] = "list"
    data: list[SignalEntry]


class SliceEntry(BaseModel):
    """A part of the answers with more cases (wrong or unsure answers) than the rest."""

    kind: Literal["label", "key", "source", "length", "language", "term"]
    value: str
    cases: int = Field(ge=0)
    answers: int = Field(ge=0, description=N_("in the slice; for a source, judgements"))
    share: float = Field(ge=0, le=1, description=N_("of cases among the answers of the slice"))
    low: float = Field(description=N_("of its 95 % interval"))
    high: float
    elsewhere: float = Field(description=N_("the share outside the slice"))
    chance: float = Field(ge=0, le=1, description=N_("p-value of Fisher's exact test"))
    examples: list[str] = Field(description=N_("at most three texts, masked"))
    ids: list[str] = Field(description=N_("their predictions"))


class WeakestList(BaseModel):
    """The weakest slices."""

    since: float = Field(description=N_("seconds since 1970"))
    answers: int = Field(ge=0)
    judged: int = Field(ge=0, description=N_("answers that somebody rated or corrected"))
    wrong: int = Field(ge=0, description=N_("corrected to something else, or rated below 0.5"))
    looked_at: int = Field(ge=0, description=N_("answers drawn at random to compare with"))
    unreadable: int = Field(ge=0, description=N_("of these, without a text to read"))
    by_feedback: list[SliceEntry]
    by_confidence: list[SliceEntry]

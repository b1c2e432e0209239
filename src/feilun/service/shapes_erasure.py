"""What an erasure is asked for with, and its receipt."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field

from feilun.core.i18n import N_
from feilun.service.shapes import Asked, Text


class EraseRequest(Asked):
    """Who is to be erased: a subject, texts that name them, or both."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"subject": "customer-4711", "texts": ["13800138000"]}]}
    )

    subject: Annotated[Text, Field(min_length=1, max_length=200)] | None = Field(
        None, description=N_("as requests named them")
    )
    texts: Annotated[
        list[Annotated[Text, Field(min_length=1, max_length=200)]],
        FailFast(),
        Field(max_length=20),
    ] = Field([], description=N_("what names them in texts: numbers, addresses, names"))


class SourceLeft(BaseModel):
    """Records that came from outside: there they still are."""

    source: str = Field(examples=["reviews.csv"])
    rows: int


class EraseAnswer(BaseModel):
    """The receipt: what was removed, and which models learnt from it; no names, no texts."""

    id: str = Field(examples=["er_01a200d5f685b3e20c7b877"])
    at: str
    by: str = Field(description=N_("the name of the key"), examples=["officer"])
    predictions: int
    feedback: int
    keys: int = Field(description=N_("keys of the vault"))
    others: int = Field(description=N_("rows of other tables of the log"))
    rows: int = Field(description=N_("records in stored files"))
    files: int = Field(description=N_("stored files that changed"))
    artifacts: list[str] = Field(description=N_("what lost rows, or was made of such"))
    models: list[str] = Field(description=N_("to be trained anew: feilun turn"))
    live: bool = Field(description=N_("whether one of the models is live"))
    sources: list[SourceLeft]


class ErasureList(BaseModel):
    """The receipts of all erasures, newest first."""

    object: Literal["list"] = "list"
    data: list[EraseAnswer]

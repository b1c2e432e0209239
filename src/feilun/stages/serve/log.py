"""How the texts of predictions are kept, and for how long."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Kept = Literal["vault", "masked", "hash", "full"]


class Log(BaseModel):
    """`[serve.log]`: what becomes of the texts that people send, in the event log."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keep: Kept = Field(
        "vault",
        description="vault: encrypted, opened for the turn; masked: without personal data, and so"
        " learnt from; hash: a digest only, so that no feedback can be learnt from; full: as it"
        " was sent",
    )
    input_days: int | None = Field(
        None,
        ge=1,
        description="after which the texts of predictions without feedback go; left out: never",
    )
    row_days: int | None = Field(
        None,
        ge=1,
        description="after which predictions without feedback, and failures, go; left out: never",
    )
    feedback_days: int | None = Field(
        None,
        ge=1,
        description="after which feedback goes with its prediction, and is learnt from no more;"
        " left out: never",
    )

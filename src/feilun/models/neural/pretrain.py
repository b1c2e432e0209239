"""What pretraining can be set to, and how much of it there is."""

from __future__ import annotations

import math
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from feilun.core.i18n import _

SEEN = 400_000
"""Texts seen in all, where neither `epochs` nor `steps` says otherwise."""


class Pretrain(BaseModel):
    """Learning from texts without labels before the task's own training: hidden words are to be
    found, and whether one passage follows another (Devlin et al., NAACL 2019)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Passes over all texts; left out: 3 to 40, by their number, as far as `share` "
        "of the budget allows.",
    )
    steps: int | None = Field(
        None, ge=1, le=100_000_000, description="Optimizer steps, instead of epochs."
    )
    share: float = Field(
        0.7, gt=0, lt=1, description="Of the budget, the most that pretraining may take."
    )
    masked: float = Field(
        0.15, gt=0, le=0.8, description="The share of tokens that are hidden and to be found."
    )
    next_sentence: bool = Field(
        True,
        description="Whether it also learns if one passage follows another; off where no record "
        "has two sentences.",
    )
    whole_words: bool = Field(
        True,
        description="Whether words are hidden as a whole; Chinese ones are found by the mutual "
        "information of their characters in the texts themselves.",
    )
    batch_size: int = Field(32, ge=1, le=4096, description="Passages per optimizer step.")
    learning_rate: float | None = Field(
        None, gt=0, le=10, description="The highest rate; left out: the task's."
    )
    warmup: float = Field(
        0.1, ge=0, le=0.9, description="The share of all steps in which the rate rises."
    )
    max_length: int | None = Field(
        None, ge=8, le=4096, description="Tokens of a passage; left out: the task's, to 128."
    )

    @model_validator(mode="after")
    def _one_measure(self) -> Self:
        if self.epochs is not None and self.steps is not None:
            raise ValueError(_("pretrain has both epochs and steps: set one of them"))
        return self

    def num_steps(self, passages: int) -> int:
        """Optimizer steps over so many passages."""
        if self.steps is not None:
            return self.steps
        epochs = self.epochs or min(40, max(3, math.ceil(SEEN / max(passages, 1))))
        return epochs * -(-passages // self.batch_size)

"""The settings of the family `transformer`; what trains and what estimates read them here."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field

from feilun.core.compiled import usable_cores
from feilun.models.family import Family
from feilun.models.transformer.sizes import SIZES, Size, epochs_for

SizeName = Literal["auto", "nano", "micro", "mini", "small", "base"]


class Settings(Family):
    """What can be set; a setting left out follows from `size`, and from the number of texts
    where that is said."""

    size: SizeName = Field(
        "auto",
        description="nano 2×128 (layers × width), micro 4×256, mini 6×384, small 8×512, base "
        "12×768; auto: the biggest that the budget and the number of texts allow.",
    )
    epochs: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Passes over the texts; left out: 3 to 30, by their number.",
    )
    batch_size: int = Field(32, ge=1, le=4096, description="Texts per optimizer step.")
    learning_rate: float | None = Field(
        None, gt=0, le=1, description="The highest rate, reached after the warm-up."
    )
    warmup: float = Field(
        0.1, ge=0, le=0.9, description="The share of all steps in which the rate rises."
    )
    dropout: float = Field(
        0.1, ge=0, le=0.9, description="The share of activations dropped while training."
    )
    weight_decay: float = Field(
        0.01, ge=0, le=10, description="AdamW's decay of matrices (not of biases and norms)."
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="The share of the true label's weight spread over all."
    )
    class_weight: Literal["none", "balanced"] = Field(
        "none", description="balanced: a rare label's texts weigh more, all labels alike in sum."
    )
    clip_norm: float = Field(
        1.0, gt=0, le=1e6, description="The longest a step's gradient may be (its 2-norm)."
    )
    patience: int = Field(
        4,
        ge=1,
        le=1000,
        description="Epochs without a better validation loss before training stops.",
    )
    max_length: int | None = Field(
        None,
        ge=8,
        le=4096,
        description="Tokens read at once; longer texts are read in windows of this length.",
    )
    vocabulary_size: int | None = Field(
        None, ge=64, le=250_000, description="At most so many entries in the tokenizer."
    )
    min_frequency: int = Field(
        2, ge=1, le=1000, description="How often a character or piece must occur for an entry."
    )
    lowercase: bool = Field(True, description="Whether A and a are the same.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto: the GPU when torch sees one."
    )
    threads: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="CPU threads for training; left out: as many as there are cores. Another "
        "number gives a model that differs in the last bits, so the number used is kept.",
    )

    @property
    def preset(self) -> Size:
        """The size in numbers, with this part's own vocabulary, length and rate in place."""
        chosen = SIZES["nano" if self.size == "auto" else self.size]
        return chosen._replace(
            vocabulary=self.vocabulary_size or chosen.vocabulary,
            max_length=self.max_length or chosen.max_length,
            learning_rate=self.learning_rate or chosen.learning_rate,
        )

    def resolved(self, num_rows: int, size: SizeName | None = None) -> Self:
        """The same settings with every open choice made; size `auto` becomes `size` or nano."""
        name = self.size if self.size != "auto" else size or "nano"
        preset = self.model_copy(update={"size": name}).preset
        return self.model_copy(
            update={
                "size": name,
                "epochs": self.epochs or epochs_for(num_rows),
                "learning_rate": preset.learning_rate,
                "max_length": preset.max_length,
                "vocabulary_size": preset.vocabulary,
                "threads": self.threads or usable_cores(),
            }
        )

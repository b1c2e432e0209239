"""The settings of the family `transformer`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from feilun.core.run import Run
from feilun.models.family import Estimate, Family
from feilun.models.transformer.sizes import SIZES, Size, epochs_for

if TYPE_CHECKING:
    import polars as pl

    from feilun.models.transformer.predict import Onnx

SizeName = Literal["auto", "nano", "micro", "mini", "small", "base"]


class Transformer(Family):
    """A BERT-class classifier trained from scratch on your own texts, on CPU or one GPU.

    A setting left out follows from `size`, and from the number of texts where that is said.
    """

    use: ClassVar[str] = "transformer"
    needs: ClassVar[tuple[str, ...]] = ("torch", "transformers", "onnx")

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

    def resolved(self, num_rows: int, size: SizeName | None = None) -> Transformer:
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

    def estimate(self, train: pl.DataFrame, budget_seconds: float, run: Run) -> Estimate:
        """Times a few real steps of the smallest size on a sample of `train`, and from them
        predicts every size; about three seconds, and torch's import where it is the first."""
        _share_the_cores()
        from feilun.models.transformer.estimate import estimate

        return estimate(self, train, budget_seconds, run)

    def fit(
        self,
        train: pl.DataFrame,
        validation: pl.DataFrame,
        labels: Sequence[str],
        folder: Path,
        run: Run,
    ) -> None:
        """Trains, and writes the Hugging Face layout with `model.onnx` into `folder`.

        An unresolved size `auto` is nano. With no validation texts the last epoch's weights
        are kept and the probabilities are not calibrated. Raises `NothingToLearn`,
        `LabelUnknown`, `LossNotFinite`, `ExportDiffers`.
        """
        _share_the_cores()
        from feilun.models.transformer.fit import fit

        fit(self.resolved(len(train)), train, validation, labels, folder, run)

    @classmethod
    def load(cls, folder: Path, threads: int | None = None) -> Onnx:
        """The half that predicts, on `threads` CPU threads (left out: one per core)."""
        from feilun.models.transformer.predict import Onnx

        return Onnx(folder, threads=threads or usable_cores())


def usable_cores() -> int:
    """How many cores this process may use: its affinity, not the machine's count."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS has no affinity
        return os.cpu_count() or 1


def _share_the_cores() -> None:
    """Makes torch's threads sleep, not spin, when they wait for each other; call it before
    torch is imported, for OpenMP reads the variable once.

    Measured on two cores, a nano step on two threads: beside another busy process 63 and 49
    ms asleep against 1,344 and 118 ms spinning. An unset variable only: the user's word counts.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

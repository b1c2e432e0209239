"""The family `transformer`: its settings with the halves that estimate, train and predict."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from feilun.core.compiled import usable_cores
from feilun.core.run import Run
from feilun.models.family import Estimate
from feilun.models.transformer.settings import Settings

if TYPE_CHECKING:
    import polars as pl

    from feilun.models.transformer.predict import Onnx


class Transformer(Settings):
    """A BERT-class classifier trained from scratch on your own texts, on CPU or one GPU.

    A setting left out follows from `size`, and from the number of texts where that is said.
    """

    use: ClassVar[str] = "transformer"
    needs: ClassVar[tuple[str, ...]] = ("torch", "transformers", "onnx")

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


def _share_the_cores() -> None:
    """Makes torch's threads sleep, not spin, when they wait for each other; call it before
    torch is imported, for OpenMP reads the variable once.

    Measured on two cores, a nano step on two threads: beside another busy process 63 and 49
    ms asleep against 1,344 and 118 ms spinning. An unset variable only: the user's word counts.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

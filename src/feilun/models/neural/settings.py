"""What every family of networks can be set to, and what it does alike."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field

from feilun.core.compiled import usable_cores
from feilun.core.run import Run
from feilun.models.family import Estimate, Family, Lesson, Predictor
from feilun.models.neural.sizes import Size, SizeName, epochs_for
from feilun.models.space import Axis, Space
from feilun.tasks import Task

if TYPE_CHECKING:
    from feilun.models.neural.encoder import Encoder, Read
    from feilun.models.neural.reading import Reader

Activation = Literal["gelu", "relu", "tanh", "silu"]
Initializer = Literal["normal", "xavier", "kaiming"]
Optimizer = Literal["sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop", "adafactor"]


class Neural(Family):
    """A network; a setting left out follows from `size`, and from the number of texts where
    that is said.

    A family adds its own settings, says what each `size` stands for (`sizes`) and which encoder
    to build (`encoder`). Everything else is the same for all.
    """

    tasks: ClassVar[tuple[str, ...]] = ("classify", "tag", "match", "regress")
    needs: ClassVar[tuple[str, ...]] = ("torch", "onnx")
    sizes: ClassVar[Mapping[str, Size]]
    """What the dial's notches stand for, the smallest first; some may be missing."""
    crf_by_default: ClassVar[bool] = False
    quantises: ClassVar[bool] = False
    """Whether its time goes into products with weights, which eight bits make faster."""

    size: SizeName = Field(
        "auto",
        description="nano, micro, mini, small or base; auto: the biggest that the budget and the "
        "number of texts allow.",
    )
    layers: int | None = Field(None, ge=1, le=96, description="Layers; left out: by `size`.")
    width: int | None = Field(
        None, ge=8, le=8192, description="Numbers in a token's vector; left out: by `size`."
    )
    epochs: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Passes over the texts; left out: 3 to 30, by their number.",
    )
    batch_size: int = Field(32, ge=1, le=4096, description="Texts per optimizer step.")
    accumulate: int = Field(
        1,
        ge=1,
        le=4096,
        description="In how many parts the gradient of a batch is found; more need less memory "
        "and give the same model to within rounding (with `dropout` another draw of it).",
    )
    processes: int = Field(
        1,
        ge=1,
        le=64,
        description="GPUs of this machine (or processes, on its CPU) that share each batch; the "
        "same model as from one to within rounding (with `dropout` another draw of it).",
    )
    optimizer: Optimizer = Field("adamw", description="How a gradient becomes a step.")
    momentum: float = Field(
        0.9, ge=0, lt=1, description="Of the optimizers momentum, nesterov and rmsprop."
    )
    learning_rate: float | None = Field(
        None, gt=0, le=10, description="The highest rate, reached after the warm-up."
    )
    schedule: Literal["constant", "linear", "cosine"] = Field(
        "linear", description="How the rate falls after the warm-up, to 0 at the last step."
    )
    warmup: float = Field(
        0.1, ge=0, le=0.9, description="The share of all steps in which the rate rises."
    )
    layer_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description="By what each layer's rate is less than that of the layer above it.",
    )
    dropout: float = Field(
        0.1, ge=0, le=0.9, description="The share of activations dropped while training."
    )
    weight_decay: float = Field(
        0.01, ge=0, le=10, description="The decay of matrices (not of biases and norms)."
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
    activation: Activation = Field("gelu", description="The function between two layers.")
    initializer: Initializer = Field(
        "normal", description="How the first weights are drawn: normal is BERT's (σ = .02)."
    )
    pairs: Literal["twin", "cross"] = Field(
        "cross",
        description="How the two texts of `match` are read: cross together (better), twin each "
        "on its own (their vectors can be kept and searched).",
    )
    crf: bool | None = Field(
        None,
        description="Whether `tag` learns which label follows which (a linear chain); left out: "
        "as the family does best.",
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
    tokenizer: Literal["wordpiece", "bpe", "unigram"] = Field(
        "wordpiece",
        description="How texts become entries: wordpiece (BERT's; every Chinese character stands "
        "alone), bpe or unigram (frequent strings of characters join, Chinese ones too).",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto",
        description="Of the products while training; auto: bf16 or fp16 on a GPU that has it, "
        "else fp32.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto: the GPU when torch sees one."
    )
    int8: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Whether the model answers in eight bits, if that loses no more than "
        "`int8_loss`; auto: a transformer does where that is faster on this machine.",
    )
    int8_loss: float = Field(
        0.005,
        ge=0,
        le=1,
        description="By how much eight bits may lower the metric on the validation split (of "
        "`regress`: raise the error, in standard deviations of the values).",
    )
    threads: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="CPU threads for training; left out: as many as there are cores. Another "
        "number gives a model that differs in the last bits, so the number used is kept.",
    )

    # What a family says

    @abstractmethod
    def encoder(self, vocabulary: int, pad: int, read: Read = "pooled") -> Encoder:
        """The network below the head with its first weights, drawn from torch's current random
        state; settings are `resolved`. `read` is what the head will read of it, for networks
        that are built differently by that. Imports torch here, not at the head of its module."""

    def reader(self, lesson: Lesson, run: Run) -> Reader:
        """The tokenizer and what stands around texts; settings are `resolved`. One trained on the
        texts of `lesson.train`, unless the family has its own."""
        from feilun.models.neural import tokenizing

        return tokenizing.reader(self, [text or "" for text in lesson.train["text"]], run)

    def save_tokenizer(self, reader: Reader, folder: Path) -> None:
        """Writes `tokenizer.json` and `tokenizer_config.json`, which `AutoTokenizer` opens."""
        from feilun.models.neural import wordpiece

        wordpiece.save(reader, folder, self.lowercase)

    def sketch(self, vocabulary: int, pad: int, read: Read = "pooled") -> Encoder:
        """The same network without memory for its weights, to be measured."""
        from feilun.models.neural.device import without_memory

        with without_memory():
            return self.encoder(vocabulary, pad, read)

    def prime(self, encoder: Encoder, reader: Reader, lesson: Lesson, run: Run) -> None:
        """What is done to a new encoder before it learns the task: pretraining. Nothing here.
        Called again after a kill unless the task's own training has begun."""

    def reads(self) -> Path | None:
        """The folder that `encoder` reads, where there is one."""
        return None

    def reading(self, folder: Path | None) -> Self:
        """The same settings in another process, where `reads` said `folder`."""
        return self

    # What all do

    def estimate(self, lesson: Lesson, budget_seconds: float, run: Run) -> Estimate:
        """Times a few real steps on a sample of the texts, and from them predicts every size;
        a few seconds, and torch's import where it is the first."""
        share_the_cores()
        from feilun.models.neural import int8
        from feilun.models.neural.estimate import estimate

        found = estimate(self, lesson, budget_seconds, run)
        family = found.family
        if self.int8 == "auto" and isinstance(family, Neural):
            width = family.preset.width
            on = self.quantises and int8.pays(width)
            family = family.model_copy(update={"int8": "on" if on else "off"})
        return found._replace(family=family)

    def space(self, task: Task) -> Space:
        """The pace and what holds back from learning by heart; unless it is set, the size, of
        the two smallest. The rate from a quarter to four times what the sizes start from."""
        sizes = list(self.sizes)[:2] if self.size == "auto" else [self.size]
        rates = [self.model_copy(update={"size": n}).preset.learning_rate for n in sizes]
        space = {
            "learning_rate": Axis(low=min(rates) / 4, high=min(4 * max(rates), 10.0), log=True),
            "dropout": Axis(low=0.0, high=0.5, step=0.1),
            "weight_decay": Axis(low=1e-4, high=0.3, log=True),
            "batch_size": Axis(values=(16, 32, 64)),
        }
        return {**space, "size": Axis(values=tuple(sizes))} if len(sizes) > 1 else space

    def fit(self, lesson: Lesson, folder: Path, run: Run) -> None:
        """Trains, and writes the model into `folder`: `config.json`, `model.safetensors`, the
        tokenizer, `model.onnx`, cards.

        An unresolved size `auto` is the smallest, an unresolved `int8` is off. With no validation
        texts the last epoch's weights are kept and nothing is calibrated. Raises `NothingToLearn`,
        `LabelUnknown`, `BadTruth`, `NotEnoughMemory`, `LossNotFinite`, `ExportDiffers`, and with
        several `processes` `NoLauncher`, `TooFewDevices`, `ProcessEnded`.
        """
        share_the_cores()
        from feilun.models.neural.fit import fit

        fit(self.resolved(len(lesson.train)), lesson, folder, run)

    @classmethod
    def load(cls, folder: Path, threads: int | None = None) -> Predictor:
        """The half that predicts, on `threads` CPU threads (left out: one per core)."""
        from feilun.models.neural.predict import opened

        return opened(folder, threads or usable_cores())

    @property
    def preset(self) -> Size:
        """The size in numbers, with this part's own layers, width, length … in place."""
        name = next(iter(self.sizes)) if self.size == "auto" else self.size
        chosen = self.sizes[name]
        own = {key: getattr(self, key, None) for key in Size._fields}
        own["vocabulary"] = self.vocabulary_size
        return chosen._replace(**{key: value for key, value in own.items() if value is not None})

    def resolved(self, num_rows: int, size: str | None = None) -> Self:
        """The same settings with every open choice made; size `auto` becomes `size` or the
        smallest."""
        name = self.size if self.size != "auto" else size or next(iter(self.sizes))
        preset = self.model_copy(update={"size": name}).preset
        return self.model_copy(
            update={
                "size": name,
                "layers": preset.layers,
                "width": preset.width,
                "epochs": self.epochs or epochs_for(num_rows),
                "learning_rate": preset.learning_rate,
                "max_length": preset.max_length,
                "vocabulary_size": preset.vocabulary,
                "crf": self.crf_by_default if self.crf is None else self.crf,
                "threads": self.threads or usable_cores(),
            }
        )


def share_the_cores() -> None:
    """Makes torch's threads sleep, not spin, when they wait for each other; call it before
    torch is imported, for OpenMP reads the variable once.

    Measured on two cores, a nano step on two threads: beside another busy process 63 and 49
    ms asleep against 1,344 and 118 ms spinning. An unset variable only: the user's word counts.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

"""What benchmarks/train.py runs beside us: Hugging Face's Trainer in turns, fastText."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from feilun.models.neural.network import Network


class Stretch(NamedTuple):
    """Some steps of a training: how long they took, what they read, their mean loss."""

    seconds: float
    tokens: int
    loss: float

    @property
    def pace(self) -> float:
        """Real tokens, padding not counted, per second."""
        return self.tokens / self.seconds


def same_network(network: Network) -> BertForSequenceClassification:
    """Transformers' network of the same shape with the same weights."""
    config, tensors, _beside = network.encoder.layout(network.head)
    made = BertForSequenceClassification(BertConfig(**config))
    missing, strange = made.load_state_dict(tensors, strict=False)
    assert not missing, missing
    assert not strange, strange
    return made


class Rows(torch.utils.data.Dataset[dict[str, Any]]):
    """Texts as lists of ids, specials included, with their labels."""

    def __init__(self, ids: list[list[int]], target: np.ndarray) -> None:
        self.ids, self.target = ids, target

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, at: int) -> dict[str, Any]:
        return {"input_ids": self.ids[at], "labels": int(self.target[at])}


class _Turns(TrainerCallback):
    """After every `steps` steps: the stretch is written down, and the other one has its turn."""

    def __init__(self, steps: int, clock: Callable[[], float], other: Callable[[], None]) -> None:
        self.steps, self.clock, self.other = steps, clock, other
        self.stretches: list[Stretch] = []
        self.begun, self.tokens, self.losses = 0.0, 0, list[float]()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step % self.steps:
            return
        seconds = self.clock() - self.begun
        loss = float(np.mean(self.losses))
        self.stretches.append(Stretch(seconds, self.tokens, loss))
        self.other()
        self.tokens, self.losses = 0, []
        self.begun = self.clock()


class _Counting(Trainer):
    """Trainer as it is, with its tokens and losses told to `turns`; `order`, where given, is
    that of the texts."""

    turns: _Turns
    order: Sequence[int] | None = None

    def training_step(self, model: Any, inputs: Any, *args: Any) -> Any:
        self.turns.tokens += int(inputs["attention_mask"].sum())
        loss = super().training_step(model, inputs, *args)
        self.turns.losses.append(float(loss))
        return loss

    def _get_train_sampler(self, *args: Any) -> Any:
        return self.order if self.order is not None else super()._get_train_sampler(*args)


class Asked(NamedTuple):
    """How the Trainer is to train."""

    batch_size: int
    rate: float
    steps: int
    stretch: int
    grouped: bool
    seed: int


def hugging_face(
    model: BertForSequenceClassification,
    rows: Rows,
    pad: int,
    asked: Asked,
    clock: Callable[[], float],
    other: Callable[[], None],
    order: Sequence[int] | None = None,
) -> list[Stretch]:
    """Trains `model` with transformers' Trainer, padding each batch to its longest text;
    `other` runs, untimed, after every stretch. With `grouped`, texts of like length meet."""

    def collate(batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        longest = max(len(one["input_ids"]) for one in batch)
        ids = torch.full((len(batch), longest), pad)
        mask = torch.zeros((len(batch), longest), dtype=torch.long)
        for row, one in enumerate(batch):
            ids[row, : len(one["input_ids"])] = torch.tensor(one["input_ids"])
            mask[row, : len(one["input_ids"])] = 1
        labels = torch.tensor([one["labels"] for one in batch])
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    turns = _Turns(asked.stretch, clock, other)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            per_device_train_batch_size=asked.batch_size,
            learning_rate=asked.rate,
            lr_scheduler_type="constant",
            weight_decay=0.01,
            max_steps=asked.steps,
            use_cpu=True,
            seed=asked.seed,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=False,
            train_sampling_strategy="group_by_length" if asked.grouped else "random",
        )
        trainer = _Counting(
            model=model, args=arguments, train_dataset=rows, data_collator=collate,
            callbacks=[turns],
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        trainer.turns, trainer.order = turns, order
        turns.begun = clock()
        trainer.train()
    return turns.stretches


def fast_text(texts: Sequence[str], labels: Sequence[str]) -> Callable[[Sequence[str]], list[str]]:
    """fastText's supervised model over strings of one to three characters, on one thread: the
    rate is five times its default, which is better here."""
    import fasttext

    def spaced(text: str) -> str:
        return " ".join("".join(text.split()))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.txt"
        lines = (f"__label__{a} {spaced(t)}\n" for t, a in zip(texts, labels, strict=True))
        path.write_text("".join(lines), encoding="utf-8")
        model = fasttext.train_supervised(
            str(path), wordNgrams=3, lr=0.5, thread=1, verbose=0, seed=1
        )

    def answers(asked: Sequence[str]) -> list[str]:
        found, _ = model.predict([spaced(text) for text in asked])
        return [one[0].removeprefix("__label__") for one in found]

    return answers


def seconds_of(work: Callable[[], Any]) -> float:
    """Processor seconds of `work`, which has one thread."""
    begun = time.process_time()
    work()
    return time.process_time() - begun

"""What stands on an encoder for each task: outputs, their loss, their ONNX nodes.

A head's `forward` gives its outputs, float32: `[texts, labels]` logits, `[texts, 1]` a value,
or `[texts, tokens, tags]` logits. Targets come as the head's `loss` wants them:

    Classes   int64 `[texts]`, or float32 `[texts, labels]` (soft)          classify, match
    Several   float32 `[texts, labels]`, 0 or 1 (or between: soft)          classify, multiple
    Value     float32 `[texts]`, standardised                               regress
    Tokens    int64 `[texts, tokens]`, −100 where nothing is asked          tag
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  # its name everywhere
from torch import Tensor

from feilun.models.neural.aim import Aim
from feilun.models.neural.crf import Crf
from feilun.models.neural.encoder import Read
from feilun.models.neural.initial import initialise

if TYPE_CHECKING:
    from feilun.models.neural.graph import Graph

NOT_ASKED = -100


class Use(NamedTuple):
    """What settings say of a head; `weight` of each label (or tag), or None: all alike."""

    dropout: float
    smoothing: float = 0.0
    weight: Tensor | None = None
    crf: bool = False


class Head(torch.nn.Module, ABC):
    """Outputs from what an encoder gives; `read` says what that is.

    `linear` is the layer that every head ends with. `problem` is what transformers calls the
    kind of task (`problem_type`).
    """

    read: ClassVar[Read] = "pooled"
    problem: ClassVar[str | None] = None

    def __init__(self, width: int, labels: tuple[str, ...], outputs: int, dropout: float) -> None:
        super().__init__()
        self.labels = labels
        self.dropout = dropout
        self.linear = torch.nn.Linear(width, outputs)
        initialise(self, "normal")

    def forward(self, x: Tensor) -> Tensor:
        """Outputs, float32, of vectors `[…, width]`."""
        dropped: Tensor = F.dropout(x, self.dropout, self.training)
        result: Tensor = self.linear(dropped)
        return result.float()

    @abstractmethod
    def loss(self, output: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """The sum of the batch's weighted losses. Divided by the sum of `weights` over a whole
        batch it is what is minimised, so that parts of a batch add up to it."""

    @abstractmethod
    def weights(self, target: Tensor) -> Tensor:
        """The sum of the batch's weights: what a batch's losses are divided by."""

    def config(self) -> dict[str, Any]:
        """What the head adds to `config.json`."""
        known: dict[str, Any] = {
            "id2label": {str(i): label for i, label in enumerate(self.labels)},
            "label2id": {label: i for i, label in enumerate(self.labels)},
        }
        return known | ({"problem_type": self.problem} if self.problem else {})

    def draw(self, graph: Graph, x: str) -> str:
        """The ONNX nodes of `forward`."""
        return graph.linear(x, self.linear)


class Classes(Head):
    """One label of several: softmax cross-entropy with label smoothing and label weights."""

    problem: ClassVar[str | None] = "single_label_classification"

    def __init__(
        self,
        width: int,
        labels: tuple[str, ...],
        dropout: float,
        smoothing: float = 0.0,
        weight: Tensor | None = None,
        *,
        inputs: int | None = None,
    ) -> None:
        """`weight` of each label, float32 `[labels]`; left out: all alike."""
        super().__init__(inputs or width, labels, len(labels), dropout)
        self.smoothing = smoothing
        weight = torch.ones(len(labels)) if weight is None else weight
        self.register_buffer("weight", weight, persistent=False)

    def loss(self, output: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Of a soft target, the cross-entropy with it: it is smooth already."""
        assert isinstance(self.weight, Tensor)
        smoothing = 0.0 if target.is_floating_point() else self.smoothing
        return F.cross_entropy(
            output, target, self.weight, reduction="sum", label_smoothing=smoothing
        )

    def weights(self, target: Tensor) -> Tensor:
        assert isinstance(self.weight, Tensor)
        if target.is_floating_point():
            return (target * self.weight).sum()
        return self.weight[target].sum()

    def cool(self, temperature: float) -> None:
        """Divides the logits by `temperature` for good, in the layer's own weights: whoever
        opens the model, in whatever format, gets calibrated probabilities."""
        with torch.no_grad():
            self.linear.weight.div_(temperature)
            self.linear.bias.div_(temperature)


class Several(Head):
    """Any number of labels: a sigmoid and binary cross-entropy for each.

    With `weight` (of each label) what has the label weighs more than what has not.
    """

    problem: ClassVar[str | None] = "multi_label_classification"

    def __init__(
        self,
        width: int,
        labels: tuple[str, ...],
        dropout: float,
        smoothing: float = 0.0,
        weight: Tensor | None = None,
    ) -> None:
        super().__init__(width, labels, len(labels), dropout)
        self.smoothing = smoothing
        weight = torch.ones(len(labels)) if weight is None else weight
        self.register_buffer("weight", weight, persistent=False)

    def loss(self, output: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Smoothing moves 0 and 1 towards a half."""
        assert isinstance(self.weight, Tensor)
        aimed = target * (1 - self.smoothing) + self.smoothing / 2
        found = F.binary_cross_entropy_with_logits(
            output, aimed, pos_weight=self.weight, reduction="sum"
        )
        return found / len(self.labels)

    def weights(self, target: Tensor) -> Tensor:
        return torch.tensor(float(len(target)), device=target.device)

    def shift(self, thresholds: Tensor) -> None:
        """Moves each label's logit for good, so that what was a probability of its threshold is
        one half."""
        with torch.no_grad():
            self.linear.bias.sub_(torch.logit(thresholds).to(self.linear.bias))


class Value(Head):
    """A number: mean squared error of the standardised value."""

    problem: ClassVar[str | None] = "regression"

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__(width, ("LABEL_0",), 1, dropout)

    def loss(self, output: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        return F.mse_loss(output[:, 0], target, reduction="sum")

    def weights(self, target: Tensor) -> Tensor:
        return torch.tensor(float(len(target)), device=target.device)

    def scale(self, mean: float, spread: float) -> None:
        """From standardised values to the records' own, for good: `mean` and `spread` go into
        the layer."""
        with torch.no_grad():
            self.linear.weight.mul_(spread)
            self.linear.bias.mul_(spread).add_(mean)


class Tokens(Head):
    """A tag per token: softmax cross-entropy, or with `crf` a linear chain over them."""

    read: ClassVar[Read] = "states"

    def __init__(
        self,
        width: int,
        tags: tuple[str, ...],
        dropout: float,
        smoothing: float = 0.0,
        weight: Tensor | None = None,
        *,
        crf: bool = False,
    ) -> None:
        super().__init__(width, tags, len(tags), dropout)
        self.smoothing = smoothing
        self.crf = Crf(len(tags)) if crf else None
        weight = torch.ones(len(tags)) if weight is None else weight
        self.register_buffer("weight", weight, persistent=False)

    def loss(self, output: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        assert isinstance(self.weight, Tensor)
        if self.crf is not None:
            asked = target != NOT_ASKED
            return self.crf.loss(output, target, asked) * asked.sum()
        return F.cross_entropy(
            output.flatten(0, 1),
            target.flatten(),
            self.weight,
            reduction="sum",
            label_smoothing=self.smoothing,
            ignore_index=NOT_ASKED,
        )

    def weights(self, target: Tensor) -> Tensor:
        assert isinstance(self.weight, Tensor)
        asked = target[target != NOT_ASKED]
        return self.weight[asked].sum() if self.crf is None else asked.new_tensor(len(asked))

    def cool(self, temperature: float) -> None:
        """Divides the logits by `temperature` for good."""
        with torch.no_grad():
            self.linear.weight.div_(temperature)
            self.linear.bias.div_(temperature)

    def draw(self, graph: Graph, x: str) -> str:
        width, tags = self.linear.in_features, self.linear.out_features
        return graph.texts(super().draw(graph, graph.rows(x, width)), tags)


class Twin(Classes):
    """Labels of a pair from both texts' vectors: [u, v, |u − v|, u·v].

    (Reimers and Gurevych, Sentence-BERT, EMNLP 2019, with the product beside.) Vectors are of
    length √width, so that what is learnt of them holds for their cosine.
    """

    read: ClassVar[Read] = "embedding"

    def __init__(
        self,
        width: int,
        labels: tuple[str, ...],
        dropout: float,
        smoothing: float = 0.0,
        weight: Tensor | None = None,
    ) -> None:
        super().__init__(width, labels, dropout, smoothing, weight, inputs=4 * width)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the vectors of pairs, `[2 · pairs, width]`: first, second, first, …"""
        x = F.normalize(x.float(), dim=-1) * x.shape[-1] ** 0.5
        u, v = x[0::2], x[1::2]
        return super().forward(torch.cat([u, v, (u - v).abs(), u * v], dim=-1))

    def draw(self, graph: Graph, x: str) -> str:
        """Nothing: what predicts has the vectors of `model.onnx` and these weights beside."""
        return x


def head_for(aim: Aim, twin: bool, width: int, labels: tuple[str, ...], use: Use) -> Head:
    """The head that gives what `aim` says."""
    if aim == "value":
        return Value(width, use.dropout)
    given = (width, labels, use.dropout, use.smoothing, use.weight)
    if aim == "several":
        return Several(*given)
    if aim == "tokens":
        return Tokens(*given, crf=use.crf)
    return Twin(*given) if twin else Classes(*given)

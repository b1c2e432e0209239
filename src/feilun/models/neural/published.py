"""Our networks as transformers knows its own: import this module, and its `Auto` classes open a
folder of `mlp`, `cnn` or `lstm`, without `trust_remote_code`.

    import feilun.models.neural.published
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder)
    output = model(**tokenizer("很好，非常满意", return_tensors="pt"))
    output.pooler_output       # or last_hidden_state, where it was trained for `tag`

`AutoModelForSequenceClassification` (and `AutoModelForTokenClassification` for `tag`) give
`logits`: of a window, as `model.onnx` does.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import (
    BaseModelOutputWithPooling,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)

from feilun.models.neural.encoder import Encoder
from feilun.models.neural.encoders import cnn, lstm, mlp
from feilun.models.neural.initial import initialise

REGRESSION = "regression"


class FeilunConfig(PretrainedConfig):  # type: ignore[no-untyped-call]  # theirs
    """`config.json` of one of our encoders: the fields of its `Shape`, and what transformers
    puts beside them."""

    shape: ClassVar[Any]
    """The `Shape` of the encoder's module."""
    smallest: ClassVar[dict[str, Any]]
    """What a field is where the file does not say."""

    def __init__(self, **given: Any) -> None:
        fields = {name: given.pop(name) for name in self.shape._fields if name in given}
        if "windows" in fields:
            fields["windows"] = tuple(fields["windows"])
        made = self.shape(**{**self.smallest, **fields})
        super().__init__(**given)
        for name, value in made._asdict().items():
            setattr(self, name, value)

    def encoder(self) -> Encoder:
        """The network, with random weights."""
        raise NotImplementedError

    def _shape(self) -> Any:
        return self.shape(**{name: getattr(self, name) for name in self.shape._fields})


class MlpConfig(FeilunConfig):  # type: ignore[no-untyped-call]  # theirs
    """Of the family `mlp`."""

    model_type = "feilun-mlp"
    shape = mlp.Shape
    smallest: ClassVar[dict[str, Any]] = {
        "vocabulary": 1, "pad": 0, "embedding": 1, "hidden": 1, "layers": 1, "read": "pooled",
    }  # fmt: skip

    def encoder(self) -> Encoder:
        return mlp.Mlp(self._shape())


class CnnConfig(FeilunConfig):  # type: ignore[no-untyped-call]  # theirs
    """Of the family `cnn`."""

    model_type = "feilun-cnn"
    shape = cnn.Shape
    smallest: ClassVar[dict[str, Any]] = {
        "vocabulary": 1, "pad": 0, "embedding": 1, "filters": 1, "windows": (1,), "layers": 1,
        "read": "pooled",
    }  # fmt: skip

    def encoder(self) -> Encoder:
        return cnn.Cnn(self._shape())


class LstmConfig(FeilunConfig):  # type: ignore[no-untyped-call]  # theirs
    """Of the family `lstm`."""

    model_type = "feilun-lstm"
    shape = lstm.Shape
    smallest: ClassVar[dict[str, Any]] = {
        "vocabulary": 1, "pad": 0, "embedding": 1, "hidden": 1, "layers": 1, "read": "pooled",
    }  # fmt: skip

    def encoder(self) -> Encoder:
        return lstm.Lstm(self._shape())


class _Head(torch.nn.Module):
    """The last layer, under the name that our files have for it."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.linear(x)
        return found


class FeilunModel(PreTrainedModel):  # type: ignore[no-untyped-call]  # theirs
    """The encoder alone."""

    config_class = FeilunConfig
    main_input_name = "input_ids"
    _keys_to_ignore_on_load_unexpected = [r"^head\."]  # noqa: RUF012  # theirs

    def __init__(self, config: FeilunConfig) -> None:
        super().__init__(config)
        self.encoder = config.encoder()
        self.post_init()  # type: ignore[no-untyped-call]  # theirs

    def _init_weights(self, module: torch.nn.Module) -> None:
        initialise(module, "xavier")

    def _found(self, input_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        read = self.encoder.states if self.config.read == "states" else self.encoder.pooled
        return read(input_ids, mask.bool())

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **_ignored: Any
    ) -> BaseModelOutputWithPooling:
        """`pooler_output` `[batch, width]`, or of a model trained for `tag` `last_hidden_state`
        `[batch, tokens, width]`."""
        found = self._found(input_ids, attention_mask)
        if self.config.read == "states":
            return BaseModelOutputWithPooling(last_hidden_state=found)
        return BaseModelOutputWithPooling(pooler_output=found)


class FeilunForSequenceClassification(FeilunModel):  # type: ignore[no-untyped-call]  # theirs
    """With the layer that judges a text (`classify`, `match` with `pairs = "cross"`, and
    `regress`, whose value it gives in the units that it was trained in)."""

    _keys_to_ignore_on_load_unexpected = []  # noqa: RUF012  # theirs

    def __init__(self, config: FeilunConfig) -> None:
        super().__init__(config)
        outputs = 1 if config.problem_type == REGRESSION else len(config.id2label or {})
        self.head = _Head(self.encoder.width, outputs)

    def forward(  # type: ignore[override]  # another output, as all of transformers' heads have
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **_ignored: Any
    ) -> SequenceClassifierOutput:
        """`logits` `[batch, labels]`."""
        return SequenceClassifierOutput(logits=self.head(self._found(input_ids, attention_mask)))


class FeilunForTokenClassification(FeilunForSequenceClassification):  # type: ignore[no-untyped-call]  # theirs
    """With the layer that judges tokens (`tag`); a chain over the tags (CRF) is not part of it."""

    def forward(  # type: ignore[override]  # as above
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **_ignored: Any
    ) -> TokenClassifierOutput:
        """`logits` `[batch, tokens, tags]`."""
        return TokenClassifierOutput(logits=self.head(self._found(input_ids, attention_mask)))


def _register(config: type[FeilunConfig]) -> None:
    AutoConfig.register(config.model_type, config, exist_ok=True)
    for auto, base in (
        (AutoModel, FeilunModel),
        (AutoModelForSequenceClassification, FeilunForSequenceClassification),
        (AutoModelForTokenClassification, FeilunForTokenClassification),
    ):
        # `Auto` wants a class per configuration that names it.
        name = base.__name__.replace("Feilun", config.__name__.removesuffix("Config"))
        made = type(name, (base,), {"config_class": config, "__module__": __name__})
        globals()[name] = made
        auto.register(config, made, exist_ok=True)


for _config in (MlpConfig, CnnConfig, LstmConfig):
    _register(_config)

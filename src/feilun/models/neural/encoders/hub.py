"""An encoder of the library transformers, whatever its type, with its pretrained weights."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
import transformers
from torch import Tensor
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_MAPPING

from feilun.core.i18n import _
from feilun.models.neural.adapter import Adapter, add_adapters, split_adapters
from feilun.models.neural.anatomy import anatomy, asking, giving, stack_of
from feilun.models.neural.encoder import Encoder, Layout, Read, masked_mean
from feilun.models.neural.lora import add_lora, merge_lora
from feilun.models.neural.pretrained import EncoderUnfit, ForeignCode, Source

if TYPE_CHECKING:
    from feilun.models.neural.graph import Graph
    from feilun.models.neural.heads import Head

Pooling = Literal["mean", "first", "last"]
MOST_LAYERS = 1024
SLACK = 1 << 20
"""Numbers that a config may describe beside those that its files hold."""


class Tuning(NamedTuple):
    """What of a pretrained encoder is trained: `full`, `head` (nothing of it), `lora` or
    `adapter`; `rank` is LoRA's or the width of the adapters' bottleneck."""

    how: str = "full"
    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ()


class HubEncoder(Encoder):
    """A transformers model between our reading and our heads; see `opened`."""

    def __init__(self, body: PreTrainedModel, pooling: Pooling, tuning: Tuning = Tuning()) -> None:  # noqa: B008  # immutable
        super().__init__()
        self.body, self.pooling = body, pooling
        self.width = int(body.config.hidden_size)
        self._kinds = "token_type_ids" in inspect.signature(body.forward).parameters
        kind = str(body.config.model_type)
        if tuning.how == "head":
            body.requires_grad_(False)
        elif tuning.how == "lora":
            add_lora(body, asking(body, tuning.targets, kind), tuning.rank, tuning.alpha)
        elif tuning.how == "adapter":
            add_adapters(body, giving(body, kind), tuning.rank)

    def states(self, ids: Tensor, mask: Tensor, kinds: Tensor | None = None) -> Tensor:
        given = {"token_type_ids": kinds} if self._kinds and kinds is not None else {}
        out = self.body(input_ids=ids, attention_mask=mask.long(), **given)
        found: Tensor = out.last_hidden_state
        return found

    def pooled(self, ids: Tensor, mask: Tensor, kinds: Tensor | None = None) -> Tensor:
        """A vector per text: the states' mean, the first token's, or the last real token's (for
        decoders, whose last token alone has read all the others)."""
        states = self.states(ids, mask, kinds)
        if self.pooling == "mean":
            return masked_mean(states, mask)
        if self.pooling == "first":
            return states[:, 0]
        last = mask.long().sum(dim=1) - 1
        return states[torch.arange(len(states), device=states.device), last]

    def draw(self, graph: Graph, read: Read) -> str:
        from feilun.models.neural.encoders import hub_graph

        states = hub_graph.states(graph, self.body, self._kinds)
        if read == "states":
            return states
        if self.pooling == "mean":
            return graph.mean(states)
        if self.pooling == "first":
            return graph.first(states)
        return hub_graph.last(graph, states)

    def config(self) -> dict[str, Any]:
        found: dict[str, Any] = self.body.config.to_diff_dict()
        for local in ("_name_or_path", "auto_map"):
            found.pop(local, None)
        return {**found, "architectures": [type(self.body).__name__], "dtype": "float32"}

    def layout(self, head: Head) -> Layout:
        """`model.safetensors` holds the encoder alone, under transformers' own names, so that
        `AutoModel` opens it; head and adapters stand beside it."""
        own, added = split_adapters(dict(self.body.state_dict()))
        beside = {f"head.{name}": value for name, value in head.state_dict().items()}
        beside |= {f"adapters.{name}": value for name, value in added.items()}
        return Layout({**self.config(), **head.config()}, own, beside)

    def groups(self) -> list[list[torch.nn.Parameter]]:
        return anatomy(self.body).groups

    def macs(self, length: int, read: Read) -> float:
        _at, stack = stack_of(self.body)
        linear = [part for part in self.body.modules() if isinstance(part, torch.nn.Linear)]
        per_token = sum(part.weight.numel() for part in linear)
        return float(length * per_token + 2 * len(stack) * length * length * self.width)

    def activations(self, length: int, read: Read) -> float:
        """About what every linear layer and norm keeps of its input; nothing where all is
        frozen."""
        _at, stack = stack_of(self.body)
        if not any(p.requires_grad for p in self.body.parameters()):
            return float(4 * length * self.width)
        linear = [
            part.in_features + part.out_features
            for layer in stack
            for part in layer.modules()
            if isinstance(part, torch.nn.Linear)
        ]
        return float(length * (sum(linear) + 4 * self.width * (len(stack) + 1)))

    def settle(self) -> None:
        merge_lora(self.body)

    def counts(self) -> tuple[int, int]:
        """How many numbers of the encoder are trained, and how many it has."""
        every = list(self.body.parameters())
        return sum(p.numel() for p in every if p.requires_grad), sum(p.numel() for p in every)

    def adapters(self) -> list[Adapter]:
        """The adapters in it, from the bottom up."""
        return [one for one in self.body.modules() if isinstance(one, Adapter)]


def opened(
    source: Source, vocabulary: int = 0, layers: int | None = None, dropout: float = 0.0
) -> PreTrainedModel:
    """The network of a checked encoder with its weights in float32, with the lowest `layers`
    only where that is given.

    Nothing that the folder brings is run; weights are loaded only when config and weights fit
    each other in size, and every weight must be there, embeddings of `vocabulary` entries too.
    Raises `EncoderUnfit`, `ForeignCode`.
    """
    config = _config(source)
    _set_up(config, layers, dropout)
    with _quiet():
        _fits(source, config)
        body = _loaded(source, config)
    rows = len(body.get_input_embeddings().weight)  # type: ignore[arg-type]  # a Parameter
    if vocabulary > rows:
        raise EncoderUnfit(
            source.folder.name,
            _("its tokenizer has {count} entries, its embeddings {rows}").format(
                count=vocabulary, rows=rows
            ),
        )
    return body


def sketched(source: Source, layers: int | None = None) -> PreTrainedModel:
    """The same network without memory for its weights, to be measured."""
    config = _config(source)
    _set_up(config, layers, 0.0)
    return _sketch(source, config)


def _set_up(config: PretrainedConfig, layers: int | None, dropout: float) -> None:
    """Makes the config one of an encoder to be trained."""
    if layers is not None:
        _cut(config, layers)
    for name in ("hidden_dropout_prob", "dropout", "embedding_dropout", "mlp_dropout"):
        if isinstance(getattr(config, name, None), float):
            setattr(config, name, dropout)
    for name in ("attention_probs_dropout_prob", "attention_dropout"):
        if hasattr(config, name):
            # Dropping attention weights would keep torch off its fused kernel.
            setattr(config, name, 0.0)
    if hasattr(config, "use_cache"):
        config.use_cache = False


def _kind(config: Any) -> tuple[Any, dict[str, Any]]:
    """The model's class, and what it is to be made with."""
    found: Any = MODEL_MAPPING[type(config)]
    kind = found[0] if isinstance(found, (list, tuple)) else found
    parameters = inspect.signature(kind).parameters
    # BERT's pooler is for its second pretraining task, and often not among the weights.
    return kind, {"add_pooling_layer": False} if "add_pooling_layer" in parameters else {}


def _config(source: Source) -> PretrainedConfig:
    name = source.folder.name
    if source.config["model_type"] not in transformers.CONFIG_MAPPING:
        if source.runs_code:
            raise ForeignCode(name, source.kind)
        raise EncoderUnfit(
            name, _("this transformers release knows no type '{kind}'").format(kind=source.kind)
        )
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(
            str(source.folder), local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # transformers validates with many kinds of errors
        raise EncoderUnfit(name, str(error).split("\n")[0]) from error
    if getattr(config, "is_encoder_decoder", False) or type(config) not in MODEL_MAPPING:
        raise EncoderUnfit(name, _("the type '{kind}' is no encoder").format(kind=source.kind))
    if getattr(config, "quantization_config", None) is not None:
        raise EncoderUnfit(name, _("its weights are quantised"))
    if not 0 < int(getattr(config, "num_hidden_layers", 1)) <= MOST_LAYERS:
        raise EncoderUnfit(name, _("config.json describes more layers than there can be"))
    return config


def _cut(config: PretrainedConfig, layers: int) -> None:
    keep = min(layers, int(config.num_hidden_layers))
    if isinstance(getattr(config, "layer_types", None), list):
        config.layer_types = config.layer_types[:keep]
    config.num_hidden_layers = keep


def _sketch(source: Source, config: Any) -> PreTrainedModel:
    kind, extra = _kind(config)
    try:
        with torch.device("meta"):
            made: PreTrainedModel = kind(config, **extra)
            return made
    except Exception as error:  # a config's numbers may break a model in any way
        raise EncoderUnfit(source.folder.name, str(error).split("\n")[0]) from error


def _fits(source: Source, config: Any) -> None:
    """Raises `EncoderUnfit` where the config asks for more memory than the weights would fill;
    nothing is allocated to find out."""
    wanted = sum(value.numel() for value in _sketch(source, config).parameters())
    if wanted > source.numbers * 1.05 + SLACK:
        raise EncoderUnfit(
            source.folder.name,
            _("config.json describes {wanted} weights, its files hold {held}").format(
                wanted=wanted, held=source.numbers
            ),
        )


def _loaded(source: Source, config: Any) -> PreTrainedModel:
    kind, extra = _kind(config)
    try:
        body, found = kind.from_pretrained(
            str(source.folder),
            config=config,
            dtype=torch.float32,
            attn_implementation="sdpa" if getattr(kind, "_supports_sdpa", False) else "eager",
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            **extra,
        )
    except Exception as error:  # many kinds, from three libraries
        raise EncoderUnfit(source.folder.name, str(error).split("\n")[0]) from error
    missing = sorted(found["missing_keys"])
    if missing:
        raise EncoderUnfit(
            source.folder.name,
            _("{count} weights are missing, among them {name}").format(
                count=len(missing), name=missing[0]
            ),
        )
    for value in body.parameters():
        # Out of the file's map, into memory aligned as torch aligns it: sums depend on it.
        value.data = value.data.clone()
    result: PreTrainedModel = body.train(False)
    return result


@contextmanager
def _quiet() -> Iterator[None]:
    """Within the block transformers draws no bars and reports on no keys: that is ours to tell."""
    logging: Any = transformers.utils.logging
    before = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()

"""Where a pretrained network's layers and matrices are: by the names that transformers uses."""

from __future__ import annotations

from typing import NamedTuple

import torch

from feilun.core.errors import Invalid
from feilun.core.i18n import _

STACKS = ("encoder.layer", "transformer.layer", "layers", "encoder.layers", "h")
"""The lists of layers of BERT and its kin, DistilBERT, ModernBERT and the Llamas, BART, GPT-2."""
ASKING = {"query", "value", "q_lin", "v_lin", "Wqkv", "q_proj", "v_proj"}
"""Matrices that LoRA corrects unless told otherwise: the queries' and values', as in the paper."""
GIVING = {
    "attention.output.dense",
    "output.dense",
    "attention.out_lin",
    "ffn.lin2",
    "attn.Wo",
    "mlp.Wo",
    "self_attn.o_proj",
    "mlp.down_proj",
}
"""Matrices that end attention and feed-forward, and that an adapter stands behind."""


class NotAdaptable(Invalid):
    """The encoder has no matrices under the names where a correction would stand."""

    def __init__(self, kind: str, tuning: str) -> None:
        super().__init__(
            _(
                "An encoder of the type '{kind}' has no layers where tuning = '{tuning}' would "
                "put its weights."
            ).format(kind=kind, tuning=tuning),
            remedy=_("Set [train] model.tuning = 'full', or name the matrices in lora_targets."),
        )


class Anatomy(NamedTuple):
    """The layers of a network from the bottom up, and what is below and above them."""

    below: list[torch.nn.Parameter]
    layers: list[list[torch.nn.Parameter]]
    above: list[torch.nn.Parameter]

    @property
    def groups(self) -> list[list[torch.nn.Parameter]]:
        """Everything, from the bottom to the top."""
        *lower, top = self.layers or [[]]
        return [group for group in (self.below, *lower, top + self.above) if group]


def anatomy(body: torch.nn.Module) -> Anatomy:
    """The parameters of `body` in layers; all of them below where it has none to speak of."""
    at, stack = stack_of(body)
    layers = [list(layer.parameters()) for layer in stack]
    below: list[torch.nn.Parameter] = []
    above: list[torch.nn.Parameter] = []
    for name, parameter in body.named_parameters():
        if not at or not name.startswith(f"{at}."):
            (below if "embed" in name or not at else above).append(parameter)
    return Anatomy(below, layers, above)


def stack_of(body: torch.nn.Module) -> tuple[str, list[torch.nn.Module]]:
    """The name and the members of the list of layers; the empty text and none without one."""
    modules = dict(body.named_modules())
    for name in STACKS:
        found = modules.get(name)
        if isinstance(found, torch.nn.ModuleList):
            return name, list(found)
    return "", []


def asking(body: torch.nn.Module, targets: tuple[str, ...], kind: str) -> list[str]:
    """The full names of the matrices that LoRA corrects: those in the layers whose last name is
    one of `targets` (none: `ASKING`). Raises `NotAdaptable`."""
    wanted = set(targets) or ASKING
    names = [name for name in _linear(body) if name.rpartition(".")[2] in wanted]
    if not names:
        raise NotAdaptable(kind, "lora")
    return names


def giving(body: torch.nn.Module, kind: str) -> list[str]:
    """The full names of the matrices that adapters stand behind, two per layer. Raises
    `NotAdaptable`."""
    at, stack = stack_of(body)
    names = [name for name in _linear(body) if _within(name, at) in GIVING]
    if not names or len(names) != 2 * len(stack):
        raise NotAdaptable(kind, "adapter")
    return names


def _linear(body: torch.nn.Module) -> list[str]:
    at, _stack = stack_of(body)
    found = [n for n, one in body.named_modules() if isinstance(one, torch.nn.Linear)]
    return [name for name in found if at and name.startswith(f"{at}.")]


def _within(name: str, at: str) -> str:
    """A matrix's name within its layer: `attention.output.dense`."""
    return name.removeprefix(f"{at}.").partition(".")[2]

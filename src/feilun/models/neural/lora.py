"""LoRA: low-rank corrections of a network's matrices, trained alone and then added to them.

Hu et al., LoRA: Low-Rank Adaptation of Large Language Models (ICLR 2022); through peft.
"""

from __future__ import annotations

import torch


def add_lora(body: torch.nn.Module, names: list[str], rank: int, alpha: float) -> None:
    """Freezes `body` and gives each of its linear layers `names` a correction of `rank`, scaled
    by alpha / rank. It begins at zero, so that the network begins as it was."""
    from peft import LoraConfig, inject_adapter_in_model

    body.requires_grad_(False)
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=names)  # type: ignore[arg-type]  # any number does
    inject_adapter_in_model(config, body)


def merge_lora(body: torch.nn.Module) -> None:
    """Adds every correction to its matrix; `body` is then as transformers made it."""
    from peft.tuners.lora import LoraLayer

    # peft's classes are mixins of torch's; a list, for the modules change underneath.
    found = [(name, one) for name, one in body.named_modules() if isinstance(one, LoraLayer)]
    for name, layer in found:
        layer.merge()
        parent, _dot, last = name.rpartition(".")
        setattr(body.get_submodule(parent), last, layer.get_base_layer())

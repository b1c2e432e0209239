"""The first weights of a network."""

from __future__ import annotations

import torch
from torch import nn

SPREAD = 0.02
"""Of `normal`; BERT's."""


def initialise(module: nn.Module, how: str) -> None:
    """Draws every weight in `module` anew from torch's current random state.

    `normal`: σ = .02 (Devlin et al. 2019); `xavier`: uniform by both widths (Glorot & Bengio
    2010); `kaiming`: normal by the inputs, for relu (He et al. 2015). Embeddings are normal
    (σ = .02) in any case, with 0 at the padding; biases are 0, norms 1.
    """
    for part in module.modules():
        if isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight, std=SPREAD)
            if part.padding_idx is not None:
                with torch.no_grad():
                    part.weight[part.padding_idx].zero_()
        elif isinstance(part, nn.LayerNorm):
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Linear | nn.Conv1d | nn.LSTM):
            for parameter in part.parameters(recurse=False):
                _draw(parameter, how)


def _draw(parameter: nn.Parameter, how: str) -> None:
    if parameter.ndim < 2:  # a vector: a bias
        nn.init.zeros_(parameter)
    elif how == "normal":
        nn.init.normal_(parameter, std=SPREAD)
    elif how == "xavier":
        nn.init.xavier_uniform_(parameter)
    else:
        nn.init.kaiming_normal_(parameter, nonlinearity="relu")

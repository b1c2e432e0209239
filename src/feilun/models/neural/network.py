"""An encoder and a head: what is trained, and what answers."""

from __future__ import annotations

import torch
from torch import Tensor

from feilun.models.neural.encoder import Encoder
from feilun.models.neural.heads import Head, Twin


class Network(torch.nn.Module):
    """Outputs from ids; its parameters are named `encoder.…` and `head.…`."""

    def __init__(self, encoder: Encoder, head: Head) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    @property
    def twin(self) -> bool:
        """Whether each text of a pair is read on its own."""
        return isinstance(self.head, Twin)

    def trained(self) -> dict[str, torch.nn.Parameter]:
        """The parameters that training changes, by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def forward(self, ids: Tensor, mask: Tensor, kinds: Tensor | None = None) -> Tensor:
        """Outputs for a batch (see `Encoder` for its shape, `heads` for the outputs'); with a
        twin head the rows are first, second, first, … of each pair."""
        result: Tensor = self.head(self.read(ids, mask, kinds))
        return result

    def read(self, ids: Tensor, mask: Tensor, kinds: Tensor | None = None) -> Tensor:
        """What the head reads of the encoder."""
        if self.head.read == "states":
            return self.encoder.states(ids, mask, kinds)
        if self.head.read == "pooled":
            return self.encoder.pooled(ids, mask, kinds)
        return self.encoder.embedding(ids, mask)

"""The size dial: one word stands for layers, width, heads, vocabulary, length and pace."""

from __future__ import annotations

import math
from typing import NamedTuple


class Size(NamedTuple):
    """One notch of the dial.

    `rows` is how many training texts merit the size: below that, `auto` does not take it.
    `learning_rate` falls with the width, as is usual for BERT-class models trained from
    scratch.
    """

    layers: int
    width: int
    heads: int
    vocabulary: int
    max_length: int
    learning_rate: float
    rows: int

    def flops_per_text(self, length: float) -> float:
        """Multiply-adds of one forward pass over a text of `length` tokens.

        The last layer attends from the first token alone (`engine.py`): of its matrices only
        the keys' and values' see every token.
        """
        every = 12 * self.width**2 * length + 2 * self.width * length**2
        last = 2 * self.width**2 * length + 10 * self.width**2 + 2 * self.width * length
        return (self.layers - 1) * every + last

    def parameters(self) -> int:
        """How many numbers the network holds, embeddings included, to within a per cent."""
        embeddings = (self.vocabulary + self.max_length) * self.width
        return embeddings + self.layers * 12 * self.width**2 + self.width**2


SIZES: dict[str, Size] = {
    "nano": Size(2, 128, 2, 6_000, 128, 1e-3, 0),
    "micro": Size(4, 256, 4, 8_000, 128, 5e-4, 8_000),
    "mini": Size(6, 384, 6, 12_000, 256, 4e-4, 40_000),
    "small": Size(8, 512, 8, 16_000, 256, 3e-4, 150_000),
    "base": Size(12, 768, 12, 24_000, 512, 1e-4, 1_000_000),
}


def epochs_for(num_rows: int) -> int:
    """How many passes a network from scratch deserves over `num_rows` texts, 3 to 30.

    About 20,000 texts seen in all: over 2,000 review sentences the pass that validated best
    was between the second and the eighth of ten in nine trials; large sets get three.
    """
    return min(30, max(3, math.ceil(20_000 / max(num_rows, 1))))

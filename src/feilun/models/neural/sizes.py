"""The size dial: one word stands for layers, width, vocabulary, length and pace."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

SizeName = Literal["auto", "nano", "micro", "mini", "small", "base"]


class Size(NamedTuple):
    """One notch of the dial.

    What `layers` and `width` count is the family's to say. `rows` is how many training texts
    merit the size: below that, `auto` does not take it. `learning_rate` falls with the width.
    """

    layers: int
    width: int
    vocabulary: int
    max_length: int
    learning_rate: float
    rows: int


def epochs_for(num_rows: int) -> int:
    """How many passes a network from scratch deserves over `num_rows` texts, 3 to 30.

    About 20,000 texts seen in all: over 2,000 review sentences the pass that validated best
    was between the second and the eighth of ten in nine trials; large sets get three.
    """
    return min(30, max(3, math.ceil(20_000 / max(num_rows, 1))))

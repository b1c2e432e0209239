"""The family `lstm`: a bidirectional LSTM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field

from feilun.models.neural.settings import Initializer, Neural
from feilun.models.neural.sizes import Size

if TYPE_CHECKING:
    from feilun.models.neural.encoder import Encoder, Read


class Lstm(Neural):
    """A bidirectional LSTM on CPU or one GPU, pooled by the largest and the mean; for `tag`
    with a linear chain over its tags (Huang et al. 2015).

    A setting left out follows from `size`, and from the number of texts where that is said.
    """

    use: ClassVar[str] = "lstm"
    sizes: ClassVar[Mapping[str, Size]] = {
        "nano": Size(1, 64, 6_000, 128, 2e-3, 0),
        "micro": Size(1, 128, 8_000, 128, 2e-3, 8_000),
        "mini": Size(2, 192, 12_000, 256, 1e-3, 40_000),
        "small": Size(2, 256, 16_000, 256, 1e-3, 150_000),
        "base": Size(3, 320, 24_000, 512, 5e-4, 1_000_000),
    }
    crf_by_default: ClassVar[bool] = True

    layers: int | None = Field(
        None,
        ge=1,
        le=3,
        description="LSTMs on top of each other; left out: by `size` 1, 1, 2, 2, 3.",
    )
    width: int | None = Field(
        None,
        ge=8,
        le=8192,
        description="Numbers in a token's vector; left out: by `size` 64, 128, 192, 256, 320.",
    )
    hidden: int | None = Field(
        None,
        ge=4,
        le=4096,
        description="Numbers that each direction remembers; left out: as many as `width`.",
    )
    activation: Literal["tanh"] = Field(
        "tanh", description="The function inside an LSTM; it knows no other."
    )
    initializer: Initializer = Field(
        "xavier", description="How the first weights are drawn; of embeddings normal, σ = .02."
    )
    dropout: float = Field(
        0.3, ge=0, le=0.9, description="The share of activations dropped while training."
    )
    embedding_dropout: float = Field(
        0.3, ge=0, le=0.9, description="The share of a token's numbers dropped while training."
    )

    def encoder(self, vocabulary: int, pad: int, read: Read = "pooled") -> Encoder:
        """Both directions, layer on layer."""
        from feilun.models.neural.encoders.lstm import Lstm as Network
        from feilun.models.neural.encoders.lstm import Shape

        assert self.width is not None
        assert self.layers is not None
        assert self.hidden is not None
        shape = Shape(
            vocabulary=vocabulary,
            pad=pad,
            embedding=self.width,
            hidden=self.hidden,
            layers=self.layers,
            read=read,
            dropout=self.dropout,
            embedding_dropout=self.embedding_dropout,
        )
        return Network(shape, self.initializer)

    def resolved(self, num_rows: int, size: str | None = None) -> Self:
        """Also decides how much each direction remembers."""
        made = super().resolved(num_rows, size)
        return made.model_copy(update={"hidden": self.hidden or made.width})

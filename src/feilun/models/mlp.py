"""The family `mlp`: averaged vectors of tokens through hidden layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field

from feilun.models.neural.settings import Activation, Initializer, Neural
from feilun.models.neural.sizes import Size

if TYPE_CHECKING:
    from feilun.models.neural.encoder import Encoder, Read


class Mlp(Neural):
    """A deep averaging network with hashed neighbours (Iyyer et al. 2015, Joulin et al. 2017):
    the fastest network here, on CPU or one GPU.

    A text is judged by the mean and the largest of its tokens' and neighbouring tokens' vectors;
    for `tag` a token is judged by itself and those around it. A setting left out follows from
    `size`, and from the number of texts where that is said.
    """

    use: ClassVar[str] = "mlp"
    sizes: ClassVar[Mapping[str, Size]] = {
        "nano": Size(1, 64, 6_000, 256, 1e-3, 0),
        "micro": Size(1, 128, 8_000, 256, 1e-3, 8_000),
        "mini": Size(1, 192, 12_000, 512, 1e-3, 40_000),
        "small": Size(2, 256, 16_000, 512, 1e-3, 150_000),
        "base": Size(2, 320, 24_000, 512, 1e-3, 1_000_000),
    }

    layers: int | None = Field(
        None, ge=1, le=16, description="Hidden layers; left out: 1, from small on 2."
    )
    width: int | None = Field(
        None,
        ge=8,
        le=8192,
        description="Numbers in a token's vector; left out: by `size` 64, 128, 192, 256, 320.",
    )
    hidden: int | None = Field(
        None, ge=8, le=8192, description="Numbers in a hidden layer; left out: twice `width`."
    )
    embedding: Literal["vocabulary", "hashed"] = Field(
        "vocabulary",
        description="vocabulary: every token has a vector of its own; hashed: tokens share "
        "`buckets` vectors, too, which bounds the model whatever the vocabulary.",
    )
    neighbours: int = Field(
        2,
        ge=1,
        le=5,
        description="Up to so many neighbouring tokens are looked up together, for their order "
        "to count; 1: single tokens only. Not for `tag`.",
    )
    buckets: int = Field(
        32_768, ge=64, le=4_194_304, description="Vectors that neighbouring tokens share by a hash."
    )
    around: int = Field(
        2, ge=0, le=16, description="Tokens read at each side of a token, for `tag`."
    )
    activation: Activation = Field("relu", description="The function after a hidden layer.")
    initializer: Initializer = Field(
        "xavier", description="How the first weights are drawn; of embeddings normal, σ = .02."
    )
    dropout: float = Field(
        0.3, ge=0, le=0.9, description="The share of activations dropped while training."
    )
    embedding_dropout: float = Field(
        0.3, ge=0, le=0.9, description="The share of tokens dropped while training."
    )

    def encoder(self, vocabulary: int, pad: int, read: Read = "pooled") -> Encoder:
        """The averages, or for `states` the window."""
        from feilun.models.neural.encoders.mlp import Mlp as Network
        from feilun.models.neural.encoders.mlp import Shape

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
            hashed=self.embedding == "hashed",
            neighbours=self.neighbours,
            buckets=self.buckets,
            around=self.around,
            activation=self.activation,
            dropout=self.dropout,
            embedding_dropout=self.embedding_dropout,
        )
        return Network(shape, self.initializer)

    def resolved(self, num_rows: int, size: str | None = None) -> Self:
        """Also decides the hidden layers' width."""
        made = super().resolved(num_rows, size)
        assert made.width is not None
        return made.model_copy(update={"hidden": self.hidden or 2 * made.width})

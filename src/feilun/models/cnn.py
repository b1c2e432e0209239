"""The family `cnn`: convolutions over tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import Field

from feilun.models.neural.settings import Activation, Initializer, Neural
from feilun.models.neural.sizes import Size

if TYPE_CHECKING:
    from feilun.models.neural.encoder import Encoder, Read


class Cnn(Neural):
    """TextCNN (Kim 2014) on CPU or one GPU: filters that look for short runs of tokens wherever
    they stand; for `tag` dilated convolutions on top of each other (Strubell et al. 2017).

    A setting left out follows from `size`, and from the number of texts where that is said.
    """

    use: ClassVar[str] = "cnn"
    sizes: ClassVar[Mapping[str, Size]] = {
        "nano": Size(3, 64, 6_000, 256, 2e-3, 0),
        "micro": Size(3, 128, 8_000, 256, 2e-3, 8_000),
        "mini": Size(4, 192, 12_000, 512, 1e-3, 40_000),
        "small": Size(4, 256, 16_000, 512, 5e-4, 150_000),
        "base": Size(5, 320, 24_000, 512, 5e-4, 1_000_000),
    }

    layers: int | None = Field(
        None,
        ge=1,
        le=16,
        description="Convolutions on top of each other, for `tag`; left out: by `size` 3, 3, 4, "
        "4, 5. All else has one layer, of several widths.",
    )
    width: int | None = Field(
        None,
        ge=8,
        le=8192,
        description="Numbers in a token's vector; left out: by `size` 64, 128, 192, 256, 320.",
    )
    filters: int | None = Field(
        None, ge=4, le=8192, description="Filters of each width; left out: as many as `width`."
    )
    windows: tuple[Annotated[int, Field(ge=1, le=32)], ...] = Field(
        (1, 2, 3),
        min_length=1,
        max_length=16,
        description="How many tokens the filters see, one convolution for each. (For `tag` all "
        "see 3; their number is that of all filters together.)",
    )
    activation: Activation = Field("relu", description="The function after a convolution.")
    initializer: Initializer = Field(
        "xavier", description="How the first weights are drawn; of embeddings normal, σ = .02."
    )
    dropout: float = Field(
        0.5, ge=0, le=0.9, description="The share of activations dropped while training."
    )
    embedding_dropout: float = Field(
        0.2, ge=0, le=0.9, description="The share of a token's numbers dropped while training."
    )

    def encoder(self, vocabulary: int, pad: int, read: Read = "pooled") -> Encoder:
        """The convolutions side by side, or for `states` on top of each other."""
        from feilun.models.neural.encoders.cnn import Cnn as Network
        from feilun.models.neural.encoders.cnn import Shape

        assert self.width is not None
        assert self.layers is not None
        assert self.filters is not None
        shape = Shape(
            vocabulary=vocabulary,
            pad=pad,
            embedding=self.width,
            filters=self.filters,
            windows=self.windows,
            layers=self.layers,
            read=read,
            activation=self.activation,
            dropout=self.dropout,
            embedding_dropout=self.embedding_dropout,
        )
        return Network(shape, self.initializer)

    def resolved(self, num_rows: int, size: str | None = None) -> Self:
        """Also decides the number of filters."""
        made = super().resolved(num_rows, size)
        return made.model_copy(update={"filters": self.filters or made.width})

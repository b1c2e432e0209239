"""The family `transformer`: BERT's network, trained from scratch on your own texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from feilun.core.i18n import _
from feilun.models.neural.settings import Neural
from feilun.models.neural.sizes import Size

if TYPE_CHECKING:
    from feilun.models.neural.encoder import Encoder, Read

HEAD_WIDTH = 64
"""Of an attention head, unless `heads` says otherwise; BERT's."""


class Transformer(Neural):
    """BERT's network trained from scratch on your own texts, on CPU or one GPU.

    `size` is layers × width: nano 2×128, micro 4×256, mini 6×384, small 8×512, base 12×768.
    The folder opens as transformers' `BertForSequenceClassification` and its like.
    """

    use: ClassVar[str] = "transformer"
    quantises: ClassVar[bool] = True
    sizes: ClassVar[Mapping[str, Size]] = {
        "nano": Size(2, 128, 6_000, 128, 1e-3, 0),
        "micro": Size(4, 256, 8_000, 128, 5e-4, 8_000),
        "mini": Size(6, 384, 12_000, 256, 4e-4, 40_000),
        "small": Size(8, 512, 16_000, 256, 3e-4, 150_000),
        "base": Size(12, 768, 24_000, 512, 1e-4, 1_000_000),
    }

    heads: int | None = Field(
        None, ge=1, le=128, description="Attention heads; left out: one per 64 of `width`."
    )

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if self.preset.width % self.num_heads:
            raise ValueError(
                _("width {width} is not a multiple of heads {heads}").format(
                    width=self.preset.width, heads=self.num_heads
                )
            )
        return self

    @property
    def num_heads(self) -> int:
        """Attention heads in each layer."""
        return self.heads or max(self.preset.width // HEAD_WIDTH, 1)

    def resolved(self, num_rows: int, size: str | None = None) -> Self:
        """Also decides the number of heads."""
        made = super().resolved(num_rows, size)
        return made.model_copy(update={"heads": made.num_heads})

    def encoder(self, vocabulary: int, pad: int, read: Read = "pooled") -> Encoder:
        from feilun.models.neural.encoders.bert import Bert, Shape

        size = self.preset
        shape = Shape(
            vocabulary,
            pad,
            size.width,
            size.layers,
            self.num_heads,
            size.max_length,
            self.activation,
            self.dropout,
            self.initializer,
        )
        return Bert(shape)

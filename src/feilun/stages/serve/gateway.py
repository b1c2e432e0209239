"""`[serve.gateway]`: where chats are passed on to, and under which limits."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from feilun.core.i18n import _
from feilun.core.secret import Secret


class Gateway(BaseModel):
    """Another server that speaks OpenAI's API, and how it is called.

    A private address, or a port but 443 and 80, must stand in `allow`; a token is sent over TLS,
    or to what stands there. Prices are of a million tokens, in the project's currency.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(pattern=r"^https?://[^\s?#@]+$", description="address up to /chat/completions")
    token: Secret | None = Field(None, description="`env:NAME`: sent as a bearer token")
    allow: tuple[str, ...] = Field(
        (), description="`HOST:PORT` that may be private, or have a port but 443 and 80"
    )
    models: dict[str, str] = Field(
        {}, description="names that requests may use, each with its name there; empty: any, as is"
    )
    timeout_seconds: float = Field(120.0, gt=0, description="for one chat, tries and all")
    idle_seconds: float = Field(60.0, gt=0, description="of silence, after which it is given up")
    retries: int = Field(1, ge=0, le=5, description="after 429, 5xx or no connection")
    max_concurrent: int = Field(64, ge=1, description="chats at the same time; more get a 503")
    most_bytes: int = Field(4_000_000, ge=1_000, description="of one answer")
    mask: bool = Field(
        True, description="personal data is replaced before it is sent, and put back in the answer"
    )
    ask_usage: bool = Field(
        True, description="ask streams for their tokens (`stream_options`); false: estimate them"
    )
    cache: Literal["off", "deterministic", "all"] = Field(
        "deterministic", description="deterministic: only chats with temperature 0"
    )
    cache_seconds: float = Field(3600.0, gt=0, description="an answer is given again")
    cache_entries: int = Field(1000, ge=1, description="answers kept, the last used ones")
    cache_bytes: int = Field(50_000_000, ge=1_000, description="of all answers kept")
    price_prompt: float = Field(0.0, ge=0, description="of a million tokens asked")
    price_completion: float = Field(0.0, ge=0, description="of a million tokens answered")

    @field_validator("allow")
    @classmethod
    def _places(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        from feilun.core.outbound import allowed

        return tuple(sorted(allowed(value)))

    @model_validator(mode="after")
    def _callable(self) -> Self:
        from feilun.core.outbound import parsed
        from feilun.core.outbound.errors import UrlRefused

        try:
            target = parsed(self.address, frozenset(self.allow))
        except UrlRefused as error:
            raise ValueError(f"{error} {error.remedy}") from None
        if self.token is not None and target.scheme == "http" and target.place not in self.allow:
            raise ValueError(
                _("a token is not sent without TLS: use https://, or name the host in allow")
            )
        return self

    @property
    def address(self) -> str:
        """Where chats are sent."""
        return self.url.rstrip("/") + "/chat/completions"

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """What these tokens cost, in the project's currency."""
        return (prompt_tokens * self.price_prompt + completion_tokens * self.price_completion) / 1e6

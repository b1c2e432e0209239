"""What every source has that is fetched by HTTP."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Self

from pydantic import Field, field_validator, model_validator

from feilun.core.i18n import _
from feilun.core.outbound import MOST_BYTES, Answer, Outbound, allowed, parsed
from feilun.core.outbound.errors import UrlRefused, origin
from feilun.core.secret import PREFIX, Secret
from feilun.stages.collect.source import Source

_SECRET_NAMES = re.compile(r"authori[sz]ation|cookie|token|secret|passw|api-?key", re.IGNORECASE)
_SECRET_PARAMETERS = re.compile(
    r"(?:.*[-_.])?(?:(?:api|access|app)?[-_]?key|token|secret|passw(?:or)?d|auth|sig(?:nature)?)",
    re.IGNORECASE,
)
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OURS = {"host", "connection", "accept-encoding", "content-length", "transfer-encoding"}


class Web(Source):
    """A source behind a URL, fetched through the client that cannot be turned inwards."""

    accumulates: ClassVar[bool] = True
    incidental: ClassVar[frozenset[str]] = frozenset(
        {"token", "token_header", "headers", "allow", "most_bytes", "most_pages"}
    )

    url: str = Field(min_length=1, description="https://…; `env:NAME` where it holds a secret")
    token: Secret | None = Field(None, description="`env:NAME`: sent as a bearer token")
    token_header: str = Field("Authorization", description="any other gets the bare token")
    headers: dict[str, str] = Field({}, description="sent with each request; nothing secret")
    allow: tuple[str, ...] = Field(
        (), description="`HOST:PORT` that may be private, or have a port but 443 and 80"
    )
    most_bytes: int = Field(MOST_BYTES, ge=1, description="of one answer, unpacked")
    name: str = Field("", description="the records' source; empty: the URL without its query")

    @field_validator("allow")
    @classmethod
    def _places(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted(allowed(value)))

    @field_validator("headers")
    @classmethod
    def _plain_headers(cls, value: dict[str, str]) -> dict[str, str]:
        for name, content in value.items():
            if _SECRET_NAMES.search(name):
                raise ValueError(
                    _("settings hold no secrets: use token = 'env:NAME' and token_header")
                )
            if not _HEADER_NAME.fullmatch(name) or name.lower() in _OURS:
                raise ValueError(_("one of the names is not a header that can be set"))
            if not content.isascii() or not content.isprintable():
                raise ValueError(_("header values are one line of ASCII"))
        return value

    @field_validator("token_header")
    @classmethod
    def _a_header(cls, value: str) -> str:
        if not _HEADER_NAME.fullmatch(value) or value.lower() in _OURS:
            raise ValueError(_("one of the names is not a header that can be set"))
        return value

    @model_validator(mode="after")
    def _callable(self) -> Self:
        if self.url.startswith(PREFIX):
            Secret(self.url)
            return self
        try:
            target = parsed(self.url, frozenset(self.allow))
        except UrlRefused as error:
            raise ValueError(f"{error} {error.remedy}") from None
        query = target.path.partition(b"?")[2].decode("ascii")
        if any(_SECRET_PARAMETERS.fullmatch(item.partition("=")[0]) for item in query.split("&")):
            raise ValueError(
                _(
                    "settings hold no secrets: put the whole URL into an environment variable, "
                    "for example FEED_URL, and write 'env:FEED_URL' here"
                )
            )
        if self.token is not None and target.scheme == "http" and target.place not in self.allow:
            raise ValueError(
                _("a token is not sent without TLS: use https://, or name the host in allow")
            )
        return self

    @property
    def address(self) -> str:
        """The URL; raises `SecretMissing` when the environment does not have it."""
        return Secret(self.url).reveal() if self.url.startswith(PREFIX) else self.url

    @property
    def shown(self) -> str:
        """What records and messages call this source."""
        if self.name:
            return self.name
        if self.url.startswith(PREFIX):
            return origin(self.address)
        return re.split(r"[?#]", self.url, maxsplit=1)[0]

    def fetch(self, url: str, extra: Mapping[str, str] | None = None) -> Answer:
        """The answer to a GET of `url`, with the token and headers of the settings."""
        headers = {**self.headers, **(extra or {})}
        allow = frozenset(self.allow)
        if self.token is not None:
            target = parsed(url, allow)
            if target.scheme == "http" and target.place not in allow:
                raise UrlRefused(url, _("a token is not sent without TLS."))
            bearer = "Bearer " if self.token_header.lower() == "authorization" else ""
            headers[self.token_header] = f"{bearer}{self.token.reveal()}"
        return Outbound(allow=allow, most_bytes=self.most_bytes).get(url, headers)

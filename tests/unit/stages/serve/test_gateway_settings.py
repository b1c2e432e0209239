"""`[serve.gateway]` refuses what would send a token or a chat to the wrong place."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from feilun.stages.serve.gateway import Gateway


def test_an_address_is_completed() -> None:
    assert Gateway(url="https://api.example.com/v1/").address == (
        "https://api.example.com/v1/chat/completions"
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"url": "ftp://api.example.com"},
        {"url": "https://user:pass@api.example.com/v1"},
        {"url": "https://api.example.com/v1?key=x"},
        {"url": "http://127.0.0.1:11434/v1"},
        {"url": "http://api.example.com/v1", "token": "env:TOKEN"},
        {"url": "https://api.example.com/v1", "token": "sk-123"},
        {"url": "https://api.example.com/v1", "allow": ["10.0.0.1"]},
        {"url": "https://api.example.com/v1", "cache": "always"},
    ],
)
def test_what_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as refused:
        Gateway.model_validate(settings)
    # What is told of it, and what `feilun.toml` is answered with, does not repeat a secret.
    assert "sk-123" not in str([error["msg"] for error in refused.value.errors()])


def test_prices_are_of_a_million_tokens() -> None:
    gateway = Gateway(
        url="http://127.0.0.1:11434/v1", token="env:TOKEN", allow=["127.0.0.1:11434"],
        price_prompt=2, price_completion=10,
    )  # fmt: skip
    assert gateway.cost(500_000, 100_000) == 2.0

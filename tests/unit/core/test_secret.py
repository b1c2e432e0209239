"""Settings name a secret and never hold it; nothing repeats one."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from feilun.core.config import ConfigError, parse
from feilun.core.secret import Secret, SecretMissing, SecretUnusable

VALUE = "sk-4f9a8b7c6d5e"


class Account(BaseModel):
    token: Secret | None = None


class Settings(BaseModel):
    account: Account = Account()


def test_the_value_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", f" {VALUE}\n")
    account = Account.model_validate({"token": "env:MY_TOKEN"})
    assert account.token is not None
    assert account.token.reveal() == VALUE
    assert account.model_dump(mode="json") == {"token": "env:MY_TOKEN"}
    assert account.model_dump_json() == '{"token":"env:MY_TOKEN"}'
    assert account == Account(token=Secret("env:MY_TOKEN"))
    assert len({account.token, Secret("env:MY_TOKEN"), Secret("env:OTHER")}) == 2
    for shown in (str(account.token), repr(account), str(account.model_dump())):
        assert VALUE not in shown
        assert "env:MY_TOKEN" in shown


def test_a_secret_that_is_not_set_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_TOKEN", raising=False)
    with pytest.raises(SecretMissing, match="MY_TOKEN") as caught:
        Secret("env:MY_TOKEN").reveal()
    assert caught.value.remedy == "export MY_TOKEN=…"
    monkeypatch.setenv("MY_TOKEN", "  ")
    with pytest.raises(SecretMissing):
        Secret("env:MY_TOKEN").reveal()


def test_a_value_that_would_break_a_header_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", f"{VALUE}\r\nX-Admin: yes")
    with pytest.raises(SecretUnusable) as caught:
        Secret("env:MY_TOKEN").reveal()
    assert VALUE not in str(caught.value)


@pytest.mark.parametrize("given", [f'"{VALUE}"', '"env:"', '"env:1A"', '"env:A B"', "12345"])
def test_anything_but_a_reference_is_refused_and_not_repeated(given: str) -> None:
    with pytest.raises(ConfigError, match="env:MY_SECRET") as caught:
        parse(f"[account]\ntoken = {given}\n", Settings, Path("feilun.toml"))
    assert given.strip('"') not in str(caught.value).replace("'env:MY_SECRET'", "")
    assert "line 2" in str(caught.value)


def test_the_text_of_a_reference_is_checked_where_it_is_made() -> None:
    with pytest.raises(ValidationError):
        Account.model_validate({"token": VALUE})
    with pytest.raises(ValueError, match="environment variable") as caught:
        Secret(VALUE)
    assert VALUE not in str(caught.value)

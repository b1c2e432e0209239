"""Auto: what it tries, with an encoder and without."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from feilun.models import Auto


def uses(auto: Auto) -> list[str]:
    return [family.use for family in auto.candidates()]


def test_without_an_encoder_a_network_of_our_own_is_tried() -> None:
    assert uses(Auto()) == ["ngram", "transformer", "stack"]


def test_with_one_it_takes_the_networks_place() -> None:
    found = Auto(encoder="somewhere")
    assert uses(found) == ["ngram", "frozen", "hub", "stack"]
    assert {f.name for f in found.candidates() if f.use in {"frozen", "hub"}} == {"somewhere"}  # type: ignore[attr-defined]


def test_what_is_named_is_tried_beside_it() -> None:
    named = Auto(families=("ngram", "cnn"), encoder="somewhere")
    assert uses(named) == ["ngram", "cnn", "frozen", "hub"]


def test_nothing_to_try_is_refused() -> None:
    with pytest.raises(ValidationError):
        Auto(families=())

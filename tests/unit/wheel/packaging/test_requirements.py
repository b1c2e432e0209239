"""Pins: all that the base needs, nothing that only training does."""

from __future__ import annotations

from importlib.metadata import distribution, version

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from feilun.wheel.packaging.requirements import parts_in, pinned

TRAINING = {"torch", "transformers", "onnx", "onnxscript", "accelerate", "peft", "optuna"}


def test_all_of_the_base_and_nothing_of_training() -> None:
    found = pinned()
    base = {
        canonicalize_name(requirement.name)
        for requirement in map(Requirement, distribution("feilun").requires or ())
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    }
    assert len(base) > 20
    assert base <= set(found)
    assert not TRAINING & set(found)
    assert "feilun" not in found
    assert all(found[name] == version(name) for name in found)
    assert {"starlette", "h11", "pydantic-core"} <= set(found), "what they need is there too"


def test_parts_are_found_wherever_they_are_named() -> None:
    made_by = {"architecture": "stack", "members": [{"architecture": "ngram"}, {"use": "mine"}]}
    assert set(parts_in(made_by)) == {"stack", "ngram", "mine"}
    assert pinned(["ngram"]) == pinned()

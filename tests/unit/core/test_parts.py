"""Parts: found by name, written down with their name, and never confused with one another."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SerializeAsAny, ValidationError

from feilun.core import part
from feilun.core.part import Part, PartNotFound, find, names
from feilun.stages.evaluate import Evaluate
from feilun.stages.prepare import Prepare
from feilun.stages.release.better import Better
from feilun.stages.release.rule import Rule
from feilun.stages.train import Train
from feilun.wheel.runner import fingerprint

KINDS = ("task", "source", "step", "family", "check", "rule", "detector", "collector")


class Holder(BaseModel):
    rules: tuple[SerializeAsAny[Rule], ...]


@pytest.mark.parametrize("kind", KINDS)
def test_every_registered_part_is_found_under_its_name(kind: str) -> None:
    assert names(kind)
    for name in names(kind):
        found = find(kind, name)
        assert (found.kind, found.use) == (kind, name)
        assert found.__doc__, "a part says what it does"


def test_an_unknown_part_is_named_with_a_guess() -> None:
    with pytest.raises(PartNotFound, match=r"step\.duplicate") as caught:
        find("step", "duplicate")
    assert caught.value.remedy == "Did you mean step.duplicates?"
    with pytest.raises(PartNotFound) as caught:
        find("step", "zzzzzz")
    assert "conflicts" in (caught.value.remedy or "")


def test_an_entry_point_to_something_else_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("rule.worse", "feilun.stages.release.better:Better", part.GROUP)
    monkeypatch.setattr(part, "_registered", lambda: {"rule.worse": point})
    with pytest.raises(PartNotFound):
        find("rule", "worse")


def test_a_part_of_somebody_else_is_found_like_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("rule.never", f"{__name__}:Never", part.GROUP)
    monkeypatch.setattr(part, "_registered", lambda: {"rule.never": point})
    held = Holder.model_validate({"rules": [{"use": "never", "why": "because"}]})
    assert held.rules == (Never(why="because"),)
    assert held.model_dump(mode="json") == {"rules": [{"use": "never", "why": "because"}]}


class Never(Rule):
    use: ClassVar[str] = "never"

    why: str = ""

    def judge(self, case: object) -> object:  # type: ignore[override]
        raise NotImplementedError


def test_what_is_written_down_is_read_back_as_the_same() -> None:
    stages: list[Part] = [
        Prepare.model_validate({"steps": [{"use": "conflicts", "keep": "none"}]}),
        Train.model_validate({"model": {"architecture": "ngram", "bits": 14}}),
        Evaluate(),
    ]
    for stage in stages:
        again = type(stage).model_validate(stage.model_dump(mode="json"))
        assert again == stage
        assert type(again).model_validate_json(stage.model_dump_json()) == stage


def test_two_recipes_never_hash_the_same() -> None:
    """Without `use` in what is written down, these would differ in nothing."""
    recipes = [
        {"steps": [{"use": "normalise"}]},
        {"steps": [{"use": "duplicates"}]},
        {"steps": [{"use": "normalise"}, {"use": "duplicates"}]},
        {"steps": [{"use": "duplicates"}, {"use": "normalise"}]},
        {"steps": [{"use": "conflicts"}]},
        {"steps": [{"use": "conflicts", "keep": "none"}]},
        {"steps": []},
        {"steps": [], "split": {"test": 0.3}},
    ]
    marks = {fingerprint(Prepare.model_validate(recipe), {}) for recipe in recipes}
    assert len(marks) == len(recipes)
    trains = [
        {"model": {"architecture": "ngram"}},
        {"model": {"architecture": "auto", "families": ["ngram"]}},
        {"model": {"architecture": "auto"}},
        {"model": {"architecture": "ngram", "bits": 14}},
    ]
    assert len({fingerprint(Train.model_validate(t), {}) for t in trains}) == len(trains)


def test_the_default_written_out_is_the_same_recipe() -> None:
    written = Prepare.model_validate(Prepare().model_dump(mode="json"))
    assert fingerprint(written, {}) == fingerprint(Prepare(), {})


def test_parts_cannot_be_changed_and_take_no_unknown_key() -> None:
    with pytest.raises(ValidationError):
        Better().minimum_gain = 0.5  # type: ignore[misc]
    with pytest.raises(ValidationError, match="extra"):
        Better.model_validate({"use": "better", "gain": 1})
    with pytest.raises(ValidationError):
        Better.model_validate({"use": "floor"})


@given(st.text(max_size=20))
def test_any_name_is_a_part_or_a_clear_error(name: str) -> None:
    if name not in names("rule"):
        with pytest.raises(ValidationError) as caught:
            Holder.model_validate({"rules": [{"use": name}]})
        (detail,) = caught.value.errors()
        assert detail["type"] == "part_unknown"
        assert detail["loc"] == ("rules", 0)

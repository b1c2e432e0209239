"""The space to search: what it may say, and what is told when it does not fit the family."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from feilun.models.cnn import Cnn
from feilun.models.hub import Hub
from feilun.models.lstm import Lstm
from feilun.models.mlp import Mlp
from feilun.models.ngram import Ngram
from feilun.models.space import Axis, BadSpace, check, chosen, spot, with_settings
from feilun.models.stack import Stack
from feilun.models.transformer import Transformer
from feilun.tasks import task_named


def axes(**written: Any) -> dict[str, Axis]:
    return {key: Axis.model_validate(value) for key, value in written.items()}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"low": 1}, "a list of values, or a table with low and high"),
        ({}, "a list of values"),
        ({"values": ["a"], "low": 1, "high": 2}, "a list of values, or a table"),
        ({"values": ["a"], "log": True}, "a list of values, or a table"),
        ({"low": 2, "high": 1}, "low must be below high"),
        ({"low": 1, "high": 1}, "low must be below high"),
        ({"low": 0, "high": 1, "log": True}, "with log, low must be above 0"),
        ({"low": 1, "high": 2, "log": True, "step": 1}, "log and step exclude each other"),
        ({"low": 1, "high": 2, "step": 0}, "greater than 0"),
        ({"low": 1, "high": float("inf")}, "finite"),
        ({"lo": 1, "high": 2}, "Extra inputs"),
        ([], "at least 1"),
        (3, "valid"),
    ],
)
def test_an_axis_is_a_list_or_a_range(written: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Axis.model_validate(written)


def test_an_axis_is_written_as_it_was_read() -> None:
    for written in (["nano", 3, [1, 2]], {"low": 0.0, "high": 0.5, "step": 0.1},
                    {"low": 1e-4, "high": 1.0, "log": True}):  # fmt: skip
        axis = Axis.model_validate(written)
        assert axis.model_dump(mode="json") == written
        assert Axis.model_validate_json(axis.model_dump_json()) == axis


def test_all_mistakes_are_told_at_once_before_anything_is_trained() -> None:
    space = axes(
        cots=[1, 2],
        zzzz=[1],
        cost={"low": -1, "high": 1},
        max_chars={"low": 2, "high": 20},
        min_texts={"low": 1.5, "high": 3},
        class_weight=["none", "balancd"],
        units={"low": 1, "high": 2},
    )
    space["members.0.cost"] = Axis(values=(1,))
    with pytest.raises(BadSpace) as caught:
        check(space, Ngram())
    lines = caught.value.message.splitlines()
    assert "8 mistake(s)" in lines[0]
    said = dict(line.strip().split(": ", 1) for line in lines[1:])
    assert said["cots"] == "unknown key; did you mean 'cost'?"
    assert said["zzzz"].startswith("unknown key; known here: bits, class_weight, cost")
    assert said["cost"].startswith("must be above 0")
    assert said["max_chars"] == "must be at most 8, not 20"
    assert said["min_texts"] == "must be a whole number, not 1.5"
    assert "balancd" in said["class_weight"]
    assert said["units"].startswith("is no number")
    assert "unknown key" in said["members.0.cost"]
    assert "[train.tune]" in (caught.value.remedy or "")


def test_one_setting_is_not_refused_for_another() -> None:
    """max_chars = 5 with min_chars = 5 is fine, though not with the default max_chars = 4."""
    check(axes(min_chars=[1, 5], max_chars=[5, 6]), Ngram())


def test_settings_within_settings_have_a_dot() -> None:
    stack = Stack(members=(Ngram(), Ngram(bits=14)))
    space = {"members.1.cost": Axis(low=0.1, high=1.0), "members.0.bits": Axis(values=(12, 13))}
    check(space, stack)
    assert spot(stack, "members.1.cost").numbers is float
    made = with_settings(stack, {"members.1.cost": 0.7, "members.0.bits": 12})
    assert isinstance(made, Stack)
    assert [(m.cost, m.bits) for m in made.members] == [(0.4, 12), (0.7, 14)]  # type: ignore[attr-defined]
    assert stack.members[1] == Ngram(bits=14), "the family is not changed"
    for key in ("members.2.cost", "members.x", "members.0.cost.more", "members.1"):
        with pytest.raises(BadSpace):
            check({key: Axis(values=(1,))}, stack)


def test_numbers_are_rounded_to_what_a_person_would_write() -> None:
    cost = spot(Ngram(), "cost")
    assert chosen(Axis(low=0.001, high=1, log=True), cost, 0.0123456) == 0.0123
    assert chosen(Axis(low=0.12345, high=1), cost, 0.123451) == 0.12345, "within the range"
    assert chosen(Axis(low=0, high=1, step=0.1), cost, 0.30000000000000004) == 0.3
    assert chosen(Axis(low=0, high=1, step=0.0625), cost, 0.4375) == 0.4375
    assert chosen(Axis(low=1, high=9), spot(Ngram(), "bits"), 3) == 3
    assert chosen(Axis(values=([1, 2], "a")), cost, "[1, 2]") == [1, 2]


FAMILIES = {family.use: family for family in (Ngram, Mlp, Cnn, Lstm, Transformer, Hub)}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("task", ["classify", "tag", "match", "regress"])
def test_what_a_family_offers_to_try_fits_it(name: str, task: str) -> None:
    family = FAMILIES[name]()
    space = family.space(task_named(task))
    assert space
    check(space, family)
    for key, axis in space.items():
        for value in axis.ends:
            with_settings(family, {key: int(value) if spot(family, key).whole else value})


def test_a_size_that_is_set_is_not_searched() -> None:
    task = task_named("classify")
    assert Mlp().space(task)["size"].values == ("nano", "micro")
    space = Mlp(size="small", learning_rate=0.01).space(task)
    assert "size" not in space
    assert (space["learning_rate"].low, space["learning_rate"].high) == (0.0025, 0.04)

"""What was rolled back is not made live again by a turn, and can be by hand."""

from __future__ import annotations

import pytest

from feilun.store.control import AliasRow
from feilun.wheel.project import Project
from feilun.wheel.withdrawn import withdrawn

RELEASED, BACK = '{"template": "better"}', '{"template": "rolled back from {model}: it failed"}'


def history(*moves: tuple[str, str]) -> list[AliasRow]:
    """Moves of what is live, oldest first, as the store gives them."""
    rows = [
        AliasRow(seq, "live", digest, None, "me", reason, "2026-11-22")
        for seq, (digest, reason) in enumerate(moves)
    ]
    return rows[::-1]


@pytest.mark.parametrize(
    ("moves", "gone"),
    [
        ([], set()),
        ([("a", RELEASED)], set()),
        ([("a", RELEASED), ("b", RELEASED)], set()),
        ([("a", RELEASED), ("b", RELEASED), ("a", BACK)], {"b"}),
        # Made live again by hand: its critic is gone now.
        ([("a", RELEASED), ("b", RELEASED), ("a", BACK), ("b", BACK)], {"a"}),
        ([("a", RELEASED), ("b", RELEASED), ("a", BACK), ("c", RELEASED)], {"b"}),
        ([("a", RELEASED), ("b", RELEASED), ("a", BACK), ("b", BACK), ("c", RELEASED)], {"a"}),
    ],
)
def test_withdrawn(moves: list[tuple[str, str]], gone: set[str]) -> None:
    assert withdrawn(history(*moves)) == gone


def test_the_next_turn_leaves_it_where_it_is(trained_project: Project) -> None:
    project = trained_project
    first = project.history()[0].digest
    path = project.root / "feilun.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"ngram"', '"ngram"\nmodel.bits = 14'), encoding="utf-8")
    with Project.open(project.root) as changed:
        made = changed.turn(until="train").model
        assert made is not None
        changed.control.move_alias(
            "live", made.digest, expected=first, by="me", reason='{"template": "test"}'
        )
        changed.rollback()
        verdict = changed.turn().verdict
        assert verdict is not None
        assert not verdict.released
        assert str(verdict.reasons[0]) == "the candidate was live before and was rolled back"
        assert changed.history()[0].digest == first
        assert changed.rollback().model.digest == made.digest, "by hand it can be"

from __future__ import annotations

import numpy as np
import pytest

from feilun.stages.monitor import grams
from feilun.stages.monitor.reference import Reference
from tests.unit.stages.monitor.worlds import World, reference


@pytest.fixture(scope="module")
def made() -> Reference:
    world = World(0)
    return reference(world.texts(200), world.texts(150))


def test_it_reads_what_it_wrote(made: Reference) -> None:
    content = made.saved()
    read = Reference.read(content)
    assert read.saved() == content
    assert read.columns.keys() == made.columns.keys()
    texts = [row[0] for row in World(1).texts(60)]
    for alpha in (0.01, 0.001):
        wanted = made.columns["inputs"].compared(texts, alpha)
        assert read.columns["inputs"].compared(texts, alpha) == wanted


def test_the_same_texts_give_the_same_bytes(made: Reference) -> None:
    world = World(0)
    assert reference(world.texts(200), world.texts(150)).saved() == made.saved()


def test_no_text_is_in_it(made: Reference) -> None:
    content = made.saved()
    for row in World(0).texts(200):
        assert row[0].encode() not in content


@pytest.mark.parametrize("change", [b"", b"not safetensors", "cut", "version", "no column"])
def test_what_is_damaged_is_refused(made: Reference, change: bytes | str) -> None:
    content = made.saved()
    if change == "cut":
        content = content[: len(content) // 2]
    elif change == "version":
        content = content.replace(b"version", b"visions", 1)
    elif change == "no column":
        content = content.replace(b"inputs.shares", b"inputs.shaves", 1)
    else:
        assert isinstance(change, bytes)
        content = change
    with pytest.raises(ValueError, match="no reference"):
        Reference.read(content)


def test_another_version_is_made_anew(made: Reference, monkeypatch: pytest.MonkeyPatch) -> None:
    content = made.saved()
    monkeypatch.setattr("feilun.stages.monitor.reference.VERSION", "0")
    with pytest.raises(ValueError, match="no reference"):
        Reference.read(content)


def test_unknown_texts_are_told(made: Reference) -> None:
    world = World(2)
    known, strange = world.texts(300), world.texts(50, strange=1.0)
    rate = made.unknown_texts([r[0] for r in known], [r[1] for r in known]).mean()
    assert rate <= 0.05
    assert made.unknown_texts([r[0] for r in strange], ["zh"] * 50).mean() > 0.9
    assert made.unknown_texts([r[0] for r in known[:9]], ["el"] * 9).all()
    assert made.unknown == pytest.approx(0.01 * made.unknown_of, abs=2)


def test_rows_of_grams_are_unit_vectors_whatever_the_text() -> None:
    texts = ["好", "", "  \n ", "a" * 10_000, "\ud800", "𠀀👍", "123", "456"]
    rows = grams.rows(texts)
    assert rows.shape == (len(texts), grams.WIDTH)
    lengths = np.linalg.norm(rows, axis=1)
    assert all(abs(length) < 1e-6 or abs(length - 1) < 1e-5 for length in lengths)
    assert (rows[6] == rows[7]).all()
    rare = grams.rarity(["好的很好"])
    found = grams.surprise(texts, rare)
    assert np.isfinite(found).all()
    assert grams.surprise(["好的"], rare)[0] < grams.surprise(["坏了"], rare)[0]
    assert grams.rows([]).shape == (0, grams.WIDTH)

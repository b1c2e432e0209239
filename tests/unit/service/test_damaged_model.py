"""Every file of a model with flipped bits and cut ends: refused by its digest, before a parser."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest

from feilun.core.artifacts import Model
from feilun.core.refs import Ref
from feilun.service import live as live_module
from feilun.service.live import Live
from feilun.store.blobs import Blobs, DamagedBlob
from feilun.wheel.project import Project
from tests.evidence import Evidence

from .conftest import Running
from .test_live import move, second_model

FLIPS, CUT_EVERY, CONTROL_FLIPS, SEED = 1_000, 4096, 150, 10


class Damage(NamedTuple):
    """What is done to a file: its bit `flipped`, or cut off at `length` bytes."""

    name: str
    flipped: int | None = None
    length: int | None = None


class Broken:
    """A model's stored files, to be damaged one at a time and mended again."""

    def __init__(self, project: Project, model: Model) -> None:
        self.paths = {name: project.blobs.path(digest) for name, digest in model.files.items()}
        self.sizes = {name: path.stat().st_size for name, path in self.paths.items()}
        for path in self.paths.values():
            path.chmod(0o644)

    def flips(self, count: int) -> Iterator[Damage]:
        """Random bits, as many of each file, however small it is."""
        choose, names = random.Random(SEED), sorted(self.paths)
        for number in range(count):
            name = names[number % len(names)]
            yield Damage(name, flipped=choose.randrange(8 * self.sizes[name]))

    def cuts(self) -> Iterator[Damage]:
        """Every end at a multiple of 4 KB, none included, and a byte before the end."""
        for name, size in self.sizes.items():
            for length in {*range(0, size, CUT_EVERY), size - 1}:
                yield Damage(name, length=length)

    def do(self, damage: Damage) -> None:
        path = self.paths[damage.name]
        with path.open("r+b") as target:
            if damage.flipped is not None:
                target.seek(damage.flipped // 8)
                byte = target.read(1)[0] ^ (1 << damage.flipped % 8)
                target.seek(damage.flipped // 8)
                target.write(bytes([byte]))
            elif damage.length is not None:
                target.truncate(damage.length)

    def mend(self, damage: Damage, whole: dict[str, bytes]) -> None:
        if damage.flipped is not None:
            self.do(damage)
        else:
            self.paths[damage.name].write_bytes(whole[damage.name])


def undetected(live: Live, broken: Broken, digest: str, damages: list[Damage]) -> list[Damage]:
    """The damages with which the model is loaded all the same."""
    whole = {name: path.read_bytes() for name, path in broken.paths.items()}
    found = []
    for damage in damages:
        broken.do(damage)
        try:
            live._opened(digest)
            found.append(damage)
            live._loaded.pop(digest)
        except DamagedBlob:
            pass
        finally:
            broken.mend(damage, whole)
    return found


@pytest.fixture
def other(running: Running) -> tuple[str, Broken]:
    """A model that is not live, and its files."""
    digest = second_model(running.project)
    return digest, Broken(running.project, running.project.model(Ref("model", digest)))


def test_no_damage_gets_as_far_as_a_parser(
    running: Running,
    other: tuple[str, Broken],
    monkeypatch: pytest.MonkeyPatch,
    evidence: Evidence,
) -> None:
    def parse(folder: Path) -> NoReturn:
        raise AssertionError(f"{folder} was parsed")

    digest, broken = other
    live, before = running.service.live, running.service.live.engine.model
    flips, cuts = list(broken.flips(FLIPS)), list(broken.cuts())
    with monkeypatch.context() as patch:
        patch.setattr(live_module, "load", parse)
        assert undetected(live, broken, digest, flips + cuts) == []
    # Released, a damage to each of its files leaves the model before where it is.
    whole = {name: path.read_bytes() for name, path in broken.paths.items()}
    firsts = {damage.name: damage for damage in flips}
    for damage in firsts.values():
        broken.do(damage)
        row = running.project.control.alias("live")
        if row is not None and row.digest != digest:
            move(running.project, digest)
        live.refused = None
        live.look()
        answer = running.client.post("/v1/classify", json={"input": "好"})
        assert (answer.status_code, answer.json()["model"]) == (200, before)
        assert running.client.get("/readyz").status_code == 200
        broken.mend(damage, whole)
    evidence(
        10,
        f"{len(flips)} flipped bits and {len(cuts)} cuts over {len(broken.paths)} files "
        f"({sum(broken.sizes.values()) / 1e3:.0f} KB): 0 undetected, no parser called",
    )
    evidence(
        10,
        f"released with each of its {len(firsts)} files damaged in turn: refused, the model "
        "before answers on",
    )


def test_without_the_digests_some_damage_goes_unnoticed(
    running: Running,
    other: tuple[str, Broken],
    monkeypatch: pytest.MonkeyPatch,
    evidence: Evidence,
) -> None:
    """Negative control: the same damage, where only the parsers look."""
    digest, broken = other
    monkeypatch.setattr(Blobs, "get", lambda self, digest: self.path(digest))
    load = live_module.load

    def refusing(folder: Path) -> object:
        try:
            return load(folder)
        except Exception:
            raise DamagedBlob(digest, folder, "") from None

    monkeypatch.setattr(live_module, "load", refusing)
    missed = undetected(running.service.live, broken, digest, list(broken.flips(CONTROL_FLIPS)))
    assert missed
    evidence.control(
        10,
        f"without the digests {len(missed)} of {CONTROL_FLIPS} flipped bits make a model that is "
        "loaded without a word",
    )

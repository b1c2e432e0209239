"""Keys are guessed over HTTP: tries are few, and how long a refusal takes tells nothing."""

from __future__ import annotations

import gc
import math
import random
import secrets
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.conftest import write_project
from tests.evidence import Evidence
from tests.unit.client.live_server import Line, as_served, listening

from feilun.console.session import TRIES
from feilun.service import access
from feilun.service.access import GUESSES, GUESSES_PER_MINUTE
from feilun.service.app import create_app
from feilun.store import Control
from feilun.store.clock import now
from feilun.team import Keyring
from feilun.team.key_text import KeyText, _checksum, new_text, read_text
from feilun.team.keys import StoredKey
from feilun.wheel.project import Project

TRIED, TRIED_LONG = 3_000, 100_000
PREFIXES = (0, 16, 32, 48, 63)
"""Digits of the secret, of 64, that a guess has right from the left."""
TIMED, TIMED_LONG = 5_000, 10_000
"""Guesses of each kind that are timed."""
LIKELY = 0.0001
"""Of times that do not differ, one run in ten thousand is told apart; it is repeated once."""


def ask(line: Line, key: str) -> int:
    """The status of a request with that key."""
    return line.ask("GET /v1/models", Host="127.0.0.1", Authorization=f"Bearer {key}")


def sign_in(line: Line, key: str) -> int:
    """The status of a try to sign in to the console."""
    body, form = f"key={key}".encode(), "application/x-www-form-urlencoded"
    return line.ask("POST /console/sign-in", body, Host="127.0.0.1", Content_Type=form)


class Target(NamedTuple):
    """A service and a key of it that is guessed at."""

    port: int
    key: str


@contextmanager
def target(folder: Path) -> Iterator[Target]:
    with Project.open(folder) as project:
        key = project.keys.add("target")
        app = create_app(project)
        with listening(app, as_served(app)) as port:
            yield Target(port, key)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_project(tmp_path / "guessed", [])


def guess(key: str, right: int) -> str:
    """A text for the same key, well formed, whose secret has just so many right digits from the
    left."""
    _prefix, identity, known = key.split("_")
    wrong = f"{(int(known[right], 16) + secrets.randbelow(15) + 1) % 16:x}"
    secret = known[:right] + wrong + secrets.token_hex(32)[right + 1 :]
    return f"fw_{identity}_{secret}{_checksum(f'fw_{identity}_{secret}')}"


def attacked(found: Target, tries: int = TRIED) -> tuple[Counter[int], float]:
    """What so many guesses at one key were answered, and in how many seconds."""
    with Line(found.port) as line:
        began = time.monotonic()
        told = Counter(ask(line, guess(found.key, 32)) for _try in range(tries))
        return told, time.monotonic() - began


def test_tries_are_limited_and_the_owner_is_not_kept_out(folder: Path, evidence: Evidence) -> None:
    tries = evidence.times(TRIED, TRIED_LONG)
    with target(folder) as found:
        with Line(found.port) as line:
            assert ask(line, found.key) == 200
        told, seconds = attacked(found, tries)
        allowed = GUESSES + math.ceil(seconds * GUESSES_PER_MINUTE / 60) + 1
        assert told.keys() == {401, 429}
        assert told[401] <= allowed
        with Line(found.port) as line:
            assert ask(line, found.key) == 200
            form = Counter(sign_in(line, str(new_text())) for _try in range(5 * TRIES))
        assert form == {401: TRIES, 429: 4 * TRIES}
    evidence(
        22,
        f"{tries:,} guesses at one key over HTTP in {seconds:.1f} s: {told[401]} were looked at "
        f"(the limit: {GUESSES}, then {GUESSES_PER_MINUTE} a minute), the others refused unseen; "
        f"its owner was let in from the same address; to the console {form[401]} of "
        f"{form.total()} tries",
    )


def test_without_the_limit_every_try_is_looked_at(
    folder: Path, evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control."""
    monkeypatch.setattr(access, "_ALL", (math.inf, 0.0))
    monkeypatch.setattr(access, "_ONE", (math.inf, 0.0))
    with target(folder) as found:
        told, seconds = attacked(found)
    allowed = GUESSES + math.ceil(seconds * GUESSES_PER_MINUTE / 60) + 1
    assert told[401] > allowed
    evidence.control(22, f"without the limit {told[401]:,} of {TRIED:,} guesses were looked at")


# How long a refusal takes


Opened = Callable[[KeyText, StoredKey | None, str], Any]
Kind = Callable[[], tuple[str, StoredKey | None]]
"""Gives a text and the stored key that it is held against."""


def timed(
    opened: Opened, kinds: Mapping[Any, Kind], seed: int, times: int = TIMED
) -> dict[Any, list[int]]:
    """Nanoseconds of reading and refusing so many texts of each kind, in an order of chance:
    whatever else the machine does meets all of them alike."""
    choose, at = random.Random(seed), now()
    order = [kind for kind in kinds for _time in range(times)]
    choose.shuffle(order)
    given = [kinds[kind]() for kind in order]
    # Split anew, for where a text lies in memory also depends on how it was put together.
    texts = " ".join([text for text, _stored in given]).split()
    found: dict[Any, list[int]] = {kind: [] for kind in kinds}
    gc.collect()
    gc.disable()
    try:
        for kind, text, (_text, stored) in zip(order, texts, given, strict=True):
            began = time.perf_counter_ns()
            read = read_text(text)
            assert read is not None
            key = opened(read, stored, at)
            ended = time.perf_counter_ns()
            assert key is None
            found[kind].append(ended - began)
    finally:
        gc.enable()
    return found


def told_apart(times: Mapping[Any, Sequence[float]]) -> float:
    """How likely it is that times differ so much by chance (Kruskal and Wallis 1952: by ranks,
    so that what was interrupted counts no more than another)."""
    from scipy.stats import kruskal

    return float(kruskal(*times.values()).pvalue)


def spread(times: Mapping[Any, Sequence[float]]) -> float:
    """The difference between the largest and the smallest median, as a share of the smallest."""
    medians = [statistics.median(some) for some in times.values()]
    return max(medians) / min(medians) - 1


class Ring(NamedTuple):
    """A ring of keys, one of them guessed at."""

    keys: Keyring
    text: str

    def by_prefix(self) -> dict[Any, Kind]:
        """Guesses with so many right digits, each at a key of its own. At one and the same key
        every known digit, right or wrong, was 4 ns faster: the processor learns what comes again
        and again. So, whatever is right of them, the texts are random all alike."""
        stored = self.keys.stored()[self.text.split("_")[1]]

        def one(right: int) -> tuple[str, StoredKey]:
            fresh = new_text(stored.key.id)
            key = stored._replace(hash=self.keys.hash(fresh.secret))
            return guess(str(fresh), right), key

        return {right: partial(one, right) for right in PREFIXES}

    def by_reason(self) -> dict[Any, Kind]:
        revoked = self.keys.add("revoked")
        expired = self.keys.add("expired", expires_at="2026-01-01T00:00:00.000000+00:00")
        self.keys.revoke(revoked.split("_")[1])
        stored = {key.key.name: key for key in self.keys.stored().values()}
        unknown, wrong = str(new_text()), guess(self.text, 0)
        return {
            "unknown": lambda: (unknown, None),
            "wrong": lambda: (wrong, stored["target"]),
            "revoked": lambda: (revoked, stored["revoked"]),
            "expired": lambda: (expired, stored["expired"]),
        }


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[Ring]:
    control = Control(tmp_path / "control.db")
    keys = Keyring(control, tmp_path / "pepper")
    yield Ring(keys, keys.add("target"))
    control.close()


def test_the_time_of_a_refusal_tells_nothing(ring: Ring, evidence: Evidence) -> None:
    times = evidence.times(TIMED, TIMED_LONG)
    for seed in (1, 2):  # see `LIKELY`
        by_prefix = timed(ring.keys.opened, ring.by_prefix(), seed, times)
        chance = told_apart(by_prefix)
        if chance > LIKELY:
            break
    assert chance > LIKELY
    by_reason = timed(ring.keys.opened, ring.by_reason(), 3)
    assert spread(by_reason) < 0.25
    median = statistics.median(by_prefix[0])
    evidence(
        22,
        f"{times:,} refusals each of secrets with {', '.join(map(str, PREFIXES))} of 64 digits "
        f"right: medians of {median / 1000:.1f} µs differ by {spread(by_prefix):.2%}, p = "
        f"{chance:.2f} (Kruskal-Wallis); unknown, wrong, revoked and expired keys by "
        f"{spread(by_reason):.0%}",
    )


def test_a_comparison_that_stops_early_is_told_apart(ring: Ring, evidence: Evidence) -> None:
    """The negative control: digits compared one by one, and unknown keys refused at once."""
    by_prefix = {}
    for right, kind in ring.by_prefix().items():
        by_prefix[right] = partial(_with_secret, kind, right)

    def one_by_one(text: KeyText, stored: StoredKey | None, at: str) -> Any:
        assert stored is not None
        for given, digit in zip(text.secret, stored.hash, strict=False):
            if given != digit:
                break
        return ring.keys.opened(text, stored, at)

    def at_once(text: KeyText, stored: StoredKey | None, at: str) -> Any:
        return None if stored is None else ring.keys.opened(text, stored, at)

    times = timed(one_by_one, by_prefix, 1)
    chance = told_apart(times)
    assert chance < LIKELY
    by_reason = spread(timed(at_once, ring.by_reason(), 3))
    assert by_reason > 0.25
    evidence.control(
        22,
        f"secrets compared digit by digit: medians differ by {spread(times):.0%}, p < {LIKELY}; "
        f"unknown keys refused without work: by {by_reason:.0%}",
    )


def _with_secret(kind: Kind, right: int) -> tuple[str, StoredKey | None]:
    """The same guess, held against a key that is stored as it is: its first digits are right."""
    text, stored = kind()
    secret = text.split("_")[2]
    assert stored is not None
    return text, stored._replace(hash=secret[:right] + "x" * (64 - right))

"""Figures of the tests against faults and attacks, and the page that a run of them writes.

A test asks for the fixture `evidence` and says what it found: `evidence(7, "…")`; its negative
control, in which the same check must fail, says what it caught: `evidence.control(7, "…")`.
What takes long is repeated `evidence.times(few, many)` times.
`make reliability` runs these tests alone and writes docs/reliability.md (`pytest --evidence`).
"""

from __future__ import annotations

import os
import platform
from collections import defaultdict
from datetime import date
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parent.parent / "docs" / "reliability.md"


class Row(NamedTuple):
    """A fault or an attack, how it is done, and what must come of it."""

    fault: str
    injection: str
    expected: str


ROWS = {
    2: Row(
        "Killed while writing",
        "kill -9 at random moments, under load; every acknowledged id is written down outside",
        "nothing that was acknowledged is lost, nothing is there twice",
    ),
    4: Row(
        "Disk full",
        "a file system without room, and one that gets room again",
        "507, unready, reads go on, heals by itself, nothing is damaged",
    ),
    7: Row(
        "SIGTERM under load",
        "SIGTERM at random moments while requests are on their way",
        "unready at once, every accepted request is answered whole, exit code 0",
    ),
    8: Row(
        "Ten times too many requests",
        "an open-loop client at ten times the peak",
        "goodput stays, the rest is refused at once with Retry-After, memory stays",
    ),
    9: Row(
        "Slow clients",
        "connections that send, or read, a byte at a time",
        "they are cut; nobody else waits for them",
    ),
    10: Row(
        "Damaged model",
        "flipped bits and cut ends in every file of a model",
        "refused by its digest before anything parses it; the model before goes on",
    ),
    14: Row(
        "Bad model released",
        "a model that fails, is slow, or answers differently is made live",
        "the model before is live again by itself",
    ),
    17: Row(
        "Fuzzing of the API",
        "schemathesis over the whole OpenAPI document, once per role",
        "no 5xx, no answer beside its schema",
    ),
    18: Row(
        "Malicious model files",
        "pickles under other names, headers that lie, overlapping tensors, code to be run",
        "refused before anything of them is run",
    ),
    19: Row(
        "Calls turned inwards (SSRF)",
        "inner addresses in every spelling, redirects, names that change their address",
        "refused when the connection is made",
    ),
    20: Row(
        "Path traversal",
        "encodings × depths in every parameter and part of a path",
        "nothing outside is read, no 5xx",
    ),
    21: Row(
        "Access",
        "every route × every kind of key, none, expired, revoked",
        "exactly what the policy table says; a route outside it keeps the app from starting",
    ),
    22: Row(
        "Guessing keys",
        "many tries over HTTP; the time of a refusal by how much of the key is right",
        "tries are limited; the time tells nothing",
    ),
    23: Row(
        "Foreign pages and names",
        "foreign Origin and Host, forms and plain text as JSON, every method",
        "refused",
    ),
    25: Row(
        "Formulas in CSV",
        "cells that begin as a formula does, in everything that is exported as CSV",
        "a spreadsheet sees text",
    ),
    26: Row(
        "Personal data leaves the vault",
        "planted names, numbers and addresses go through everything the service does",
        "none in logs, databases, exports, metrics, traces, errors or messages",
    ),
    27: Row(
        "Erasure of a person",
        "erase one subject, then search every file byte by byte",
        "nothing of theirs is left; others keep everything",
    ),
    32: Row(
        "A receiver of webhooks that fails",
        "500, silence, redirects, days away, a sender that is killed",
        "sent again with the same id until taken or a dead letter; none lost",
    ),
    33: Row(
        "Metering",
        "kill -9 while charging; requests repeated under their key",
        "usage is the number of distinct predictions, to the one",
    ),
}


class Evidence:
    """What the tests of one run found, by row."""

    def __init__(self, *, thorough: bool) -> None:
        self._thorough = thorough
        self.figures: defaultdict[int, list[str]] = defaultdict(list)
        self.controls: defaultdict[int, list[str]] = defaultdict(list)

    def __call__(self, row: int, figure: str) -> None:
        """Notes what was measured of a row of `ROWS`: a phrase with its numbers."""
        self._note(self.figures, row, figure)

    def control(self, row: int, caught: str) -> None:
        """Notes what the negative control of a row did: a phrase."""
        self._note(self.controls, row, caught)

    def times(self, few: int, many: int) -> int:
        """How often something is to be repeated: `many` times in the run that writes the page."""
        return many if self._thorough else few

    @property
    def lacking(self) -> list[str]:
        """Rows without a figure or without a control."""
        return [
            f"row {row} ({ROWS[row].fault}) has no {what}"
            for row in ROWS
            for what, found in (("figure", self.figures), ("control", self.controls))
            if not found[row]
        ]

    def page(self) -> str:
        """The whole page."""
        machine = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
        pieces = [_HEAD.format(day=date.today().isoformat(), machine=machine)]
        for number, row in ROWS.items():
            pieces += [
                f"## {row.fault}",
                f"*Done to it:* {row.injection}. *Expected:* {row.expected}.",
                "\n".join(f"- {figure}" for figure in self.figures[number]),
                "\n".join(f"- *Control:* {caught}" for caught in self.controls[number]),
            ]
        return "\n\n".join(pieces) + "\n"

    @staticmethod
    def _note(where: defaultdict[int, list[str]], row: int, phrase: str) -> None:
        assert row in ROWS, f"no row {row} in tests/evidence.py"
        if phrase not in where[row]:
            where[row].append(phrase)


_HEAD = """\
# Faults and attacks

What is done to Feilun on purpose, what must come of it, and what came of it in the last run of
`make reliability`, which writes this page ({day}; {machine}). Every check has a *control*: the same
check on something broken on purpose, which must fail, or it would prove nothing. All of these tests
run with every `make test` too, where some are repeated less often."""

"""Whatever is in a file, reading it takes bounded memory; measured in a process of its own."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MEASURE = """
import json, resource, sys
from pathlib import Path
from feilun.stages.collect import reading
from feilun.stages.collect.source import Quarantine

path, quarantine, count, last = Path(sys.argv[1]), Quarantine(), 0, None
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for frame in reading.read(path, reading.form_of(path), "auto", quarantine, path.name):
    count, last = count + frame.height, frame.row(-1, named=True)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
bad = [[bad.row, bad.reason] for bad in quarantine.shown]
print(json.dumps({"count": count, "last": last, "bad": bad, "grown": (peak - before) / 1024}))
"""
MOST_GROWN = 150  # MB; measured: 5 to 60 for one long line, 35 to 100 for ordinary tables


def measured(path: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["grown"] < MOST_GROWN
    return found


def sparse(path: Path, before: bytes, size: int, after: bytes) -> None:
    """A file with that many NULs in the middle, which take no room on the disk."""
    with path.open("wb") as target:
        target.write(before)
        target.seek(size)
        target.write(after)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("a.csv", b"text,label\ngood,x\n", b"\nlast,y\n"),
        ("b.csv", b'text,label\ngood,x\n"', b'",x\nlast,y\n'),
        ("a.jsonl", b'{"text":"good"}\n{"text":"', b'"}\n{"text":"last"}\n'),
        ("a.txt", b"good\n", b"\nlast\n"),
    ],
)
def test_a_line_of_a_gigabyte_costs_itself(
    name: str, before: bytes, after: bytes, tmp_path: Path
) -> None:
    sparse(tmp_path / name, before, 1 << 30, after)
    found = measured(tmp_path / name)
    assert found["bad"] == [[2, "too_long"]]
    assert found["count"] == 2
    assert found["last"]["text"] == "last"
    assert found["last"]["_row"] == 3


def test_a_json_string_of_many_megabytes_costs_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with path.open("wb") as target:
        target.write(b'[{"text":"good"},\n{"text":"')
        for _ in range(200):
            target.write(b"x" * (1 << 20))
        target.write(b'"},\n{"text":"last"}]')
    found = measured(path)
    assert found["bad"] == [[2, "too_long"]]
    assert found["last"] == {"text": "last", "_row": 3}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.csv", "a.json", "a.jsonl", "a.csv.gz", "a.txt"])
def test_a_table_of_a_hundred_megabytes_is_not_held(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    row = {
        "csv": b'"some, text",label\n',
        "json": b'{"text": "some text"},\n',
        "jsonl": b'{"text": "some text"}\n',
        "txt": b"some text\n",
    }[name.split(".")[1]]
    head = {"json": b"[", "csv": b"text,label\n"}.get(name.split(".")[1], b"")
    many = row * ((1 << 20) // len(row))
    opened = gzip.open if name.endswith("gz") else open
    noise = b"".join(b"%d\n" % (number**9) for number in range(1, 20_000))
    times = 20 if name.endswith("gz") else 100
    with opened(path, "wb") as target:
        target.write(head)
        for _ in range(times):
            target.write(many)
        target.write(b'{"text": "last"}]' if name.endswith(".json") else b"")
        if name == "a.csv.gz":  # so that it is no bomb
            target.write(noise.replace(b"\n", b",x\n"))
    found = measured(path)
    assert not found["bad"]
    assert found["count"] >= times * ((1 << 20) // len(row))

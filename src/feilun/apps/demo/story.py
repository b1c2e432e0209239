"""What the demo does, in the order in which it does it; all of it through the real stages,
the HTTP API and the stores."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from feilun.apps.demo.loopback import ensure_loopback
from feilun.apps.demo.reviews import all_reviews
from feilun.apps.demo.server import Server
from feilun.apps.demo.users import CLIENTS, LIE_SHARE, Review, Usage, use_service
from feilun.core.errors import Conflict
from feilun.core.i18n import _
from feilun.core.records import read_shards
from feilun.economics.meter import peak_rss_mb
from feilun.store.disk import write_file
from feilun.wheel.describe import describe
from feilun.wheel.project import Project
from feilun.wheel.runner import Observer
from feilun.wheel.turn import Turn

LEARN, TEST, STREAM, SWAPPED = 2000, 4000, 3000, 1500
SEED = 7
MARK = ".feilun-demo"

_ARCHIVE = """\
[project]
name = "archive"

[[collect.sources]]
use = "files"
path = "data/reviews.csv"
columns = { text = "text", label = "label" }

[[prepare.steps]]
use = "markup"

[[prepare.steps]]
use = "normalise"

[[prepare.steps]]
use = "language"

[[prepare.steps]]
use = "mask"

[[prepare.steps]]
use = "conflicts"

[[prepare.steps]]
use = "duplicates"

[[prepare.steps]]
use = "near_duplicates"

[[prepare.steps]]
use = "label_errors"    # told in the report; nothing is dropped
"""

_REVIEWS = """\
[project]
name = "reviews"
task = "classify"

[[collect.sources]]
use = "files"
path = "data/labelled.csv"
columns = {{ text = "text", label = "label" }}
{more}
[prepare.split]
test = {test_share}
validation = 0.1

[train]
budget_seconds = {budget_seconds}
model.architecture = "auto"
"""

_SWAPPED_SOURCE = """
[[collect.sources]]
use = "files"
path = "data/swapped.csv"
columns = { text = "text", label = "label" }
"""


class NotOurs(Conflict):
    """The demo's folder holds something else."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            _("{path} is there already and was not made by the demo; it was left alone.").format(
                path=folder
            ),
            remedy="feilun demo --folder OTHER",
        )


class Stage(NamedTuple):
    """How the story is told: `say` prints a sentence, `watch` follows the turns, `reported`
    writes the page of what became of a project's records and returns where."""

    say: Callable[[str], None]
    watch: Callable[[], Observer]
    shown: Callable[[Turn], None]
    reported: Callable[[Path], Path]


class Ended(NamedTuple):
    """The report that was written, and the service, still running."""

    report: dict[str, Any]
    server: Server
    project: Project


def tell(folder: Path, stage: Stage, *, budget_seconds: float = 30.0) -> Ended:
    """Plays the story in `folder` and writes `report.json` there; the service runs on."""
    started = time.perf_counter()
    ensure_loopback()
    _clear(folder)
    stage.say(_("1. The archive: {count:,} review lines, as they are.").format(count=35_124))
    pool, prepared = _clean(folder, stage)
    labelled, stream, swapped = _draw(pool)
    project = _make_project(folder / "reviews", labelled, budget_seconds)
    stage.say(
        _("2. Turn 1 learns from {learn:,} labelled reviews; {test:,} more are its exam.").format(
            learn=LEARN, test=TEST
        )
    )
    turns = [_turn(project, stage)]
    server = Server(project.root)
    try:
        stage.say(
            _("3. It is live at {address}. {count:,} reviews arrive over HTTP.").format(
                address=server.address, count=STREAM
            )
        )
        stage.say(
            _(
                "   The users are simulated, {clients} at a time: they correct wrong answers, "
                "confirm right ones, and {lies:.0%} of what they say is a lie."
            ).format(clients=CLIENTS, lies=LIE_SHARE)
        )
        usage = use_service(server.address, server.key, stream, SEED, lambda _done: None)
        _tell_usage(usage, stage)
        stage.say(_("4. Turn 2 learns from their feedback."))
        turns.append(_turn(project, stage))
        stage.say(
            _("5. A worse candidate: an import of {count:,} reviews with swapped labels.").format(
                count=SWAPPED
            )
        )
        write_file(project.root / "data" / "swapped.csv", swapped.write_csv().encode())
        _configure(project.root, budget_seconds, more=_SWAPPED_SOURCE)
        project = _reopen(project)
        turns.append(_turn(project, stage))
        _configure(project.root, budget_seconds)
        project = _reopen(project)
    except BaseException:
        server.stop()
        raise
    report = _report(turns, usage, prepared, project, started, server)
    write_file(
        folder / "report.json", (json.dumps(report, ensure_ascii=False, indent=2) + "\n").encode()
    )
    return Ended(report, server, project)


def _clear(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARK).exists():
            raise NotOurs(folder)
        shutil.rmtree(folder)
    write_file(folder / MARK, b"made by: feilun demo\n")


def _clean(folder: Path, stage: Stage) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The distinct reviews that `prepare` keeps, and its counts."""
    root = folder / "archive"
    write_file(root / "data" / "reviews.csv", all_reviews().write_csv().encode())
    write_file(root / "feilun.toml", _ARCHIVE.encode())
    with Project.open(root) as archive:
        dataset = archive.turn(until="prepare").dataset
        assert dataset is not None
        stage.say("   " + describe(dataset))
        frames = [
            read_shards(archive.blobs.get(digest) for digest in dataset.shards(name))
            for name in ("train", "validation", "test")
        ]
    stage.say(
        _(
            "   {masked:,} pieces of personal data masked, {suspects:,} labels look wrong: {path}"
        ).format(
            masked=sum(int(n) for name, n in dataset.found.items() if name.startswith("masked.")),
            suspects=int(dataset.found["label_errors.suspects"]),
            path=stage.reported(root),
        )
    )
    counts = {
        "rows": dataset.num_raw,
        "dropped": dataset.dropped,
        "found": {name: int(count) for name, count in sorted(dataset.found.items())},
        "kept": sum(dataset.splits.values()),
    }
    return pl.concat(frames).select("text", "label").sort("text"), counts


def _draw(pool: pl.DataFrame) -> tuple[pl.DataFrame, list[Review], pl.DataFrame]:
    """Three disjoint lots: to learn and be examined from, to arrive later, to be swapped."""
    shuffled = pool.sample(fraction=1.0, shuffle=True, seed=SEED)
    labelled = shuffled.slice(0, LEARN + TEST)
    stream = shuffled.slice(LEARN + TEST, STREAM)
    swapped = shuffled.slice(LEARN + TEST + STREAM, SWAPPED).with_columns(
        label=pl.when(pl.col("label") == "正面").then(pl.lit("负面")).otherwise(pl.lit("正面"))
    )
    return labelled, [Review(text, label) for text, label in stream.rows()], swapped


def _make_project(root: Path, labelled: pl.DataFrame, budget_seconds: float) -> Project:
    write_file(root / "data" / "labelled.csv", labelled.write_csv().encode())
    _configure(root, budget_seconds)
    return Project.open(root)


def _configure(root: Path, budget_seconds: float, more: str = "") -> None:
    text = _REVIEWS.format(
        more=more, test_share=round(TEST / (LEARN + TEST), 4), budget_seconds=budget_seconds
    )
    write_file(root / "feilun.toml", text.encode())


def _reopen(project: Project) -> Project:
    project.close()
    return Project.open(project.root)


def _turn(project: Project, stage: Stage) -> Turn:
    turn = project.turn(observer=stage.watch())
    stage.shown(turn)
    return turn


def _tell_usage(usage: Usage, stage: Stage) -> None:
    p50, p99 = np.percentile(usage.latencies_ms, [50, 99])
    stage.say(
        _(
            "   {requests:,} requests, {errors} errors, p50 {p50:.1f} ms, p99 {p99:.1f} ms; "
            "{feedback:,} feedback ({lies} of it lies)"
        ).format(
            requests=len(usage.latencies_ms),
            errors=usage.errors,
            p50=p50,
            p99=p99,
            feedback=usage.feedback,
            lies=usage.lies,
        )
    )


def _report(
    turns: list[Turn],
    usage: Usage,
    prepared: dict[str, Any],
    project: Project,
    started: float,
    server: Server,
) -> dict[str, Any]:
    _first, second, third = turns
    assert second.verdict is not None and second.verdict.gain is not None  # noqa: PT018
    assert third.verdict is not None
    assert second.dataset is not None
    p50, p99 = np.percentile(usage.latencies_ms, [50, 99])
    gain = second.verdict.gain
    return {
        "turns": [_turn_report(turn) for turn in turns],
        "gate": {
            "delta": gain.delta,
            "low": gain.low,
            "high": gain.high,
            "released": second.verdict.released,
        },
        "refused": {
            "reason": "; ".join(str(reason) for reason in third.verdict.reasons),
            "released": third.verdict.released,
        },
        "served": {
            "requests": len(usage.latencies_ms),
            "errors": usage.errors,
            "p50_ms": round(float(p50), 2),
            "p99_ms": round(float(p99), 2),
        },
        "feedback": {
            "received": usage.feedback,
            "used": _used(project, second),
            "simulated": True,
            "lies": usage.lies,
        },
        "prepare": prepared,
        "seconds": round(time.perf_counter() - started, 1),
        # The two processes side by side: an upper bound of what the machine needed at once.
        "peak_rss_mb": round(peak_rss_mb() + server.peak_rss_mb(), 1),
    }


def _turn_report(turn: Turn) -> dict[str, Any]:
    assert turn.report is not None
    assert turn.model is not None
    accuracy = turn.report.metrics["accuracy"]
    return {
        "accuracy": accuracy.value,
        "interval": [accuracy.low, accuracy.high],
        "macro_f1": turn.report.metrics["macro_f1"].value,
        "seconds": round(turn.seconds, 2),
        "architecture": turn.model.architecture,
    }


def _used(project: Project, turn: Turn) -> int:
    """How many of the training records of that turn came from feedback."""
    assert turn.dataset is not None
    train = read_shards(project.blobs.get(digest) for digest in turn.dataset.shards("train"))
    return train.filter(pl.col("source") == "feedback").height

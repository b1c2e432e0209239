"""`feilun predict FILE --out FILE` beside the bare model on the same texts: what reading, pairing
answers with inputs and writing cost. One core for both would hide that they overlap, so both
have all cores; memory is measured over two sizes of file, which must not differ.

A network must answer nearly as many rows of a file as texts. `ngram`, which takes three
microseconds for a text on all cores, leaves none for reading and writing beside it, which take as
long: what that costs is told and not held against a limit.

    python benchmarks/predict.py [--quick]
"""

from __future__ import annotations

import csv
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import harness
import polars as pl

from feilun.stages.collect.source import Quarantine
from feilun.wheel.bulk import predict_file
from feilun.wheel.project import Project
from feilun.wheel.template import new

WORDS = {
    "good": ["物流很快", "包装也好", "质量不错", "推荐", "满意", "works", "great", "excellent"],
    "bad": ["太差了", "坏了", "想退货", "客服态度恶劣", "失望", "broke", "refund", "terrible"],
}
THINGS = ["手机", "耳机", "衣服", "酒店", "房间", "phone", "charger", "book", "lamp", "服务"]
LEAST = 0.9
WANTED = 'model.architecture = "auto"'
MODELS = {
    "ngram": 'model.architecture = "ngram"',
    "network": 'model = { architecture = "transformer", size = "micro", epochs = 1 }',
}
MOST_GROWTH_MB = 60


def text(choose: random.Random, label: str) -> str:
    """A made-up review of some 40 to 200 characters."""
    words = choose.choices(WORDS[label], k=choose.randint(6, 24))
    return "，".join([choose.choice(THINGS), *words]) + f" {choose.randrange(10**6)}"


def write(path: Path, rows: int, seed: int) -> None:
    choose = random.Random(seed)
    with path.open("w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(["text", "label"])
        for _row in range(rows):
            label = choose.choice(list(WORDS))
            writer.writerow([text(choose, label), label])


def trained(folder: Path, name: str, model: str) -> Project:
    data = folder / "reviews.csv"
    write(data, 3000, 7)
    new(name, task="classify", data=data, text=None, label=None, parent=folder).close()
    path = folder / name / "feilun.toml"
    settings = path.read_text("utf-8")
    assert WANTED in settings
    path.write_text(settings.replace(WANTED, model), "utf-8")
    project = Project.open(folder / name)
    project.turn()
    return project


def peak_mb(project: Path, source: Path, out: Path) -> float:
    """The most memory that a process of the command had."""
    code = (
        "from feilun.cli.main import main;"
        f"assert main(['predict', {str(source)!r}, '--out', {str(out)!r}, '-C', {str(project)!r},"
        " '--json']) == 0;"
        # Not getrusage: a new process inherits what its parent had.
        "print([line.split()[1] for line in open('/proc/self/status') if 'VmHWM' in line][0])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(told.stdout.split()[-1]) / 1024


def measured(project: Project, source: Path, rows: int, pairs: int) -> dict[str, Any]:
    """Rows a second of the file, by how it is written, and of the bare model; their ratios."""
    release = project.release
    assert release is not None
    predictor = project.predictor(release.model)
    texts = pl.read_csv(source, infer_schema=False)["text"].to_list()
    found: dict[str, Any] = {}
    for ending in ("csv", "jsonl", "parquet"):
        out = source.with_name(f"out.{ending}")
        timed = harness.paired(
            lambda out=out: predict_file(
                project, source, out, columns={"text": "text"}, quarantine=Quarantine()
            ),
            lambda: predictor.scores(texts),
            pairs,
        )
        found[ending] = {
            "of_raw": round(timed.speed, 3),
            "rows_per_s": round(rows / min(timed.ours)),
            "raw_rows_per_s": round(rows / min(timed.theirs)),
        }
    return found


def main() -> int:
    chosen = harness.arguments(__doc__)
    rows = {"ngram": 100_000, "network": 3_000} if chosen.quick else {
        "ngram": 400_000, "network": 15_000,
    }  # fmt: skip
    ours: dict[str, Any] = {"rows": rows}
    missed: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, model in MODELS.items():
            source = folder / f"{kind}.csv"
            write(source, rows[kind], 8)
            with trained(folder, kind, model) as project:
                ours[kind] = measured(project, source, rows[kind], chosen.pairs)
                root = project.root
            if kind == "ngram":
                small = folder / "few.csv"
                write(small, rows[kind] // 4, 9)
                few = peak_mb(root, small, folder / "few.out.csv")
                many = peak_mb(root, source, folder / "many.out.csv")
                ours["peak_mb"] = {str(rows[kind] // 4): round(few), str(rows[kind]): round(many)}
                if many - few > MOST_GROWTH_MB:
                    missed.append(f"memory grows with the file: {few:.0f} MB, {many:.0f} MB")
    ratios = {
        f"{kind}_{ending}": {"of_raw": one["of_raw"]}
        for kind in MODELS
        for ending, one in ours[kind].items()
    }
    result = {
        "benchmark": "predict",
        "ratios": ratios,
        "ours": ours,
        "limits": {f"{name}.of_raw": LEAST for name in ratios if name.startswith("network")},
        "machine": harness.machine("polars", "numpy", "onnxruntime"),
    }
    return harness.finish(result, chosen, missed)


if __name__ == "__main__":
    sys.exit(main())

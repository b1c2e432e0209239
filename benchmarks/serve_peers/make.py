"""Makes what the peers serve: TF-IDF + LinearSVC and fastText from the same rows, and MLflow's own
form of the exported network. `make.py ROWS NETWORK TARGET`: a CSV, the export, a folder."""

from __future__ import annotations

import csv
import sys
from pathlib import Path


def main() -> None:
    rows, network, target = map(Path, sys.argv[1:4])
    with rows.open(encoding="utf-8", newline="") as source:
        records = [(row["text"], row["label"]) for row in csv.DictReader(source)]
    _svm(records, target)
    _fasttext(records, target)
    _mlflow(network, target)


def _svm(records: list[tuple[str, str]], target: Path) -> None:
    import joblib
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    vectors = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True)
    model = make_pipeline(vectors, LinearSVC(random_state=7))
    model.fit([text for text, _label in records], [label for _text, label in records])
    joblib.dump(model, target / "svm.joblib")


def _fasttext(records: list[tuple[str, str]], target: Path) -> None:
    import fasttext

    lines = [f"__label__{label} {' '.join(text.split())}\n" for text, label in records]
    (target / "fasttext.txt").write_text("".join(lines), encoding="utf-8")
    # The text's n-grams are its words' characters: Chinese has no spaces to part words.
    model = fasttext.train_supervised(
        str(target / "fasttext.txt"), minn=1, maxn=3, dim=50, epoch=10, thread=2, verbose=0
    )
    model.save_model(str(target / "fasttext.bin"))


def _mlflow(network: Path, target: Path) -> None:
    import mlflow.transformers
    from transformers import pipeline

    classify = pipeline("text-classification", model=str(network), device="cpu")
    mlflow.transformers.save_model(
        classify, path=str(target / "mlflow"), input_example=["好"], pip_requirements=["mlflow"]
    )


if __name__ == "__main__":
    main()

"""The bars that `auto` must not fall below, each as its documentation would have it."""

from __future__ import annotations

from collections.abc import Sequence

from quality_data import Data

SEED = 20261122


def linear_svc(data: Data) -> list[str]:
    """Characters' TF-IDF (1 to 3) + LinearSVC."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    model = make_pipeline(
        TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True),
        LinearSVC(random_state=SEED),
    )
    model.fit(data.train["text"].to_list(), data.train["label"].to_list())
    return list(model.predict(data.test["text"].to_list()))


def cosine_svc(data: Data) -> list[str]:
    """Of pairs: the cosine of both texts' TF-IDF, their product and difference, + LinearSVC; what
    one makes of TF-IDF for pairs, and far above the same on the joined text."""
    import numpy as np
    from scipy import sparse
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.svm import LinearSVC

    train, test = ([tuple(p) for p in data.task.inputs(side)] for side in (data.train, data.test))
    weigh = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True)
    weigh.fit([text for pair in train for text in pair])

    def features(pairs: Sequence[tuple[str, ...]]) -> sparse.csr_matrix:
        first, second = (weigh.transform([pair[side] for pair in pairs]) for side in (0, 1))
        both = first.multiply(second)
        cosine = sparse.csr_matrix(np.asarray(both.sum(axis=1)) * 10)
        return sparse.hstack([cosine, both, abs(first - second)]).tocsr()

    model = LinearSVC(random_state=SEED).fit(features(train), data.train["label"].to_list())
    return list(model.predict(features(test)))


def crf(data: Data) -> list[str]:
    """sklearn-crfsuite with the usual features of characters: the character, its neighbours,
    their pairs and kinds; L-BFGS, the documentation's c1 = c2 = .1."""
    import sklearn_crfsuite

    spans = [[(s["start"], s["end"], s["label"]) for s in one] for one in data.train["spans"]]
    texts = data.train["text"].to_list()
    model = sklearn_crfsuite.CRF(algorithm="lbfgs", c1=0.1, c2=0.1, max_iterations=100)
    model.fit(
        [_features(text) for text in texts],
        [_bio(text, one) for text, one in zip(texts, spans, strict=True)],
    )
    found = model.predict([_features(text) for text in data.test["text"]])
    return [_written(tags) for tags in found]


def _features(text: str) -> list[dict[str, str]]:
    padded = f"\0\0{text}\0\0"
    rows = []
    for at in range(2, len(padded) - 2):
        near = padded[at - 2 : at + 3]
        row = {f"c{place - 2}": char for place, char in enumerate(near)}
        row |= {f"p{place - 2}": near[place : place + 2] for place in range(4)}
        row |= {"skip": near[1] + near[3], "kind": _kind(near[2])}
        rows.append(row)
    return rows


def _kind(char: str) -> str:
    if char.isdigit():
        return "digit"
    if char.isascii() and char.isalpha():
        return "latin"
    return "letter" if char.isalpha() else "mark"


def _bio(text: str, spans: Sequence[tuple[int, int, str]]) -> list[str]:
    tags = ["O"] * len(text)
    for start, end, label in spans:
        tags[start:end] = [f"B-{label}", *[f"I-{label}"] * (end - start - 1)]
    return tags


def _written(tags: Sequence[str]) -> str:
    """The entities of a sequence of tags, as Feilun writes answers of the task `tag`."""
    import json

    found: list[list[int | str]] = []
    for at, tag in enumerate(tags):
        if tag == "O":
            continue
        begins, label = tag.split("-", 1)
        follows = found and found[-1][1] == at and found[-1][2] == label
        if begins == "I" and follows:
            found[-1][1] = at + 1
        else:
            found.append([at, at + 1, label])
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"))

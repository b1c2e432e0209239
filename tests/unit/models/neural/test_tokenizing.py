"""The three kinds of tokenizers, trained the same on every run."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feilun.models.neural import tokenizing, wordpiece
from feilun.models.neural.reading import Reader
from feilun.models.neural.unigram import learnt, split
from feilun.models.neural.wordpiece import FRAME, SPECIAL

TRAIN = {
    "wordpiece": wordpiece.train,
    "bpe": tokenizing.train_bpe,
    "unigram": tokenizing.train_unigram,
}


def texts() -> list[str]:
    random = np.random.default_rng(0)
    parts = [
        "房间干净",
        "服务很好",
        "very good",
        "never again",
        "失望",
        "酒店位置不错",
        "No 7",
        "，。",
    ]
    return ["".join(random.choice(parts, 6)) + " " + str(random.choice(parts)) for _ in range(400)]


@pytest.mark.parametrize("kind", list(TRAIN))
def test_the_same_texts_give_the_same_bytes(kind: str) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_tokenizing as t, hashlib\n"
        f"said = t.TRAIN[{kind!r}](t.texts(), 300).to_str()\n"
        "print(hashlib.sha256(said.encode()).hexdigest())"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent)]
    found = {
        subprocess.run(command, capture_output=True, text=True, check=True).stdout
        for _run in range(3)
    }
    assert len(found) == 1


@pytest.mark.parametrize("kind", list(TRAIN))
def test_size_frame_and_places(kind: str) -> None:
    tokenizer = TRAIN[kind](texts(), 200)
    vocabulary = tokenizer.get_vocab()
    assert len(vocabulary) <= 200
    assert [tokenizer.token_to_id(token) for token in SPECIAL] == list(range(len(SPECIAL)))
    encoded = tokenizer.encode("房间干净 [SEP] very")
    assert encoded.ids[0] == FRAME.before[0]
    assert encoded.ids[-1] == FRAME.after[-1]
    assert encoded.ids[1:-1].count(FRAME.after[-1]) == 0
    reader = Reader(tokenizer, FRAME, 32)
    one = reader.encode(["房间，very 😀"], places=True)
    assert one.begin is not None
    assert one.end is not None
    assert (np.diff(one.begin) >= 0).all()
    assert one.end.max() <= len("房间，very 😀")
    known = reader.known(reader.encode(["房间", "", "😀"]))
    assert known.tolist()[:2] == [True, False]


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_chinese_characters_join(kind: str) -> None:
    tokenizer = TRAIN[kind](texts(), 300)
    said = tokenizer.encode("服务很好房间干净", add_special_tokens=False).tokens
    assert len(said) <= 6
    assert "".join(said).replace("▁", "") == "服务很好房间干净"


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_auto_tokenizer_opens_it(kind: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = TRAIN[kind](texts(), 300)
    wordpiece.save(Reader(tokenizer, FRAME, 32), tmp_path, True)
    opened = AutoTokenizer.from_pretrained(tmp_path)
    assert opened("房间 very good")["input_ids"] == tokenizer.encode("房间 very good").ids
    assert opened.mask_token == "[MASK]"


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_a_family_learns_with_it(kind: str, tmp_path: Path) -> None:
    import polars as pl
    from tests.unit.models.neural.test_pretraining import Bench

    from feilun.models.family import Lesson
    from feilun.models.transformer import Transformer

    frame = pl.DataFrame({"text": texts(), "label": ["a", "b"] * 200})
    small: dict[str, Any] = {"size": "nano", "layers": 1, "epochs": 1, "max_length": 32}
    family = Transformer(**small, threads=1, tokenizer=kind, vocabulary_size=300)
    (tmp_path / "m").mkdir()
    family.fit(Lesson(frame, frame.head(8), ("a", "b")), tmp_path / "m", Bench(tmp_path / "r"))
    scores = Transformer.load(tmp_path / "m").scores(["房间干净", ""])
    assert np.isfinite(scores[0]).all()
    assert np.isnan(scores[1]).all()


def test_unigram_prefers_what_is_frequent() -> None:
    words = Counter({"酒店位置": 50, "酒店": 80, "位置": 60, "店位": 1})
    pieces = dict(learnt(words, sorted(set("酒店位置")), 7))
    assert {"酒店", "位置"} <= set(pieces)
    assert "店位" not in pieces
    assert split("酒店位置", pieces, 16) in (["酒店位置"], ["酒店", "位置"])
    assert sum(np.exp(list(pieces.values()))) <= 1 + 1e-9
    assert len(pieces) <= 7

"""Statistics: counts that are right, and records that stay as they were."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import Unigram, WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from feilun.stages.prepare.statistics import NotATokenizer, Statistics, TokenizerMissing
from tests.unit.stages.prepare.steps import apply

TEXTS = ["今天天气 very good", "it's 3.5 o'clock, naïve", "", None, "カナ한글"]


def test_characters_and_words_are_counted(tmp_path: Path) -> None:
    done = apply(Statistics(), TEXTS, tmp_path)
    assert done.texts == TEXTS
    assert done.dropped == []
    assert done.counts == {
        "texts": 4,
        "characters": 14 + 23 + 4,
        "characters.cjk": 4 + 4,
        "words": 2 + 5,  # it's, 3, 5, o'clock, naïve
        "tokens.estimated": round(8 + 1.3 * 7),
    }


def test_no_records_count_nothing(tmp_path: Path) -> None:
    assert set(apply(Statistics(), [None], tmp_path).counts.values()) == {0}


def test_tokens_are_those_of_the_tokenizer(tmp_path: Path) -> None:
    vocabulary = {"[UNK]": 0, "[CLS]": 1, "very": 2, "good": 3, "今天天气": 4}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 1)])
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=9)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    step = Statistics(tokenizer="tokenizer.json")
    done = apply(step, ["今天天气 very good", "very bad bad", "", None] * 700, tmp_path)
    assert done.counts["tokens"] == 6 * 700, "neither cut, filled up, nor with special tokens"
    assert done.counts["tokens.unknown"] == 2 * 700
    assert "tokens.estimated" not in done.counts
    assert step.reads(tmp_path) == (tmp_path / "tokenizer.json",)
    assert Statistics().reads(tmp_path) == ()


def test_unknown_tokens_of_a_unigram_model_are_counted(tmp_path: Path) -> None:
    tokenizer = Tokenizer(Unigram([("<unk>", 0.0), ("a", -1.0), ("b", -2.0)], unk_id=0))
    tokenizer.save(str(tmp_path / "u.json"))
    done = apply(Statistics(tokenizer="u.json"), ["abca"], tmp_path)
    assert (done.counts["tokens"], done.counts["tokens.unknown"]) == (4, 1)


def test_a_bad_tokenizer_is_told_before_the_first_record(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('{"model": 3}')
    for name, wanted in (("no.json", TokenizerMissing), ("bad.json", NotATokenizer)):
        with pytest.raises(wanted) as caught:
            apply(Statistics(tokenizer=name), ["a"], tmp_path)
        assert caught.value.remedy
        assert name in caught.value.message

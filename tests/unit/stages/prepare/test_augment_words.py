"""The words: that lists are sound, and what stands for what."""

from __future__ import annotations

from pathlib import Path

import pytest

from feilun.core.errors import FeilunError
from feilun.stages.prepare.augment import lexicon, noise
from feilun.stages.prepare.augment.edits import NEGATIONS, Lots, applied
from feilun.stages.prepare.augment.lexicon import LexiconUnreadable, Synonyms, WordsMissing


def made(method: str, text: str, known: Synonyms | None = None, tries: int = 40) -> set[str]:
    found = set()
    for seed in range(tries):
        page = noise.Page(text, (), Lots(seed, method), 0.1)
        edits = noise.METHODS[method](page, known or Synonyms(None))
        changed = applied(text, (), edits)
        assert changed is not None
        found.add(changed[0])
    return found


def test_our_lists_name_each_word_once_and_hold_what_the_docs_say() -> None:
    shapes = lexicon._lines("shapes_zh.txt")
    every = "".join(shapes)
    assert len(every) == len(set(every))
    assert NEGATIONS.isdisjoint(every)
    assert sum(len(g) * (len(g) - 1) // 2 for g in shapes) >= 300
    groups = [line.split() for line in lexicon._lines("synonyms_en.txt")]
    replaced = [(part, word) for part, *words in groups for word in words if "~" not in word]
    assert len(replaced) == len(set(replaced))
    assert all(part in {"ADJ", "ADV", "NOUN", "MASS", "VERB"} for part, *_words in groups)
    assert all(len(words) > 1 for _part, *words in groups)
    alike = [word for line in lexicon._lines("homophones_en.txt") for word in line.split()]
    assert len(alike) == len(set(alike))
    barred = {"not", "no", "never", "none", "without"}
    assert barred.isdisjoint(alike)
    assert barred.isdisjoint(word for _part, word in replaced)


def test_english_words_keep_their_form_their_case_and_their_article() -> None:
    assert made("synonyms", "The delivered parcels") <= {
        "The delivered packages",
        "The shipped parcels",
        "The delivered parcels",
    }
    assert lexicon.english()["ceased"] == ("stopped",)
    assert lexicon.english()["companies"] == ("firms",)
    assert lexicon.english()["utilising"] == ("using",)
    assert "stop" not in lexicon.english(), "it only stands for others"
    assert made("synonyms", "TERRIBLE place") == {"AWFUL place", "DREADFUL place"}
    assert made("synonyms", "Terrible place") == {"Awful place", "Dreadful place"}
    # «a» before a vowel would be wrong, so only the one that fits is left.
    assert made("synonyms", "a terrible place") == {"a dreadful place"}


def test_chinese_synonyms_are_words_of_one_meaning() -> None:
    synonyms = lexicon.chinese().synonyms
    assert len(synonyms) > 3000
    assert synonyms["早餐"] == ("早饭",)
    assert "旅馆" in synonyms["宾馆"]
    for word, others in synonyms.items():
        assert word not in others
        assert NEGATIONS.isdisjoint(word + "".join(others))
        assert all(set(word) & set(other) for other in others)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("我们的早餐很好", ["早餐"]),
        ("早餐早餐", ["早餐", "早餐"]),
        ("大酒店", []),  # a longer word runs over its beginning
        ("吃早，餐厅", []),
        ("早", []),
        ("", []),
    ],
)
def test_a_word_is_found_only_where_no_other_runs_over_its_ends(
    text: str, found: list[str]
) -> None:
    finder = lexicon.Finder(["早餐", "酒店"], lexicon.chinese().dictionary)
    assert [text[s:e] for s, e in finder.words(text)] == found


def test_homophones_are_usual_characters_of_the_same_syllable() -> None:
    alike = lexicon.homophones()
    assert len(alike) > 2500
    assert "已" in alike["以"]
    assert all(c not in others and 0 < len(others) <= 6 for c, others in alike.items())
    barred = NEGATIONS | set("一二三四五六七八九十两")
    assert barred.isdisjoint("".join("".join(others) for others in alike.values()))
    assert "their" in lexicon.english_homophones()["there"]


def test_typing_errors_are_keys_beside_the_right_one() -> None:
    keys = noise._keys()
    assert set(keys["g"]) == set("ftyhvb")
    assert "p" not in keys["q"]
    texts = made("shapes", "wonderful GREAT product")
    assert len(texts) > 10
    for text in texts:
        pairs = [(a, b) for a, b in zip("wonderful GREAT product", text, strict=True) if a != b]
        assert len(pairs) == 1
        assert pairs[0][1].lower() in keys[pairs[0][0].lower()]
        assert pairs[0][0].isupper() == pairs[0][1].isupper()


def test_ones_own_synonyms_go_before_the_built_in(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text(
        "# 客服用语\nAa01A01= 工单 服务单\n快递员,小 哥\n早餐 早点心\nreimburse, pay back\n",
        encoding="utf-8-sig",
    )
    known = Synonyms(path)
    assert made("synonyms", "这张工单。", known) == {"这张服务单。"}
    assert made("synonyms", "我们的早餐。", known) == {"我们的早点心。"}
    assert "旅馆" in "".join(made("synonyms", "宾馆。", known))
    assert made("synonyms", "please reimburse me", known) == {"please pay back me"}
    assert lexicon.read(path)["快递员"] == ("小 哥",)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00x"])
def test_a_file_that_cannot_be_read_is_told(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LexiconUnreadable) as caught:
        Synonyms(path)
    assert "words.txt" in caught.value.message
    assert caught.value.remedy


def test_without_the_package_chinese_words_are_missed_and_english_ones_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for cached in (lexicon.chinese, lexicon.homophones, lexicon._counted):
        cached.cache_clear()
    monkeypatch.setattr(lexicon, "find_spec", lambda _name: None)
    try:
        assert made("synonyms", "so awful") == {"so terrible", "so dreadful"}
        for method in ("synonyms", "homophones"):
            with pytest.raises(WordsMissing) as caught:
                made(method, "早餐很好")
            found: FeilunError = caught.value
            assert "feilun[augment]" in (found.remedy or "")
        assert made("shapes", "早餐很好") != {"早餐很好"}
    finally:
        for cached in (lexicon.chinese, lexicon.homophones, lexicon._counted):
            cached.cache_clear()

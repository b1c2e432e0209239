"""Language: told by script, and by n-grams where several languages share one."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feilun.stages.prepare.language import Language, language_shares, languages, ngrams
from feilun.stages.prepare.language.scripts import SCRIPTS, letters
from tests.unit.stages.prepare.steps import apply

SENTENCES = {
    "zh": ["这家酒店的服务态度非常好，下次还会再来。", "用iPhone拍的照片很清楚"],
    "zh-Hant": ["這間酒店的服務態度非常好，下次還會再來。"],
    "ja": ["このホテルのサービスはとても良かったです。", "東京都の天気予報をお伝えします"],
    "ko": ["이 호텔은 서비스가 정말 좋았어요."],
    "th": ["โรงแรมนี้บริการดีมาก"],
    "en": ["The room was clean and the staff were very friendly.", "NOT WORTH THE MONEY AT ALL"],
    "de": ["Das Zimmer war sauber und das Personal sehr freundlich."],
    "fr": ["La chambre était propre et le personnel très sympathique."],
    "es": ["La habitación estaba limpia y el personal era muy amable."],
    "it": ["La camera era pulita e il personale molto gentile."],
    "pt": ["O quarto estava limpo e os funcionários foram muito simpáticos."],
    "nl": ["De kamer was schoon en het personeel was erg vriendelijk."],
    "pl": ["Pokój był czysty, a obsługa bardzo przyjazna."],
    "sv": ["Rummet var rent och personalen var mycket vänlig."],
    "tr": ["Oda temizdi ve personel çok güler yüzlüydü."],
    "vi": ["Phòng rất sạch sẽ và nhân viên rất thân thiện."],
    "id": ["Kamarnya bersih dan stafnya sangat ramah kepada kami."],
    "ru": ["Номер был чистым, а персонал очень приветливым."],
    "uk": ["Номер був чистим, а персонал дуже привітним."],
    "ar": ["كانت الغرفة نظيفة وكان الموظفون ودودين للغاية."],
    "fa": ["اتاق تمیز بود و کارکنان بسیار خوش برخورد بودند."],
    "hi": ["कमरा साफ था और कर्मचारी बहुत मिलनसार थे।"],
    "el": ["Το δωμάτιο ήταν καθαρό και το προσωπικό πολύ φιλικό."],
    "he": ["החדר היה נקי והצוות היה מאוד ידידותי."],
}
CASES = [(name, text) for name, texts in SENTENCES.items() for text in texts]


def test_a_sentence_s_language_is_told() -> None:
    found = languages(pl.Series([text for _name, text in CASES]))
    assert found["language"].to_list() == [name for name, _text in CASES]
    assert found["confidence"].min() > 0.5  # type: ignore[operator]


@pytest.mark.parametrize("text", ["ok", "好", "nice", "の", "a", "Hotel", "是 no", "음"])
def test_one_word_is_never_sure(text: str) -> None:
    assert languages(pl.Series([text]))["confidence"][0] <= 0.67


def test_the_more_of_a_text_is_read_the_surer() -> None:
    text = "The room was clean and the staff were very friendly to us"
    sure = languages(pl.Series([text[:n] for n in (5, 20, 57)]))["confidence"].to_list()
    assert sure == sorted(sure)
    mixed = languages(
        pl.Series(["我们在Shanghai Marriott Hotel City Centre住了三天", "我们在酒店住了三天"])
    )
    assert mixed["language"].to_list() == ["zh", "zh"]
    assert mixed["confidence"][0] < mixed["confidence"][1]


def test_what_has_no_letters_has_no_language() -> None:
    found = languages(pl.Series(["", "666 👍", "!?", None, "ⴰⵣⵓⵍ"]))
    assert found["language"].to_list() == ["none", "none", "none", None, "other"]
    assert found["confidence"].to_list()[:4] == [0.0, 0.0, 0.0, None]
    assert languages(pl.Series([], dtype=pl.String)).height == 0


def test_a_no_in_a_chinese_text_does_not_make_it_japanese() -> None:
    texts = ["优の良品这个牌子的零食还是挺好吃的", "日本語の本", "東京"]
    assert languages(pl.Series(texts))["language"].to_list() == ["zh", "ja", "zh-Hant"]


def test_all_stay_and_are_counted_by_default(tmp_path: Path) -> None:
    texts = [*SENTENCES["zh"], *SENTENCES["en"], SENTENCES["zh-Hant"][0], "666", None]
    done = apply(Language(), texts, tmp_path)
    assert done.texts == texts
    assert done.counts == {
        "language.zh": 2, "language.en": 2, "language.zh-Hant": 1, "language.none": 1,
    }  # fmt: skip


def test_what_is_not_wanted_and_what_is_not_sure_goes(tmp_path: Path) -> None:
    zh, hant, en, fr = (SENTENCES[name][0] for name in ("zh", "zh-Hant", "en", "fr"))
    texts = [zh, hant, en, fr, "Hotel", "666", None]
    done = apply(Language(keep=("zh", "en")), texts, tmp_path)
    assert done.texts == [zh, hant, en, "666", None]
    assert done.dropped == [(fr, "other_language"), ("Hotel", "unsure_language")]
    assert done.counts["language.fr"] == 1
    assert apply(Language(keep=("zh-Hans",)), [zh, hant], tmp_path).texts == [zh]
    assert apply(Language(keep=("zh-Hant",)), [zh, hant], tmp_path).texts == [hant]
    sure = apply(Language(keep=("zh",), confidence=0.99), [zh], tmp_path)
    assert sure.dropped == [(zh, "unsure_language")]


def test_the_report_gets_the_shares() -> None:
    texts = [*SENTENCES["zh"], *SENTENCES["en"][:1], None]
    assert list(language_shares(pl.DataFrame({"text": texts})).items()) == [("zh", 2), ("en", 1)]


def test_the_walk_over_all_texts_at_once_is_py3langid_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same probabilities as the library's own walk, a text at a time."""
    library = importlib.import_module("py3langid.langid")
    theirs = library.LanguageIdentifier.from_model_file(library.MODEL_FILE, norm_probs=True)
    theirs.set_languages(ngrams.LANGUAGES["latin"])
    monkeypatch.setattr(ngrams, "_ENGLISH", 1.0)
    monkeypatch.setattr(ngrams, "_MERGED", {})
    texts = [text for _name, text in CASES if text.isascii() or "é" in text or "ü" in text]
    texts += ["a", "SHOUTING LOUD", "x" * 200, "e\u0301te\u0301", "123"]
    found, sure = ngrams.told_apart(pl.Series(texts), "latin")
    wanted = [theirs.classify(text) for text in texts]
    assert sure == pytest.approx([chance for _name, chance in wanted], rel=1e-3)
    pairs = zip(found, wanted, sure, strict=True)
    assert all(name == best for name, (best, _), chance in pairs if chance > 0.05)


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.one_of(st.none(), st.text(max_size=60)), max_size=8))
def test_a_text_s_language_depends_on_it_alone(texts: list[str | None]) -> None:
    together = languages(pl.Series(texts, dtype=pl.String))
    alone = [languages(pl.Series([text], dtype=pl.String)).row(0) for text in texts]
    assert together["language"].to_list() == [name for name, _sure in alone]
    sure = [np.nan if value is None else value for value in together["confidence"]]
    assert sure == pytest.approx(
        [np.nan if value is None else value for _name, value in alone], nan_ok=True, abs=1e-5
    )
    assert all(0 <= value <= 1 for value in together["confidence"].drop_nulls())


def test_letters_are_counted_by_script(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = pl.Series(["aé你国國の1 !", None, "", "가Яשα"] * 3)
    whole = letters(texts)
    assert whole[0][SCRIPTS.index("latin")] == 2
    named = dict(zip(SCRIPTS, whole[0].tolist(), strict=True))
    assert {name: num for name, num in named.items() if num} == {
        "none": 3, "latin": 2, "han": 1, "simplified": 1, "traditional": 1, "kana": 1,
    }  # fmt: skip
    assert whole[1].sum() == whole[2].sum() == 0
    assert whole[3].sum() == 4
    monkeypatch.setattr("feilun.stages.prepare.language.scripts._BLOCK", 5)
    assert (letters(texts) == whole).all()

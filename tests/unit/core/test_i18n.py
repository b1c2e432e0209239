"""Languages: which one is spoken, and that it is one of ours."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feilun.core.i18n import LANGUAGES, N_, _, accepted, closest, language, speak
from feilun.core.message import Message


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for variable in ("FEILUN_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(variable, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("tag", "wanted"),
    [("zh", "zh"), ("zh-CN", "zh"), ("zh_CN.UTF-8", "zh"), ("ZH-Hans-CN", "zh"), ("en-GB", "en"),
     ("en", "en"), ("fr", None), ("C", None), ("C.UTF-8", None), ("", None), ("zhx", None)],
)  # fmt: skip
def test_a_tag_asks_for_the_closest_language(tag: str, wanted: str | None) -> None:
    assert closest(tag) == wanted


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en;q=0.5, zh;q=0.9", "zh"),
        ("fr, en;q=0.2", "en"),
        ("en;q=0.9,zh;q=0.9", "en"),
        ("zh; q=0.8, en; q=0.9", "en"),
        ("zh;q=0, en;q=0.1", "en"),
        ("zh;q=0", None),
        ("zh;q=nan, en;q=0.1", "en"),
        ("zh;q=9, en;q=0.1", "en"),
        ("zh;q=, en", "en"),
        ("fr", None),
        ("*", None),
        ("", None),
    ],
)
def test_a_header_is_answered_by_weight_then_order(header: str, wanted: str | None) -> None:
    assert accepted(header) == wanted


@given(st.text())
def test_any_header_and_tag_give_one_of_ours_or_none(text: str) -> None:
    assert accepted(text) in {None, *LANGUAGES}
    assert closest(text) in {None, *LANGUAGES}


@given(st.permutations(["en;q=0.3", "zh;q=0.8", "fr;q=0.9", "de"]))
def test_the_order_of_different_weights_does_not_matter(items: list[str]) -> None:
    assert accepted(",".join(items)) == "zh"


def test_the_environment_is_asked_in_its_order(bare: pytest.MonkeyPatch) -> None:
    assert language() == "en"
    bare.setenv("LANG", "zh_CN.UTF-8")
    assert language() == "zh"
    bare.setenv("LC_ALL", "C.UTF-8")
    assert language() == "en"
    bare.setenv("FEILUN_LANG", "zh")
    assert language() == "zh"
    bare.setenv("FEILUN_LANG", "klingon")
    assert language() == "en"


def test_a_block_speaks_its_language_and_ends(bare: pytest.MonkeyPatch) -> None:
    with speak("zh"):
        assert language() == "zh"
        with speak(None):
            assert language() == "zh"
        with speak("en"):
            assert language() == "en"
        assert language() == "zh"
    assert language() == "en"


def test_one_thread_does_not_hear_another(bare: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    with speak("zh"):
        thread = threading.Thread(target=lambda: heard.append(language()))
        thread.start()
        thread.join()
    assert heard == ["en"]


def test_a_message_without_translation_is_itself() -> None:
    with speak("zh"):
        assert _("no such message, ever") == "no such message, ever"
    assert N_("x") == "x"


def test_a_stored_message_is_said_in_the_readers_language(bare: pytest.MonkeyPatch) -> None:
    message = Message(template="{n:.1f} of {what}", values={"n": 2, "what": "很{多}"})
    assert str(message) == "2.0 of 很{多}"
    assert Message.model_validate_json(message.model_dump_json()) == message


def test_nothing_is_nothing_in_every_language() -> None:
    """To gettext, the empty message is the catalogue's header."""
    for name in LANGUAGES:
        with speak(name):
            assert _("") == ""

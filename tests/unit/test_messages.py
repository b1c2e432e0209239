"""The Chinese catalogue says all that the code says, nothing else, with the same placeholders."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from feilun.cli.words import WORDS
from tests.messages import (
    HOW,
    catalogue,
    messages,
    placeholders,
    rendered,
    translations,
)

REMEDY = f"run: {HOW}, then translate what is empty"


def test_messages_are_found_in_python_and_in_templates() -> None:
    found = messages()
    assert "{path} holds no records." in found, "a message of a .py file"
    assert len(found) > 200


def test_every_message_is_translated() -> None:
    known = translations()
    missing = [message for message in messages() if not known.get(message)]
    assert not missing, f"{len(missing)} without a translation; {REMEDY}: {missing[:10]}"


def test_nothing_is_translated_that_is_no_longer_said() -> None:
    obsolete = sorted(set(translations()) - set(messages()))
    assert not obsolete, f"{REMEDY}: {obsolete[:10]}"
    assert not catalogue().obsolete, REMEDY


def test_no_translation_is_fuzzy() -> None:
    fuzzy = [str(message.id) for message in catalogue() if message.id and message.fuzzy]
    assert not fuzzy, REMEDY


def test_a_translation_has_the_placeholders_of_its_message() -> None:
    different = {
        message: translation
        for message, translation in translations().items()
        if translation and placeholders(message) != placeholders(translation)
    }
    assert not different


def test_a_translation_keeps_markup_and_indentation() -> None:
    different = {}
    for message, translation in translations().items():
        tags = [
            sorted(re.findall(r"</?[a-z][^>]*>|\[blue\]|\[/\]", t)) for t in (message, translation)
        ]
        space = [(t[:2].isspace(), t.endswith("\n")) for t in (message, translation)]
        if translation and (tags[0] != tags[1] or space[0] != space[1]):
            different[message] = translation
    assert not different


def test_the_catalogue_is_as_the_command_writes_it(tmp_path: Path) -> None:
    from tests.messages import CATALOGUE

    assert CATALOGUE.exists(), REMEDY
    assert CATALOGUE.read_bytes() == rendered(translations()), REMEDY


def test_writing_keeps_translations_adds_new_messages_and_drops_old_ones(tmp_path: Path) -> None:
    message = "{path} holds no records."
    path = tmp_path / "feilun.po"
    path.write_bytes(rendered({message: "{path} 中没有记录。", "said no more": "过时"}))
    known = translations(path)
    assert known[message] == "{path} 中没有记录。"
    assert "said no more" not in known
    assert set(known) == set(messages())
    assert rendered(known) == path.read_bytes(), "writing twice changes nothing"
    assert not re.search(rb"POT-Creation-Date|PO-Revision|\n#: ", path.read_bytes())


def test_placeholders_are_told_apart_by_name_and_format() -> None:
    assert placeholders("{a} {b:.3f}") == placeholders("{b:.3f} {a}")
    assert placeholders("{a}") != placeholders("{b}")
    assert placeholders("{a:,}") != placeholders("{a}")
    assert placeholders("%(a)s") != placeholders("%(b)s")
    assert placeholders("{{a}}") == []


def test_the_words_that_typer_looks_up_are_declared() -> None:
    looked_up: set[str] = set()
    for name in ("typer.core", "typer.rich_utils"):
        path = importlib.import_module(name).__file__
        assert path is not None
        source = Path(path).read_text(encoding="utf-8")
        looked_up |= set(re.findall(r'\b_\("((?:[^"\\]|\\.)*)"\)', source))
    if not looked_up:
        pytest.fail("Typer no longer looks words up where this test searches them")
    assert looked_up <= set(WORDS)

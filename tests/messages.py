"""The messages of the package and its Simplified Chinese catalogue, brought together.

`python -m tests.messages` (from the repository's root) writes the catalogue: what is translated
is kept, new messages come in with an empty translation, and what is no longer said goes out.
Nothing in the file says when or by whom, or on which line a message stands, so that a diff
shows words and nothing else.
"""

from __future__ import annotations

import io
import re
from functools import cache
from pathlib import Path
from string import Formatter

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

PACKAGE = Path(__file__).parent.parent / "src" / "feilun"
CATALOGUE = PACKAGE / "locale" / "zh_CN" / "LC_MESSAGES" / "feilun.po"
HOW = "python -m tests.messages"
HEADER = """\
# Feilun in Simplified Chinese.
# Kept by `python -m tests.messages`: messages are taken from the code, translations from here."""
KEYWORDS = {"_": None, "N_": None, "gettext": None}
METHODS = [("**.py", "python"), ("**.html", "jinja2.ext:babel_extract"), ("**.txt", "ignore")]
OPTIONS = {
    "**.html": {"extensions": "jinja2.ext.i18n", "silent": "false", "trimmed": "true"},
    "**.py": {"encoding": "utf-8"},
}


@cache
def messages() -> list[str]:
    """Every message of the package, sorted."""
    found = extract_from_dir(
        PACKAGE, method_map=METHODS, options_map=OPTIONS, keywords=KEYWORDS, strip_comment_tags=True
    )
    return sorted({_text(message) for _file, _line, message, _comments, _context in found} - {""})


def _text(message: object) -> str:
    assert isinstance(message, str), f"plural forms are not used here: {message!r}"
    return message


def catalogue(path: Path = CATALOGUE) -> Catalog:
    """What the file at `path` holds; an empty catalogue where there is none."""
    if not path.exists():
        return Catalog(locale="zh_CN")
    return read_po(io.BytesIO(path.read_bytes()), locale="zh_CN")


def translations(path: Path = CATALOGUE) -> dict[str, str]:
    """Every message in the catalogue with its translation (empty: none yet)."""
    return {str(m.id): str(m.string or "") for m in catalogue(path) if m.id}


def rendered(known: dict[str, str]) -> bytes:
    """The catalogue's file with every message of the package, and what `known` says of it."""
    made = Catalog(locale="zh_CN", fuzzy=False)
    for message in messages():
        made.add(message, known.get(message, ""))
    target = io.BytesIO()
    write_po(target, made, omit_header=True, sort_output=True, width=0, no_location=True)
    header = [
        'msgid ""',
        'msgstr ""',
        r'"Language: zh_CN\n"',
        r'"MIME-Version: 1.0\n"',
        r'"Content-Type: text/plain; charset=utf-8\n"',
        r'"Content-Transfer-Encoding: 8bit\n"',
    ]
    return "\n".join([HEADER, *header, "", ""]).encode() + target.getvalue()


def placeholders(message: str) -> list[tuple[str, str, str]]:
    """Name, format and conversion of every `{…}` and `%(…)s` in a message, sorted."""
    found = [
        (name, form or "", conversion or "")
        for _text, name, form, conversion in Formatter().parse(message)
        if name is not None
    ]
    return sorted(
        found + [(name, kind, "%") for name, kind in re.findall(r"%\((\w+)\)(.)", message)]
    )


def main() -> None:
    """Writes the catalogue in place."""
    known = translations()
    CATALOGUE.parent.mkdir(parents=True, exist_ok=True)
    CATALOGUE.write_bytes(rendered(known))
    now = translations()
    empty = sum(not text for text in now.values())
    print(f"{CATALOGUE}: {len(now)} messages, {empty} of them without a translation")


if __name__ == "__main__":
    main()

"""Writes docs/errors.md from the error classes: `python -m tests.errors_page`.

With `--check` nothing is written; the exit code is 1 when the page is not what it would be.
The sources are read, not imported, so that torch need not be there.
"""

from __future__ import annotations

import ast
import sys
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "errors.md"
BASE = "FeilunError"

HEAD = """\
# Errors

Every error says what is wrong, with the value; then the limit and where it is set; then the
command or the edit that mends it. The text follows your language; the code does not.

```text
Error: {message}
  → {remedy}
```

On the command line the exit code tells the kind; with `--json` the same three things come as
`{"error": {"code": …, "message": …, "remedy": …}}` on standard output. Over HTTP it is the same
object with the status of the kind. In Python every error is a `feilun.FeilunError` with
`message`, `remedy` and `code`. A mistake in the call itself (an unknown option) exits with 2,
Ctrl-C with 130.

This page is written by `python -m tests.errors_page` from the error classes; a test compares
the two. In the code, a class is named as its code: `no_key` is `NoKey`.
"""


class Found(NamedTuple):
    """An error class: its bases, first sentence, own kind and own exit code."""

    bases: list[str]
    said: str
    kind: str | None
    exit_code: int | None


def main(arguments: list[str]) -> int:
    """0 when the page is (now) what the classes say."""
    wanted = page()
    if "--check" not in arguments:
        PAGE.write_text(wanted, encoding="utf-8")
        return 0
    return int(not PAGE.exists() or PAGE.read_text(encoding="utf-8") != wanted)


def page() -> str:
    """The whole page."""
    from feilun.service.errors import STATUS

    classes = _classes()
    groups: dict[tuple[str, int], list[str]] = {}
    parents = {base for found in classes.values() for base in found.bases}
    for name, found in sorted(classes.items()):
        if _is_error(name, classes) and (name not in parents or name == "InvalidFields"):
            kind = _inherited(name, "kind", classes) or "error"
            code = int(_inherited(name, "exit_code", classes) or 1)
            groups.setdefault((str(kind), code), []).append(f"| `{_code(name)}` | {found.said} |")
    pieces = [HEAD]
    order = [*STATUS, "damaged", "error"]
    for (kind, code), rows in sorted(groups.items(), key=lambda g: (order.index(g[0][0]), g[0][1])):
        status = STATUS.get(kind, 500)
        pieces.append(
            f"## {kind}: exit code {code}, HTTP {status} {HTTPStatus(status).phrase}\n\n"
            "| code | meaning |\n|---|---|\n" + "\n".join(rows) + "\n"
        )
    return "\n".join(pieces)


def _classes() -> dict[str, Found]:
    found: dict[str, Found] = {}
    for path in sorted((ROOT / "src" / "feilun").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
                said = (ast.get_docstring(node) or "").split("\n\n")[0]
                kind, code = _constant(node, "kind"), _constant(node, "exit_code")
                assert kind is None or isinstance(kind, str)
                assert code is None or isinstance(code, int)
                found[node.name] = Found(bases, " ".join(said.split()), kind, code)
    return found


def _constant(node: ast.ClassDef, name: str) -> object:
    for line in node.body:
        targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
        for target in targets:
            if isinstance(target, ast.Name) and target.id == name:
                value = getattr(line, "value", None)
                return value.value if isinstance(value, ast.Constant) else None
    return None


def _is_error(name: str, classes: dict[str, Found]) -> bool:
    bases = classes[name].bases if name in classes else []
    return BASE in bases or any(_is_error(base, classes) for base in bases)


def _inherited(name: str, field: str, classes: dict[str, Found]) -> object:
    if name not in classes:
        return None
    own = getattr(classes[name], field)
    if own is not None:
        return own
    return next((v for b in classes[name].bases if (v := _inherited(b, field, classes))), None)


def _code(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

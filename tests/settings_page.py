"""Writes docs/settings.md from the settings classes: `python -m tests.settings_page`.

With `--check` nothing is written; the exit code is 1 when the page is not what it would be.
"""

from __future__ import annotations

import difflib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from feilun.core.secret import Secret

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "settings.md"

HEAD = """\
# Settings

Every key of `feilun.toml`. This page is written by `python -m tests.settings_page` from the
settings classes; a test compares the two.

- A section that is left out has its defaults. Only `[project] name` and `[[collect.sources]]`
  are needed.
- An unknown key is an error, and all errors of the file are told at once, each with its line.
- A *part* is named by `use` (a model by `architecture`); its other keys are its own settings.
  Parts of other packages are named the same way: see [extending.md](extending.md).
- The page of each stage says what the settings are for: [index.md](index.md).
"""

TAIL = """\
## Environment variables

| variable | meaning |
|---|---|
| `FEILUN_LANG` | language of messages: `en` or `zh`; else `LC_ALL`, `LC_MESSAGES`, `LANG` |
| `FEILUN_PROJECT` | the project's folder, for commands without `--project` |
| `FEILUN_FAULT` | for tests: kills the process at a point, such as `train:made` |
| `OMP_WAIT_POLICY` | set to `PASSIVE` before torch is loaded, unless you set it |
"""

PART_LISTS = {
    "collect": ("source", "[[collect.sources]]"),
    "prepare": ("step", "[[prepare.steps]]"),
    "train": ("family", "[train] model"),
    "train.distil": ("teacher", "[train.distil] teacher"),
    "evaluate": ("check", "[[evaluate.checks]]"),
    "release": ("rule", "[[release.rules]]"),
    "serve.notify": ("channel", "[[serve.notify]]"),
    "monitor": ("detector", "[[monitor.detectors]]"),
    "feedback": ("collector", "[[feedback.collectors]]"),
}


def main(arguments: list[str]) -> int:
    """0 when the page is (now) what the classes say."""
    wanted = page()
    if "--check" not in arguments:
        PAGE.write_text(wanted, encoding="utf-8")
        return 0
    found = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    lines = difflib.unified_diff(found.splitlines(), wanted.splitlines(), str(PAGE), "the classes")
    sys.stdout.write("\n".join(lines))
    return int(found != wanted)


def page() -> str:
    """The whole page."""
    os.environ["FEILUN_LANG"] = "en"
    from feilun.core.part import find, names
    from feilun.wheel.settings import Settings

    pieces = [HEAD]
    for section, field in Settings.model_fields.items():
        model = field.annotation
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)
        pieces.append(f"## `[{section}]`\n")
        pieces += _tables(section, model)
        for kind, where in [PART_LISTS[s] for s in PART_LISTS if s.split(".")[0] == section]:
            key = "architecture" if kind == "family" else "use"
            for name in _ours(kind, names(kind)):
                part = find(kind, name)
                pieces.append(f'### `{where}` with `{key} = "{name}"`\n')
                pieces.append(" ".join((part.__doc__ or "").split()) + "\n")
                pieces += _table(part) or ["It has no settings.\n"]
    return "\n".join([*pieces, TAIL])


def _ours(kind: str, installed: list[str]) -> list[str]:
    """The parts that this package registers, whatever else is installed."""
    from importlib.metadata import entry_points

    points = {p.name: p.value for p in entry_points(group="feilun.parts")}
    return [name for name in installed if points[f"{kind}.{name}"].startswith("feilun.")]


def _tables(section: str, model: type[BaseModel]) -> Iterator[str]:
    inner: list[str] = []
    for name, field in model.model_fields.items():
        kind = _settings(field.annotation)
        if kind is not None:
            inner += [f"### `[{section}.{name}]`\n", *_tables(f"{section}.{name}", kind)]
    yield from _table(model) or []
    yield from inner


def _settings(annotation: Any) -> type[BaseModel] | None:
    """The table of settings that a key holds, or may hold; None for parts and plain values."""
    kinds = get_args(annotation) if get_origin(annotation) is UnionType else (annotation,)
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, BaseModel) and not hasattr(kind, "selector"):
            return kind
    return None


def _table(model: type[BaseModel]) -> list[str]:
    rows = []
    for name, field in model.model_fields.items():
        if _settings(field.annotation) is not None:
            continue
        said = (field.description or "").replace("|", "\\|")
        rows.append(f"| `{name}` | {_type(field)} | {_default(field)} | {said} |")
    if not rows:
        return []
    return ["\n".join(["| key | value | default | meaning |", "|---|---|---|---|", *rows]) + "\n"]


def _type(field: FieldInfo) -> str:
    said = _name(field.annotation)
    limits = []
    for limit in field.metadata:
        for sign, attribute in (("≥", "ge"), (">", "gt"), ("≤", "le"), ("<", "lt")):
            if getattr(limit, attribute, None) is not None:
                limits.append(f"{sign} {_number(getattr(limit, attribute))}")
        if getattr(limit, "min_length", None):
            what = "character" if field.annotation is str else "item"
            limits.append(f"at least {limit.min_length} {what}")
        if getattr(limit, "pattern", None):
            limits.append(f"matches `{limit.pattern}`".replace("|", "\\|"))
    return ", ".join([said, *limits])


_PLAIN = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Secret: 'text `"env:NAME"`',
}


def _name(kind: Any) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " or ".join(f'`"{choice}"`' for choice in inner)
    if origin in (Union, UnionType):
        return " or ".join(_name(choice) for choice in inner if choice is not NoneType)
    if origin is tuple:
        return f"list of {_name(inner[0])}"
    if origin is dict:
        return "table"
    if origin is not None and inner:
        return _name(inner[0])
    if isinstance(kind, type) and hasattr(kind, "selector"):
        return "part" if kind.selector == "use" else "a model family"
    return _PLAIN[kind]


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "needed"
    if value is None:
        return "left out"
    if isinstance(value, BaseModel):
        return f'`"{value.use}"`'  # type: ignore[attr-defined]  # every such default is a part
    if isinstance(value, tuple):
        shown = [getattr(item, "use", item) for item in value]
        return "`[" + ", ".join(json.dumps(item) for item in shown) + "]`"
    if isinstance(value, float):
        return f"`{_number(value)}`"
    if isinstance(value, dict):
        return "`{}`"
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

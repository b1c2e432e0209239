"""`feilun.toml` read with every mistake told at once, each with its line."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from feilun.core.errors import Invalid, nearest, shortened
from feilun.core.i18n import _
from feilun.core.part import Part, find, names

FILE = "feilun.toml"
_TABLE = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"\s*([A-Za-z0-9_.\"'-]+)\s*=")
_INLINE_KEY = re.compile(r"[{,]\s*([A-Za-z0-9_-]+)\s*=")

Loc = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)


class Mistake(NamedTuple):
    """One thing wrong in the file: its line (0 when unknown), the setting, what and the mend."""

    line: int
    setting: str
    message: str

    def __str__(self) -> str:
        where = _("line {line}").format(line=self.line) if self.line else FILE
        return (
            f"{where}: {self.setting}: {self.message}"
            if self.setting
            else (f"{where}: {self.message}")
        )


class ConfigError(Invalid):
    """`feilun.toml` cannot be used; `mistakes` has all of them, in file order."""

    def __init__(self, path: Path, mistakes: list[Mistake]) -> None:
        self.mistakes = sorted(mistakes)
        listed = "\n".join(f"  {mistake}" for mistake in self.mistakes)
        first = self.mistakes[0].line or 1
        super().__init__(
            _("{path} has {count} mistake(s):").format(path=path, count=len(mistakes))
            + "\n"
            + listed,
            remedy=_("Edit {path} from line {line} on, then run: feilun doctor").format(
                path=path, line=first
            ),
        )


def read(path: Path, settings: type[M]) -> M:
    """The settings in the TOML file at `path`; raises `ConfigError` with every mistake."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            path, [Mistake(0, "", _("not UTF-8 text (byte {at})").format(at=error.start))]
        ) from None
    return parse(text, settings, path)


def parse(text: str, settings: type[M], path: Path) -> M:
    """As `read`, from the file's text; `path` is named in the errors."""
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        found = re.search(r"line (\d+)", str(error))
        line = int(found[1]) if found else len(text.splitlines())
        raise ConfigError(path, [Mistake(line, "", _not_toml(str(error)))]) from None
    try:
        return settings.model_validate(content)
    except ValidationError as error:
        lines, details = _lines(text), error.errors()
        above = {detail["loc"][:end] for detail in details for end in range(len(detail["loc"]))}
        raise ConfigError(
            path,
            [
                _mistake(detail, settings, content, lines)
                for detail in details
                # A list is called too short when its items are wrong; these are told already.
                if not (detail["type"] == "too_short" and detail["loc"] in above)
            ],
        ) from None


def _not_toml(reason: str) -> str:
    return _("not valid TOML ({reason})").format(reason=shortened(reason))


def _lines(text: str) -> dict[Loc, int]:
    """The line of every table and key, as far as it can be told without a full parser."""
    lines: dict[Loc, int] = {}
    counts: dict[Loc, int] = {}
    table: Loc = ()
    for number, line in enumerate(text.splitlines(), start=1):
        header = _TABLE.match(line)
        if header:
            table = _under_arrays(_split(header[2]), counts)
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            lines.setdefault(table, number)
            continue
        key = _KEY.match(line)
        if key:
            here = (*table, *_split(key[1]))
            for end in range(len(table) + 1, len(here) + 1):
                lines.setdefault(here[:end], number)
            for inner in _INLINE_KEY.findall(line[key.end() :]):
                lines.setdefault((*here, inner), number)
    return lines


def _split(name: str) -> Loc:
    return tuple(part.strip().strip("\"'") for part in name.split("."))


def _under_arrays(names: Loc, counts: dict[Loc, int]) -> Loc:
    """`[a.b]` below the newest `[[a]]` is a[n].b."""
    here: Loc = ()
    for name in names[:-1]:
        here = (*here, name)
        if here in counts:
            here = (*here, counts[here])
    return (*here, *names[-1:])


def _line_of(loc: Loc, lines: dict[Loc, int]) -> int:
    for end in range(len(loc), 0, -1):
        if loc[:end] in lines:
            return lines[loc[:end]]
    return 0


def _mistake(
    detail: ErrorDetails, settings: type[BaseModel], content: Any, lines: dict[Loc, int]
) -> Mistake:
    # What is checked across sections says itself where it stands.
    loc: Loc = detail.get("ctx", {}).get("at", detail["loc"])
    setting = ""
    for name in loc:
        setting += f"[{name}]" if isinstance(name, int) else f".{name}"
    return Mistake(_line_of(loc, lines), setting.lstrip("."), explain(detail, settings, content))


def explain(detail: ErrorDetails, settings: type[BaseModel], content: Any) -> str:
    """A mistake that pydantic found, in words; `content` is what was checked by `settings`."""
    kind, context = detail["type"], detail.get("ctx", {})
    value = shortened(repr(detail["input"]), 40)
    if kind == "extra_forbidden":
        known = _known_keys(detail["loc"][:-1], settings, content)
        guess = nearest(str(detail["loc"][-1]), known)
        if guess:
            return _("unknown key; did you mean '{guess}'?").format(guess=guess)
        return _("unknown key; known here: {known}").format(known=", ".join(known) or "-")
    if kind == "part_unknown":
        guess = nearest(context["name"], context["known"])
        if guess:
            return _("unknown {key} '{name}'; did you mean '{guess}'?").format(
                key=context["key"], name=shortened(context["name"], 40), guess=guess
            )
        return _("unknown {key} '{name}'; known: {known}").format(
            key=context["key"],
            name=shortened(context["name"], 40),
            known=", ".join(context["known"]),
        )
    if kind == "part_unnamed":
        return _("says no `{key}`; known: {known}").format(
            key=context["key"], known=", ".join(context["known"])
        )
    limits = {
        "missing": _("is missing"),
        "greater_than": _("must be above {gt}, not {value}"),
        "greater_than_equal": _("must be at least {ge}, not {value}"),
        "less_than": _("must be below {lt}, not {value}"),
        "less_than_equal": _("must be at most {le}, not {value}"),
        "literal_error": _("must be {expected}, not {value}"),
        "enum": _("must be {expected}, not {value}"),
        "too_short": _("must have at least {min_length} item(s)"),
        "too_long": _("must have at most {max_length} item(s)"),
        "string_too_short": _("must have at least {min_length} character(s)"),
        "string_pattern_mismatch": _("must match {pattern}, not {value}"),
        "value_error": "{error}",
    }
    if kind in limits:
        return limits[kind].format(**{**context, "value": value})
    if kind.startswith("int"):
        return _("must be a whole number, not {value}").format(value=value)
    if kind.startswith("float"):
        return _("must be a number, not {value}").format(value=value)
    if kind.startswith("bool"):
        return _("must be true or false, not {value}").format(value=value)
    if kind.startswith("string"):
        return _("must be text in quotes, not {value}").format(value=value)
    if kind.startswith(("list", "tuple")):
        return _("must be a list [ … ], not {value}").format(value=value)
    if kind.startswith(("dict", "model", "mapping")):
        return _("must be a table, not {value}").format(value=value)
    return _("cannot be {value}").format(value=value)


def _known_keys(loc: Loc, settings: type[BaseModel], content: Any) -> list[str]:
    """The keys allowed at `loc`: the settings class is walked beside what was written."""
    here: type[BaseModel] | None = settings
    for name in loc:
        try:
            content = content[name]
        except (KeyError, IndexError, TypeError):
            return []
        if isinstance(name, str) and here is not None:
            field = here.model_fields.get(name)
            here = _model_in(field.annotation) if field else None
        if here is not None and issubclass(here, Part) and isinstance(content, dict):
            chosen = content.get(here.selector)
            if getattr(here, "use", None) is None and chosen in names(here.kind):
                here = find(here.kind, str(chosen))
    return sorted(here.model_fields) if here is not None else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if found is not None:
            return found
    return None

"""Projects, errors and the API as pages; everything that comes from data is escaped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from starlette.responses import HTMLResponse, Response

from feilun.console.page import Page
from feilun.core.errors import FeilunError
from feilun.core.i18n import _, language
from feilun.core.part import find, names
from feilun.core.stage import STAGES
from feilun.team import Key
from feilun.version import __version__
from feilun.wheel.alerts import alerts
from feilun.wheel.describe import stage_name
from feilun.wheel.project import Project

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).parent
PRIVACY = "/console/privacy"
"""The page that can erase."""
_VERBS = ("get", "post", "put", "patch", "delete")


class Operation(NamedTuple):
    """One path and method of the API, as the page shows it."""

    anchor: str
    method: str
    path: str
    summary: str
    description: str
    needs_key: bool
    asks: list[Example]
    fields: list[FieldRow]
    answers: list[FieldRow]
    statuses: list[tuple[str, str]]


class Example(NamedTuple):
    """A body to send, as JSON and as a command."""

    body: str
    curl: str


class FieldRow(NamedTuple):
    """One field of a body."""

    name: str
    type: str
    required: bool
    description: str


def console(project: Project) -> Response:
    """The first page: the wheel, the turns, what is live, the newest feedback and signals."""
    from feilun.console.overview import overview
    from feilun.console.wheel import SIZE

    return _page(
        "console.html",
        "/console",
        signed_in=True,
        o=overview(project),
        size=SIZE,
        open_alerts=alerts(project).count(),
    )


def paths() -> list[str]:
    """The paths of the further pages; nothing of them is imported."""
    return [_path(name) for name in names("page")]


def further() -> dict[str, Page]:
    """The further pages by their path, in the wheel's order: every installed part of the kind
    `page`."""
    found = [cast(type[Page], find("page", name))() for name in names("page")]
    found.sort(key=lambda page: STAGES.index(page.stage) if page.stage else len(STAGES))
    return {_path(page.use): page for page in found}


def _path(name: str) -> str:
    return f"/console/{name}"


def page(page: Page, path: str, project: Project, viewer: Key | None = None) -> Response:
    """A further page for whoever is signed in with the key `viewer`."""
    return framed(
        page.template, _(page.title), path, project, viewer=viewer, **page.values(project)
    )


def framed(template: str, title: str, path: str, project: Project, **values: Any) -> Response:
    """A template's text, filled, in the frame of all further pages."""
    from markupsafe import Markup

    content = _environment().from_string(template).render(**values)
    return _page(
        "page.html",
        path,
        signed_in=True,
        title=title,
        content=Markup(content),  # noqa: S704
        open_alerts=alerts(project).count(),
    )


def sign_in(project_name: str, problem: FeilunError | None, status: int) -> Response:
    """The form that takes an API key, and what was wrong with the one before."""
    return _page(
        "sign_in.html", "/console/sign-in", status=status, name=project_name, problem=problem
    )


def problem(error: FeilunError, status: int, headers: Mapping[str, str], path: str) -> Response:
    """An error as a page."""
    return _page("problem.html", path, status=status, headers=headers, problem=error, code=status)


def api(openapi: dict[str, Any], path: str) -> Response:
    """The API's documentation, from its OpenAPI document."""
    groups: dict[str, list[Operation]] = {}
    schemas = openapi.get("components", {}).get("schemas", {})
    for where, methods in openapi["paths"].items():
        for method in _VERBS:
            if method in methods:
                said = methods[method]
                groups.setdefault(said["tags"][0], []).append(
                    _operation(where, method, said, schemas)
                )
    tags = {tag["name"]: tag["description"] for tag in openapi.get("tags", ())}
    ordered = [(tag, tags.get(tag, ""), groups[tag]) for tag in STAGES if tag in groups]
    # What people come for first: asking and answering back.
    ordered.sort(key=lambda group: ("serve", "feedback").index(group[0])
                 if group[0] in {"serve", "feedback"} else 2)  # fmt: skip
    return _page("api.html", path, title=openapi["info"]["title"], openapi=openapi, groups=ordered)


def _operation(where: str, method: str, said: dict[str, Any], schemas: dict[str, Any]) -> Operation:
    body = said.get("requestBody", {}).get("content", {}).get("application/json", {})
    schema = _resolved(body.get("schema", {}), schemas)
    answer = said["responses"].get("200", {}).get("content", {}).get("application/json", {})
    examples = [json.dumps(e, ensure_ascii=False, indent=2) for e in schema.get("examples", ())]
    return Operation(
        said["operationId"],
        method.upper(),
        where,
        said.get("summary", ""),
        said.get("description", ""),
        bool(said.get("security")),
        [Example(example, _curl(where, example)) for example in examples],
        _fields(schema, schemas),
        _fields(_resolved(answer.get("schema", {}), schemas), schemas),
        [(status, value["description"]) for status, value in said["responses"].items()],
    )


def _curl(where: str, example: str) -> str:
    compact = json.dumps(json.loads(example), ensure_ascii=False)
    return (
        f"curl $URL{where} \\\n  -H 'Authorization: Bearer '$KEY \\\n"
        f"  -H 'Content-Type: application/json' \\\n  -d '{compact}'"
    )


def _resolved(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref", "")
    found = schemas.get(reference.rpartition("/")[2]) if reference else schema
    return found or {}


def _fields(
    schema: dict[str, Any], schemas: dict[str, Any], prefix: str = "", depth: int = 0
) -> list[FieldRow]:
    """The fields of an object and of the objects in it, flat: `results[].label`."""
    rows = []
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        rows.append(
            FieldRow(prefix + name, _type(field), name in required, field.get("description", ""))
        )
        inner = field.get("items", field)
        if "$ref" in inner and depth < 3:
            mark = "[]." if "items" in field else "."
            rows += _fields(_resolved(inner, schemas), schemas, prefix + name + mark, depth + 1)
    return rows


def _type(field: dict[str, Any]) -> str:
    if "anyOf" in field:
        return " | ".join(dict.fromkeys(_type(choice) for choice in field["anyOf"]))
    if "enum" in field:
        return " | ".join(str(value) for value in field["enum"])
    if "const" in field:
        return str(field["const"])
    if field.get("type") == "array":
        return f"[{_type(field.get('items', {}))}]"
    return str(field.get("type", "object"))


def standalone(content: str, title: str, values: Mapping[str, Any]) -> bytes:
    """A template of a page's content as a whole HTML file, its style in it."""
    template = _environment().get_template("standalone.html")
    style = (FOLDER / "static" / "console.css").read_text(encoding="utf-8")
    text = template.render(
        lang=language(), version=__version__, title=title, style=style, content=content, **values
    )
    return text.encode("utf-8", "replace")


def _page(
    template: str,
    path: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    signed_in: bool = False,
    **values: Any,
) -> Response:
    text = (
        _environment()
        .get_template(template)
        .render(
            lang=language(),
            path=path,
            version=__version__,
            signed_in=signed_in,
            further=further() if signed_in else {},
            **{"open_alerts": 0, **values},
        )
    )
    # What users typed may hold halves of characters, which UTF-8 cannot.
    return HTMLResponse(text.encode("utf-8", "replace"), status, headers=dict(headers or {}))


@cache
def _environment() -> Environment:
    # It takes 20 ms to import, and a process that serves may never show a page.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["_"] = _
    environment.globals["stage_name"] = stage_name
    return environment

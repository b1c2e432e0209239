"""The OpenAPI document as a golden file: a change of the API is a change to look at.

`python -m tests.golden.test_openapi` writes it anew, and the TypeScript client, which is
generated from it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema

from feilun.service import policy, typescript
from feilun.service.documented import document
from feilun.team import Scope
from feilun.version import __version__

GOLDEN = Path(__file__).parent / "openapi.json"
CLIENT = Path(__file__).parent.parent.parent / "clients" / "typescript"
HOW = "python -m tests.golden.test_openapi"


def written() -> str:
    openapi = document()
    # Every release would change it.
    openapi["info"]["version"] = "0"
    return json.dumps(openapi, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    paths = document()["paths"]
    return [
        (verb.upper(), path, said) for path, verbs in paths.items() for verb, said in verbs.items()
    ]


def test_the_document_is_what_was_looked_at() -> None:
    assert GOLDEN.read_text(encoding="utf-8") == written(), f"the API changed: look, then {HOW}"


def test_the_typescript_client_is_that_of_the_document() -> None:
    for name, content in typescript.files(document()).items():
        found = (CLIENT / name).read_text(encoding="utf-8")
        if name == "package.json":
            assert json.loads(found) == {**json.loads(content), "version": __version__}
        else:
            assert found == content, f"the client is not what the API is: {HOW}"


def test_the_document_lists_every_route_for_programs() -> None:
    listed = {(verb, path) for verb, path, _said in operations()}
    programs = {
        where
        for where, rule in policy.TABLE.items()
        if not rule.page and not where[1].startswith(("/console", "/openapi.json"))
    }
    assert listed == programs


def test_every_operation_is_documented_whole() -> None:
    for verb, path, said in operations():
        where = (verb, path)
        rule = policy.TABLE[where]
        assert said["summary"], where
        assert said["description"], where
        success = [status for status in said["responses"] if status.startswith("2")]
        assert len(success) == 1, where
        for status, answer in said["responses"].items():
            assert answer["content"], (where, status)
            assert "x-request-id" in answer["headers"], (where, status)
            if status in {"429", "503"}:
                assert "retry-after" in answer["headers"], (where, status)
            if status.startswith(("4", "5")):
                schema = answer["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/ErrorAnswer"}
        if isinstance(rule.need, Scope):
            assert {"401", "403", "429"} <= said["responses"].keys(), where
            assert said["security"], where
        if rule.body:
            assert list(said["requestBody"]["content"]) == [rule.body], where
            needed = {"400", "408", "413", "415", "422"}
            assert needed <= said["responses"].keys(), (where, needed - said["responses"].keys())


def test_the_examples_fit_their_shapes() -> None:
    schemas = document()["components"]["schemas"]
    checked = 0
    for name, schema in schemas.items():
        for example in schema.get("examples", ()):
            whole = {"components": {"schemas": schemas}, "$ref": f"#/components/schemas/{name}"}
            jsonschema.validate(example, whole)
            checked += 1
    assert checked >= 10


if __name__ == "__main__":
    GOLDEN.write_text(written(), encoding="utf-8")
    typescript.write(CLIENT)

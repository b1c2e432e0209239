from __future__ import annotations

import re

from feilun.core.stage import STAGES
from feilun.service.policy import TABLE, Need
from feilun.team import Scope

from .conftest import Running


def test_the_docs_load_nothing_from_elsewhere(running: Running) -> None:
    running.client.headers.pop("authorization")
    page = running.client.get("/docs").text
    assert not re.findall(r"""(?:src|href|action)\s*=\s*["'](?:https?:)?//""", page)
    assert "<script" not in page
    assert "style=" not in page
    for name in re.findall(r'(?:src|href)="(/console/static/[^"]+)"', page):
        assert running.client.get(name).status_code == 200
    for _method, path in TABLE:
        if path.startswith("/v1/"):
            assert path in page


def test_the_document_is_complete(running: Running) -> None:
    document = running.client.get("/openapi.json").json()
    scoped = {
        path
        for (_method, path), rule in TABLE.items()
        if isinstance(rule.need, Scope) or rule.need is Need.KEY
    }
    assert scoped <= set(document["paths"])
    for path, methods in document["paths"].items():
        for method, said in methods.items():
            assert said["summary"]
            assert said["description"]
            assert said["tags"][0] in STAGES
            assert bool(said.get("security")) == (path in scoped)
            rule = TABLE[method.upper(), path]
            if rule.body:
                assert {"400", "401", "403", "413", "415", "422"} <= set(said["responses"])
            for status, answer in said["responses"].items():
                if status >= "400":
                    schema = answer["content"]["application/json"]["schema"]
                    assert schema["$ref"].endswith("/ErrorAnswer")
    assert document["components"]["securitySchemes"]


def test_answers_match_the_document(running: Running) -> None:
    from feilun.service.shapes import ClassifyAnswer, ErrorAnswer, FeedbackAnswer, ModelList

    said = running.client.post("/v1/classify", json={"input": ["好", ""]})
    classified = ClassifyAnswer.model_validate_json(said.content)
    body = {"prediction_id": classified.results[0].id, "kind": "rating", "value": 1}
    FeedbackAnswer.model_validate_json(running.client.post("/v1/feedback", json=body).content)
    ModelList.model_validate_json(running.client.get("/v1/models").content)
    ErrorAnswer.model_validate_json(running.client.post("/v1/feedback", json={}).content)

"""A service for each task, on the example data: answers, embeddings, feedback, odd requests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import numpy as np
import polars as pl
import pytest
from starlette.testclient import TestClient

from feilun.service.app import create_app
from feilun.wheel.project import Project
from feilun.wheel.template import new

DATA = Path(__file__).parent.parent.parent.parent / "examples" / "data"


class Example(NamedTuple):
    """A project made from the example data: its task, its file, the route, some inputs."""

    task: str
    file: str
    route: str
    inputs: list[Any]


EXAMPLES = {
    "names": Example("tag", "names.jsonl", "/v1/tag", ["王芳从北京去了杭州。", "请稍等。"]),
    "questions": Example(
        "match",
        "questions.csv",
        "/v1/match",
        [["怎么申请退款", "退款怎么申请"], ["怎么申请退款", "几点关门"]],
    ),
    "stars": Example("regress", "stars.csv", "/v1/regress", ["质量特别好，满意", "差评，坏的"]),
    "complaints": Example(
        "classify", "complaints.jsonl", "/v1/classify", ["快递晚了，箱子也压扁了", "谢谢"]
    ),
}
ROUTES = sorted({example.route for example in EXAMPLES.values()})


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each example as `feilun new` and one turn make it; read them, do not change them."""
    root = tmp_path_factory.mktemp("examples")
    for name, example in EXAMPLES.items():
        made = new(
            name, task=example.task, data=DATA / example.file, text=None, label=None, parent=root
        )
        made.close()
        path = root / name / "feilun.toml"
        path.write_text(path.read_text("utf-8").replace('= "auto"', '= "ngram"'), "utf-8")
        with Project.open(root / name) as project:
            verdict = project.turn().verdict
            assert verdict is not None
            assert verdict.released, (name, verdict.reasons)
    return {name: root / name for name in EXAMPLES}


class Serving(NamedTuple):
    project: Project
    client: TestClient


@contextmanager
def opened(folder: Path) -> Iterator[Serving]:
    with Project.open(folder) as project:
        key = project.keys.add("test")
        app = create_app(project)
        with TestClient(app, base_url="http://127.0.0.1:8000", follow_redirects=False) as client:
            client.headers["authorization"] = f"Bearer {key}"
            yield Serving(project, client)


@pytest.fixture(scope="module", params=list(EXAMPLES))
def served(
    request: pytest.FixtureRequest,
    folders: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Example, Serving]]:
    """A copy of an example's project, answering."""
    target = tmp_path_factory.mktemp("served") / request.param
    with opened(Path(shutil.copytree(folders[request.param], target))) as serving:
        yield EXAMPLES[request.param], serving


@pytest.fixture
def serve(folders: dict[str, Path], tmp_path: Path) -> Any:
    """A function that opens a copy of an example's project of its own."""
    return lambda name: opened(Path(shutil.copytree(folders[name], tmp_path / name)))


def post(serving: Serving, route: str, body: Any, status: int = 200) -> dict[str, Any]:
    # JSON can spell a lone half of a character, which UTF-8 cannot hold.
    answer = serving.client.post(
        route, content=json.dumps(body), headers={"content-type": "application/json"}
    )
    assert answer.status_code == status, answer.text
    check(serving, route, status, answer.json())
    return dict(answer.json())


def check(serving: Serving, route: str, status: int, said: Any) -> None:
    """The answer is what the OpenAPI document says of this route and status."""
    document = serving.client.get("/openapi.json").json()
    told = document["paths"][route]["post"]["responses"][str(status)]
    schema = told["content"]["application/json"]["schema"]
    jsonschema.validate(said, {**schema, "components": document["components"]})


def test_answers_are_what_the_document_says(served: tuple[Example, Serving]) -> None:
    example, serving = served
    said = post(serving, example.route, {"input": example.inputs})
    assert len(said["results"]) == len(example.inputs)
    one = post(serving, example.route, {"input": example.inputs[0]})
    assert without_id(one["results"]) == without_id(said["results"][:1])


def without_id(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in one.items() if key != "id"} for one in results]


def test_the_check_of_answers_can_fail(served: tuple[Example, Serving]) -> None:
    example, serving = served
    said = post(serving, example.route, {"input": example.inputs})
    del said["results"][0]["score"]
    with pytest.raises(jsonschema.ValidationError):
        check(serving, example.route, 200, said)


def test_another_task_is_refused_with_the_right_route(served: tuple[Example, Serving]) -> None:
    example, serving = served
    for route in set(ROUTES) - {example.route}:
        given: Any = ["a", "b"] if route == "/v1/match" else "a"
        said = post(serving, route, {"input": given}, 409)["error"]
        assert said["code"] == "other_task"
        assert said["remedy"] == f"POST {example.route}"


def test_limits_hold_for_every_task(served: tuple[Example, Serving]) -> None:
    example, serving = served
    serve = serving.project.settings.serve
    many = [example.inputs[0]] * (serve.max_inputs + 1)
    said = post(serving, example.route, {"input": many}, 422)["error"]
    assert "[serve] max_inputs" in said["message"]
    long: Any = "x" * (serve.max_chars + 1)
    if example.task == "match":
        # The limit is for both texts together.
        long = ["x" * (serve.max_chars // 2 + 1)] * 2
    said = post(serving, example.route, {"input": long}, 422)["error"]
    assert "[serve] max_chars" in said["message"]


@pytest.mark.parametrize("given", [None, 3, {}, [], [3], [None], [["a"]], [["a", "b", "c"]]])
def test_odd_input_is_refused(served: tuple[Example, Serving], given: Any) -> None:
    example, serving = served
    assert post(serving, example.route, {"input": given}, 422)["error"]["fields"]


@pytest.mark.parametrize("text", ["", "   ", "。。。", "\u200b", "\x00", "❄", "\ud83d"])
def test_nothing_to_judge_by_is_answered_all_the_same(
    served: tuple[Example, Serving], text: str
) -> None:
    example, serving = served
    given: Any = [text, text] if example.task == "match" else text
    (one,) = post(serving, example.route, {"input": [given]})["results"]
    assert 0 <= one["score"] <= 1
    if not text.strip(" 。\u200b\x00"):
        assert one["reason"] == "empty"


def test_entities_are_places_in_the_text(serve: Any) -> None:
    with serve("names") as serving:
        text = "𠮷王芳从北京去了杭州。"
        (one,) = post(serving, "/v1/tag", {"input": text})["results"]
        found = [(text[e["start"] : e["end"]], e["label"]) for e in one["entities"]]
        assert ("北京", "LOC") in found
        assert ("杭州", "LOC") in found
        assert one["score"] == pytest.approx(np.prod([e["score"] for e in one["entities"]]))


def test_pairs_are_told_apart_in_either_order(serve: Any) -> None:
    with serve("questions") as serving:
        same, other = EXAMPLES["questions"].inputs
        said = post(serving, "/v1/match", {"input": [same, other, same[::-1]]})["results"]
        assert [one["label"] for one in said] == ["1", "0", "1"]
        assert said[0]["similarity"] == said[0]["scores"]["1"] == said[2]["similarity"]


def test_numbers_come_with_their_interval(serve: Any) -> None:
    with serve("stars") as serving:
        good, bad = post(serving, "/v1/regress", {"input": EXAMPLES["stars"].inputs})["results"]
        for one in (good, bad):
            assert one["low"] <= one["value"] <= one["high"]
        assert good["value"] > bad["value"] + 1


def test_a_text_may_have_several_labels_or_none(serve: Any) -> None:
    with serve("complaints") as serving:
        two, none = post(serving, "/v1/classify", {"input": EXAMPLES["complaints"].inputs})[
            "results"
        ]
        assert two["labels"] == ["包装", "物流"]
        assert none["labels"] == []
        assert none["reason"] is None


def test_embeddings_find_what_is_alike(serve: Any) -> None:
    with serve("questions") as serving:
        texts = ["怎么申请退款", "退款怎么申请", "how do I wash this shirt", ""]
        said = post(serving, "/v1/embeddings", {"input": texts, "model": "text-embedding-3"})
        assert [one["index"] for one in said["data"]] == [0, 1, 2, 3]
        vectors = np.array([one["embedding"] for one in said["data"]])
        assert np.linalg.norm(vectors[:3], axis=1) == pytest.approx(1.0, abs=1e-5)
        assert not vectors[3].any()
        near = vectors @ vectors[0]
        assert near[1] > near[2] + 0.3
        assert said["usage"]["total_tokens"] == sum(map(len, texts))


def test_embeddings_are_refused_where_the_model_has_none(serve: Any) -> None:
    with serve("names") as serving:
        said = post(serving, "/v1/embeddings", {"input": "王芳"}, 409)["error"]
        assert said["remedy"]


def test_embeddings_have_the_same_limits(serve: Any) -> None:
    with serve("questions") as serving:
        limits = serving.project.settings.serve
        for given in (["x"] * (limits.max_inputs + 1), "x" * (limits.max_chars + 1), [], [["a"]]):
            post(serving, "/v1/embeddings", {"input": given}, 422)


CORRECTIONS = {
    "names": ("李四光在昆明。", '[[0,3,"PER"],[4,6,"LOC"]]'),
    "questions": (["怎么改签", "改签怎么办理"], "1"),
    "stars": ("居然会唱歌我喜欢", "4.5"),
    "complaints": ("少了一件也没人理我", "客服|质量"),
}


@pytest.mark.parametrize("name", CORRECTIONS)
def test_a_correction_is_a_record_of_the_next_turn(serve: Any, name: str) -> None:
    given, right = CORRECTIONS[name]
    with serve(name) as serving:
        said = post(serving, EXAMPLES[name].route, {"input": [given]})
        body = {"prediction_id": said["results"][0]["id"], "kind": "correction", "value": right}
        post(serving, "/v1/feedback", body)
        turn = serving.project.turn()
        assert turn.dataset is not None
        path = serving.project.blobs.get(turn.dataset.files["train.parquet"])
        task = serving.project.settings.project.task
        train = pl.read_parquet(path).filter(pl.col("source") == "feedback")
        assert task.truth(train) == [right]
        asked = task.inputs(train)
        assert [tuple(given) if isinstance(given, list) else given] == list(asked)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("names", "PER"), ("names", '[[0,99,"PER"]]'), ("stars", "very good"), ("complaints", "新的")],
)
def test_what_is_no_answer_is_no_record(serve: Any, name: str, wrong: str) -> None:
    with serve(name) as serving:
        said = post(serving, EXAMPLES[name].route, {"input": [CORRECTIONS[name][0]]})
        body = {"prediction_id": said["results"][0]["id"], "kind": "correction", "value": wrong}
        serving.client.post("/v1/feedback", json=body)
        turn = serving.project.turn()
        assert turn.records is not None
        assert turn.dataset is not None
        path = serving.project.blobs.get(turn.dataset.files["train.parquet"])
        assert "feedback" not in pl.read_parquet(path)["source"].to_list()

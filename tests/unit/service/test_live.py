from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.testclient import TestClient

from feilun.core.errors import Damaged
from feilun.core.refs import Ref
from feilun.service.app import create_app
from feilun.service.live import Live
from feilun.wheel.project import Project
from feilun.wheel.turn import LIVE

from .conftest import Running


def second_model(project: Project) -> str:
    """The digest of another model, trained and not released."""
    path = project.root / "reviews.csv"
    path.write_text(
        path.read_text(encoding="utf-8") + "全新的一句话，真好,正面\n", encoding="utf-8"
    )
    turn = project.turn(until="train")
    assert turn.model is not None
    return turn.model.digest


def move(project: Project, digest: str) -> None:
    row = project.control.alias(LIVE)
    assert row is not None
    project.control.move_alias(
        LIVE, digest, expected=row.digest, by="test", reason='{"template":"test"}'
    )


def damage(project: Project, digest: str) -> None:
    model = project.model(Ref("model", digest))
    path = project.blobs.path(model.files["model.safetensors"])
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_released_model_answers_without_a_restart(running: Running) -> None:
    before = running.client.post("/v1/classify", json={"input": "好"}).json()["model"]
    digest = second_model(running.project)
    move(running.project, digest)
    running.service.live.look()
    assert running.client.post("/v1/classify", json={"input": "好"}).json()["model"] == digest
    running.project.rollback()
    running.service.live.look()
    assert running.client.post("/v1/classify", json={"input": "好"}).json()["model"] == before


def test_a_damaged_model_is_refused_and_the_one_before_goes_on(running: Running) -> None:
    before = running.service.live.engine.model
    digest = second_model(running.project)
    damage(running.project, digest)
    move(running.project, digest)
    running.service.live.look()
    assert running.client.post("/v1/classify", json={"input": "好"}).json()["model"] == before
    assert running.client.get("/readyz").status_code == 200
    assert "feilun_live_model_refused 1.0" in running.client.get("/metrics").text


def test_a_damaged_live_model_is_told_at_the_start(trained_project: Project) -> None:
    release = trained_project.release
    assert release is not None
    damage(trained_project, release.model.digest)
    live = Live(trained_project)
    with pytest.raises(Damaged, match="damaged"):
        live.start()
    live.close()


def test_where_the_live_model_is_damaged_the_one_before_answers_from_the_start(
    trained_project: Project,
) -> None:
    release = trained_project.release
    assert release is not None
    digest = second_model(trained_project)
    move(trained_project, digest)
    damage(trained_project, digest)
    live = Live(trained_project)
    live.start()
    try:
        assert (live.engine.model, live.refused) == (release.model.digest, digest)
        # It is newly released, and so rolled back once a second look has found it damaged.
        live._refused_at = float("-inf")
        live.look()
        row = trained_project.control.alias(LIVE)
        assert row is not None
        assert row.digest == release.model.digest
        live.look()
        assert live.refused is None
    finally:
        live.close()


def test_a_model_that_was_rolled_back_does_not_answer_in_a_damaged_ones_place(
    trained_project: Project,
) -> None:
    release = trained_project.release
    assert release is not None
    move(trained_project, second_model(trained_project))
    trained_project.rollback()
    damage(trained_project, release.model.digest)
    live = Live(trained_project)
    with pytest.raises(Damaged, match="damaged"):
        live.start()
    live.close()


def test_without_a_model_it_starts_and_says_so(trained_project: Project) -> None:
    with trained_project.control.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM aliases")
    key = trained_project.keys.add("test")
    with TestClient(create_app(trained_project), base_url="http://localhost") as client:
        client.headers["authorization"] = f"Bearer {key}"
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 503
        answer = client.post("/v1/classify", json={"input": "x"})
        assert (answer.status_code, answer.json()["error"]["remedy"]) == (503, "feilun turn")
        assert client.get("/console", follow_redirects=False).status_code == 303


def test_at_shutdown_it_is_unready_at_once(running: Running) -> None:
    running.service.live.draining = True
    assert running.client.get("/readyz").status_code == 503
    assert running.client.post("/v1/classify", json={"input": "x"}).status_code == 200


def test_what_was_live_before_is_loaded_again_after_a_restart(running: Running) -> None:
    project, live = running.project, running.service.live
    before = live.engine.model
    digest = second_model(project)
    move(project, digest)
    other = Live(project)
    other.start()
    try:
        assert other.engine.model == digest
        for _again in range(500):
            if before in other._loaded:
                break
            time.sleep(0.01)
        assert before in other._loaded, "going back would load it from the disk"
        loaded = other._loaded[before]
        project.rollback()
        other.look()
        assert other.engine.model == before
        assert other._loaded[before] is loaded
    finally:
        other.close()


def test_swaps_and_rollbacks_under_load_drop_no_request(running: Running) -> None:
    project, live, client = running.project, running.service.live, running.client
    first, second = str(live.engine.model), second_model(project)
    end = threading.Event()

    def ask() -> list[tuple[int, str]]:
        met = []
        while not end.is_set():
            answer = client.post("/v1/classify", json={"input": ["好", "太差了"]})
            met.append((answer.status_code, answer.json().get("model", answer.text)))
        return met

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _client in range(4)]
        for turn in range(6):
            move(project, second) if turn % 2 == 0 else project.rollback()
            live.look()
            time.sleep(0.05)
        end.set()
        met = [one for done in asking for one in done.result(60)]
    assert {status for status, _model in met} == {200}
    assert {model for _status, model in met} <= {first, second}
    logged = project.events.counts()["predictions"]
    assert logged == 2 * len(met)

"""What the service says of itself: ids that hold together, lines without bodies, spans."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.testclient import TestClient

from feilun.service.app import create_app
from feilun.service.telemetry import begin, request_id
from feilun.service.telemetry.asked import Asked
from feilun.service.telemetry.dashboard import dashboard
from feilun.service.telemetry.logs import FAILED_PER_SECOND, FIELDS, RequestLog, set_up
from feilun.service.telemetry.traces import Traces, TracesMissing, open_traces
from feilun.stages.serve.telemetry import Telemetry
from feilun.wheel.project import Project

from .conftest import Running

TEXT = "机密 13812345678 物流很快"
OURS = re.compile(r"r_[0-9a-f]{32}")


# Request ids


def test_every_answer_has_an_id_which_is_that_of_its_predictions(running: Running) -> None:
    answer = running.client.post("/v1/classify", json={"input": TEXT})
    identity = answer.headers["x-request-id"]
    assert OURS.fullmatch(identity)
    assert answer.json()["id"] == identity
    (row,) = running.project.events.predictions(0)
    assert row["request"] == identity
    for path, status in (("/healthz", 200), ("/nowhere", 404), ("/console", 303)):
        other = running.client.get(path)
        assert other.status_code == status
        assert OURS.fullmatch(other.headers["x-request-id"])
        assert other.headers["x-request-id"] != identity


@pytest.mark.parametrize("given", ["abc", "Root=1-67891233-abcdef012345678912345678", "a" * 128])
def test_a_callers_id_is_taken_and_never_counted_by(running: Running, given: str) -> None:
    ids = set()
    for _twice in range(2):
        answer = running.client.post(
            "/v1/classify", json={"input": TEXT}, headers={"x-request-id": given}
        )
        assert answer.headers["x-request-id"] == given
        ids.add(answer.json()["id"])
    assert len(ids) == 2, "the same id twice is still two requests"
    refused = running.client.post("/v1/classify", json={}, headers={"x-request-id": given})
    assert refused.status_code == 422
    assert refused.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a b", "a" * 129, "é", '"x"', "a,b", "<b>", "a\tb"])
def test_an_odd_id_is_not_taken(given: str) -> None:
    asked = Asked(given)
    assert asked.shown == asked.id
    assert OURS.fullmatch(asked.id)


def test_outside_of_a_request_each_id_is_new() -> None:
    assert request_id() != request_id()


# Logs


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is logged as JSON."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    end = set_up(Telemetry(log="json", log_requests="all"))
    yield stream
    end()


def logged(project: Project, stream: io.StringIO, **settings: Any) -> tuple[list[Any], str]:
    """What a request that works and one that does not leave in the log, and the key."""
    key = project.keys.add("test")
    telemetry = Telemetry(**settings)
    serve = project.settings.serve.model_copy(update={"telemetry": telemetry})
    project.settings = project.settings.model_copy(update={"serve": serve})
    app = create_app(project)
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        client.headers["authorization"] = f"Bearer {key}"
        client.post("/v1/classify", json={"input": TEXT}, headers={"x-request-id": "mine"})
        client.post("/v1/classify", json={"inptu": TEXT})
        client.get(f"/{key}/13812345678")
    return [json.loads(line) for line in stream.getvalue().splitlines()], key


def test_a_line_names_request_route_and_key_and_nothing_of_the_body(
    trained_project: Project, lines: io.StringIO
) -> None:
    found, key = logged(trained_project, lines, log="json", log_requests="all")
    good, bad, odd = [line for line in found if line["logger"] == "feilun.request"]
    assert good.keys() == {
        "at", "level", "logger", "message", "request", "request_id", "method", "route", "status",
        "ms", "key",
    }  # fmt: skip
    assert (good["request_id"], good["route"], good["status"]) == ("mine", "/v1/classify", 200)
    assert good["key"] == key.split("_")[1]
    assert (bad["status"], bad["code"]) == (422, "invalid_fields")
    assert (odd["status"], odd["route"]) == (404, "other")
    for line in found:
        assert line.keys() <= {"at", "level", "logger", "message", *FIELDS}
    for word in ("13812345678", "机密", key.split("_")[2], "inptu"):
        assert word not in lines.getvalue()


@pytest.mark.parametrize(("wanted", "count"), [("none", 0), ("failed", 2), ("all", 3)])
def test_which_requests_get_a_line(
    trained_project: Project, lines: io.StringIO, wanted: str, count: int
) -> None:
    found, _key = logged(trained_project, lines, log_requests=wanted)
    assert len([line for line in found if line["logger"] == "feilun.request"]) == count


def test_what_others_say_is_logged_by_its_place_only(lines: io.StringIO) -> None:
    begin("mine")
    logging.getLogger("httpcore").warning("body was %s", TEXT)
    try:
        raise ValueError(TEXT)
    except ValueError:
        logging.getLogger("feilun.service").exception("it broke\nbadly")
    first, second = (json.loads(line) for line in lines.getvalue().splitlines())
    assert re.fullmatch(r"test_telemetry\.py:\d+", first["message"])
    assert second["message"] == "it broke badly"
    assert second["request_id"] == "mine"
    assert "13812345678" not in lines.getvalue()


def test_as_text_it_is_one_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    end = set_up(Telemetry())
    logging.getLogger("feilun.service").warning("two\nlines")
    end()
    logging.getLogger("feilun.service").warning("after the end")
    (line,) = stream.getvalue().splitlines()
    assert re.search(r"Z? ?warning feilun\.service two lines", line)


# Traces


@pytest.fixture
def traced(trained_project: Project) -> Iterator[tuple[TestClient, InMemorySpanExporter]]:
    """A client of a service whose spans stay in memory."""
    exporter = InMemorySpanExporter()
    app = create_app(trained_project)
    gate = next(one for one in app.user_middleware if "teller" in one.kwargs)
    teller: Any = gate.kwargs["teller"]
    assert teller.traces is None, "without the setting there are none"
    teller.traces = Traces(SimpleSpanProcessor(exporter), 1.0)
    key = trained_project.keys.add("test")
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        client.headers["authorization"] = f"Bearer {key}"
        yield client, exporter


def test_a_request_is_a_span_with_its_steps_in_it(
    traced: tuple[TestClient, InMemorySpanExporter],
) -> None:
    client, exporter = traced
    answer = client.post("/v1/classify", json={"input": TEXT})
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert spans.keys() == {"POST /v1/classify", "queue", "engine", "commit"}
    request = spans["POST /v1/classify"]
    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/classify",
        "http.response.status_code": 200,
        "feilun.request": answer.json()["id"],
    }
    ends = []
    for name in ("queue", "engine", "commit"):
        span = spans[name]
        assert span.parent is not None
        assert span.parent.span_id == request.context.span_id
        assert request.start_time <= span.start_time <= span.end_time <= request.end_time
        ends.append(span.end_time)
        assert not span.attributes
    assert ends == sorted(ends)
    shown = " ".join(span.to_json() for span in exporter.get_finished_spans())
    assert "13812345678" not in shown
    assert "正面" not in shown


def test_a_trace_of_the_caller_goes_on(
    traced: tuple[TestClient, InMemorySpanExporter],
) -> None:
    client, exporter = traced
    trace = "0af7651916cd43dd8448eb211c80319c"
    for flag, count in (("01", 1), ("00", 0)):
        exporter.clear()
        client.get("/v1/models", headers={"traceparent": f"00-{trace}-b7ad6b7169203331-{flag}"})
        found = exporter.get_finished_spans()
        assert len(found) == count, "whether it is traced is the caller's choice"
        assert all(format(span.context.trace_id, "032x") == trace for span in found)
    client.get("/v1/models", headers={"traceparent": "nonsense"})
    assert len(exporter.get_finished_spans()) == 1


def test_a_failure_names_its_code(traced: tuple[TestClient, InMemorySpanExporter]) -> None:
    client, exporter = traced
    client.post("/v1/tag", json={"input": TEXT})
    (span,) = exporter.get_finished_spans()
    assert span.attributes is not None
    assert span.attributes["error.type"] == "other_task"


def test_traces_without_the_packages_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_traces(None, 1.0) is None
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace.export", None)
    with pytest.raises(TracesMissing, match="OpenTelemetry"):
        open_traces("http://127.0.0.1:4318", 1.0)


def test_spans_go_to_a_collector() -> None:
    from tests.unit.local_host import local_host

    with local_host() as host:
        host.answer("/v1/traces", b"")
        traces = open_traces(host.url("/"), 1.0)
        assert traces is not None
        from feilun.service.telemetry.traces import Finished

        traces.record(begin(None), Finished("GET", "/v1/models", 200, 1.0, 2.0, "", None, None))
        traces.close()
        assert [asked.path for asked in host.asked] == ["/v1/traces"]
        assert b"/v1/models" in host.asked[0].body


# Metrics


def test_queue_engine_commit_batches_and_swaps_are_counted(running: Running) -> None:
    for _request in range(3):
        running.client.post("/v1/classify", json={"input": [TEXT, TEXT]})
    text = running.client.get("/metrics").text
    for name in ("queue", "engine", "commit"):
        assert f'feilun_step_seconds_count{{step="{name}"}} 3.0' in text
    assert "feilun_batch_texts_sum 6.0" in text
    assert "feilun_swaps_total 0.0" in text
    assert running.key.split("_")[1] not in text, "a key is no label"


def test_the_dashboard_asks_for_nothing_that_is_not_there(running: Running) -> None:
    metrics = running.service.metrics
    metrics.sent("crm", "delivered")
    metrics.waiting("crm", 1, 0)
    running.client.post("/v1/classify", json={"input": TEXT})
    text = running.client.get("/metrics").text
    known = set(re.findall(r"^(feilun_\w+)[ {]", text, re.M))
    content = json.loads(dashboard())
    shown = [target["expr"] for panel in content["panels"] for target in panel["targets"]]
    asked = set(re.findall(r"feilun_\w+", " ".join(shown)))
    assert len(asked) > 10
    assert asked <= known, asked - known
    ours = {re.sub(r"_(created|bucket|sum|count|total)$", "", name) for name in known}
    drawn = {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in asked}
    assert drawn <= ours
    # The check finds what is not there.
    assert not {"feilun_nothing"} <= known
    places = [tuple(panel["gridPos"].values()) for panel in content["panels"]]
    assert len(set(places)) == len(places)


def test_a_flood_of_failures_is_no_flood_of_lines(lines: io.StringIO) -> None:
    log = RequestLog(Telemetry())
    asked = Asked(None)
    for _request in range(3):
        for _again in range(1000):
            log.note(asked, "POST", "/v1/classify", 503, 0.001, "overloaded")
        log._second -= 1  # a second passes
    log.note(asked, "POST", "/v1/classify", 503, 0.001, "overloaded")
    written = lines.getvalue().splitlines()
    assert len(written) == 3 * FAILED_PER_SECOND + 3 + 1
    assert sum("950 more failed within a second" in line for line in written) == 3


def test_failures_told_together_are_counted_as_one_by_one(lines: io.StringIO) -> None:
    log = RequestLog(Telemetry())
    asked = Asked(None)
    log.note(asked, "POST", "/v1/classify", 503, 0.001, "overloaded", 1000)
    log._second -= 1
    log.note(asked, "POST", "/v1/classify", 503, 0.001, "overloaded")
    first, between, last = lines.getvalue().splitlines()
    assert "999 more failed within a second" in between
    assert "answered" in first
    assert "answered" in last

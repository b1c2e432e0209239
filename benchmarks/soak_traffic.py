"""What soak.py sends: every kind of request at once, and what came of each."""

from __future__ import annotations

import http.client
import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx

CLIENTS, PACE_SECONDS, REPEATED, BATCH_LINES = 4, 0.01, 0.1, 300
PAGES = ("", "/serve", "/usage", "/monitor", "/alerts", "/gateway", "/train", "/privacy")


_FAILED = (OSError, http.client.HTTPException, httpx.HTTPError, AssertionError, KeyError)


class Traffic:
    """What is sent and what came of it; each method but `run` is one client's next request."""

    def __init__(self, port: int, key: str, texts: list[str]) -> None:
        self._port, self._texts = port, texts
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._end = threading.Event()
        self.statuses: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.models: set[str] = set()
        self.told: dict[str, dict[str, Any]] = {}  # what each named request was answered
        self.feedback: set[str] = set()
        self.batches: dict[str, int] = {}
        url = f"http://127.0.0.1:{self._port}"
        self.console = httpx.Client(base_url=url, trust_env=False, timeout=60)
        assert self.console.post("/console/sign-in", data={"key": key}).status_code == 303

    def run(
        self, seconds: float, batch_seconds: float, swap_seconds: float, swap: Callable[[], None]
    ) -> None:
        """All clients at once for some seconds; a batch and a `swap` every so often."""
        work = [(self.predict, PACE_SECONDS)] * CLIENTS + [
            (self.batch, batch_seconds), (self.scrape, 1.0), (self.page, 1.0),
            (self.wrong, 0.2), (self.give_up, 0.2),
        ]  # fmt: skip
        threads = [
            threading.Thread(target=self._again, args=(n, *one)) for n, one in enumerate(work)
        ]
        for thread in threads:
            thread.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(max(0.0, min(swap_seconds, end - time.monotonic())))
            swap()
        self._end.set()
        for thread in threads:
            thread.join()
        self._finish_batches()

    def _again(self, number: int, work: Callable[..., None], pause: float) -> None:
        choose = random.Random(number)
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        while not self._end.wait(pause):
            try:
                work(connection, choose)
            except _FAILED as error:
                self.errors[f"{work.__name__}: {type(error).__name__} {error}"[:200]] += 1
                connection.close()
        connection.close()

    def _ask(
        self, connection: http.client.HTTPConnection, method: str, path: str, wanted: int,
        body: Any = None, **headers: str,
    ) -> bytes:  # fmt: skip
        content = json.dumps(body) if isinstance(body, dict) else body
        connection.request(method, path, content, self._headers | headers)
        answer = connection.getresponse()
        said = answer.read()
        self.statuses[str(answer.status)] += 1
        assert answer.status == wanted, f"{path} {answer.status} {said[:80]!r}"
        return said

    def predict(self, connection: http.client.HTTPConnection, choose: random.Random) -> None:
        """A request under a name, some a second time; feedback on every fifth."""
        body = {"input": choose.choices(self._texts, k=choose.choice((1, 1, 1, 8)))}
        name = f"{choose.getrandbits(64):x}"
        for _time in range(1 + (choose.random() < REPEATED)):
            named = {"Idempotency-Key": name}
            told = json.loads(self._ask(connection, "POST", "/v1/classify", 200, body, **named))
            assert self.told.setdefault(name, told) == told, "a repeat was answered differently"
        self.models.add(told["model"])
        if choose.random() < 0.2:
            said = {"prediction_id": told["results"][0]["id"], "kind": "rating", "value": 1}
            row = self._ask(connection, "POST", "/v1/feedback", 200, said)
            self.feedback.add(json.loads(row)["id"])

    def batch(self, connection: http.client.HTTPConnection, choose: random.Random) -> None:
        """One of some hundred lines."""
        lines = [json.dumps({"input": choose.choice(self._texts)}) for _line in range(BATCH_LINES)]
        kind = {"Content-Type": "application/jsonl"}
        made = self._ask(connection, "POST", "/v1/batches", 202, "\n".join(lines), **kind)
        self.batches[json.loads(made)["id"]] = len(lines)

    def scrape(self, connection: http.client.HTTPConnection, _choose: random.Random) -> None:
        """What a monitoring system and an orchestrator look at."""
        for path in ("/metrics", "/readyz", "/healthz"):
            self._ask(connection, "GET", path, 200)

    def page(self, _connection: http.client.HTTPConnection, choose: random.Random) -> None:
        """A page of the console."""
        path = f"/console{choose.choice(PAGES)}"
        answer = self.console.get(path)
        self.statuses[str(answer.status_code)] += 1
        assert answer.status_code == 200, f"{path} {answer.status_code}"

    def every_page(self) -> None:
        """Each page once: what the monitor needs is loaded when it is first looked at."""
        for page in PAGES:
            self.console.get(f"/console{page}").raise_for_status()

    def wrong(self, connection: http.client.HTTPConnection, choose: random.Random) -> None:
        """A request that is to be refused."""
        method, path, wanted, body, headers = choose.choice([
            ("POST", "/v1/classify", 401, {"input": "x"}, {"Authorization": ""}),
            ("POST", "/v1/classify", 422, {"input": 7}, {}),
            ("POST", "/v1/classify", 400, b"{", {}),
            ("GET", "/v1/nothing", 404, None, {}),
            ("POST", "/v1/feedback", 404,
             {"prediction_id": "p_none", "kind": "rating", "value": 1}, {}),
        ])  # fmt: skip
        self._ask(connection, method, path, wanted, body, **headers)

    def give_up(self, _connection: http.client.HTTPConnection, choose: random.Random) -> None:
        """A connection that is reset within a request or before its answer is read."""
        request = choose.choice([
            b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n", b"POST /v1/cl",
            b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{",
        ])  # fmt: skip
        with socket.create_connection(("127.0.0.1", self._port)) as given_up:
            given_up.sendall(request)
            given_up.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _finish_batches(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        end = time.monotonic() + 60
        for identity in self.batches:
            told: dict[str, Any] = {}
            while told.get("status") != "completed" and time.monotonic() < end:
                time.sleep(0.05)
                told = json.loads(
                    self._ask(connection, "GET", f"/v1/batches/status?id={identity}", 200)
                )
            if told.get("status") != "completed":
                self.errors["a batch is not completed"] += 1
        connection.close()
        self.console.close()

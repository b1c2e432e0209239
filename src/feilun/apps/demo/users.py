"""Simulated users: they send reviews over HTTP and say what they think of the answers.

They are programs, and the screen says so. A user who gets a wrong answer corrects it; one who
gets a right answer says so. One in twenty lies: a right answer is «corrected» to the other label,
a wrong one is praised.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import httpx

LIE_SHARE = 0.05
CLIENTS = 8


class Review(NamedTuple):
    """A text and its true label, which only its user knows."""

    text: str
    label: str


class Usage(NamedTuple):
    """What the users saw: milliseconds per request, failures, and what they said."""

    latencies_ms: list[float]
    errors: int
    feedback: int
    lies: int


class _User(NamedTuple):
    number: int
    review: Review
    lies: bool


def use_service(
    address: str, key: str, reviews: list[Review], seed: int, progress: Callable[[int], None]
) -> Usage:
    """Sends every review as one request, `CLIENTS` at a time, each followed by its feedback."""
    random_ = random.Random(seed)  # noqa: S311  # a simulation, not a secret
    waiting: queue.Queue[_User] = queue.Queue()
    for number, review in enumerate(reviews):
        waiting.put(_User(number, review, random_.random() < LIE_SHARE))
    usage: list[Usage] = []
    threads = [
        threading.Thread(
            target=lambda: usage.append(_client(address, key, waiting, progress)),
            name=f"client-{i}",
        )
        for i in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Usage(
        [ms for one in usage for ms in one.latencies_ms],
        sum(one.errors for one in usage),
        sum(one.feedback for one in usage),
        sum(one.lies for one in usage),
    )


def _client(
    address: str, key: str, waiting: queue.Queue[_User], progress: Callable[[int], None]
) -> Usage:
    latencies: list[float] = []
    errors = feedback = lies = 0
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=address, headers=headers, timeout=30, trust_env=False) as http:
        while True:
            try:
                user = waiting.get_nowait()
            except queue.Empty:
                break
            started = time.perf_counter()
            answer = http.post("/v1/classify", json={"input": user.review.text})
            latencies.append((time.perf_counter() - started) * 1000)
            if answer.status_code != 200:
                errors += 1
                continue
            result = answer.json()["results"][0]
            content = {
                "prediction_id": result["id"],
                **_opinion(user, result["label"]),
                "source": f"user-{user.number}",
                "idempotency_key": f"demo-{result['id']}",
            }
            sent = http.post("/v1/feedback", json=content)
            errors += sent.status_code != 200
            feedback += sent.status_code == 200
            lies += user.lies
            progress(1)
    return Usage(latencies, errors, feedback, lies)


def _opinion(user: _User, answered: str | None) -> dict[str, object]:
    truth = user.review.label
    right = answered == truth
    if user.lies and right:
        other = next(label for label in ("正面", "负面") if label != truth)
        return {"kind": "correction", "value": other}
    if right or user.lies:
        return {"kind": "rating", "value": True}
    return {"kind": "correction", "value": truth}

"""`[serve.cascade]`: who is asked where no member of a cascade is sure enough."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from feilun.core.errors import FeilunError
from feilun.core.secret import Secret
from feilun.models.levels import Ready
from feilun.tasks import Answer, Task
from feilun.tasks.questions import questions
from feilun.tasks.task import UNKNOWN, Input

ENDPOINT, PERSON = "endpoint", "person"
"""The levels after a cascade's members; `person` is also the reason of an answer left open."""
MOST_CHARACTERS = 8000
"""Longer texts are not sent to an endpoint: a small model loses the thread."""


class EndpointLevel(BaseModel):
    """A language model behind an OpenAI-compatible server; what is asked of it leaves this
    process, unmasked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: str = Field(
        pattern=r"^https?://[^\s?#@]+$", description="address up to /chat/completions"
    )
    model: str = Field(min_length=1, description="the model's name at the endpoint")
    token: Secret | None = Field(
        None, description="env:NAME, the environment variable with the endpoint's token"
    )
    instructions: str | None = Field(
        None, max_length=4000, description="what the labels mean, in words for the model"
    )
    most_tokens: int = Field(256, ge=1, le=65536, description="of one answer")
    price: float = Field(0.0, ge=0, description="of a million tokens")
    timeout_seconds: float = Field(
        10.0, gt=0, description="for its answer, tries and all; then it is the next one's turn"
    )
    max_concurrent: int = Field(
        8, ge=1, le=256, description="requests that ask it at the same time; more go on at once"
    )


class Beyond(BaseModel):
    """Levels after a cascade's own. With one, the cascade answers only what it is sure enough of,
    so that at most a share `risk` of all texts is answered wrong by it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: EndpointLevel | None = Field(
        None, description="a language model that is asked next; left out: none"
    )
    person: bool = Field(
        False, description="whether what is left waits for somebody: the answer is null"
    )
    person_price: float = Field(0.0, ge=0, description="of an answer by a person")

    @property
    def follows(self) -> bool:
        """Whether there is any level after the cascade's own."""
        return self.person or self.endpoint is not None


class Heard(NamedTuple):
    """What an endpoint said of one input (None: nothing that can be read), and its cost."""

    answer: Answer | None
    cost: float


def ask(
    level: EndpointLevel,
    task: Task,
    labels: tuple[str, ...],
    inputs: Sequence[Input],
    seconds: float,
) -> list[Heard]:
    """What the endpoint answers within `seconds`, one per input. Whatever goes wrong there means
    that it is the next level's turn: nothing is raised. Its answers have the score 1, for it says
    of none how sure it is."""
    # httpx, which it needs, takes a tenth of a second to import: not at every start.
    from feilun.core.endpoint import Endpoint

    until = time.monotonic() + seconds
    written = [task.written_input(given) for given in inputs]
    asking = questions(task, labels, level.instructions)
    sent = [at for at, text in enumerate(written) if len(text) <= MOST_CHARACTERS]
    nothing = [Heard(None, 0.0)] * len(inputs)

    def pause(wanted: float) -> None:
        if time.monotonic() + wanted >= until:
            raise _TimeIsOver
        time.sleep(wanted)

    try:
        server = Endpoint(
            level.endpoint, level.model, token=level.token, timeout=seconds, sleep=pause
        )
        said = server.answers(
            [asking.ask(written[at]) for at in sent], temperature=0.0, longest=level.most_tokens
        )
    except (FeilunError, _TimeIsOver):
        return nothing
    for at, answer in zip(sent, said, strict=True):
        cost = answer.tokens * level.price / 1e6
        read = answer.text and asking.read(written[at], answer.text)
        found = _answer(task, labels, inputs[at], read) if read is not None else None
        nothing[at] = Heard(found, cost)
    return nothing


def unanswered(task: Task, labels: tuple[str, ...], given: Input) -> Answer:
    """No answer, with the reason `person`; an input with nothing to judge by keeps its own."""
    row = np.full((1, len(labels)), np.nan, dtype=np.float32)
    answer = task.answers(Ready(labels, row), [given])[0]
    if answer.reason != UNKNOWN:
        return answer
    return cast(Answer, cast(Any, answer)._replace(reason=PERSON))


class _TimeIsOver(Exception):  # it never leaves this module
    """The pause before the next try would end after the deadline."""


def _answer(task: Task, labels: tuple[str, ...], given: Input, written: str) -> Answer:
    held = set(task.counted(written))
    row = np.array([[float(label in held) for label in labels]], dtype=np.float32)
    return task.answers(Ready(labels, row), [given])[0]

"""Serve: what the service may take, and predictions without one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

from pydantic import Field

from feilun.core.artifacts import Model
from feilun.core.run import Run
from feilun.core.stage import Stage
from feilun.models import load
from feilun.stages.serve.bake import Bake
from feilun.stages.serve.beyond import Beyond
from feilun.stages.serve.channel import Channels
from feilun.stages.serve.gateway import Gateway
from feilun.stages.serve.log import Log
from feilun.stages.serve.telemetry import Telemetry
from feilun.tasks import Answer, task_named
from feilun.tasks.task import Input


class ServeGiven(NamedTuple):
    """The model that answers, and the inputs."""

    model: Model
    inputs: Sequence[Input]


class Serve(Stage[ServeGiven, list[Answer]]):
    """Answers to inputs. The other settings are the service's: where it listens, and what
    one request may hold."""

    use: ClassVar[str] = "serve"

    host: str = Field("127.0.0.1", description="127.0.0.1: this machine only")
    names: tuple[str, ...] = Field(
        (), description="further names that requests may call it by, such as a proxy's"
    )
    port: int = Field(8000, ge=0, le=65535, description="0: any free one")
    max_inputs: int = Field(256, ge=1, le=10_000, description="texts in one request")
    max_chars: int = Field(20_000, ge=1, description="characters in one text")
    max_body_bytes: int = Field(4_000_000, ge=1_000, description="of one request, in bytes")
    queue: int = Field(256, ge=1, description="requests that may wait")
    queue_texts: int = Field(4096, ge=1, description="texts that may wait, of all requests")
    timeout_seconds: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="for an answer; a request may ask for less: X-Request-Timeout-Seconds",
    )
    shadow_share: float = Field(
        0.1, ge=0, le=1, description="of the requests, that a shadow model answers too"
    )
    bake: Bake = Field(
        Bake(), description="how a model that has just gone live is watched, and rolled back"
    )
    cascade: Beyond = Field(
        Beyond(), description="who is asked where no member of a cascade is sure enough"
    )
    machine_price: float = Field(
        0.0, ge=0, description="of an hour of this machine, for the cost of each prediction"
    )
    max_batches: int = Field(4, ge=1, description="unfinished batches of one key")
    max_batch_lines: int = Field(100_000, ge=1, description="lines in one batch")
    max_batch_bytes: int = Field(100_000_000, ge=1_000, description="of one batch, in bytes")
    batch_days: float = Field(30.0, gt=0, description="that a batch's results are kept")
    drain_seconds: float = Field(20.0, ge=0, description="for open requests at shutdown")
    gateway: Gateway | None = Field(None, description="where chats are passed on to")
    log: Log = Field(Log(), description="how texts are kept, and for how long")
    telemetry: Telemetry = Telemetry()
    notify: Channels = Field((), description="who is told of what happens")

    def inputs(self, given: ServeGiven, root: Path) -> dict[str, str]:
        """The model."""
        return {"model": given.model.digest}

    def run(self, given: ServeGiven, run: Run) -> list[Answer]:
        """One answer per input, in their order."""
        return task_named(given.model.task).answers(load(run.unpack(given.model)), given.inputs)

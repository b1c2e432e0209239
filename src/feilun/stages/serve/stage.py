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
    port: int = Field(8000, ge=0, le=65535, description="0: any free one")
    max_inputs: int = Field(256, ge=1, le=10_000, description="texts in one request")
    max_chars: int = Field(20_000, ge=1, description="characters in one text")
    max_body_bytes: int = Field(4_000_000, ge=1_000, description="of one request, in bytes")
    queue: int = Field(256, ge=1, description="requests that may wait")
    drain_seconds: float = Field(20.0, ge=0, description="for open requests at shutdown")

    def inputs(self, given: ServeGiven, root: Path) -> dict[str, str]:
        """The model."""
        return {"model": given.model.digest}

    def run(self, given: ServeGiven, run: Run) -> list[Answer]:
        """One answer per input, in their order."""
        return task_named(given.model.task).answers(load(run.unpack(given.model)), given.inputs)

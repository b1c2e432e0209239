"""`feilun.toml`: one section per stage; the classes of the stages are its documentation."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, field_validator, model_validator
from pydantic_core import PydanticCustomError

from feilun.core.part import names
from feilun.economics import Economics
from feilun.stages.collect import Collect
from feilun.stages.evaluate import Evaluate
from feilun.stages.feedback import Feedback
from feilun.stages.monitor import Monitor
from feilun.stages.prepare import Prepare
from feilun.stages.release import Gate
from feilun.stages.serve import Serve
from feilun.stages.train import Train
from feilun.tasks import Classify, Task


class About(BaseModel):
    """`[project]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[\w][\w .-]{0,63}$", description="for people")
    task: SerializeAsAny[Task] = Field(
        Classify(), description="what is asked of the model: its name, or a table with `use`"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="fixes every random choice")

    @field_validator("task", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value not in names("task"):
            context = {"key": "task", "name": value, "known": names("task")}
            raise PydanticCustomError("part_unknown", "unknown part", context)
        return {"use": value}


class Settings(BaseModel):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    project: About
    collect: Collect
    prepare: Prepare = Prepare()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    release: Gate = Gate()
    serve: Serve = Serve()
    monitor: Monitor = Monitor()
    feedback: Feedback = Feedback()
    economics: Economics = Economics()

    @property
    def metric(self) -> str:
        """What must gain: by it turns are compared."""
        return self.release.metric or self.project.task.metrics[0]

    @model_validator(mode="after")
    def _steps(self) -> Self:
        """Raises `StepUnfit`."""
        self.prepare.fitted(self.project.task)
        return self

    @model_validator(mode="after")
    def _metrics(self) -> Self:
        known = list(self.project.task.metrics)
        named = {
            "train": self.train.metric,
            "train.tune": self.train.tune.metric,
            "release": self.release.metric,
        }
        for section, metric in named.items():
            if metric is not None and metric not in known:
                at = (*section.split("."), "metric")
                context = {"key": "metric", "name": metric, "known": known, "at": at}
                raise PydanticCustomError("part_unknown", "unknown part", context)
        return self

"""`feilun.toml`: one section per stage; the classes of the stages are its documentation."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from feilun.core.part import names
from feilun.stages.collect import Collect
from feilun.stages.evaluate import Evaluate
from feilun.stages.feedback import Feedback
from feilun.stages.monitor import Monitor
from feilun.stages.prepare import Prepare
from feilun.stages.release import Gate
from feilun.stages.serve import Serve
from feilun.stages.train import Train


class About(BaseModel):
    """`[project]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[\w][\w .-]{0,63}$", description="for people")
    task: str = Field("classify", description="what is asked of the model")
    seed: int = Field(0, ge=0, lt=2**32, description="fixes every random choice")

    @field_validator("task")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in names("task"):
            context = {"key": "task", "name": value, "known": names("task")}
            raise PydanticCustomError("part_unknown", "unknown part", context)
        return value


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

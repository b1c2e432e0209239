"""A language model as a teacher."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from feilun.core.artifacts import Model
from feilun.core.endpoint import Endpoint
from feilun.core.errors import Invalid, shortened
from feilun.core.i18n import _
from feilun.core.run import Run
from feilun.core.secret import Secret
from feilun.models import Lesson
from feilun.stages.train.teachers.questions import questions, written_inputs
from feilun.stages.train.teachers.teacher import Answers, Opinion, Teacher
from feilun.tasks.regress import shortest

if TYPE_CHECKING:
    import polars as pl

MOST_CHARACTERS = 8000
"""Longer texts are not sent: a small model loses the thread."""
SAMPLING = 0.7
"""The temperature at which several answers are drawn; a single one is the likeliest (0)."""
FEWEST = 8
"""So many texts that were all answered unusably are reason to stop before more is paid for."""


class TeacherUnreadable(Invalid):
    """None of the language model's answers is an answer to the question."""

    def __init__(self, model: str, count: int) -> None:
        super().__init__(
            _(
                "The teacher {model} of [train.distil] answered none of the first {count} texts "
                "in a form that can be read."
            ).format(model=shortened(model), count=count),
            remedy=_(
                "Take a larger model, say in instructions what the labels mean, or raise "
                "most_tokens: what is cut off is no answer."
            ),
        )


class EndpointTeacher(Teacher):
    """A language model behind an OpenAI-compatible server. The unlabelled texts are sent there;
    what the steps of `prepare` masked is masked. With several `samples` the labels' shares among
    them are the soft labels."""

    use: ClassVar[str] = "endpoint"
    batch: ClassVar[int] = 32

    endpoint: str = Field(
        pattern=r"^https?://[^\s?#@]+$", description="address up to /chat/completions"
    )
    model: str = Field(min_length=1, description="the model's name at the endpoint")
    token: Secret | None = Field(
        None, description="env:NAME, the environment variable with the endpoint's token"
    )
    samples: int = Field(1, ge=1, le=32, description="how often each text is asked about")
    instructions: str | None = Field(
        None, max_length=4000, description="what the labels mean, in words for the model"
    )
    most_tokens: int = Field(
        1024, ge=1, le=65536, description="of one answer; of models that think, with their thoughts"
    )
    price: float = Field(0.0, ge=0, description="of a million tokens, in `currency`")
    currency: str = Field("cny", pattern=r"^[a-z]{3}$", description="what the price is in")

    def costs(self, tokens: int) -> dict[str, float]:
        """The tokens, and the money if they have a price."""
        money = tokens * self.price / 1e6
        return {"endpoint.tokens": float(tokens)} | ({self.currency: money} if money else {})

    def ready(self, lesson: Lesson, model: Model | None, run: Run) -> Answers:
        """Answers that were given once are in `run.folder`. Raises `TeacherUnreadable`, and as
        `feilun.core.endpoint.Endpoint`."""
        server = Endpoint(
            self.endpoint, self.model, token=self.token, cache=run.folder / "endpoint"
        )
        asking = questions(lesson, self.instructions)
        number = lesson.task.use == "regress"
        heard = False

        def answers(frame: pl.DataFrame) -> list[Opinion]:
            nonlocal heard
            texts = written_inputs(lesson, lesson.task.inputs(frame))
            short = [text for text in texts if len(text) <= MOST_CHARACTERS]
            said: list[list[str | None]] = [[] for _text in short]
            tokens = [0] * len(short)
            for sample in range(self.samples):
                found = server.answers(
                    [asking.ask(text) for text in short],
                    seed=(run.seed + sample) % 2**31,
                    temperature=SAMPLING if self.samples > 1 else 0.0,
                    longest=self.most_tokens,
                )
                for at, (text, answer) in enumerate(zip(short, found, strict=True)):
                    tokens[at] += answer.tokens
                    said[at].append(answer.text and asking.read(text, answer.text))
            pairs = zip(said, tokens, strict=True)
            opinions = iter([_opinion(s, lesson.labels, number, paid) for s, paid in pairs])
            heard = heard or any(one is not None for each in said for one in each)
            if not heard and len(short) >= FEWEST:
                raise TeacherUnreadable(self.model, len(short))
            return [
                next(opinions) if len(text) <= MOST_CHARACTERS else Opinion(None) for text in texts
            ]

        return answers


def _opinion(
    said: Sequence[str | None], labels: Sequence[str], is_number: bool, tokens: int
) -> Opinion:
    """What the samples say together: the commonest (of equals the first in sorted order), of
    numbers the median. Its share of all the samples is the confidence; what cannot be read
    counts against it."""
    readable = [one for one in said if one is not None]
    if not readable:
        return Opinion(None, tokens=tokens)
    if is_number:
        value = shortest(median(map(float, readable)))
        return Opinion(value, len(readable) / len(said), tokens=tokens)
    counts = Counter(readable)
    best = min(counts, key=lambda one: (-counts[one], one))
    shares = tuple(counts[label] / len(readable) for label in labels)
    whole = sum(counts[label] for label in labels) == len(readable)
    return Opinion(best, counts[best] / len(said), shares if whole else None, tokens)

"""What a language model is asked about the records of a lesson."""

from __future__ import annotations

from collections.abc import Sequence

from feilun.models import Lesson
from feilun.tasks import Input
from feilun.tasks.questions import Questions
from feilun.tasks.questions import questions as of_task


def questions(lesson: Lesson, instructions: str | None) -> Questions:
    """Those of the lesson's task."""
    task = lesson.task
    truth = task.truth(lesson.train) if task.use == "regress" else ()
    return of_task(task, lesson.labels, instructions, truth)


def written_inputs(lesson: Lesson, inputs: Sequence[Input]) -> list[str]:
    """Each input as one text."""
    return [lesson.task.written_input(given) for given in inputs]

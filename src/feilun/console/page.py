"""What every further page of the console offers; the first page is `overview`."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from feilun.core.part import Part
from feilun.wheel.project import Project


class Page(Part):
    """A page at `/console/USE`, linked from every page and shown to who is signed in.

    `title` names it; `stage` is the word of the wheel that it belongs to, in whose order the pages
    are linked (none: behind all). `template` is the Jinja text of its content: everything is
    escaped, `_()` speaks the reader's language, and no script runs. Its values come from `values`;
    `viewer` is the API key (`feilun.team.Key`) with which the reader is signed in.
    """

    kind: ClassVar[str] = "page"
    title: ClassVar[str]
    stage: ClassVar[str] = ""
    template: ClassVar[str]

    @abstractmethod
    def values(self, project: Project) -> dict[str, Any]:
        """What the template shows, gathered from the project; called in a thread."""

"""Erasing a person from the console: asked, asked once more with what was found, then done."""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.responses import RedirectResponse, Response

from feilun.console import pages
from feilun.core.i18n import _
from feilun.team import Key
from feilun.wheel.erasing_log import find
from feilun.wheel.erasure import sought_by
from feilun.wheel.project import Project

TEMPLATE = '{% include "erase.html" %}'


def erase(project: Project, key: Key, body: bytes) -> Response:
    """The answer to the form of the page *Privacy*, whose `body` has `subject`, `texts` (one a
    line) and, the second time, `sure`: first what of the log is about the person, to be confirmed;
    then the way to the receipt of the erasure by `key`. Raises what `Project.erase` raises."""
    fields = parse_qs(body.decode("utf-8", "replace"))
    subject = fields.get("subject", [""])[-1].strip()
    lines = (line.strip() for value in fields.get("texts", ()) for line in value.splitlines())
    texts = [line for line in lines if line]
    if "sure" in fields:
        receipt = project.erase(subject, texts=texts, by=key.name)
        return RedirectResponse(f"{pages.PRIVACY}#{receipt.id}", 303)
    found = find(project.events, sought_by(project, subject, texts))
    title = _("Erase a person?")
    return pages.framed(
        TEMPLATE, title, pages.PRIVACY, project, subject=subject, texts=texts, found=found
    )

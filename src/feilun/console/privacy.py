"""The page of the log's privacy: how texts are kept, for how long, and what was erased when."""

from __future__ import annotations

from typing import Any, ClassVar

from feilun.console.overview import moment
from feilun.console.page import Page
from feilun.core.i18n import N_, _
from feilun.wheel.project import Project


class PrivacyPage(Page):
    """What `[serve.log]` says, a form to erase a person for keys that may, and the receipts of
    erasures: figures, no names."""

    use: ClassVar[str] = "privacy"
    stage: ClassVar[str] = "serve"
    title: ClassVar[str] = N_("Privacy")
    template: ClassVar[str] = '{% include "privacy.html" %}'

    def values(self, project: Project) -> dict[str, Any]:
        log = project.settings.serve.log
        days = {
            _("texts without feedback go after"): log.input_days,
            _("predictions without feedback go after"): log.row_days,
            _("feedback goes after"): log.feedback_days,
        }
        return {
            "keep": log.keep,
            "days": [
                (what, _("never") if count is None else _("{count} days").format(count=count))
                for what, count in days.items()
            ],
            "receipts": [{**one._asdict(), "at": moment(one.at)} for one in project.erasures()],
        }

"""«No, it is …»: corrections and outcomes that name the right label."""

from __future__ import annotations

from typing import Any, ClassVar

from feilun.stages.feedback.collector import Collector, Vote


class Corrections(Collector):
    """A `correction`, or an `outcome` whose value is text, is a vote for its value."""

    use: ClassVar[str] = "corrections"

    def vote(self, row: dict[str, Any]) -> Vote | None:
        value = row["value"]
        if row["kind"] not in {"correction", "outcome"} or not isinstance(value, str):
            return None
        return Vote(row["input"], value.strip(), row["source"], row["seq"])

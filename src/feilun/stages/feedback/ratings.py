"""«Right!»: good ratings confirm the answer."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from feilun.stages.feedback.collector import Collector, Vote


class Ratings(Collector):
    """A `rating` of true, or of at least `good` on the scale from 0 to 1, is a vote for the label
    that was answered. A bad rating says what it is not, and is no vote."""

    use: ClassVar[str] = "ratings"

    good: float = Field(0.75, gt=0, le=1, description="a rating from here on confirms")

    def vote(self, row: dict[str, Any]) -> Vote | None:
        if row["kind"] != "rating" or row["label"] is None:
            return None
        if not float(row["value"]) >= self.good:
            return None
        return Vote(row["input"], row["label"], row["source"], row["seq"])

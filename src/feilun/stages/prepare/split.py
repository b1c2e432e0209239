"""`[prepare.split]`: the shares of train, validation and test, and what can keep them from being
drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from feilun.core.errors import Invalid, shortened
from feilun.core.i18n import _

if TYPE_CHECKING:
    import polars as pl

    from feilun.stages.prepare.sides import Sides
    from feilun.tasks import Task


class TooFewRecords(Invalid):
    """After cleaning, fewer labelled records are left than the minimum."""

    def __init__(self, count: int, needed: int) -> None:
        super().__init__(
            _(
                "{count} labelled records are left after cleaning; [prepare.split] minimum asks "
                "for {needed}."
            ).format(count=count, needed=needed),
            remedy=_("See what was dropped: feilun prepare --dropped all --show 20"),
        )


class OneLabel(Invalid):
    """There is nothing to tell apart."""

    def __init__(self, labels: list[str]) -> None:
        super().__init__(
            _("A classifier needs two labels or more; the records have {count}: {labels}.").format(
                count=len(labels), labels=", ".join(labels) or "-"
            ),
            remedy=_(
                "Name the label column: columns = {{ label = … }} under [[collect.sources]]."
            ).format(),
        )


class NothingToSplitBy(Invalid):
    """The records lack what the split goes by."""

    def __init__(self, column: str, count: int) -> None:
        super().__init__(
            _("Split by {column}: {count:,} labelled records have no {column}.").format(
                column=column, count=count
            ),
            remedy=_(
                "Name it: columns = {{ {column} = … }} under [[collect.sources]], or set "
                'by = "label" under [prepare.split].'
            ).format(column=column),
        )


class SplitTooSmall(Invalid):
    """A label has too few records for every split to have one."""

    def __init__(self, split: str, label: str, count: int) -> None:
        super().__init__(
            _(
                "Label '{label}' has {count} record(s) in split '{split}'; each label needs at "
                "least one in train and one in test."
            ).format(label=label, count=count, split=split),
            remedy=_("Collect more records of it, or merge it into another label."),
        )


class NothingToFind(Invalid):
    """No record to learn from says what is to be found."""

    def __init__(self, task: str, count: int) -> None:
        super().__init__(
            _(
                "The task {task} needs labels to learn; the {count:,} labelled records of the "
                "training split have none."
            ).format(task=task, count=count),
            remedy=_("See what was collected: feilun collect --preview"),
        )


class OneValue(Invalid):
    """All numbers to learn from are the same."""

    def __init__(self, value: str, count: int) -> None:
        super().__init__(
            _(
                "The task regress needs two different numbers or more; all {count:,} records of "
                "the training split say {value}."
            ).format(count=count, value=shortened(value)),
            remedy=_(
                "Name the column of the numbers: columns = {{ label = … }} under "
                "[[collect.sources]]."
            ).format(),
        )


class SplitEmpty(Invalid):
    """Too few labelled records for every split to have one."""

    def __init__(self, split: str, count: int) -> None:
        super().__init__(
            _("None of {count:,} labelled records came to split '{split}'.").format(
                count=count, split=split
            ),
            remedy=_("Collect more of them, or set a larger share under [prepare.split]."),
        )


class Split(BaseModel):
    """The shares of the labelled records; `train` gets the rest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    test: float = Field(0.2, gt=0, lt=0.9, description="share of each label, in the first turn")
    validation: float = Field(0.1, gt=0, lt=0.5, description="share of what is left")
    by: Literal["label", "group", "time"] = Field(
        "label",
        description="group: nothing that shares one is parted; time: the newest are the test",
    )
    minimum: int = Field(20, ge=4, description="labelled records to go on with")
    near_duplicates: float | None = Field(
        0.7,
        ge=0,
        le=0.95,
        description="texts at least this alike (Jaccard) stay on one side; 0: only equal ones",
    )

    def assign(
        self,
        known: pl.DataFrame,
        clusters: pl.Series | None,
        frozen: pl.DataFrame,
        seed: int,
        task: Task | None = None,
    ) -> Sides:
        """The sides of records by these settings; see `feilun.stages.prepare.sides.assign`."""
        # A process that serves knows the settings and splits nothing.
        from feilun.stages.prepare.sides import assign

        return assign(self, known, clusters, frozen, seed, task)

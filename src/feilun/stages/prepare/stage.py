"""Prepare: raw records → a dataset, and every dropped record with its reason."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from pydantic import Field, SerializeAsAny

from feilun.core.artifacts import Dataset, Model, Records, sharded
from feilun.core.compiled import usable_cores
from feilun.core.part import find, names
from feilun.core.run import Run
from feilun.core.stage import Stage
from feilun.stages.prepare.conflicts import Conflicts
from feilun.stages.prepare.duplicates import Duplicates
from feilun.stages.prepare.facts import Facts, File, described
from feilun.stages.prepare.normalise import Normalise
from feilun.stages.prepare.split import Split
from feilun.stages.prepare.step import CorpusStep, Step
from feilun.tasks import Classify, Task

if TYPE_CHECKING:
    from feilun.stages.prepare.files import Prepared

COSTS = "endpoint."
"""What steps count as a price paid: it belongs to the run, not to what a dataset is."""
DEFAULT_STEPS = (Normalise(), Conflicts(), Duplicates())


class PrepareGiven(NamedTuple):
    """The raw records; from the first release on the files of the frozen test (their sha256)
    and the model that is live; and what is asked of it."""

    records: Records
    frozen_test: tuple[str, ...] = ()
    live: Model | None = None
    task: Task = Classify()


class Prepare(Stage[PrepareGiven, Dataset]):
    """The steps in their order, then the split; then, on the training split alone, the steps
    that change what is trained on (`balance`, `augment`)."""

    use: ClassVar[str] = "prepare"

    steps: tuple[SerializeAsAny[Step], ...] = Field(DEFAULT_STEPS, description="in this order")
    split: Split = Split()
    workers: int = Field(0, ge=0, le=64, description="threads or processes; 0: one per core")

    def inputs(self, given: PrepareGiven, root: Path) -> dict[str, str]:
        """The records, the frozen test, the files that steps read; the live model, where a step
        after the split asks it; what is asked, where it is not the plain `classify`. Raises
        `StepUnfit`."""
        self.fitted(given.task)
        found = {"records": given.records.digest}
        named = given.task.named()
        if named != Classify.use:
            found["task"] = json.dumps(named, sort_keys=True)
        if given.frozen_test:
            found["frozen_test"] = " ".join(given.frozen_test)
        if given.live is not None and self._asks_live():
            found["live"] = given.live.digest
        for number, step in enumerate(self.steps):
            for path in step.reads(root):
                found[f"{number}.{step.use}.{path.name}"] = _digest(path)
        return found

    def _asks_live(self) -> bool:
        return any(not isinstance(step, CorpusStep) for step in self.phases()[1])

    def fitted(self, task: Task) -> Prepare:
        """These settings as they are for the task; raises `StepUnfit` where a step has no meaning
        there."""
        steps = tuple(step.fitted(task) for step in self.steps)
        return self if steps == self.steps else self.model_copy(update={"steps": steps})

    def phases(self) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
        """The steps before the split, and those after it; each in their order."""
        before = tuple(step for step in self.steps if not step.after_split)
        return before, tuple(step for step in self.steps if step.after_split)

    def cores(self) -> int:
        """How many threads or processes may work at once."""
        return self.workers or usable_cores()

    def num_workers(self, num_shards: int) -> int:
        """How many threads or processes work on so many shards."""
        if num_shards < 2 or not isinstance(self.for_workers(), dict):
            return 1
        return min(self.cores(), num_shards)

    def for_workers(self) -> Any:
        """The settings as JSON values; this object itself, where a step is not installed as a
        part and so cannot be made again in another process."""
        for step in self.steps:
            known = step.use in names("step") and find("step", step.use) is type(step)
            if not known:
                return self
        return self.model_dump(mode="json")

    def _facts(self, records: Records, made: Prepared, files: dict[str, str]) -> Facts:
        """What the data card and `croissant.json` tell."""
        return Facts(
            name=", ".join(records.sources)[:80] or "records",
            splits=made.counts,
            labels=tuple(sorted({label for counts in made.balance.values() for label in counts})),
            num_raw=records.num_rows,
            dropped=made.reasons,
            made_by=self.model_dump(mode="json", exclude={"workers"}),
            files={name: File(digest, made.sizes[digest]) for name, digest in files.items()},
            balance=made.balance,
            found=made.found,
            sources=records.sources,
        )

    def run(self, given: PrepareGiven, run: Run) -> Dataset:
        """Parquet files for each split and for what was dropped; `README.md`, the data card, and
        `croissant.json`; what steps tell besides."""
        # A process that serves knows the settings and prepares nothing.
        from feilun.stages.prepare.flow import Flow

        inputs = [run.file(digest) for digest in given.records.shards("records")]
        frozen = [run.file(digest) for digest in given.frozen_test]
        asked = given.live is not None and self._asks_live()
        live = run.unpack(given.live) if given.live is not None and asked else None
        made = Flow(self, inputs, run, frozen=frozen, live=live, task=given.task).go()
        files: dict[str, str] = {}
        for name, digests in (*made.splits.items(), ("dropped", made.dropped)):
            files |= sharded(name, digests)
        facts = self._facts(given.records, made, files)
        files |= {name: run.keep(content) for name, content in described(facts).items()}
        files |= made.told
        run.spend(given.records.num_rows, "records")
        for what, amount in sorted(made.found.items()):
            run.spend(amount, what)
        labels = {label for counts in made.balance.values() for label in counts}
        return Dataset(
            files=files,
            parents=(given.records.digest,),
            made_by=self.model_dump(mode="json", exclude={"workers"}),
            task=given.task.named(),
            labels=tuple(sorted(labels)),
            splits=made.counts,
            num_raw=given.records.num_rows,
            dropped=made.reasons,
            balance=made.balance,
            funnel=made.funnel,
            found={what: n for what, n in made.found.items() if not what.startswith(COSTS)},
        )


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as source:
            return "sha256:" + hashlib.file_digest(source, "sha256").hexdigest()
    except OSError:
        # The step itself will say what is wrong with it.
        return "unreadable"

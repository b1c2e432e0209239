"""A project: the folder with `feilun.toml`, and everything that was made from it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from feilun.core.artifacts import Artifact, Cost, Dataset, Model
from feilun.core.errors import Conflict, Invalid, shortened
from feilun.core.i18n import N_, _
from feilun.core.message import Message
from feilun.core.refs import Ref
from feilun.models import Predictor, load
from feilun.stages.monitor import Signal
from feilun.store.control import AliasRow, StoredArtifact
from feilun.store.events import storable
from feilun.tasks.task import Input
from feilun.team import user_name
from feilun.wheel.notebook import turns_html
from feilun.wheel.predictions import LOCAL_KEY, Answered, NothingLive, feedback_row
from feilun.wheel.runner import LocalRun, Observer
from feilun.wheel.turn import LIVE, Turn, read_turn, revolve
from feilun.wheel.workspace import Workspace

if TYPE_CHECKING:
    import polars as pl

    from feilun.store.events.retention import Purged
    from feilun.wheel.advise import Advice
    from feilun.wheel.diff import Diff
    from feilun.wheel.erasure import Receipt
    from feilun.wheel.export import Form
    from feilun.wheel.profile import Profile
    from feilun.wheel.tuning import Tuned
    from feilun.wheel.usage import KeyUsage
    from feilun.wheel.weakest import Weakest


class NotADataset(Invalid):
    """The reference names another kind of artifact."""

    def __init__(self, ref: str, kind: str) -> None:
        super().__init__(
            _("{ref} is a {kind}, not a dataset.").format(ref=shortened(ref), kind=kind),
            remedy="feilun show dataset/latest",
        )


class NothingBefore(Conflict):
    """There is no earlier model to go back to."""

    def __init__(self) -> None:
        super().__init__(_("No other model was live before this one."), remedy="feilun history")


class Release(NamedTuple):
    """What is live: the model, since when, by whom and why."""

    model: Model
    since: str
    by: str
    reason: str
    turn: int | None


class Project(Workspace):
    """The one object a user opens; see `Project.open`."""

    # The wheel

    def turn(self, *, until: str = "release", observer: Observer | None = None) -> Turn:
        """Makes a turn up to and including the stage `until`, or goes on with the unfinished."""
        turn = revolve(self, until, observer)
        if turn.verdict is not None and turn.verdict.released:
            from feilun.wheel.references import prepare_reference

            prepare_reference(self)
        return turn

    def turns(self, limit: int = 50) -> list[Turn]:
        """The newest turns, newest first."""
        return [read_turn(self, row.number) for row in self.control.turns(limit)]

    def get(self, ref: str) -> Artifact:
        """The artifact that `ref` names (`model/live`, `dataset/3`, `report/sha256:…`)."""
        return self.stored(ref).artifact

    def stored(self, ref: str) -> StoredArtifact:
        """As `get`, with number, cost and date."""
        return self.control.get(Ref.parse(ref))

    def put(self, artifact: Artifact) -> Artifact:
        """Stores an artifact whose files are already in `blobs`; the same one twice is one."""
        for digest in artifact.files.values():
            self.blobs.get(digest)
        stored = self.control.put(artifact, stage="import", inputs={}, cost=Cost(), code="")
        return stored.artifact

    def dataset(self, ref: str = "dataset/latest") -> tuple[str, Dataset]:
        """The dataset that `ref` names, with its number (`dataset/3`); raises `NotADataset`."""
        stored = self.stored(ref)
        if not isinstance(stored.artifact, Dataset):
            raise NotADataset(ref, stored.artifact.kind)
        return f"dataset/{stored.number}", stored.artifact

    def dropped(self, ref: str = "dataset/latest", reason: str | None = None) -> pl.DataFrame:
        """What could not be read and what preparing dropped, with `step`, `reason` and `detail`; of
        one reason or all. They are as they were: `shown` masks what people are to see."""
        import polars as pl

        from feilun.core.records import DROPPED

        artifact = self.get(ref)
        files = list(artifact.shards("dropped"))
        if isinstance(artifact, Dataset):
            files = [*self.get(f"records/{artifact.parents[0]}").shards("dropped"), *files]
        # Older versions dropped with fewer columns.
        frames = [pl.read_parquet(self.blobs.get(digest)) for digest in files]
        frame = pl.concat([pl.DataFrame(schema=DROPPED), *frames], how="diagonal")
        return frame if reason is None else frame.filter(pl.col("reason") == reason)

    def shown(self, texts: pl.Series, ref: str = "dataset/latest") -> pl.Series:
        """Texts as they may be shown: where the dataset's steps mask personal data, it is masked
        in these too, whether they were dropped before that step or could not even be read."""
        from feilun.stages.prepare.mask import Mask

        steps: Any = self.get(ref).made_by.get("steps", ())
        mask = next((step for step in steps if step["use"] == "mask"), None)
        if mask is None:
            return texts
        settings = {name: value for name, value in mask.items() if name != "use"}
        step = Mask.model_validate(settings | {"mode": "placeholder"})
        return step.rewritten(texts.fill_null(""), self.scratch("prepare"))

    def profile(self, ref: str = "dataset/latest") -> Profile:
        """What became of the records of a dataset: the figures of `feilun prepare --report`."""
        from feilun.wheel.profile import profile

        return profile(self, ref)

    def diff(self, first: str, second: str = "dataset/latest", *, show: int = 0) -> Diff:
        """What came, went, changed and moved between two datasets; `show` examples of each."""
        from feilun.wheel.diff import diff

        return diff(self, first, second, show)

    def export(self, folder: Path | str, to: Form = "hf", ref: str = f"model/{LIVE}") -> Path:
        """Writes a model into a folder for other tools: `hf`, `onnx` or `mlflow`."""
        from feilun.wheel.export import export

        return export(self, ref, to, Path(folder))

    def package(
        self,
        folder: Path | str,
        ref: str = f"model/{LIVE}",
        *,
        force: bool = False,
        wheel: Path | None = None,
    ) -> Path:
        """Writes a folder that serves a model on another machine, without a record or a key;
        `force` updates the package that is there, `wheel` is the Feilun for that machine."""
        from feilun.wheel.packaging.package import package

        return package(self, Path(folder), ref, force=force, wheel=wheel)

    def tune(
        self,
        *,
        family: str | None = None,
        trials: int | None = None,
        seconds: float | None = None,
        workers: int | None = None,
        observer: Observer | None = None,
    ) -> Tuned:
        """Searches for better settings of a family, as `[train.tune]` says (or `trials`,
        `seconds`, `workers`); `write_model` puts the best into `feilun.toml`."""
        from feilun.wheel.tuning import tune

        wanted = {"trials": trials, "seconds": seconds, "workers": workers}
        return tune(self, wanted, family, observer)

    def pretrain(
        self,
        folder: Path | str,
        *,
        budget_seconds: float | None = None,
        observer: Observer | None = None,
    ) -> Path:
        """Pretrains an encoder on the unlabelled and the training texts of the latest dataset,
        into a folder that `hub` and `frozen` take as `name`."""
        from feilun.wheel.pretraining import pretrain

        return pretrain(self, Path(folder), budget_seconds, observer)

    def advise(
        self,
        *,
        families: Sequence[str] = (),
        seconds: float = 60.0,
        observer: Observer | None = None,
    ) -> Advice:
        """Whether to train, what, and what more labels would bring: from small probes of the
        families (none: all that can do the task) on the newest dataset, `seconds` in all."""
        from feilun.wheel.advise import advise

        return advise(self, families, seconds, observer)

    # What is live

    @property
    def release(self) -> Release | None:
        """What is live now; None before the first release."""
        row = self.control.alias(LIVE)
        if row is None:
            return None
        return Release(
            self.model(Ref("model", row.digest)), row.at, row.by, reason_text(row), row.turn
        )

    def history(self) -> list[AliasRow]:
        """What was live when, newest first."""
        return self.control.history(LIVE)

    def rollback(self, *, by: str | None = None) -> Release:
        """Makes live again what was live before; raises `NothingLive`, `NothingBefore`."""
        rows = self.history()
        if not rows:
            raise NothingLive()
        earlier = next((row for row in rows if row.digest != rows[0].digest), None)
        if earlier is None:
            raise NothingBefore()
        self.blobs_of(self.model(Ref("model", earlier.digest)))
        reason = Message(template=N_("rolled back by hand"))
        self.control.move_alias(
            LIVE,
            earlier.digest,
            expected=rows[0].digest,
            by=by or user_name(),
            reason=reason.model_dump_json(),
        )
        release = self.release
        assert release is not None
        return release

    # Predictions and feedback

    def predictor(self, model: Model) -> Predictor:
        """The model, loaded; kept while it is asked for again."""
        cached: dict[str, Predictor] = self.__dict__.setdefault("_predictors", {})
        if model.digest not in cached:
            cached.clear()
            cached[model.digest] = load(self.blobs_of(model))
        return cached[model.digest]

    def predict(
        self, inputs: Sequence[Input], *, log: bool = True, subject: str | None = None
    ) -> list[Answered]:
        """The live model's answers to texts (pairs of them for `match`); with `log` each has an
        id, durable before this returns. `subject`: the person they are about, so that `erase`
        finds them. Raises `NothingLive`, `OddInput`."""
        from feilun.wheel.predictions import predict

        return predict(self, inputs, log, subject)

    def feedback(
        self,
        prediction_id: str,
        kind: str,
        value: Any,
        *,
        source: str = "",
        idempotency_key: str | None = None,
        key: str = LOCAL_KEY,
        subject: str | None = None,
    ) -> str:
        """The id of the feedback, once durable; `subject`: the person it is about. Raises
        `BadFeedback`, `PredictionNotFound`."""
        row = feedback_row(prediction_id, kind, value, source or user_name(), key)
        if subject:
            row = row._replace(subject=self.privacy.digest(subject))
        if idempotency_key is not None:
            row = row._replace(idempotency_key=storable(idempotency_key))
        return self.events.record([row])[0]

    def erase(
        self, subject: str | None = None, *, texts: Sequence[str] = (), by: str | None = None
    ) -> Receipt:
        """Removes a person: what names them as `subject`, and what has one of `texts` (a number,
        an address, a name) in it, from the log, the vault and the stored files; the receipt says
        which models learnt from it. Raises `NobodyNamed`, `IdentifierTooShort`, `StillRead`,
        `BatchesUnfinished`, and `Locked` while a turn runs."""
        from feilun.wheel.erasure import erase

        return erase(self, subject, texts, by or user_name())

    def erasures(self) -> list[Receipt]:
        """The receipts of all erasures, newest first."""
        from feilun.wheel.erasure import receipts

        return receipts(self)

    def purge_log(self) -> Purged:
        """Removes from the log what is older than `[serve.log]` allows."""
        from feilun.wheel.retention import purge_log

        return purge_log(self)

    def signals(self, hours: float | None = None) -> list[Signal]:
        """What `monitor` sees in the last hours."""
        from feilun.wheel.signals import signals

        return signals(self, hours)

    def usage(self, since: date | None = None, key: str | None = None) -> list[KeyUsage]:
        """What each key (or the one with the id `key`) used from the day `since` on, in UTC; else
        from the first of this month."""
        from feilun.wheel.usage import usage

        return usage(self, since, key)

    def weakest(self, days: float = 7.0) -> Weakest:
        """The weakest slices: those of the last days in which answers were wrong, or unsure, more
        often than in the rest."""
        from feilun.wheel.weakest import find_weakest

        return find_weakest(self, days)

    def scratch(self, stage: str, observer: Observer | None = None) -> LocalRun:
        """A handle for running a stage outside a turn."""
        return LocalRun(
            stage,
            seed=self.settings.project.seed,
            root=self.root,
            folder=self.folder / "work" / f"{stage}-now",
            blobs=self.blobs,
            observer=observer,
        )

    def _repr_html_(self) -> str:
        release = self.release
        live = _("nothing live yet")
        if release is not None:
            live = _("live: {architecture} {digest} since {since}").format(
                architecture=release.model.architecture,
                digest=release.model.short,
                since=release.since[:19],
            )
        rows = (turn.row() for turn in self.turns(10))
        return turns_html(rows, self.settings.metric, self.settings.project.name, live)


def reason_text(row: AliasRow) -> str:
    """Why the alias was moved, in the reader's language."""
    return str(Message.model_validate_json(row.reason))

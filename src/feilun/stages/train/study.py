"""The trials of one search, in a database that outlives every process.

A trial is settled when it was scored, ended early, or could not be trained. What was under way
in a process that died is tried again, at most `REPEATS` times.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, SerializeAsAny

from feilun.core.errors import DiskFull, Invalid
from feilun.core.i18n import _
from feilun.models.family import Architecture, Family
from feilun.models.space import Axis, chosen, spot
from feilun.store.database import DamagedDatabase
from feilun.store.disk import lock
from feilun.tasks.metrics import ERRORS

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial, Trial

REPEATS = 2
WAIT_SECONDS = 60.0
FEWEST_FOR_IMPORTANCE = 5
State = Literal["scored", "ended early", "failed"]


class NoOptuna(Invalid):
    """The extra `tune` is not installed."""

    def __init__(self) -> None:
        super().__init__(
            _("Tuning needs Optuna, which is not installed here."),
            remedy="pip install 'feilun[tune]'",
        )


class Search(BaseModel):
    """One search: all that decides which settings are tried, and how they are scored. `family`
    has the settings that are not searched; `name` stands for it all."""

    model_config = ConfigDict(frozen=True)

    name: str
    family: SerializeAsAny[Architecture]
    space: dict[str, Axis]
    metric: str
    seed: int
    trials: int
    sampler: Literal["tpe", "random"]
    pruner: Literal["median", "hyperband", "none"]

    @property
    def base(self) -> Family:
        """The family with the settings that are not searched."""
        assert isinstance(self.family, Family)
        return self.family

    @property
    def down(self) -> bool:
        """Whether less of the metric is better."""
        return self.metric in ERRORS

    def settings(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """What a trial sets, from what was drawn for it."""
        return {
            key: chosen(axis, spot(self.base, key), drawn[key]) for key, axis in self.space.items()
        }


class Settled(NamedTuple):
    """A trial as it ended: its settings and score (none: it failed; `why` says so)."""

    number: int
    state: State
    score: float | None
    settings: dict[str, Any]
    seconds: float
    why: str | None


class Study:
    """The trials of a search, in the SQLite database at `path`."""

    def __init__(self, search: Search, path: Path) -> None:
        """Opens the study, or makes it; raises `NoOptuna`, `DamagedDatabase`."""
        if find_spec("optuna") is None:
            raise NoOptuna
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.search = search
        self.path = path

        def connect() -> sqlite3.Connection:
            made = sqlite3.connect(path, timeout=WAIT_SECONDS, check_same_thread=False)
            # A trial costs a dozen commits, which a write-ahead log makes ten times faster; it is
            # checkpointed when nobody else writes (see `feilun.store.database`): by the last.
            for setting in ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=0"):
                made.execute(f"PRAGMA {setting}")
            return made

        # Two processes that make the tables at once would be in each other's way.
        with self.clear(), lock(self._lock, what=path.name, wait_seconds=WAIT_SECONDS):
            # Not by the path in the URL: it could hold what means something there.
            self._storage = optuna.storages.RDBStorage(
                "sqlite:///", engine_kwargs={"creator": connect}
            )
            self._study = optuna.create_study(
                storage=self._storage,
                study_name=search.name,
                direction="minimize" if search.down else "maximize",
                pruner=_pruner(search),
                load_if_exists=True,
            )

    @property
    def _lock(self) -> Path:
        return self.path.with_name(self.path.name + ".lock")

    def close(self) -> None:
        """Closes the database."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    @contextmanager
    def clear(self) -> Iterator[None]:
        """Within the block, what goes wrong with the database is told clearly."""
        import sqlalchemy as sa
        from optuna.exceptions import StorageInternalError

        try:
            yield
        except (sa.exc.DatabaseError, sqlite3.DatabaseError, StorageInternalError) as error:
            reason = str(getattr(error.__cause__ or error, "orig", error.__cause__ or error))
            if "full" in reason:
                raise DiskFull(self.path) from error
            raise DamagedDatabase(self.path, reason) from error

    # What is tried

    def next(self, worker: int = 0) -> Trial | None:
        """A trial to make, its settings drawn; None when all are made or under way. `worker`
        is the number of the process that asks: two never draw alike."""
        with self.clear(), lock(self._lock, what=self.path.name, wait_seconds=WAIT_SECONDS):
            settled, open_ = self._counts()
            if settled + open_ >= self.search.trials:
                return None
            self._study.sampler = _sampler(self.search, settled, worker)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                trial = self._study.ask(
                    {key: _distribution(self.search, key) for key in self.search.space}
                )
            return trial

    def scored(self, trial: Trial, score: float) -> None:
        """The trial has been trained and scored."""
        self._study.tell(trial, score)

    def ended_early(self, trial: Trial) -> None:
        """The pruner has given the trial up."""
        self._tell(trial, "PRUNED")

    def failed(self, trial: Trial, why: str) -> None:
        """The trial could not be trained or scored."""
        trial.set_user_attr("why", why)
        # Of trials that Optuna calls failed its samplers learn nothing: they try the like again.
        self._tell(trial, "PRUNED")

    def recover(self) -> int:
        """Puts back what was under way in processes that are no more: call it while no other
        is at work; returns how many trials."""
        import optuna

        with self.clear():
            left = [t for t in self._every() if t.state == optuna.trial.TrialState.RUNNING]
            for trial in left:
                self._again(trial, int(trial.user_attrs.get("times", 0)) + 1)
            return len(left)

    def put_back(self, trial: Trial) -> None:
        """The trial could not be finished in the time; it is the next one to be made."""
        found = next(one for one in self._every() if one.number == trial.number)
        self._again(found, int(found.user_attrs.get("times", 0)))

    def _again(self, trial: FrozenTrial, times: int) -> None:
        import optuna

        if times <= REPEATS and self._drawn(trial) and trial.number not in self._repeated():
            self._study.add_trial(
                optuna.create_trial(
                    state=optuna.trial.TrialState.WAITING,
                    params=trial.params,
                    distributions=trial.distributions,
                    user_attrs={"repeats": trial.number, "times": times},
                )
            )
        # After the other: killed in between, it is found by the number it repeats.
        self._study.tell(trial.number, state=optuna.trial.TrialState.FAIL)

    # What came of it

    @property
    def settled(self) -> list[Settled]:
        """The trials that are done with, in the order in which they were begun."""
        with self.clear():
            repeated = self._repeated()
            found = [
                self._settled(trial)
                for trial in self._every()
                if trial.state.is_finished() and trial.number not in repeated and self._drawn(trial)
            ]
        return found

    @property
    def best(self) -> Settled | None:
        """The scored trial with the best score; of equals the first."""
        scored = [one for one in self.settled if one.state == "scored" and one.score is not None]
        sign = 1 if self.search.down else -1
        return min(scored, key=lambda one: sign * (one.score or 0.0), default=None)

    def importances(self) -> dict[str, float]:
        """How much each setting decides about being among the best tenth, the shares in sum 1,
        the largest first (PED-ANOVA: Watanabe et al., IJCAI 2023); none below five scored
        trials, or where all did alike."""
        import optuna
        from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

        scored = [t for t in self._every() if t.state == optuna.trial.TrialState.COMPLETE]
        if len(scored) < FEWEST_FOR_IMPORTANCE or len({t.value for t in scored}) < 2:
            return {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = get_param_importances(self._study, evaluator=PedAnovaImportanceEvaluator())
        return {name: float(share) for name, share in found.items()}

    def note(self, name: str, value: Any = None) -> Any:
        """What was noted under `name` before; noted now, where `value` is given."""
        with self.clear():
            if value is not None:
                self._study.set_user_attr(name, value)
            return self._study.user_attrs.get(name)

    def _every(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _repeated(self) -> set[int]:
        every = self._every()
        return {t.user_attrs["repeats"] for t in every if "repeats" in t.user_attrs}

    def _counts(self) -> tuple[int, int]:
        """How many trials are settled, and how many under way."""
        import optuna

        states = [trial.state for trial in self._every()]
        return len(self.settled), states.count(optuna.trial.TrialState.RUNNING)

    def _drawn(self, trial: FrozenTrial) -> bool:
        """Whether it came as far as having settings."""
        return trial.params.keys() == self.search.space.keys()

    def _tell(self, trial: Trial, state: str) -> None:
        import optuna

        self._study.tell(trial, state=optuna.trial.TrialState[state])

    def _settled(self, trial: FrozenTrial) -> Settled:
        states: dict[str, State] = {"COMPLETE": "scored", "PRUNED": "ended early"}
        why, took = trial.user_attrs.get("why"), trial.duration
        state = "failed" if why else states.get(trial.state.name, "failed")
        if state == "failed" and why is None:
            why = _("the process that trained it was killed each time")
        return Settled(
            trial.number,
            state,
            trial.value if state == "scored" else None,
            self.search.settings(trial.params),
            took.total_seconds() if took else 0.0,
            why,
        )


def _distribution(search: Search, key: str) -> BaseDistribution:
    from optuna import distributions

    axis, found = search.space[key], spot(search.base, key)
    if axis.values is not None:
        written = dict.fromkeys(json.dumps(value, ensure_ascii=False) for value in axis.values)
        return distributions.CategoricalDistribution(list(written))
    assert axis.low is not None
    assert axis.high is not None
    if found.whole:
        low, last, step = int(axis.low), int(axis.high), int(axis.step or 1)
        return distributions.IntDistribution(low, last - (last - low) % step, axis.log, step)
    high = axis.high
    if axis.step is not None:
        # Optuna warns where the last step ends before `high`.
        high = axis.low + axis.step * int((axis.high - axis.low) / axis.step + 1e-9)
    return distributions.FloatDistribution(axis.low, high, axis.log, axis.step)


def _sampler(search: Search, settled: int, worker: int) -> BaseSampler:
    """A sampler for one trial, which draws by its place in the search and not by what this
    process drew before: a search that goes on after a kill draws as if nothing had been."""
    from optuna.samplers import RandomSampler, TPESampler

    written = f"{search.seed} {settled} {worker}".encode()
    seed = int.from_bytes(hashlib.sha256(written).digest()[:4], "big")
    if search.sampler == "random":
        return RandomSampler(seed)
    with warnings.catch_warnings():
        # Experimental in Optuna 4: what other processes try now counts as having done badly.
        warnings.simplefilter("ignore")
        return TPESampler(seed=seed, constant_liar=True)


def _pruner(search: Search) -> BasePruner:
    from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner

    if search.pruner == "median":
        return MedianPruner(n_startup_trials=3, n_warmup_steps=1)
    return HyperbandPruner() if search.pruner == "hyperband" else NopPruner()

"""What advice is made of."""

from __future__ import annotations

from typing import Any, NamedTuple

from feilun.core.artifacts import Interval
from feilun.core.message import Message
from feilun.wheel.rewrite import toml


class Option(NamedTuple):
    """What a family would bring and take, trained on all training records.

    `quality` is the metric on new records (95 %), and `doubled` what it
    would be with twice the labels (None: not probed; `note` says why). `seconds` of training;
    `memory_mb`, the peak of a training process at the largest probe; `latency_ms` of one text,
    `texts_per_second` in a batch, both in one process; `core_hours`, processor time for a million
    texts; `size_mb` on disk. `probed` are the parts it was trained on: records and quality.
    """

    family: str
    model: dict[str, Any]
    quality: Interval | None = None
    doubled: Interval | None = None
    seconds: float | None = None
    memory_mb: float | None = None
    latency_ms: float | None = None
    texts_per_second: float | None = None
    core_hours: float | None = None
    size_mb: float | None = None
    probed: tuple[tuple[int, float], ...] = ()
    note: Message | None = None


class Baseline(NamedTuple):
    """What there is without training: `kind` is `trivial`, `rule` or `live`."""

    kind: str
    quality: Interval
    what: Message


class LabelNeed(NamedTuple):
    """What `more` labels of `label`, of which there are `have`, would bring: the metric's gain,
    and the share of that label's texts that are found (`recall`) now."""

    label: str
    have: int
    more: int
    gain: float
    recall: float


class Advice(NamedTuple):
    """Whether to train and what, with the reasons and the figures behind them.

    `train` is False where nothing that was probed is better than a rule, or than what is live,
    beyond chance. `num_asked` records were asked about: the validation split, and training
    records that no probe learnt from. `family` is the one recommended (None: none could be
    probed), `model` what to write as `[train] model`. `labels` are the gains of more labels, the
    most useful first.
    """

    dataset: str
    metric: str
    num_train: int
    num_asked: int
    seconds: float
    options: tuple[Option, ...]
    baselines: tuple[Baseline, ...]
    labels: tuple[LabelNeed, ...]
    train: bool
    family: str | None
    model: dict[str, Any]
    reasons: tuple[Message, ...]

    @property
    def snippet(self) -> str:
        """The recommended `[train] model`, to be put into `feilun.toml`; the empty text where
        nothing is to be trained."""
        if not self.train:
            return ""
        return f"[train]\nmodel = {toml(self.model)}\n"

    def shown(self) -> dict[str, Any]:
        """Everything, as JSON values; sentences in the reader's language."""
        return {
            **self._asdict(),
            "options": [
                {
                    **option._asdict(),
                    "quality": option.quality and option.quality._asdict(),
                    "doubled": option.doubled and option.doubled._asdict(),
                    "note": option.note and str(option.note),
                }
                for option in self.options
            ],
            "baselines": [
                {"kind": one.kind, "quality": one.quality._asdict(), "what": str(one.what)}
                for one in self.baselines
            ],
            "labels": [one._asdict() for one in self.labels],
            "reasons": [str(reason) for reason in self.reasons],
            "snippet": self.snippet,
        }

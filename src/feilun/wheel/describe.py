"""One line about what a stage made, the same in terminal and console."""

from __future__ import annotations

from feilun.core.artifacts import Dataset, Interval, Model, Records, Report, Verdict
from feilun.core.i18n import N_, _
from feilun.tasks.metrics import METRIC_NAMES

REASONS = {
    "duplicate": N_("duplicate"),
    "near_duplicate": N_("near-duplicate"),
    "conflict": N_("conflicting label"),
    "empty": N_("empty"),
    "personal_data": N_("personal data"),
    "in_test": N_("in the frozen test"),
    "disputed": N_("disputed"),
    "too_few_votes": N_("too few votes"),
    "unknown_label": N_("unknown label"),
}
STAGE_NAMES = {
    "collect": N_("collect"),
    "prepare": N_("prepare"),
    "train": N_("train"),
    "evaluate": N_("evaluate"),
    "release": N_("release"),
    "serve": N_("serve"),
    "monitor": N_("monitor"),
    "feedback": N_("feedback"),
}
STATUSES = {
    "running": N_("running"),
    "open": N_("open"),
    "failed": N_("failed"),
    "done": N_("done"),
}


def metric_name(metric: str) -> str:
    """The metric's name in the reader's language; a check's own name as it is."""
    return _(METRIC_NAMES.get(metric, metric))


def status_name(status: str) -> str:
    """The turn's status in the reader's language."""
    return _(STATUSES[status])


def stage_name(stage: str) -> str:
    """The stage's word in the reader's language."""
    return _(STAGE_NAMES[stage])


def figure(value: Interval) -> str:
    """A figure with its interval: `0.841 [0.823, 0.860]`."""
    return f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"


def verdict_word(verdict: Verdict) -> str:
    """`released` or `refused`, in the reader's language."""
    return _("released") if verdict.released else _("refused")


def reasons_text(verdict: Verdict) -> str:
    """Every rule's reason, in the reader's language."""
    return _("; ").join(str(reason) for reason in verdict.reasons)


def reason_name(reason: str) -> str:
    """Why a record was dropped, in the reader's language; a third party's reason as it is."""
    return _(REASONS.get(reason, reason))


def describe(made: object) -> str:
    """What the artifact (or verdict) amounts to."""
    if isinstance(made, Records):
        return _("{count:,} records").format(count=made.num_rows)
    if isinstance(made, Dataset):
        values = {
            "kept": sum(made.splits.values()),
            "raw": made.num_raw,
            "splits": _("train {train:,}, validation {validation:,}, test {test:,}").format(
                **made.splits
            ),
            "reasons": _(", ").join(
                f"{reason_name(reason)} {count:,}" for reason, count in made.dropped.items()
            ),
        }
        if made.dropped:
            return _("{kept:,} of {raw:,} kept ({reasons}); {splits}").format(**values)
        return _("{kept:,} of {raw:,} kept; {splits}").format(**values)
    if isinstance(made, Model):
        score = next(iter(made.validation.values()), 0.0)
        tried = sum(candidate.score is not None for candidate in made.candidates)
        text = _("{architecture}, validation {metric} {score:.3f}").format(
            architecture=made.architecture, metric=metric_name(made.metric), score=score
        )
        return text + (_(" (best of {count})").format(count=tried) if tried > 1 else "")
    if isinstance(made, Report):
        shown = _(", ").join(
            f"{metric_name(name)} {figure(made.metrics[name])}" for name in ("accuracy", "macro_f1")
        )
        return _("{figures} on {count:,} test records").format(figures=shown, count=made.num_test)
    if isinstance(made, Verdict):
        return _("{verdict}: {reasons}").format(
            verdict=verdict_word(made), reasons=reasons_text(made)
        )
    return str(made)

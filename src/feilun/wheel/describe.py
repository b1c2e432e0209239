"""One line about what a stage made, the same in terminal and console."""

from __future__ import annotations

from feilun.core.artifacts import Cost, Dataset, Interval, Model, Records, Report, Verdict
from feilun.core.i18n import N_, _
from feilun.economics.energy import WATTS_PER_CORE
from feilun.tasks.metrics import METRIC_NAMES

REASONS = {
    # collect: rows that could not be read
    "bad_feed": N_("broken feed"),
    "bad_page": N_("page that cannot be read"),
    "bad_spans": N_("spans that do not fit the text"),
    "bad_tags": N_("tags that do not fit the tokens"),
    "bad_time": N_("time not understood (record kept)"),
    "empty_row": N_("row without a value"),
    "image_too_large": N_("image too large"),
    "no_interaction": N_("user or item missing"),
    "no_tag": N_("a line without a tag"),
    "no_text": N_("no text"),
    "not_accepted": N_("rejected by the annotator"),
    "not_an_image": N_("not an image, or damaged"),
    "not_an_object": N_("not an object"),
    "not_json": N_("not JSON"),
    "not_messages": N_("not a list of messages"),
    "not_task": N_("not a Label Studio task"),
    "not_text": N_("not text in the file's encoding"),
    "open_quote": N_("a quote that never closes"),
    "ragged": N_("other number of cells"),
    "too_deep": N_("nested too deeply"),
    "unreadable": N_("cannot be read"),
    # prepare
    "balance": N_("surplus of a frequent label"),
    "conflict": N_("conflicting label"),
    "conflict_asked": N_("conflicting label, to be asked"),
    "duplicate": N_("duplicate"),
    "empty": N_("empty"),
    "in_test": N_("in the frozen test"),
    "label_changed": N_("label no longer sure"),
    "label_error": N_("label probably wrong"),
    "near_duplicate": N_("near-duplicate"),
    "not_a_number": N_("label is no number"),
    "not_a_pair": N_("no pair of texts"),
    "other_language": N_("another language"),
    "personal_data": N_("personal data"),
    "repetitive": N_("repetitive"),
    "span_outside": N_("entity outside the text"),
    "spans_overlap": N_("entities overlap"),
    "stop_listed": N_("on the stop-list"),
    "symbols": N_("too many symbols"),
    "too_long": N_("too long"),
    "too_short": N_("too short"),
    "unsure_language": N_("language not sure"),
    # feedback
    "disputed": N_("disputed"),
    "not_an_answer": N_("not an answer to the task"),
    "too_few_votes": N_("too few votes"),
    "unknown_label": N_("unknown label"),
}
SPLIT_NAMES = {
    "train": N_("train"),
    "validation": N_("validation"),
    "test": N_("test"),
    "unlabelled": N_("unlabelled"),
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


def turn_columns(metric: str) -> tuple[str, ...]:
    """The names of what `Turn.row` gives."""
    names = (_("verdict"), _("reason"), _("seconds"))
    return (_("turn"), _("architecture"), metric_name(metric), *names)


def status_name(status: str) -> str:
    """The turn's status in the reader's language."""
    return _(STATUSES[status])


def stage_name(stage: str) -> str:
    """The stage's word in the reader's language."""
    return _(STAGE_NAMES.get(stage, stage))


def figure(value: Interval) -> str:
    """A figure with its interval: `0.841 [0.823, 0.860]`."""
    return f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"


def energy(cost: Cost) -> str:
    """What the work took in watt-hours and how that is known; grams of CO₂ if a region is
    declared."""
    template = (
        _("energy: {wh:.3g} Wh, measured (the whole machine)")
        if cost.energy_measured
        else _("energy: {wh:.3g} Wh, assumed ({watts:.0f} W for each busy core)")
    )
    told = template.format(wh=cost.energy_wh, watts=WATTS_PER_CORE)
    if cost.co2_g is None:
        return told
    return told + _(", {grams:.3g} g CO₂").format(grams=cost.co2_g)


def verdict_word(verdict: Verdict) -> str:
    """`released` or `refused`, in the reader's language."""
    return _("released") if verdict.released else _("refused")


def reasons_text(verdict: Verdict) -> str:
    """Every rule's reason, in the reader's language."""
    return _("; ").join(str(reason) for reason in verdict.reasons)


_SLICES = {
    "label": N_("label"),
    "key": N_("key"),
    "source": N_("judged by"),
    "length": N_("length"),
    "language": N_("language"),
    "term": N_("term"),
}


def slice_kind(kind: str) -> str:
    """What a slice of the answers is a slice by, in the reader's language."""
    return _(_SLICES[kind])


def split_name(split: str) -> str:
    """The split's name in the reader's language."""
    return _(SPLIT_NAMES[split])


def reason_name(reason: str) -> str:
    """Why a record was dropped, in the reader's language; a third party's reason as it is."""
    return _(REASONS.get(reason, reason))


def describe(made: object) -> str:
    """What the artifact (or verdict) amounts to."""
    if isinstance(made, Records):
        told = _("{count:,} records").format(count=made.num_rows)
        if not made.unreadable:
            return told
        reasons = _(", ").join(
            f"{reason_name(reason)} {count:,}" for reason, count in made.unreadable.items()
        )
        unreadable = _("{count:,} rows could not be read ({reasons})").format(
            count=sum(made.unreadable.values()), reasons=reasons
        )
        return _("; ").join((told, unreadable))
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
            f"{metric_name(name)} {figure(value)}" for name, value in list(made.metrics.items())[:2]
        )
        return _("{figures} on {count:,} test records").format(figures=shown, count=made.num_test)
    if isinstance(made, Verdict):
        return _("{verdict}: {reasons}").format(
            verdict=verdict_word(made), reasons=reasons_text(made)
        )
    return str(made)

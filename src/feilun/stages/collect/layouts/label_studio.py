"""`label_studio`: what Label Studio exports as JSON and as JSON-MIN.

Of a task's annotations those that were cancelled do not count, nor do predictions. Where one is
marked as ground truth, it alone counts. The choice of most annotators is the label (of as many
votes, the one given first); the ranges are those of the first annotator. Ratings, numbers, free
text and relations go to `fields` under the name of their control, the task's other data too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import polars as pl

from feilun.stages.collect.columns import LABEL_NAMES, TEXT_NAMES
from feilun.stages.collect.layouts.entities import placed
from feilun.stages.collect.layouts.naming import ROW, by_name
from feilun.stages.collect.layouts.rows import Built, Span, Unfit, label_of, nested
from feilun.stages.collect.source import Quarantine

_RANGES = ("labels", "hypertextlabels")
_PLAIN = ("rating", "number", "text", "datetime", "taxonomy", "ranker", "selected")
_OF_EXPORT = frozenset(
    {"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", ROW}
)
"""Columns of JSON-MIN that are about the annotating, not about the text."""


def shaped(
    chunk: pl.DataFrame, columns: Mapping[str, str], where: str, quarantine: Quarantine
) -> pl.DataFrame:
    """One record per task (JSON) or per annotation (JSON-MIN). `columns` names keys of the
    task's data (text, group, time) and the control whose choice is the label; without them the
    text is guessed as in other files, and the label is the first control of choices. A task
    that nobody annotated has no label. Refused: `not_task`, `bad_spans`."""
    built = Built(where, quarantine)
    minimal = "data" not in by_name(chunk.columns)
    for record in chunk.iter_rows(named=True):
        try:
            data, marks = _minimal(record, columns) if minimal else _task(record, columns)
            text_key = _text_key(data, columns)
            text = data.get(text_key, "") if text_key else None
            spans = _spans(marks.ranges, text)
        except Unfit as unfit:
            seen = {name: value for name, value in record.items() if name != ROW}
            built.refuse(record[ROW], unfit.reason, seen)
            continue
        used = {text_key, columns.get("group"), columns.get("time")}
        rest = {
            key: nested(value)
            for key, value in data.items()
            if key not in used and value is not None and value != ""
        }
        labels = marks.labels
        fields = {**rest, **marks.others, **({"labels": labels} if len(labels) > 1 else {})}
        label = labels[0] if len(labels) == 1 else None
        named = {**data, "\x00label": label}
        roles = {r: c for r, c in columns.items() if r in ("group", "time")}
        built.add(record[ROW], text, spans, named, {**roles, "label": "\x00label"}, fields)
    return built.frame()


class _Marks:
    """What annotators said of one task."""

    def __init__(self) -> None:
        self.labels: list[str] = []
        self.ranges: list[Mapping[str, Any]] | None = None
        self.others: dict[str, Any] = {}


def _task(record: Mapping[str, Any], columns: Mapping[str, str]) -> tuple[dict[str, Any], _Marks]:
    data = nested(record.get("data"))
    if not isinstance(data, Mapping):
        raise Unfit("not_task")
    said = nested(record.get("annotations"))
    if said is None:
        said = nested(record.get("completions"))
    if said is not None and not isinstance(said, list):
        raise Unfit("not_task")
    counted = [
        one
        for one in said or []
        if isinstance(one, Mapping)
        and not one.get("was_cancelled")
        and not one.get("skipped")
        and isinstance(one.get("result"), list)
    ]
    truth = [one for one in counted if one.get("ground_truth")]
    marks = _Marks()
    votes: dict[str, list[tuple[str, ...]]] = {}
    for number, one in enumerate(truth[:1] or counted):
        for result in one["result"]:
            if isinstance(result, Mapping):
                _note(result, marks, votes, first=number == 0)
        if number == 0 and marks.ranges is None and one["result"] == []:
            marks.ranges = []
    _elect(votes, marks, columns.get("label"))
    meta = nested(record.get("meta"))
    return dict(data), _with_meta(marks, meta)


def _with_meta(marks: _Marks, meta: Any) -> _Marks:
    if isinstance(meta, Mapping) and meta:
        marks.others.setdefault("meta", meta)
    return marks


def _note(
    result: Mapping[str, Any],
    marks: _Marks,
    votes: dict[str, list[tuple[str, ...]]],
    *,
    first: bool,
) -> None:
    """One result of one annotator: a vote, a range, or something for the fields."""
    kind = str(result.get("type", "")).lower()
    value = result.get("value")
    if kind == "relation":
        if first:
            kept = {key: result[key] for key in ("from_id", "to_id", "labels") if result.get(key)}
            marks.others.setdefault("relations", []).append(kept)
        return
    if not isinstance(value, Mapping):
        return
    name = str(result.get("from_name", kind))
    of_region = "start" in value or "x" in value
    if kind == "choices" and not of_region and isinstance(value.get("choices"), list):
        votes.setdefault(name, []).append(tuple(map(str, value["choices"])))
        return
    if not first:
        return
    if kind in _RANGES and _whole(value):
        labels = value.get(kind) or value.get("labels") or []
        region = {**_offsets(value), "text": value.get("text"), "labels": labels}
        marks.ranges = [*(marks.ranges or []), region]
        return
    plain = next((value[key] for key in _PLAIN if key in value and not of_region), value)
    if isinstance(plain, list) and len(plain) == 1:
        plain = plain[0]
    if of_region and name in marks.others:
        marks.others[name] = [*marks.others[name], plain]
    else:
        marks.others[name] = [plain] if of_region else plain


def _whole(value: Mapping[str, Any]) -> bool:
    found = _offsets(value)
    return isinstance(found["start"], int) and isinstance(found["end"], int)


def _offsets(value: Mapping[str, Any]) -> dict[str, Any]:
    """Start and end in the text; those of a HyperText are beside its paths into the page."""
    whole = value.get("globalOffsets")
    source = whole if isinstance(whole, Mapping) else value
    return {"start": source.get("start"), "end": source.get("end")}


def _elect(votes: Mapping[str, list[tuple[str, ...]]], marks: _Marks, wanted: str | None) -> None:
    names = list(votes)
    known = by_name(names)
    usual = next((known[name] for name in LABEL_NAMES if name in known), None)
    chosen = wanted if wanted in votes else usual or (names[0] if names else None)
    for name, given in votes.items():
        # `most_common` keeps the order of first sight among equals.
        winner = list(Counter(given).most_common(1)[0][0])
        if name == chosen:
            marks.labels = winner
        else:
            marks.others[name] = winner[0] if len(winner) == 1 else winner
        if len(set(given)) > 1:
            votes_of = Counter(choice for one in given for choice in one)
            marks.others.setdefault("votes", {})[name] = dict(votes_of)


def _minimal(
    record: Mapping[str, Any], columns: Mapping[str, str]
) -> tuple[dict[str, Any], _Marks]:
    """JSON-MIN: the data's keys and the controls' names stand side by side."""
    marks = _Marks()
    data: dict[str, Any] = {}
    choices: dict[str, list[str]] = {}
    for name, cell in record.items():
        value = nested(cell)
        if name in _OF_EXPORT or value is None:
            continue
        if isinstance(value, Mapping) and isinstance(value.get("choices"), list):
            choices[name] = [str(choice) for choice in value["choices"]]
        elif _is_ranges(value):
            marks.ranges = [*(marks.ranges or []), *value]
        elif isinstance(value, list) and len(value) == 1 and isinstance(value[0], Mapping):
            only = value[0]
            marks.others[name] = next((only[key] for key in _PLAIN if key in only), only)
        else:
            data[name] = value if isinstance(value, list | Mapping) else cell
    wanted = columns.get("label")
    if wanted is None:
        known = by_name(list(data) + list(choices))
        wanted = next((known[n] for n in LABEL_NAMES if n in known), next(iter(choices), None))
    if wanted in choices:
        marks.labels = choices.pop(wanted)
    elif wanted in data:
        one, several = label_of(data.pop(wanted))
        marks.labels = several if several is not None else [one] if one is not None else []
    marks.others.update(choices)
    return data, marks


def _is_ranges(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(item, Mapping)
            and _whole(item)
            and any(isinstance(item.get(kind), list) for kind in _RANGES)
            for item in value
        )
    )


def _spans(regions: list[Mapping[str, Any]] | None, text: str | None) -> list[Span] | None:
    if regions is None:
        return None
    if text is None:
        raise Unfit("bad_spans")
    found: list[Span] = []
    for region in regions:
        place = _offsets(region)
        start, end = placed(place["start"], place["end"], text, region.get("text"))
        labels = next((region[kind] for kind in (*_RANGES, "labels") if region.get(kind)), None)
        if not isinstance(labels, list):
            raise Unfit("bad_spans")
        found += [(start, end, str(label)) for label in labels]
    return list(dict.fromkeys(found))


def _text_key(data: Mapping[str, Any], columns: Mapping[str, str]) -> str | None:
    """The key of the text: the one named, else one of the usual names, else the longest text
    that is no address of a file."""
    if "text" in columns:
        if not isinstance(data.get(columns["text"]), str):
            raise Unfit("no_text")
        return columns["text"]
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    names = by_name(list(texts))
    usual = next((names[n] for n in TEXT_NAMES if n in names), None)
    if usual is not None:
        return usual
    prose = [key for key, value in texts.items() if not _is_address(value)]
    return max(prose, key=lambda key: len(texts[key]), default=None)


def _is_address(value: str) -> bool:
    return value.startswith(("http://", "https://", "s3://", "gs://", "/data/", "data:")) and (
        " " not in value
    )

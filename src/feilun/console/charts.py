"""Charts as SVG, drawn here and offline: no script reaches the reader.

Altair says what is drawn, vl-convert draws it; both come with the extra `report`. Ink and lines
take the colour of the text around them, so one drawing suits a light and a dark page.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from typing import Any

import polars as pl

from feilun.core.i18n import _
from feilun.wheel.describe import split_name
from feilun.wheel.profile import Profile, histogram

WIDTH = 860
_BAR = 22
_INK, _LINE = "#010203", "#040506"
"""Stand for the colours of the page, which `_drawn` puts in their place."""
COLOURS = ("#1d9a7f", "#d9902f", "#4f7fc2", "#9a9f9c")
"""Train, validation, test, unlabelled: told apart with any sight, on light and on dark."""


def can_draw() -> bool:
    """Whether the extra `report` is installed."""
    return all(importlib.util.find_spec(name) for name in ("altair", "vl_convert"))


def charts(profile: Profile) -> dict[str, str]:
    """The drawings of the report by name; none without the extra `report`."""
    if not can_draw():
        return {}
    made = {"funnel": _funnel(profile), "lengths": _lengths(profile)}
    if profile.labels:
        made["labels"] = _labels(profile)
    if profile.languages:
        made["languages"] = _shares(profile.languages)
    return {name: _drawn(chart) for name, chart in made.items()}


def drawn_curves(figures: pl.DataFrame) -> list[tuple[str, str]]:
    """A title and a drawing for the losses, and one for the scores, of what training logged
    (`feilun.wheel.curves`): a line for each candidate and figure."""
    kinds = {_("loss"): figures["metric"].str.ends_with("loss")}
    kinds[_("score")] = figures["metric"].str.starts_with("validation_") & ~kinds[_("loss")]
    made = []
    for title, mask in kinds.items():
        some = figures.filter(mask)
        # A curve of one point is a figure, and stands in the table.
        lasting = some.filter(pl.len().over("part", "metric") > 1)
        if lasting.height:
            made.append((title, _drawn(_lines(lasting, title))))
    return made


def _lines(figures: pl.DataFrame, title: str) -> Any:
    alt = _altair()

    named = figures.with_columns(
        line=pl.concat_str("part", pl.lit(" "), pl.col("metric").str.replace_all("_", " "))
    )
    rows = named.select("line", "step", "value").to_dicts()
    return (
        alt.Chart(alt.Data(values=rows))
        .mark_line(strokeWidth=1.6, point={"size": 14})
        .encode(
            x=alt.X("step:Q", title=_("step"), axis=alt.Axis(format=",d", tickMinStep=1)),
            y=alt.Y("value:Q", title=title, scale=alt.Scale(zero=False)),
            color=alt.Color("line:N", title=None, scale=alt.Scale(range=list(COLOURS))),
        )
        .properties(width=WIDTH - 90, height=240)
    )


def _altair() -> Any:
    """Imported when something is drawn: it takes half a second."""
    return importlib.import_module("altair")


def _funnel(profile: Profile) -> Any:
    alt = _altair()

    rows = [{"step": _("raw"), "records": profile.num_raw}]
    rows += [
        {"step": f"{n}. {s.step}", "records": s.after} for n, s in enumerate(profile.funnel, 1)
    ]
    order = [row["step"] for row in rows]
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y("step:N", sort=order, title=None),
        x=alt.X(
            "records:Q", title=_("records"), axis=alt.Axis(format=",d", tickMinStep=1, tickCount=6)
        ),
    )
    bars = base.mark_bar(color=COLOURS[0], cornerRadiusEnd=2)
    numbers = base.mark_text(align="left", dx=4, color=_INK).encode(
        text=alt.Text("records:Q", format=",d")
    )
    return (bars + numbers).properties(width=WIDTH - 130, height=_BAR * len(rows))


def _labels(profile: Profile) -> Any:
    alt = _altair()

    rows = [
        {"label": label, "split": split_name(split), "records": counts.get(label, 0)}
        for split, counts in profile.balance.items()
        for label in profile.labels[:30]
    ]
    order = [split_name(split) for split in profile.balance]
    height = _BAR * len(profile.labels[:30])
    return _stacked(alt, rows, "label", profile.labels[:30], order).properties(
        width=WIDTH - 60, height=height
    )


def _stacked(alt: Any, rows: Sequence[dict[str, Any]], by: str, sort: Any, order: list[str]) -> Any:
    return (
        alt.Chart(alt.Data(values=list(rows)))
        .mark_bar()
        .encode(
            y=alt.Y(f"{by}:N", sort=sort, title=None),
            x=alt.X(
                "sum(records):Q",
                title=_("records"),
                axis=alt.Axis(format=",d", tickMinStep=1, tickCount=6),
            ),
            color=alt.Color(
                "split:N",
                scale=alt.Scale(domain=order, range=list(COLOURS[: len(order)])),
                title=None,
            ),
            order=alt.Order("rank:Q"),
        )
        .transform_calculate(rank=f"indexof({order!r}, datum.split)")
    )


def _lengths(profile: Profile) -> Any:
    alt = _altair()

    every = profile.lengths["length"].to_list()
    bins = [(low, high, count) for low, high, count in histogram(every)]
    while bins and bins[0][2] == 0:
        bins.pop(0)
    rows = [
        {"length": str(low) if low == high else f"{low}–{high}", "records": count}
        for low, high, count in bins
    ]
    order = [row["length"] for row in rows]
    return (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(color=COLOURS[0])
        .encode(
            x=alt.X("length:N", sort=order, title=_("characters"), axis=alt.Axis(labelAngle=-40)),
            y=alt.Y("records:Q", title=_("records in the sample"), axis=alt.Axis(tickMinStep=1)),
        )
        .properties(width=WIDTH - 60, height=170)
    )


def _shares(counts: dict[str, int]) -> Any:
    alt = _altair()

    rows = [{"name": name, "records": count} for name, count in counts.items()]
    rows = sorted(rows, key=lambda row: -int(str(row["records"])))[:12]
    return (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(color=COLOURS[2], cornerRadiusEnd=2)
        .encode(
            y=alt.Y("name:N", sort=[row["name"] for row in rows], title=None),
            x=alt.X(
                "records:Q",
                title=_("records in the sample"),
                axis=alt.Axis(format=",d", tickCount=6),
            ),
        )
        .properties(width=WIDTH - 130, height=_BAR * len(rows))
    )


def importances(shares: dict[str, float]) -> str:
    """A bar for each setting: how much it decides, in per cent; the largest first."""
    alt = _altair()

    rows = [{"setting": name, "share": share} for name, share in shares.items()]
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y("setting:N", sort=list(shares), title=None),
        x=alt.X(
            "share:Q", title=_("share of what decides"), axis=alt.Axis(format="%", tickCount=6)
        ),
    )
    numbers = base.mark_text(align="left", dx=4, color=_INK).encode(
        text=alt.Text("share:Q", format=".0%")
    )
    bars = base.mark_bar(color=COLOURS[0], cornerRadiusEnd=2)
    return _drawn((bars + numbers).properties(width=WIDTH - 180, height=_BAR * len(rows)))


def _drawn(chart: Any) -> str:
    axis = {
        "labelColor": _INK, "titleColor": _INK, "domainColor": _LINE, "tickColor": _LINE,
        "gridColor": _LINE, "gridOpacity": 0.4, "labelFontSize": 12, "titleFontSize": 12,
        "titleFontWeight": "normal", "labelLimit": 240,
    }  # fmt: skip
    chart = chart.configure(
        background="transparent",
        font="system-ui, 'Noto Sans', 'Noto Sans CJK SC', 'Microsoft YaHei', sans-serif",
        axis=axis,
        view={"stroke": None},
        legend={"labelColor": _INK, "orient": "top", "labelFontSize": 12},
    )
    drawn = importlib.import_module("vl_convert").vegalite_to_svg(chart.to_dict())
    drawn = drawn.replace(_INK, "currentColor").replace(_LINE, "currentColor")
    return str(drawn.replace("<svg ", '<svg role="img" ', 1))

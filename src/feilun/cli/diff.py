"""`feilun diff dataset/1 dataset/2`: what changed between two datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from feilun.cli.app import App
from feilun.cli.options import HERE, AsJson, ProjectFolder, open_project
from feilun.core.i18n import N_, _

if TYPE_CHECKING:
    from feilun.wheel.diff import Diff
    from feilun.wheel.shift import Labels

MOST_LABELS = 20
"""Labels of a split, and sources, that are shown; `--json` has them all."""
SURE = 0.05
"""The p-value from which on a shift is no longer put down to chance."""
_KINDS = {
    "came": N_("came"),
    "went": N_("went"),
    "changed": N_("changed"),
    "moved": N_("moved"),
}


def register(app: App) -> None:
    """Adds the command."""
    app.command("diff", help=_("Compare two datasets: rows in, out, changed; label shift."))(diff)


def diff(
    first: Annotated[str, typer.Argument(help=_("The earlier dataset."), metavar="DATASET")],
    second: Annotated[
        str, typer.Argument(help=_("The later dataset."), metavar="DATASET")
    ] = "dataset/latest",
    show: Annotated[int, typer.Option(help=_("Examples of each kind of change."), min=0)] = 0,
    project: ProjectFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """Prints what came, went, changed and moved, and what that did to labels and lengths."""
    from feilun.cli.output import print_json
    from feilun.wheel.diff import diff as compare

    with open_project(project) as opened:
        found = compare(opened, first, second, show)
    if as_json:
        print_json(_plain(found))
        return
    typer.secho(f"{found.first} → {found.second}", bold=True)
    if found.same:
        typer.echo(_("The same rows in the same splits."))
    else:
        _print_rows(found)
        _print_labels(found)
        _print_lengths(found)
    _print_counts(found)
    _print_settings(found)
    for kind, examples in found.examples.items():
        _print_examples(kind, examples)


def _print_rows(found: Diff) -> None:
    from feilun.cli.output import print_table

    print_table(
        [
            _("split"), _("before"), _("after"), _("came"), _("went"), _("changed"),
            _("moved in"), _("moved out"),
        ],
        [[name, *(f"{count:,}" for count in rows)] for name, rows in found.rows.items()],
    )  # fmt: skip
    typer.echo()
    if found.came:
        typer.echo(_("came: {reasons}").format(reasons=_counted(found.came)))
    if found.went:
        typer.echo(_("went: {reasons}").format(reasons=_counted(found.went)))
    if found.changed_texts or found.changed_labels:
        typer.echo(
            _("changed: text {texts:,}, label {labels:,}").format(
                texts=found.changed_texts, labels=found.changed_labels
            )
        )
    if found.moved:
        moves = (f"{a} → {b} {count:,}" for (a, b), count in found.moved.items())
        typer.echo(_("moved: {moves}").format(moves=_(", ").join(moves)))


def _print_labels(found: Diff) -> None:
    from feilun.cli.output import print_table

    table = []
    for split, shift in found.labels.items():
        sums = [max(sum(side), 1) for side in zip(*shift.counts.values(), strict=True)] or [1, 1]
        rows = [
            (split, label, *counts, counts[0] / sums[0], counts[1] / sums[1])
            for label, counts in shift.counts.items()
        ]
        rows.sort(key=lambda row: -abs(row[5] - row[4]))
        table += [row for row in rows[:MOST_LABELS] if row[2] != row[3]]
    if table:
        typer.echo()
        print_table(
            [_("split"), _("label"), _("before"), _("after"), _("share before"), _("share after")],
            [
                [split, label, f"{a:,}", f"{b:,}", f"{100 * c:.2f} %", f"{100 * d:.2f} %"]
                for split, label, a, b, c, d in table
            ],
        )
    for split, shift in found.labels.items():
        if shift.distance:
            typer.echo(_shift_text(split, shift))
    for labels, sentence in (
        (found.new_labels, _("new labels: {labels}")),
        (found.lost_labels, _("labels that are gone: {labels}")),
    ):
        if labels:
            typer.echo(sentence.format(labels=_(", ").join(labels)))


def _print_lengths(found: Diff) -> None:
    from feilun.cli.output import print_table

    rows = [
        [split, *(f"{mean:.1f}" for mean in shift.means), f"{shift.distance:.3f}",
         "" if shift.p is None else "< 0.001" if shift.p < 0.001 else f"{shift.p:.3f}"]
        for split, shift in found.lengths.items()
        if shift.distance
    ]  # fmt: skip
    if rows:
        typer.echo()
        print_table(
            [_("split"), _("mean length before"), _("after"), _("KS distance"), _("p-value")], rows
        )


def _print_counts(found: Diff) -> None:
    from feilun.cli.output import print_table
    from feilun.wheel.describe import reason_name

    reasons = {reason_name(reason): counts for reason, counts in found.dropped.items()}
    for heading, counted in ((_("source"), found.sources), (_("dropped"), reasons)):
        differ = [(name, *counts) for name, counts in counted.items() if counts[0] != counts[1]]
        if differ:
            typer.echo()
            print_table(
                [heading, _("before"), _("after")],
                [[name, f"{a:,}", f"{b:,}"] for name, a, b in differ[:MOST_LABELS]],
            )


def _print_settings(found: Diff) -> None:
    from feilun.cli.output import print_table

    if found.settings:
        typer.echo()
        print_table(
            [_("setting"), _("before"), _("after")],
            [
                [name, *("–" if value is None else value for value in values)]
                for name, values in found.settings.items()
            ],
        )


def _print_examples(kind: str, examples: list[dict[str, Any]]) -> None:
    from feilun.cli.output import print_table
    from feilun.core.errors import shortened

    if not examples:
        return
    rows = []
    for example in examples:
        before = example.get("before", {})
        place = f"{example['source']}:{example['row']}"
        cells = [
            f"{shortened(before[name] or '–')} → {shortened(example[name] or '–')}"
            if name in before
            else shortened(example[name] or "–")
            for name in ("split", "label", "text")
        ]
        rows.append([*cells, place])
    typer.echo()
    print_table([_(_KINDS[kind]), _("label"), _("text"), _("source")], rows)


def _shift_text(split: str, shift: Labels) -> str:
    values = {"split": split, "distance": shift.distance, "p": shift.p}
    if shift.p is None:
        return _("{split}: label shares differ by {distance:.2%}").format(**values)
    if shift.p <= SURE:
        return _(
            "{split}: label shares differ by {distance:.2%}, more than by chance (p = {p:.4f})"
        ).format(**values)
    return _(
        "{split}: label shares differ by {distance:.2%}, as they may by chance (p = {p:.2f})"
    ).format(**values)


def _counted(reasons: dict[str, int]) -> str:
    from feilun.wheel.describe import reason_name
    from feilun.wheel.diff import GONE, NEW

    names = {NEW: _("new in the sources"), GONE: _("gone from the sources")}
    return _(", ").join(
        f"{names.get(reason) or reason_name(reason)} {count:,}" for reason, count in reasons.items()
    )


def _plain(found: Diff) -> dict[str, Any]:
    """The same as JSON: tuples as objects with names."""
    return {
        **found._asdict(),
        "same": found.same,
        "rows": {name: rows._asdict() for name, rows in found.rows.items()},
        "labels": {name: shift._asdict() for name, shift in found.labels.items()},
        "lengths": {name: shift._asdict() for name, shift in found.lengths.items()},
        "moved": [{"from": a, "to": b, "count": count} for (a, b), count in found.moved.items()],
    }

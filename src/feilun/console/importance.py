"""How much each setting decides, as a drawing: one bar for each."""

from __future__ import annotations

from html import escape
from pathlib import Path

from feilun.console.charts import can_draw, importances
from feilun.core.errors import Invalid
from feilun.core.i18n import _, language
from feilun.store.disk import write_file


class NoCharts(Invalid):
    """The extra `report` is not installed."""

    def __init__(self) -> None:
        super().__init__(
            _("Drawing needs Altair and vl-convert, which are not installed here."),
            remedy="pip install 'feilun[report]'",
        )


class NotAPlot(Invalid):
    """The file's name says neither SVG nor HTML."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            _("{path} cannot be drawn: its name must end in .svg or .html.").format(path=path),
            remedy="feilun tune --plot importance.svg",
        )


def check_plot(path: Path) -> None:
    """Raises `NotAPlot`, `NoCharts` before anything is searched."""
    if path.suffix.lower() not in {".svg", ".html"}:
        raise NotAPlot(path)
    if not can_draw():
        raise NoCharts


def write_plot(shares: dict[str, float], path: Path) -> None:
    """Writes the drawing as an SVG file, or as a page with it."""
    check_plot(path)
    drawn = importances(shares)
    if path.suffix.lower() == ".html":
        title = escape(_("What decides"))
        drawn = (
            f'<!doctype html>\n<html lang="{language()}">\n<meta charset="utf-8">\n'
            f"<title>{title}</title>\n<style>:root {{ color-scheme: light dark; }} "
            "body { font-family: system-ui, sans-serif; margin: 2rem; } "
            "svg { max-width: 100%; height: auto; }</style>\n"
            f"<h1>{title}</h1>\n{drawn}\n</html>\n"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, drawn.encode("utf-8"))

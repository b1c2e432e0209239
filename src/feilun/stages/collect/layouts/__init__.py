"""Label formats: what the columns of a file mean, and the records they become.

A reader gives a *raw chunk*: the columns as they stand in the file (CSV: texts; JSON: texts,
nested values as compact JSON; Parquet: typed) and `_row`, the place of each row. A layout makes
records of it: `text`, `label`, `row`, `spans`, `group`, `time`, `fields`, those that apply.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from feilun.stages.collect.layouts import (
    dialogue,
    entities,
    interactions,
    label_studio,
    labelled,
    pairs,
    sequences,
    tabular,
)
from feilun.stages.collect.layouts.detection import detect
from feilun.stages.collect.layouts.naming import resolved as _resolved
from feilun.stages.collect.layouts.rows import parts
from feilun.stages.collect.layouts.sequences import conll_frames
from feilun.stages.collect.names import LAYOUTS
from feilun.stages.collect.source import Quarantine

__all__ = ["LAYOUTS", "conll_frames", "detect", "parts", "resolved", "shaped"]

_SHAPED = {
    "labelled": labelled.shaped,
    "tabular": tabular.shaped,
    "alpaca": dialogue.alpaca,
    "sharegpt": dialogue.messages,
    "messages": dialogue.messages,
    "preference": dialogue.preference,
    "completion": dialogue.completion,
    "conll": sequences.shaped,
    "spans": entities.shaped,
    "label_studio": label_studio.shaped,
    "interactions": interactions.shaped,
    "pairs": pairs.shaped,
}


def resolved(
    chunk: pl.DataFrame, layout: str, columns: Mapping[str, str], where: str
) -> dict[str, str]:
    """Which column has which role: `columns` (role → column), and what can be guessed beside it.

    Ask it once, with a file's first chunk, and give the answer to `shaped` for all its chunks:
    so they agree on what was guessed. Raises `ColumnMissing`, `ColumnUnclear`.
    """
    return _resolved(chunk, layout, columns, where)


def shaped(
    chunk: pl.DataFrame, layout: str, columns: Mapping[str, str], where: str, quarantine: Quarantine
) -> pl.DataFrame:
    """The records in a raw chunk: `row` and those of `text`, `label`, `spans`, `group`, `time`,
    `fields` that the layout has. `columns` maps roles to columns; what it leaves out is guessed.

    Rows that do not fit go to the quarantine with `where` and their row number. Raises
    `ColumnMissing`, `ColumnUnclear`.
    """
    return _SHAPED[layout](chunk, _resolved(chunk, layout, columns, where), where, quarantine)

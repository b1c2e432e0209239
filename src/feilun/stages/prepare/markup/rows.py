"""Work on those texts of a column that need it."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl


def matching(texts: pl.Series, literal: str, pattern: str) -> pl.Series:
    """For each text whether it has `literal` and matches `pattern` (Boolean, false for null).
    Memory is searched for a literal ten times as fast as it is matched against a pattern."""
    has = texts.str.contains(literal, literal=True).fill_null(False)
    rows = has.arg_true()
    if not len(rows):
        return has
    return has.scatter(rows, texts.gather(rows).str.contains(pattern))


def where(
    texts: pl.Series, chosen: pl.Series, rewrite: Callable[[pl.Series], pl.Series]
) -> pl.Series:
    """`texts`, the chosen ones rewritten."""
    rows = chosen.fill_null(False).arg_true()
    if not len(rows):
        return texts
    # `scatter` writes into the very series it is called on.
    return texts.clone().scatter(rows, rewrite(texts.gather(rows)))


def each(rewrite: Callable[[str], str]) -> Callable[[pl.Series], pl.Series]:
    """`rewrite`, for a whole column."""
    return lambda texts: pl.Series([rewrite(text) for text in texts], dtype=pl.String)

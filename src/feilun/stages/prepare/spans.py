"""Texts written anew without losing what their spans are on."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from feilun.core.records import SPANS

_SPACES = (
    "".join(map(chr, [*range(0x21), *range(0x7F, 0xA1), *range(0x2000, 0x200C)]))
    + "\u1680\u2028\u2029\u202f\u205f\u3000"
)
"""White space and control characters."""
_BREAKS = r"[\n\r\x0b\x0c\x{85}\x{2028}\x{2029}]"


def rewritten_in_pieces(
    frame: pl.DataFrame, rewrite: Callable[[pl.Series], pl.Series]
) -> pl.DataFrame:
    """`frame` with `rewrite` applied to its texts; `spans` are moved with what they are on.

    A text with spans is cut at their ends and written anew piece by piece; between two pieces
    stays the most that stood there before or that `rewrite` puts at their ends: a line feed, a
    space, or nothing. So each span covers what its own text became, also where pieces grow or
    shrink. A span whose text becomes empty is dropped; one that is blank from the start or ends
    outside the text is dropped, too, and cuts nothing. Of every text that `rewrite` changes, the
    ends are trimmed.
    """
    spanned = (frame["spans"].list.len().fill_null(0) > 0) & frame["text"].is_not_null()
    if not spanned.any():
        return frame.with_columns(_trimmed(frame["text"], rewrite))
    rows = frame.with_row_index("_row")
    cut = _with_ranges(rows.filter(spanned))
    whole = cut["spans"].is_null()
    plain = pl.concat([rows.filter(~spanned), cut.filter(whole)])
    plain = plain.with_columns(_trimmed(plain["text"], rewrite))
    cut = cut.filter(~whole)
    pieces = _cut(cut)
    core = pieces["piece"].str.strip_chars(_SPACES)
    fresh = rewrite(core).fill_null("").rename("fresh")
    pieces = pieces.with_columns(core.alias("core"), fresh)
    return pl.concat([plain, _joined(cut, pieces)]).sort("_row").drop("_row")


def _trimmed(texts: pl.Series, rewrite: Callable[[pl.Series], pl.Series]) -> pl.Series:
    fresh = rewrite(texts).rename("text")
    return fresh.zip_with((fresh == texts).fill_null(True), fresh.str.strip_chars())


def _with_ranges(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` with those of their spans that are on something; null where none is. The others must
    not cut: half a number is not told to be one."""
    length = pl.col("text").str.len_chars().cast(pl.Int64)
    on = pl.col("text").str.slice(pl.col("start"), pl.col("end") - pl.col("start"))
    left = (
        rows.select("_row", "text", "spans")
        .explode("spans")
        .unnest("spans")
        .filter(
            (pl.col("start") >= 0) & (pl.col("start") < pl.col("end")) & (pl.col("end") <= length)
        )
        .filter(on.str.strip_chars(_SPACES) != "")
        .group_by("_row", maintain_order=True)
        .agg(pl.struct("start", "end", "label").alias("spans"))
    )
    found = rows.drop("spans").join(left, on="_row", how="left", maintain_order="left")
    return found.with_columns(pl.col("spans").cast(SPANS)).select(rows.columns)


def _cut(rows: pl.DataFrame) -> pl.DataFrame:
    """The pieces between all ends of spans: `_row`, their place `from`…`until`, `piece`."""
    ends = rows.select(
        "_row",
        "text",
        pl.concat_list(
            pl.lit(0, dtype=pl.Int64),
            pl.col("spans").list.eval(pl.element().struct.field("start")),
            pl.col("spans").list.eval(pl.element().struct.field("end")),
        )
        .list.unique()
        .list.sort()
        .alias("from"),
        pl.col("text").str.len_chars().cast(pl.Int64).alias("_length"),
    ).explode("from")
    inside = (pl.col("from") > 0) & (pl.col("from") < pl.col("_length"))
    ends = ends.filter(inside | (pl.col("from") == 0))
    follows = pl.col("_row") == pl.col("_row").shift(-1)
    until = pl.when(follows).then(pl.col("from").shift(-1)).otherwise("_length")
    return ends.with_columns(until.alias("until")).select(
        "_row",
        "from",
        "until",
        piece=pl.col("text").str.slice(pl.col("from"), pl.col("until") - pl.col("from")),
    )


def _edge(column: str, *, end: bool) -> pl.Expr:
    """What stands at one end of the pieces: 0 nothing, 1 white space, 2 with a line break."""
    text = pl.col(column)
    if end:
        space = text.str.slice(text.str.strip_chars_end(_SPACES).str.len_chars())
    else:
        rest = text.str.strip_chars_start(_SPACES).str.len_chars()
        space = text.str.slice(0, text.str.len_chars() - rest)
    return (
        pl.when(space.str.contains(_BREAKS)).then(2).when(space != "").then(1).otherwise(0)
    ).cast(pl.Int8)


def _placed(pieces: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The pieces of which anything is left (`solid`): what stands `between` them and the one
    before, what they are now (`stripped`), from `begin` to `finish` in the new text; and all
    pieces, with `number`: how many solid ones there are up to here, over all texts."""
    pieces = pieces.with_columns(
        before=pl.max_horizontal(_edge("piece", end=False), _edge("fresh", end=False)),
        after=pl.max_horizontal(_edge("piece", end=True), _edge("fresh", end=True)),
        stripped=pl.col("fresh").str.strip_chars(_SPACES),
    ).with_columns(solid=pl.col("stripped") != "")
    pieces = pieces.with_columns(number=pl.col("solid").cum_sum())
    # What follows a solid piece: its own end, and every piece of which nothing is left. Whatever
    # stands before the first solid piece of a text is counted to the text before, and not used.
    follows = pl.when("solid").then("after").otherwise(pl.max_horizontal("before", "after"))
    gaps = pieces.group_by("number").agg(follows.max().alias("previous"))
    solid = pieces.filter("solid").join(
        gaps.select(pl.col("number") + 1, "previous"),
        on="number",
        how="left",
        maintain_order="left",
    )
    first = (pl.col("_row") != pl.col("_row").shift(1)).fill_null(True)
    gap = pl.when(first).then(0).otherwise(pl.max_horizontal("before", "previous"))
    between = pl.when(gap == 2).then(pl.lit("\n")).when(gap == 1).then(pl.lit(" "))
    length = pl.col("stripped").str.len_chars().cast(pl.Int64)
    solid = solid.with_columns(between=between.otherwise(pl.lit("")), first=first)
    total = (pl.col("between").str.len_chars() + length).cum_sum()
    # The sum over all texts, less what it was where this text begins (0 and rising: filled on).
    base = pl.when("first").then(total - length).forward_fill()
    return solid.select(
        "_row", "number", "between", "stripped", begin=total - length - base, finish=total - base
    ), pieces.select("_row", "from", "until", "solid", "number")


def _joined(rows: pl.DataFrame, pieces: pl.DataFrame) -> pl.DataFrame:
    """`rows` with what became of their texts and spans."""
    solid, pieces = _placed(pieces)
    texts = solid.group_by("_row", maintain_order=True).agg(
        pl.concat_str("between", "stripped").str.join("").alias("text")
    )
    # A span begins where its first solid piece does, and ends where its last one does; the
    # numbers of a span without any are the wrong way round.
    begins = pieces.select(
        "_row", start="from", first=pl.col("number") + 1 - pl.col("solid").cast(pl.UInt32)
    ).join(solid.select("begin", first="number"), on="first")
    finishes = pieces.select("_row", end="until", last="number").join(
        solid.select("finish", last="number"), on="last"
    )
    spans = (
        rows.select("_row", "spans")
        .explode("spans")
        .unnest("spans")
        .with_row_index("_order")
        .join(begins, on=["_row", "start"])
        .join(finishes, on=["_row", "end"])
        .filter((pl.col("first") <= pl.col("last")) & (pl.col("start") < pl.col("end")))
        .sort("_order")
        .group_by("_row", maintain_order=True)
        .agg(pl.struct(start="begin", end="finish", label="label").alias("spans"))
    )
    return (
        rows.drop("text", "spans")
        .join(texts, on="_row", how="left")
        .join(spans, on="_row", how="left")
        .with_columns(pl.col("text").fill_null(""), pl.col("spans").cast(SPANS))
        .select(rows.columns)
    )

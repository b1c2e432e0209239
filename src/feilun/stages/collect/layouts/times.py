"""Points in time as people and machines write them, read in columns."""

from __future__ import annotations

import polars as pl

from feilun.stages.collect.source import Quarantine

TIME = pl.Datetime("us", "UTC")

_WRITTEN = (
    r"^(\d{4})(?:[-/.]|\s*年\s*)(\d{1,2})(?:[-/.]|\s*月\s*)(\d{1,2})(?:\s*[日号])?"
    r"(?:[Tt\s]\s*|,\s*)?(上午|下午|晚上|凌晨|中午|早上)?\s*"
    r"(?:(\d{1,2})(?:[:：]|\s*[时点]\s*)(\d{1,2})?\s*分?(?:[:：]?\s*(\d{1,2})(?:[.,](\d{1,9}))?\s*秒?)?)?"
    r"\s*(AM|PM|am|pm)?\s*(Z|z|UTC|GMT|[+-]\d{2}:?\d{2}|[+-]\d{2})?$"
)
_COMPACT = r"^((?:19|20)\d{2})(0[1-9]|1[0-2])([0-3]\d)(?:[Tt]?([0-2]\d)([0-5]\d)([0-5]\d)?)?$"
_AFTERNOON = ("下午", "晚上", "PM", "pm")


def parsed(values: pl.Series) -> pl.Series:
    """Each value as a point in time (`TIME`); null where it cannot be read.

    Texts: ISO 8601, `2024/1/31 8:05`, `2024年1月31日 下午3点05分`, `20240131083000`; numbers and
    texts of digits: seconds since 1970 (up to 11 digits), milliseconds (12–14), microseconds
    (15–17), nanoseconds. A time without an offset counts as UTC. Dates and times as they are.
    """
    kind = values.dtype
    if kind == pl.Date or isinstance(kind, pl.Datetime):
        aware = isinstance(kind, pl.Datetime) and kind.time_zone is not None
        known = values if aware else values.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        return known.cast(TIME)
    if kind.is_float():
        # Written out, a large float is in exponent form.
        whole = values.abs() >= 1e9
        texts = values.cast(pl.Decimal(38, 6), strict=False).cast(pl.String)
        texts = texts.zip_with(whole.fill_null(False), values.cast(pl.String))
    else:
        texts = values.cast(pl.String, strict=False)
    frame = pl.DataFrame({"t": texts}).select(pl.col("t").str.strip_chars())
    text = pl.col("t")
    return frame.select(
        pl.coalesce(_compact(text), _since_1970(text), _written(text)).alias(values.name)
    ).to_series()


def parsed_times(
    values: pl.Series, rows: pl.Series, where: str, quarantine: Quarantine
) -> pl.Series:
    """As `parsed`; what cannot be read is noted as `bad_time`: its row goes on, without a time."""
    if values.null_count() == len(values):
        return pl.Series(values.name, [None] * len(values), dtype=TIME)
    times = parsed(values)
    text = values.cast(pl.String, strict=False)
    wrong = times.is_null() & text.is_not_null() & (text.str.strip_chars() != "")
    for row, seen in zip(rows.filter(wrong), text.filter(wrong), strict=True):
        quarantine.add(where, int(row), "bad_time", seen)
    return times


def _since_1970(text: pl.Expr) -> pl.Expr:
    digits = text.str.extract(r"^(\d{1,19})(?:\.\d+)?$", 1)
    length = digits.str.len_chars()
    number = digits.cast(pl.Int64, strict=False)
    # Up to eight digits are a count or a date, no time since 1970 that anybody logs.
    fraction = text.str.extract(r"^\d{9,11}(\.\d{1,9})\d*$", 1)
    more = (pl.lit("0") + fraction).cast(pl.Float64, strict=False).fill_null(0.0) * 1e6
    micros = (
        pl.when(length < 9)
        .then(None)
        .when(length <= 11)
        .then(number * 1_000_000 + more.round().cast(pl.Int64))
        .when(length <= 14)
        .then(number * 1_000)
        .when(length <= 17)
        .then(number)
        .otherwise(number // 1_000)
    )
    return micros.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _compact(text: pl.Expr) -> pl.Expr:
    found = text.str.extract_groups(_COMPACT).struct
    clock = pl.concat_str(*(found.field(n).fill_null("00") for n in ("4", "5", "6")), separator=":")
    day = pl.concat_str(*(found.field(n) for n in ("1", "2", "3")), separator="-")
    return _moment(day, clock, pl.lit(0))


def _written(text: pl.Expr) -> pl.Expr:
    found = text.str.extract_groups(_WRITTEN).struct

    def two(name: str) -> pl.Expr:
        return found.field(name).fill_null("0").str.zfill(2)

    half = pl.coalesce(found.field("4"), found.field("9"))
    hour = two("5").cast(pl.Int64, strict=False)
    late = half.is_in(_AFTERNOON) & (hour < 12)
    late = late | ((half == "中午") & (hour < 3))
    midnight = half.is_in(("AM", "am", "凌晨", "上午")) & (hour == 12)
    hour = hour + pl.when(late).then(12).when(midnight).then(-12).otherwise(0)
    day = pl.concat_str(found.field("1"), two("2"), two("3"), separator="-")
    clock = pl.concat_str(hour.cast(pl.String).str.zfill(2), two("6"), two("7"), separator=":")
    micros = found.field("8").str.pad_end(6, "0").str.slice(0, 6).cast(pl.Int64, strict=False)
    zone = found.field("10").str.replace_all(":", "")
    sign = pl.when(zone.str.starts_with("-")).then(-1).otherwise(1)
    minutes = zone.str.slice(1, 2).cast(pl.Int64, strict=False) * 60 + zone.str.slice(3, 2).cast(
        pl.Int64, strict=False
    ).fill_null(0)
    offset = (sign * minutes).fill_null(0)
    return _moment(day, clock, micros.fill_null(0) - offset * 60_000_000)


def _moment(day: pl.Expr, clock: pl.Expr, more: pl.Expr) -> pl.Expr:
    """Day and time of day (null where there is no such day) and so many microseconds more."""
    whole = pl.concat_str(day, clock, separator=" ")
    moment = whole.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False)
    return (moment + more.cast(pl.Duration("us"))).dt.replace_time_zone("UTC")

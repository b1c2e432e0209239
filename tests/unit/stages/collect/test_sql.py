"""SQL: only what is new, nothing twice, nothing written, no password shown."""

from __future__ import annotations

import sqlite3
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from feilun.core.config import ConfigError, parse
from feilun.core.secret import SecretMissing
from feilun.stages.collect import layouts
from feilun.stages.collect import watermark as marks
from feilun.stages.collect.chunks import Layout, raw_chunk
from feilun.stages.collect.columns import ColumnMissing
from feilun.stages.collect.source import Quarantine
from feilun.stages.collect.sql import (
    CHUNK,
    DatabaseBusy,
    DatabaseMissing,
    DatabaseUrlUnusable,
    DriverMissing,
    QueryFailed,
    Sql,
)
from tests.unit.stages.collect.turns import Project, read

MAPPED = {"text": "body", "label": "stars"}
QUERY = "SELECT id, body, stars, changed FROM reviews"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """An application's database, which it goes on writing to."""
    (tmp_path / "data").mkdir()
    with closing(sqlite3.connect(tmp_path / "data" / "app.db")) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(
            "CREATE TABLE reviews (id INTEGER PRIMARY KEY, body TEXT, stars TEXT, changed TEXT)"
        )
        yield connection


def write(app: sqlite3.Connection, *rows: tuple[Any, ...]) -> None:
    app.executemany("INSERT INTO reviews (body, stars, changed) VALUES (?, ?, ?)", rows)
    app.commit()


def source(**more: Any) -> Sql:
    settings = {"url": "sqlite:///data/app.db", "query": QUERY, "columns": MAPPED}
    return Sql.model_validate({**settings, **more})


def test_each_turn_reads_what_the_app_wrote_since(app: sqlite3.Connection, tmp_path: Path) -> None:
    project = Project(source(watermark="changed"), tmp_path)
    write(app, ("很好", "5", "2026-01-01"), ("太差", "1", "2026-01-02"))
    first = project.collect()
    assert first["text"].to_list() == ["很好", "太差"]
    assert first["label"].to_list() == ["5", "1"]
    assert first["source"].unique().to_list() == ["sqlite:data/app.db"]
    assert first["row"].to_list() == [1, 2]
    # A late row with the watermark that was read last, one after it, one that is known already.
    write(app, ("late", "3", "2026-01-02"), ("new", "4", "2026-02-01"), ("太差", "1", "2026-02-02"))
    assert project.collect()["text"].to_list() == ["很好", "太差", "late", "new"]
    # What is gone from the table stays collected; nothing new is nothing more.
    app.execute("DELETE FROM reviews")
    app.commit()
    assert project.collect()["text"].to_list() == ["很好", "太差", "late", "new"]


def test_a_later_turn_asks_only_from_the_watermark_on(
    app: sqlite3.Connection, tmp_path: Path
) -> None:
    write(app, *((f"text {n}", "1", f"2026-01-{n:02}") for n in range(1, 21)))
    first = read(source(watermark="changed"), tmp_path)
    assert first.frame.height == 20
    write(app, ("one more", "1", "2026-02-01"))
    again = read(source(watermark="changed"), tmp_path, first.since)
    assert again.texts == ["text 20", "one more"]
    # Without a watermark, everything is read every time.
    assert read(source(), tmp_path, read(source(), tmp_path).since).frame.height == 21


def test_rows_without_a_watermark_are_read_each_turn_and_count_once(
    app: sqlite3.Connection, tmp_path: Path
) -> None:
    project = Project(source(watermark="changed"), tmp_path)
    write(app, ("dated", "1", "2026-01-01"), ("undated", "1", None))
    assert project.collect()["text"].sort().to_list() == ["dated", "undated"]
    write(app, ("undated too", "1", None))
    assert project.collect()["text"].sort().to_list() == ["dated", "undated", "undated too"]
    assert project.collect().height == 3


def test_only_undated_rows_leave_no_watermark(app: sqlite3.Connection, tmp_path: Path) -> None:
    write(app, ("undated", "1", None))
    first = read(source(watermark="changed"), tmp_path)
    assert "mark" not in marks.unpacked(first.since)
    write(app, ("dated", "1", "1999-01-01"))
    assert sorted(read(source(watermark="changed"), tmp_path, first.since).texts) == [
        "dated",
        "undated",
    ]


@pytest.mark.parametrize("column", ["id", '评论 "数" :n'])
def test_any_column_can_be_the_watermark(
    app: sqlite3.Connection, tmp_path: Path, column: str
) -> None:
    quoted = '"' + column.replace('"', '""') + '"'
    query = f"SELECT id AS {quoted}, body, stars FROM reviews"
    write(app, ("a", "1", ""), ("b", "1", ""))
    first = read(source(query=query, watermark=column), tmp_path)
    assert marks.unpacked(first.since)["mark"] == {"type": "int", "value": 2}
    write(app, ("c", "1", ""))
    assert read(source(query=query, watermark=column), tmp_path, first.since).texts == ["b", "c"]


def test_what_was_guessed_in_the_first_turn_holds_in_the_next(
    app: sqlite3.Connection, tmp_path: Path
) -> None:
    """One row alone would be guessed otherwise: its longest cell is not its text."""
    for number in range(30):
        write(
            app,
            (f"很长的一段评论文字{number}", "好" if number % 2 else "坏", f"2026-01-{number:02}"),
        )
    first = read(source(columns={}, watermark="id"), tmp_path)
    assert first.texts[0] == "很长的一段评论文字0"
    assert first.frame["label"].to_list()[:2] == ["坏", "好"]
    write(app, ("短评", "a label longer than its text", "2026-02-01"))
    again = read(source(columns={}, watermark="id"), tmp_path, first.since)
    assert again.frame.row(-1, named=True)["text"] == "短评"
    assert again.frame.row(-1, named=True)["label"] == "a label longer than its text"


def test_a_hundred_thousand_rows_pass_in_bounded_memory(
    app: sqlite3.Connection, tmp_path: Path
) -> None:
    text = "房间很好，下次还来。" * 20
    write(app, *((f"{n} {text}", "5", f"{n:06}") for n in range(100_000)))
    peaks = []
    for limit in (40_000, 100_000):
        query = f"SELECT body, stars, changed FROM reviews LIMIT {limit}"
        rows = 0
        tracemalloc.start()
        for piece in source(query=query, watermark="changed").pieces(tmp_path, None):
            for frame in piece.frames(Quarantine()):
                assert frame.height <= CHUNK
                rows += frame.height
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert rows == limit
    # Measured: 38 MB for two chunks and for five.
    assert peaks[1] < 1.2 * peaks[0], peaks


def test_nothing_can_be_written(app: sqlite3.Connection, tmp_path: Path) -> None:
    write(app, ("a", "1", ""))
    for query in (
        "SELECT 1) x; DELETE FROM reviews; --",
        "WITH gone AS (DELETE FROM reviews RETURNING *) SELECT * FROM gone",
        "SELECT body FROM reviews; DELETE FROM reviews",
        "SELECT load_extension('x') AS body",
    ):
        with pytest.raises(QueryFailed):
            read(source(query=query), tmp_path)
    for query in ("DELETE FROM reviews", "PRAGMA query_only=OFF", "-- SELECT\nDROP TABLE reviews"):
        with pytest.raises(ValidationError, match="must be one SELECT"):
            source(query=query)
    assert app.execute("SELECT count(*) FROM reviews").fetchone() == (1,)


def test_control_the_connection_itself_refuses_to_write(
    app: sqlite3.Connection, tmp_path: Path
) -> None:
    from feilun.stages.collect.sql import _opened

    write(app, ("a", "1", ""))
    with closing(_opened(tmp_path / "data" / "app.db")) as connection:
        for statement in ("DELETE FROM reviews", "CREATE TABLE x (y)"):
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                connection.execute(statement)


def test_a_query_is_sent_as_it_was_written(app: sqlite3.Connection, tmp_path: Path) -> None:
    """Colons are no parameters, percent signs no formats, a last comment ends nothing."""
    body = r"at 12:30 :a:b \:c ::int %s %(x)s ? {y} ''"
    query = f"/* one */ -- two\nselect '{body}' as body, 1 as n from reviews"
    write(app, ("a", "1", ""))
    for end in ("", ";", " ;\n", " -- the end"):
        found = read(source(query=query + end, columns={"text": "body"}), tmp_path)
        assert found.texts == [body.replace("''", "'")]


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40))
def test_any_text_in_a_query_comes_back(text: str) -> None:
    from tempfile import TemporaryDirectory

    quoted = text.replace("'", "''")
    with TemporaryDirectory() as folder:
        query = f"SELECT 'x{quoted}' AS body"
        Path(folder, "app.db").touch()  # an empty file is an empty database
        found = read(
            Sql(url="sqlite:///app.db", query=query, columns={"text": "body"}, layout="labelled"),
            Path(folder),
        )
    assert found.texts == [f"x{text}"]


def test_bad_cells_do_not_end_the_reading(app: sqlite3.Connection, tmp_path: Path) -> None:
    app.execute("INSERT INTO reviews (body) VALUES (CAST(x'ff41' AS TEXT)), (x'e5a5bd'), (NULL)")
    app.execute("INSERT INTO reviews (body) VALUES (12), (1.5), ('good')")
    app.commit()
    found = read(source(), tmp_path)
    assert found.texts == ["", "好", "", "12", "1.5", "good"], "prepare drops what is empty"


# What is refused


def test_mistakes_are_told(app: sqlite3.Connection, tmp_path: Path) -> None:
    write(app, ("a", "1", ""))
    with pytest.raises(QueryFailed, match="no such table: orders"):
        read(source(query="SELECT * FROM orders"), tmp_path)
    with pytest.raises(QueryFailed, match="no such column"):
        read(source(watermark="when"), tmp_path)
    with pytest.raises(ColumnMissing, match="'text'"):
        read(source(columns={"text": "text"}), tmp_path)
    with pytest.raises(DatabaseMissing, match=r"other\.db"):
        read(source(url="sqlite:///data/other.db"), tmp_path)
    for url in ("sqlite://", "sqlite:///:memory:", "sqlite:///file:data/app.db?uri=true"):
        with pytest.raises(DatabaseUrlUnusable):
            read(source(url=url), tmp_path)
    (tmp_path / "text.db").write_text("no database " * 100)
    with pytest.raises(QueryFailed, match="not a database"):
        read(source(url="sqlite:///text.db"), tmp_path)
    assert not (tmp_path / "data" / "other.db").exists()


def test_a_missing_driver_names_its_package(tmp_path: Path) -> None:
    with pytest.raises(DriverMissing) as caught:
        read(source(url="postgresql+psycopg://reader@db.example/app"), tmp_path)
    assert caught.value.remedy == "pip install psycopg"
    with pytest.raises(DriverMissing, match="nonesuch") as caught:
        read(source(url="nonesuch://reader@db.example/app"), tmp_path)
    assert caught.value.remedy is not None
    assert caught.value.remedy.startswith("Install the package")
    assert DriverMissing("mysql", "MySQLdb").remedy == "pip install mysqlclient"


def test_a_locked_database_is_busy(
    app: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feilun.stages.collect.sql.WAIT_SECONDS", 0.05)
    app.execute("PRAGMA journal_mode=DELETE")
    write(app, ("a", "1", ""))
    app.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DatabaseBusy, match="locked"):
        read(source(), tmp_path)
    app.rollback()
    assert read(source(), tmp_path).texts == ["a"]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://reader:sesame@db/app", "mysql+pymysql://r:sesame@db/app?charset=utf8",
        "postgresql://reader@db/app?password=sesame", "postgresql:///app?sslpassword=sesame",
        "mssql+pyodbc://db/app?pwd=sesame", "mysql://db/app?passwd=sesame",
    ],
)  # fmt: skip
def test_a_password_in_the_settings_is_refused_and_not_repeated(url: str) -> None:
    from feilun.stages.collect import Collect

    text = f'[[sources]]\nuse = "sql"\nurl = "{url}"\nquery = "SELECT 1"\n'
    with pytest.raises(ConfigError, match="env:DATABASE_URL") as caught:
        parse(text, Collect, Path("feilun.toml"))
    assert "sesame" not in str(caught.value)
    assert "line 3" in str(caught.value)


def test_a_url_from_the_environment_is_never_shown(
    app: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(app, ("a", "1", ""))
    inner = source(url="env:APP_DATABASE")
    with pytest.raises(SecretMissing, match="APP_DATABASE"):
        read(inner, tmp_path)
    monkeypatch.setenv("APP_DATABASE", "sqlite:///data/app.db")
    assert read(inner, tmp_path).texts == ["a"]
    assert inner.model_dump(mode="json")["url"] == "env:APP_DATABASE"
    for url in ("no url at all sesame", "postgresql+psycopg://reader:sesame@db.example/app"):
        monkeypatch.setenv("APP_DATABASE", url)
        with pytest.raises((DatabaseUrlUnusable, DriverMissing)) as caught:
            read(inner, tmp_path)
        assert "sesame" not in f"{caught.value} {caught.value.remedy}"


def test_a_message_of_the_database_loses_the_password(tmp_path: Path) -> None:
    """Drivers repeat what they were given; a stand-in says everything it knows."""
    import sqlalchemy as sa

    from feilun.stages.collect.sql import _Reading

    url = sa.make_url("postgresql://reader:ses%40me@db.example/app?sslpassword=open")
    reading = _Reading(source(), url, "postgresql:app", tmp_path, None)
    whole = url.render_as_string(hide_password=False)
    said = reading._hidden(f"failed: {whole} ses@me ses%40me open\nDETAIL: row (1, sesame)")
    assert "failed" in said
    for hidden in ("ses@me", "ses%40me", "open", "DETAIL"):
        assert hidden not in said


def test_a_server_is_told_to_refuse_writes_before_it_is_asked(
    app: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite does not know the statement, so its complaint shows that it was sent."""
    monkeypatch.setattr("feilun.stages.collect.sql._READ_ONLY", {"sqlite"})
    write(app, ("a", "1", ""))
    with pytest.raises(QueryFailed, match='near "SET"'):
        read(source(), tmp_path)


# Values


def test_values_keep_their_types_where_they_have_one() -> None:
    moment = datetime(2026, 1, 1, 8, tzinfo=timezone(timedelta(hours=8)))
    frame = raw_chunk(
        ["s", "i", "f", "b", "d", "t", "s", "big", "mixed", "json", "bytes", "money", "none"],
        [
            ["a", None], [1, None], [1, 0.5], [True, None], [date(2026, 1, 1), None],
            [moment, datetime(2026, 1, 1)], ["\ud800x", "b"], [2**70, 1], ["1", 1],
            [{"a": ["好"]}, [1]], [b"\xe5\xa5\xbd", b"\xff"], [Decimal("1.50"), None], [None, None],
        ],
        7,
    )  # fmt: skip
    assert frame.to_dict(as_series=False) == {
        "s": ["a", None],
        "i": [1, None],
        "f": [1.0, 0.5],
        "b": [True, None],
        "d": [date(2026, 1, 1), None],
        "t": [datetime(2026, 1, 1, tzinfo=UTC)] * 2,
        "s_2": ["?x", "b"],
        "big": [str(2**70), "1"],
        "mixed": ["1", "1"],
        "json": ['{"a":["好"]}', "[1]"],
        "bytes": ["好", None],
        "money": ["1.50", None],
        "none": [None, None],
        "_row": [7, 8],
    }
    assert frame.schema["_row"] == pl.Int64()


@given(
    st.one_of(
        st.integers(), st.floats(allow_nan=False), st.text(), st.binary(), st.dates(),
        st.datetimes(timezones=st.none() | st.just(UTC)), st.decimals(allow_nan=False),
    )
)  # fmt: skip
def test_a_watermark_comes_back_with_its_type(value: Any) -> None:
    state = marks.packed({"mark": marks.written(value, "app", "changed")})
    found = marks.read(marks.unpacked(state)["mark"])
    assert found == value
    assert type(found) is type(value)


def test_a_watermark_without_an_order_is_refused() -> None:
    with pytest.raises(marks.WatermarkUnusable, match="list"):
        marks.written([1], "app", "changed")
    assert marks.packed({"mark": None, "etag": ""}) is None
    assert marks.unpacked(None) == {}


def test_the_layouts_are_those_there_are() -> None:
    assert get_args(Layout) == ("auto", *layouts.LAYOUTS)

"""SQL: the rows of a query, read by SQLAlchemy; each turn those that are new."""

from __future__ import annotations

import re
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from feilun.core.errors import Busy, Invalid, Missing, shortened
from feilun.core.i18n import _
from feilun.core.secret import PREFIX, Secret
from feilun.stages.collect import watermark as marks
from feilun.stages.collect.chunks import Shaping, raw_chunk
from feilun.stages.collect.columns import ColumnMissing
from feilun.stages.collect.names import Layout
from feilun.stages.collect.source import Piece, Quarantine, Source

if TYPE_CHECKING:
    import polars as pl
    import sqlalchemy as sa

CHUNK = 20_000
"""Rows in memory at a time."""
WAIT_SECONDS = 30.0
_COMMENTS = r"(?:\s|--[^\n]*\n|/\*.*?\*/)*"
_SELECT = re.compile(rf"{_COMMENTS}(?:select|with)\b", re.IGNORECASE | re.DOTALL)
_SECRET_KEYS = re.compile(r"pass|pwd|secret|token|key$", re.IGNORECASE)
_READ_ONLY = {"postgresql", "mysql", "mariadb", "oracle"}
"""Where a transaction can be told to refuse every write; SQLite is opened read-only."""
_PACKAGES = {"MySQLdb": "mysqlclient"}
"""Of the drivers whose module has another name, what is installed."""


class DatabaseMissing(Missing):
    """The file of an SQLite database is not there."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            _("There is no database {path}.").format(path=path),
            remedy=_("Mend `url` under [[collect.sources]]: sqlite:///PATH, from the project on."),
        )


class DatabaseUrlUnusable(Invalid):
    """The URL of a database, which an environment variable may hold, is none."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            _("The `url` of a source of SQL cannot be used: {reason}").format(reason=reason),
            remedy=_("Write it as sqlite:///data/app.db or postgresql+psycopg://USER@HOST/NAME."),
        )


class DriverMissing(Missing):
    """The Python package that talks to this kind of database is not installed."""

    def __init__(self, scheme: str, module: str | None) -> None:
        super().__init__(
            _("{scheme} needs a driver that is not installed.").format(scheme=shortened(scheme)),
            remedy=f"pip install {shortened(_PACKAGES.get(module, module))}"
            if module
            else _("Install the package that brings it to SQLAlchemy, or mend `url`."),
        )


class DatabaseBusy(Busy):
    """The database takes no connection, or is locked."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(
            _("{where} cannot be read now: {reason}").format(where=where, reason=reason),
            remedy=_("Check that it runs and takes this user; then run the same command again."),
        )


class QueryFailed(Invalid):
    """The database does not answer the query."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(
            _("{where} refuses the query: {reason}").format(where=where, reason=reason),
            remedy=_("Mend `query` (or `watermark`) under [[collect.sources]] in feilun.toml."),
        )


class Sql(Source):
    """The rows of a query, from any database that SQLAlchemy has a driver for.

    With a `watermark` each turn reads only rows whose watermark is at least the last one read
    (those equal to it may be new; a row read twice counts once), and rows without any. Without
    it each turn reads everything. A row that was collected stays, also when the database
    deletes it. Nothing is ever written to the database.
    """

    use: ClassVar[str] = "sql"
    accumulates: ClassVar[bool] = True

    url: str = Field(
        min_length=1, description="`sqlite:///data/app.db`; `env:NAME` where it has a password"
    )
    query: str = Field(min_length=1, description="one SELECT, without ORDER BY")
    watermark: str = Field("", description="a column of the result that only grows")
    columns: dict[str, str] = Field({}, description="{ text = …, label = … }; guessed if empty")
    layout: Layout = Field("auto", description="what the columns mean; auto: by their names")
    name: str = Field("", description="the records' source; empty: the kind and the database")

    @field_validator("url")
    @classmethod
    def _no_password(cls, value: str) -> str:
        if value.startswith(PREFIX):
            return str(Secret(value))
        try:
            url = _parsed(value)
        except DatabaseUrlUnusable as error:
            raise ValueError(str(error)) from None
        if url.password is not None or any(_SECRET_KEYS.search(key) for key in url.query):
            raise ValueError(
                _(
                    "settings hold no passwords: put the whole URL into an environment variable, "
                    "for example DATABASE_URL, and write 'env:DATABASE_URL' here"
                )
            )
        return value

    @field_validator("query")
    @classmethod
    def _one_select(cls, value: str) -> str:
        if not _SELECT.match(value):
            raise ValueError(_("must be one SELECT"))
        return value

    def pieces(self, root: Path, since: str | None) -> Iterator[Piece]:
        """One piece: what is new. Raises `DatabaseMissing`, `DatabaseBusy`, `DriverMissing`,
        `QueryFailed`, and what `frames` of it raises."""
        url = _parsed(Secret(self.url).reveal() if self.url.startswith(PREFIX) else self.url)
        where = self.name or f"{url.get_backend_name()}:{url.database or ''}"
        reading = _Reading(self, url, where, root, since)
        # What a table holds, only reading it tells: no two readings are the same.
        yield Piece(where, secrets.token_hex(16), reading.frames, reading.reached)


class _Reading:
    """One reading of a query."""

    def __init__(self, source: Sql, url: sa.URL, where: str, root: Path, since: str | None) -> None:
        self.source = source
        self.url = url
        self.where = where
        self.root = root
        state = marks.unpacked(since)
        self.since = state.get("mark") if source.watermark else None
        self.mark = self.since
        self.shaping = Shaping(source.layout, source.columns, where, state.get("guessed"))

    def reached(self) -> str | None:
        """The watermark after the last frame."""
        return marks.packed({"mark": self.mark, "guessed": self.shaping.guessed})

    def frames(self, quarantine: Quarantine) -> Iterator[pl.DataFrame]:
        """The records, `CHUNK` rows at a time."""
        import sqlalchemy as sa

        source = self.source
        with self._clear_errors(), self._connected() as connection:
            values = {} if self.since is None else {"since": marks.read(self.since)}
            options = {"stream_results": True, "yield_per": CHUNK}
            result = connection.execution_options(**options).execute(
                sa.text(self._statement(connection.dialect)), values
            )
            names, first = list(result.keys()), 1
            if source.watermark and source.watermark not in names:
                raise ColumnMissing(self.where, source.watermark, names)
            for rows in result.partitions(CHUNK):
                columns = list(zip(*rows, strict=True))
                chunk = raw_chunk(names, columns, first)
                first += len(rows)
                if source.watermark:
                    self._reach(columns[names.index(source.watermark)])
                # Not both this chunk's rows and the next one's in memory.
                del rows, columns
                yield self.shaping.records(chunk, quarantine)

    def _statement(self, dialect: sa.Dialect) -> str:
        # As a subquery it cannot be anything but a SELECT; the line feed ends a last comment.
        # In `text` a colon begins a parameter; one of the query's own is to stay a colon.
        query = self.source.query.strip().rstrip(";").replace(":", r"\:")
        statement = f"SELECT * FROM (\n{query}\n) feilun_rows"
        if not self.source.watermark:
            return statement
        column = f"feilun_rows.{dialect.identifier_preparer.quote(self.source.watermark)}"
        column = column.replace(":", r"\:")
        new = f" WHERE {column} >= :since OR {column} IS NULL" if self.since else ""
        return f"{statement}{new} ORDER BY {column}"

    def _reach(self, values: tuple[Any, ...]) -> None:
        # The rows come in the database's own order, which may not be Python's (collations).
        last = next((value for value in reversed(values) if value is not None), None)
        if last is not None:
            self.mark = marks.written(last, self.where, self.source.watermark)

    @contextmanager
    def _connected(self) -> Iterator[sa.Connection]:
        import sqlalchemy as sa

        engine = self._engine()
        try:
            try:
                connection = engine.connect()
            except sa.exc.DBAPIError as error:
                raise DatabaseBusy(self.where, self._reason(error)) from None
            with connection:
                if engine.dialect.name in _READ_ONLY:
                    connection.exec_driver_sql("SET TRANSACTION READ ONLY")
                yield connection
        finally:
            engine.dispose()

    def _engine(self) -> sa.Engine:
        import sqlalchemy as sa

        options: dict[str, Any] = {"poolclass": sa.NullPool, "hide_parameters": True}
        if self.url.get_backend_name() == "sqlite":
            path = self._sqlite_path()
            return sa.create_engine("sqlite://", creator=lambda: _opened(path), **options)
        try:
            return sa.create_engine(self.url, **options)
        except sa.exc.NoSuchModuleError:
            raise DriverMissing(self.url.drivername, None) from None
        except ImportError as error:
            raise DriverMissing(self.url.drivername, error.name) from None
        except (sa.exc.ArgumentError, ValueError):
            raise DatabaseUrlUnusable(_("its parts do not fit the driver.")) from None

    def _sqlite_path(self) -> Path:
        database = self.url.database or ""
        if not database or database == ":memory:" or database.startswith("file:"):
            raise DatabaseUrlUnusable(_("SQLite needs the path of a file."))
        path = self.root / database
        if not path.is_file():
            raise DatabaseMissing(path)
        return path

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        import sqlalchemy as sa

        try:
            yield
        except sa.exc.DBAPIError as error:
            reason = self._reason(error)
            if error.connection_invalidated or "locked" in reason:
                raise DatabaseBusy(self.where, reason) from None
            raise QueryFailed(self.where, reason) from None
        except sa.exc.SQLAlchemyError as error:
            raise QueryFailed(self.where, self._hidden(str(error))) from None

    def _reason(self, error: sa.exc.DBAPIError) -> str:
        return self._hidden(str(error.orig))

    def _hidden(self, message: str) -> str:
        """The first line of a database's message, without what it may say of the URL."""
        from urllib.parse import quote, quote_plus

        password = str(self.url.password or "")
        secrets_ = {
            self.url.render_as_string(hide_password=False),
            password,
            quote(password),
            quote_plus(password),
            *(str(value) for key, value in self.url.query.items() if _SECRET_KEYS.search(key)),
        }
        for secret in sorted(secrets_ - {""}, key=len, reverse=True):
            message = message.replace(secret, "•••")
        return shortened((message.strip() or "?").splitlines()[0], 200)


def _parsed(text: str) -> sa.URL:
    import sqlalchemy as sa

    try:
        return sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        raise DatabaseUrlUnusable(_("it is no URL of SQLAlchemy.")) from None


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=WAIT_SECONDS
    )
    connection.execute("PRAGMA query_only=ON")
    connection.text_factory = _text
    return connection


def _text(content: bytes) -> str | bytes:
    """A text of SQLite, which may hold any bytes: one bad cell must not end the reading."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content

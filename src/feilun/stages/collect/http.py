"""HTTP: the objects in JSON answers, page by page; each turn those that are new."""

from __future__ import annotations

import hashlib
import json
import math
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
from pydantic import Field

from feilun.core.errors import Invalid, shortened
from feilun.core.i18n import _
from feilun.core.outbound import Answer, parsed
from feilun.core.outbound.errors import AnswerBroken, UrlRefused
from feilun.stages.collect import watermark as marks
from feilun.stages.collect.chunks import Shaping, raw_chunk
from feilun.stages.collect.names import Layout
from feilun.stages.collect.source import Piece, Quarantine
from feilun.stages.collect.web import Web

MOST_COLUMNS = 1_000
"""Different keys in one answer: more is no table."""


class RecordsUnclear(Invalid):
    """An answer has no list of objects where the settings say, or more than one."""

    def __init__(self, where: str, path: str) -> None:
        super().__init__(
            _("{where}: the answer has no list under '{path}'.").format(
                where=where, path=shortened(path)
            )
            if path
            else _("{where}: which list of the answer has the records is unclear.").format(
                where=where
            ),
            remedy=_(
                "Set records under [[collect.sources]] to the path of the list: 'data.items'."
            ),
        )


class TooManyColumns(Invalid):
    """The objects of an answer have more different keys than a table has columns."""

    def __init__(self, where: str) -> None:
        super().__init__(
            _(
                "{where}: its objects have more than {limit:,} different keys; the limit is "
                "MOST_COLUMNS in stages/collect/http.py."
            ).format(where=where, limit=MOST_COLUMNS),
            remedy=_(
                "Set records under [[collect.sources]] to the path of the list: 'data.items'."
            ),
        )


class TooManyPages(Invalid):
    """There are more pages than the settings allow; none of them counts as read."""

    def __init__(self, where: str, limit: int) -> None:
        super().__init__(
            _("{where} has more than {limit} pages.").format(where=where, limit=limit),
            remedy=_(
                "Raise most_pages under [[collect.sources]], or set watermark and "
                "since_parameter, so that each turn asks only for what is new."
            ),
        )


class Http(Web):
    """The objects in the JSON that a URL answers, and in the pages after it.

    With a `watermark` objects older than the newest one read before are left out, and with
    `since_parameter` the host is asked not to send them. An object read twice counts once; one
    that was read stays. Every page is on the host of `url`: a token goes nowhere else.
    """

    use: ClassVar[str] = "http"

    records: str = Field("auto", description="the list's path, `data.items`; auto: the only list")
    next: str = Field("", description="the path of the next page's URL or cursor in the answer")
    next_parameter: str = Field(
        "", description="the query parameter that takes the cursor; empty: `next` is a URL"
    )
    most_pages: int = Field(100, ge=1, description="more than these are an error")
    watermark: str = Field("", description="the path of a value in each object that only grows")
    since_parameter: str = Field("", description="the query parameter that takes the watermark")
    columns: dict[str, str] = Field({}, description="{ text = …, label = … }; guessed if empty")
    layout: Layout = Field("auto", description="what the keys mean; auto: by their names")

    def pieces(self, root: Path, since: str | None) -> Iterator[Piece]:
        """One piece: what is new. Raises what `Outbound.request` raises, and `RecordsUnclear`,
        `TooManyPages`, `TooManyColumns`."""
        reading = _Reading(self, since)
        identity = reading.begin()
        yield Piece(self.shown, identity, reading.frames, reading.reached)


class _Reading:
    """One reading of all pages. Between turns it keeps the newest watermark and, where there is
    one page only, the ETag by which the host says that nothing is new."""

    def __init__(self, source: Http, since: str | None) -> None:
        self.source = source
        state = marks.unpacked(since)
        self.mark = marks.read(state.get("mark"))
        self.newest = self.mark
        self.etag = str(state.get("etag") or "")
        self.first: Answer | None = None
        self.shaping = Shaping(
            source.layout, source.columns, source.shown, state.get("guessed"), sparse=True
        )

    def begin(self) -> str:
        """Fetches the first page, and says what it holds."""
        source = self.source
        single = not source.next and not source.since_parameter
        asks = {"If-None-Match": self.etag} if single and self.etag else {}
        self.first = source.fetch(self._start(), asks)
        if not single:
            # What the other pages hold, only reading them tells.
            self.etag = ""
            return secrets.token_hex(16)
        if self.first.status != 304:
            self.etag = self.first.headers.get("etag", "")
        return hashlib.sha256(self.first.body).hexdigest()

    def reached(self) -> str | None:
        """The watermark after the last frame."""
        mark = None
        if self.newest is not None:
            mark = marks.written(self.newest, self.source.shown, self.source.watermark)
        etag = self.etag if self.etag.isascii() else ""
        return marks.packed({"mark": mark, "etag": etag, "guessed": self.shaping.guessed})

    def frames(self, quarantine: Quarantine) -> Iterator[pl.DataFrame]:
        """The records, page by page."""
        source = self.source
        number = 1
        for page in self._pages():
            objects, places = [], []
            for item in page:
                if not isinstance(item, dict):
                    quarantine.add(source.shown, number, "not_an_object", json.dumps(item))
                elif self._is_new(item):
                    objects.append(item)
                    places.append(number)
                number += 1
            if objects:
                names = list(dict.fromkeys(name for item in objects for name in item))
                if len(names) > MOST_COLUMNS:
                    raise TooManyColumns(source.shown)
                columns = [[item.get(name) for item in objects] for name in names]
                chunk = raw_chunk(names, columns, 1).with_columns(
                    pl.Series("_row", places, dtype=pl.Int64)
                )
                yield self.shaping.records(chunk, quarantine)

    def _pages(self) -> Iterator[list[Any]]:
        source = self.source
        url, seen = self._start(), set[str]()
        answer = self.first or source.fetch(url)
        self.first = None
        while answer.status != 304:
            seen.add(url)
            content = _json(answer.body, url)
            yield self._list(content)
            following = self._next(content, url)
            # Some name the last page as its own next.
            if following is None or following in seen:
                return
            url = following
            if len(seen) >= source.most_pages:
                raise TooManyPages(source.shown, source.most_pages)
            answer = source.fetch(url)

    def _start(self) -> str:
        source = self.source
        if self.mark is None or not source.since_parameter:
            return source.address
        return _with_parameter(source.address, source.since_parameter, str(self.mark))

    def _list(self, content: Any) -> list[Any]:
        path = self.source.records
        if path == "auto":
            lists = [content] if isinstance(content, list) else []
            if isinstance(content, dict):
                lists = [value for value in content.values() if isinstance(value, list)]
            if len(lists) != 1:
                raise RecordsUnclear(self.source.shown, "")
            return lists[0]
        found = at(content, path)
        if not isinstance(found, list):
            raise RecordsUnclear(self.source.shown, path)
        return found

    def _next(self, content: Any, url: str) -> str | None:
        source = self.source
        found = at(content, source.next) if source.next else None
        if isinstance(found, bool) or not isinstance(found, str | int) or found == "":
            return None
        if source.next_parameter:
            return _with_parameter(url, source.next_parameter, str(found))
        return self._same_host(url, str(found))

    def _same_host(self, url: str, following: str) -> str:
        import httpx

        allow = frozenset(self.source.allow)
        here = parsed(url, allow)
        try:
            joined = str(httpx.URL(url).join(following))
        except (httpx.InvalidURL, ValueError):
            raise UrlRefused(url, _("its next page is no URL.")) from None
        there = parsed(joined, allow)
        if (here.scheme, here.place) != (there.scheme, there.place):
            # The token would go there too.
            raise UrlRefused(
                url,
                _("its next page is on another host."),
                _("If that host is meant, write its address into `url`."),
            )
        return joined

    def _is_new(self, item: dict[str, Any]) -> bool:
        if not self.source.watermark:
            return True
        value = at(item, self.source.watermark)
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            return True
        if isinstance(value, float) and not math.isfinite(value):
            return True
        if self.newest is None or _later(value, self.newest):
            self.newest = value
        return self.mark is None or not _later(self.mark, value)


def at(content: Any, path: str) -> Any:
    """The value under a dotted path: `data.items`, `links.0.href`; None where there is none. A
    key that has the whole path as its name comes first."""
    if isinstance(content, dict) and path in content:
        return content[path]
    for step in path.split("."):
        if isinstance(content, dict):
            content = content.get(step)
        elif isinstance(content, list) and step.isascii() and step.isdigit():
            content = content[int(step)] if int(step) < len(content) else None
        else:
            return None
    return content


def _later(one: float | str, other: float | str) -> bool:
    """Whether `one` is after `other`; texts by their characters; of two kinds neither is."""
    if isinstance(one, str) or isinstance(other, str):
        return isinstance(one, str) and isinstance(other, str) and one > other
    return one > other


def _json(body: bytes, url: str) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise AnswerBroken(url, _("it is not JSON.")) from None


def _with_parameter(url: str, name: str, value: str) -> str:
    import httpx

    return str(httpx.URL(url).copy_set_param(name, value))

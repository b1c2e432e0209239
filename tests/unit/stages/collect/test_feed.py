"""Feeds: every dialect, nothing fetched but the feed, each entry once."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feilun.core.outbound import Answer, errors
from feilun.stages.collect import watermark as marks
from feilun.stages.collect.feed import Feed, NotAFeed, _Reading
from feilun.stages.collect.source import Quarantine
from tests.unit.local_host import Asked, LocalHost, local_host
from tests.unit.stages.collect.turns import Project, read

HEAD = '<?xml version="1.0" encoding="utf-8"?>'
ATOM = (
    HEAD
    + """
<feed xmlns="http://www.w3.org/2005/Atom"><title>新闻</title>
<entry><id>urn:1</id><title>降价了</title><link href="https://news.example/1"/>
<updated>2026-01-02T08:00:00+08:00</updated><published>2026-01-01T08:00:00+08:00</published>
<author><name>小王</name></author><summary>short</summary>
<content type="html">
&lt;p&gt;手机&lt;b&gt;降价&lt;/b&gt;&lt;/p&gt;&lt;script&gt;x()&lt;/script&gt;
</content></entry>
<entry><id>urn:2</id><title>Second</title><updated>2026-01-03T00:00:00Z</updated></entry>
</feed>"""
)


def item(number: int, date: str = "", body: str = "") -> str:
    published = f"<pubDate>{date}</pubDate>" if date else ""
    return (
        f"<item><title>Title {number}</title><guid>g{number}</guid>{published}"
        f"<link>https://news.example/{number}</link><description>{body}</description></item>"
    )


def rss(*items: str, version: str = "2.0") -> str:
    return (
        f'{HEAD}<rss version="{version}"><channel><title>News</title>{"".join(items)}'
        "</channel></rss>"
    )


RDF = (
    HEAD
    + """
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="{namespace}">
<channel><title>News</title></channel>
<item><title>Title</title><link>https://news.example/1</link></item></rdf:RDF>"""
)


@pytest.fixture
def host() -> Iterator[LocalHost]:
    with local_host() as found:
        yield found


def source(host: LocalHost, **more: Any) -> Feed:
    return Feed.model_validate({"url": host.url("/feed.xml"), "allow": [host.place], **more})


def test_an_entry_is_title_and_body_with_spans(host: LocalHost, tmp_path: Path) -> None:
    host.answer("/feed.xml", ATOM)
    found = read(source(host), tmp_path)
    first, second = found.frame.to_dicts()
    assert first["text"] == "降价了\n<p>手机<b>降价</b></p>"
    parts = [(first["text"][s["start"] : s["end"]], s["label"]) for s in first["spans"]]
    assert parts == [("降价了", "title"), ("<p>手机<b>降价</b></p>", "body")]
    assert first["time"] == datetime(2026, 1, 1, tzinfo=UTC)
    assert json.loads(first["fields"]) == {
        "author": "小王", "id": "urn:1", "link": "https://news.example/1",
    }  # fmt: skip
    assert (first["row"], first["label"]) == (1, None)
    assert first["group"] == first["source"] == host.url("/feed.xml")
    assert second["text"] == "Second"
    assert second["time"] == datetime(2026, 1, 3, tzinfo=UTC)
    assert not found.quarantine.counts
    assert read(source(host, group="none"), tmp_path).frame["group"].to_list() == [None, None]


@pytest.mark.parametrize(
    "feed",
    [
        rss(item(1), version="0.91"), rss(item(1), version="0.92"), rss(item(1), version="2.0"),
        RDF.format(namespace="http://my.netscape.com/rdf/simple/0.9/"),
        RDF.format(namespace="http://purl.org/rss/1.0/"),
        ATOM.replace("http://www.w3.org/2005/Atom", "http://purl.org/atom/ns#"),
    ],
)  # fmt: skip
def test_every_dialect_is_read(host: LocalHost, tmp_path: Path, feed: str) -> None:
    host.answer("/feed.xml", feed)
    found = read(source(host), tmp_path)
    assert found.frame.height >= 1
    assert not found.quarantine.counts


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16"])
def test_encodings_are_those_the_feed_or_the_host_says(
    host: LocalHost, tmp_path: Path, encoding: str
) -> None:
    feed = rss(item(1, body="评价很好")).replace("utf-8", encoding)
    host.answer("/feed.xml", feed.encode(encoding), headers={"Content-Type": "application/xml"})
    assert read(source(host), tmp_path).texts == ["Title 1\n评价很好"]


# Turn by turn


def test_each_turn_reads_the_new_entries(host: LocalHost, tmp_path: Path) -> None:
    project = Project(source(host), tmp_path)
    one = item(1, "Thu, 01 Jan 2026 00:00:00 GMT", "first")
    two = item(2, "Fri, 02 Jan 2026 00:00:00 GMT", "second")
    host.answer("/feed.xml", rss(two, one))
    assert project.collect()["text"].to_list() == ["Title 2\nsecond", "Title 1\nfirst"]
    # One that changed its words but is the same entry; one that came late; one without a date.
    edited = item(2, "Fri, 02 Jan 2026 00:00:00 GMT", "second, edited")
    late = item(3, "Thu, 01 Jan 2026 12:00:00 GMT", "late")
    undated = item(4, "", "undated")
    host.answer("/feed.xml", rss(edited, late, undated))
    assert project.collect()["text"].to_list()[2:] == ["Title 3\nlate", "Title 4\nundated"]
    assert project.collect().height == 4
    # An entry that comes back with the same words was collected, though the feed forgot it.
    host.answer("/feed.xml", rss(one, late))
    assert project.collect().height == 4


def test_the_watermark_is_the_newest_publication(host: LocalHost, tmp_path: Path) -> None:
    host.answer("/feed.xml", ATOM)
    first = read(source(host), tmp_path)
    state = marks.unpacked(first.since)
    assert state["published"] == "2026-01-03T00:00:00+00:00"
    assert len(state["seen"]) == 2
    again = read(source(host), tmp_path, first.since)
    assert (again.frame.height, again.since) == (0, first.since)


def test_an_unchanged_feed_is_not_sent_again(host: LocalHost, tmp_path: Path) -> None:
    def answer(asked: Asked) -> tuple[int, Mapping[str, str], bytes]:
        if asked.headers.get("if-none-match") == 'W/"a"':
            return 304, {}, b""
        return 200, {"ETag": 'W/"a"'}, ATOM.encode()

    host.pages["/feed.xml"] = answer
    project = Project(source(host), tmp_path)
    assert [project.collect().height for _turn in range(3)] == [2, 2, 2]
    assert "if-none-match" not in host.asked[0].headers
    assert host.asked[2].headers["if-none-match"] == 'W/"a"'


def test_the_same_entry_twice_in_one_feed_counts_once(host: LocalHost, tmp_path: Path) -> None:
    host.answer("/feed.xml", rss(item(1, body="a"), item(1, body="b"), item(2, body="a")))
    assert read(source(host), tmp_path).texts == ["Title 1\na", "Title 2\na"]


# What is damaged or hostile


def test_a_malformed_feed_gives_what_could_be_read(host: LocalHost, tmp_path: Path) -> None:
    host.answer("/feed.xml", rss(item(1, body="a"), item(2, body="b < c & d"))[:-30])
    found = read(source(host), tmp_path)
    assert found.texts[0] == "Title 1\na"
    assert found.quarantine.counts == {"bad_feed": 1}
    bad = found.quarantine.shown[0]
    assert (bad.source, bad.row) == (host.url("/feed.xml"), found.frame.height + 1)
    assert "SAXParseException" in bad.excerpt


def test_an_entry_without_words_is_quarantined(host: LocalHost, tmp_path: Path) -> None:
    host.answer("/feed.xml", rss("<item><guid>1</guid></item>", item(2)))
    found = read(source(host), tmp_path)
    assert found.texts == ["Title 2"]
    assert found.quarantine.counts == {"no_text": 1}


@pytest.mark.parametrize("body", [b"", b"not a feed", b"<html><p>hello</p></html>", b'{"a": 1}'])
def test_what_is_no_feed_is_an_error(host: LocalHost, tmp_path: Path, body: bytes) -> None:
    host.answer("/feed.xml", body)
    with pytest.raises(NotAFeed):
        read(source(host), tmp_path)


def test_an_empty_feed_is_a_feed(host: LocalHost, tmp_path: Path) -> None:
    host.answer("/feed.xml", rss())
    assert read(source(host), tmp_path).frame.is_empty()


@pytest.mark.parametrize(
    "declared",
    [
        '<!ENTITY x SYSTEM "file://{file}">',
        '<!ENTITY x SYSTEM "{url}">',
        '<!ENTITY % p SYSTEM "{url}"> %p;',
        '<!ENTITY x PUBLIC "-//X//Y" "{url}">',
    ],
)
def test_no_entity_opens_a_file_or_a_host(host: LocalHost, tmp_path: Path, declared: str) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("sesame")
    host.answer("/inner", "sesame")
    inner = declared.format(file=secret, url=host.url("/inner"))
    feed = rss(item(1, body="&x; end")).replace("<rss", f"<!DOCTYPE rss [{inner}]><rss", 1)
    host.answer("/feed.xml", feed)
    found = read(source(host), tmp_path)
    assert "sesame" not in str(found.frame.to_dicts())
    assert [asked.path for asked in host.asked] == ["/feed.xml"]


def test_an_external_document_type_is_not_fetched(host: LocalHost, tmp_path: Path) -> None:
    doctype = f'<!DOCTYPE rss SYSTEM "{host.url("/inner")}"><rss'
    host.answer("/feed.xml", rss(item(1, body="a")).replace("<rss", doctype, 1))
    assert read(source(host), tmp_path).texts == ["Title 1\na"]
    assert [asked.path for asked in host.asked] == ["/feed.xml"]


def test_entities_that_multiply_stay_small(host: LocalHost, tmp_path: Path) -> None:
    levels = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    bomb = f'<!DOCTYPE rss [<!ENTITY l0 "lol">{levels}]><rss'
    host.answer("/feed.xml", rss(item(1, body="&l9;")).replace("<rss", bomb, 1))
    found = read(source(host), tmp_path)
    assert sum(map(len, found.texts)) < 1000


def test_a_body_that_is_a_url_or_a_path_is_not_opened(
    host: LocalHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.answer("/inner", ATOM)
    (tmp_path / "feed.xml").write_text(ATOM)
    for body in (host.url("/inner"), str(tmp_path / "feed.xml")):
        host.answer("/feed.xml", body)
        with pytest.raises(NotAFeed):
            read(source(host), tmp_path)
    assert "/inner" not in [asked.path for asked in host.asked]


def test_a_private_feed_is_reached_only_by_name(tmp_path: Path) -> None:
    with pytest.raises(errors.HostRefused):
        read(Feed(url="http://localhost/feed.xml"), tmp_path)
    with pytest.raises(errors.HostRefused):
        read(Feed(url="https://169.254.169.254/feed.xml"), tmp_path)


class Canned(Feed):
    """A feed whose answer is known."""

    body: bytes = b""

    def fetch(self, url: str, extra: Mapping[str, str] | None = None) -> Answer:
        return Answer(200, {"content-type": "text/xml"}, self.body)


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet="<>&;/=\"'! []-itemrss\ud800好", max_size=80))
def test_any_bytes_are_records_or_an_error_of_ours(content: bytes | str) -> None:
    """Inside a feed and as one; nothing is opened on the way."""

    def no_network(*_arguments: Any, **_options: Any) -> None:
        raise AssertionError("feedparser went to the network")

    if isinstance(content, str):
        content = content.encode("utf-8", "surrogatepass")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "create_connection", no_network)
        for body in (content, rss("@@").encode().replace(b"@@", b"<item>" + content + b"</item>")):
            quarantine = Quarantine()
            try:
                frames = list(
                    _Reading(Canned(url="https://news.example/", body=body), None).frames(
                        quarantine
                    )
                )
            except NotAFeed:
                continue
            for frame in frames:
                assert frame["text"].null_count() == 0

"""HTTP: pages of JSON from this host only; what is new, once; tokens go nowhere else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from feilun.core.config import ConfigError, parse
from feilun.core.outbound import errors
from feilun.core.secret import SecretMissing
from feilun.stages.collect import Collect
from feilun.stages.collect.columns import ColumnMissing
from feilun.stages.collect.http import Http, RecordsUnclear, TooManyColumns, TooManyPages, at
from tests.unit.local_host import Asked, LocalHost, local_host
from tests.unit.stages.collect.turns import Project, read

REVIEWS = [
    {"id": 1, "text": "很好", "label": "正面", "at": "2026-01-01T00:00:00Z"},
    {"id": 2, "text": "太差", "label": "负面", "at": "2026-01-02T00:00:00Z"},
]


@pytest.fixture
def host() -> Iterator[LocalHost]:
    with local_host() as found:
        yield found


def source(host: LocalHost, path: str = "/reviews", **more: Any) -> Http:
    return Http.model_validate({"url": host.url(path), "allow": [host.place], **more})


def test_objects_become_records(host: LocalHost, tmp_path: Path) -> None:
    host.answer("/reviews", {"count": 2, "reviews": REVIEWS})
    found = read(source(host), tmp_path)
    assert found.frame.select("text", "label", "row").rows() == [
        ("很好", "正面", 1),
        ("太差", "负面", 2),
    ]
    assert found.frame["source"].unique().to_list() == [host.url("/reviews")]
    assert len(host.asked) == 1
    assert host.asked[0].headers["user-agent"] == "feilun"


@pytest.mark.parametrize(
    ("body", "records"),
    [
        (REVIEWS, "auto"),
        ({"data": {"items": REVIEWS}, "tags": []}, "data.items"),
        ({"pages": [{"rows": REVIEWS}]}, "pages.0.rows"),
        ({"data.items": REVIEWS, "data": {"items": []}}, "data.items"),
    ],
)
def test_the_list_is_found_or_named(
    host: LocalHost, tmp_path: Path, body: Any, records: str
) -> None:
    host.answer("/reviews", body)
    assert read(source(host, records=records), tmp_path).texts == ["很好", "太差"]


@pytest.mark.parametrize(
    ("body", "records"),
    [
        ({"a": [1], "b": [2]}, "auto"), ({"a": 1}, "auto"), ("text", "auto"), (None, "auto"),
        ({"a": {"b": 1}}, "a.b"), ({"a": []}, "a.0"), ([], "x.y"),
    ],
)  # fmt: skip
def test_no_list_is_an_error(host: LocalHost, tmp_path: Path, body: Any, records: str) -> None:
    host.answer("/reviews", json.dumps(body))
    with pytest.raises(RecordsUnclear):
        read(source(host, records=records), tmp_path)


@pytest.mark.parametrize(
    "body", [b"", b"<html>sesame</html>", b"\xff\xfe", b"[" * 100_000, b'[{"text": "a"}', b"[1e]"]
)
def test_what_is_no_json_is_told_without_repeating_it(
    host: LocalHost, tmp_path: Path, body: bytes
) -> None:
    host.answer("/reviews", body)
    with pytest.raises(errors.AnswerBroken, match="not JSON") as caught:
        read(source(host), tmp_path)
    assert "sesame" not in str(caught.value)


def test_rows_that_do_not_fit_are_quarantined(host: LocalHost, tmp_path: Path) -> None:
    rows = [{"text": "good"}, "text", 5, None, ["x"], {"label": "no text"}, {"text": "\ud800 end"}]
    host.answer("/reviews", json.dumps(rows))
    found = read(source(host, columns={"text": "text"}), tmp_path)
    assert found.frame.select("text", "row").rows() == [
        ("good", 1),
        ("", 6),  # prepare drops it as empty
        ("? end", 7),
    ]
    assert found.quarantine.counts == {"not_an_object": 4}
    assert [bad.row for bad in found.quarantine.shown] == [2, 3, 4, 5]


def test_nested_layouts_are_read(host: LocalHost, tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "您好"}]
    host.answer("/reviews", [{"messages": turns}])
    found = read(source(host), tmp_path)
    assert found.texts == ["你好\n您好"]
    assert [span["label"] for span in found.frame["spans"][0]] == ["user", "assistant"]


def test_a_page_without_a_mapped_key_has_nulls(host: LocalHost, tmp_path: Path) -> None:
    pages(host, [[{"text": "a", "label": "x"}], [{"text": "b"}]])
    found = read(source(host, next="next", columns={"text": "text", "label": "label"}), tmp_path)
    assert found.frame.select("text", "label").rows() == [("a", "x"), ("b", None)]
    host.answer("/reviews", [{"body": "a"}])
    with pytest.raises(ColumnMissing):
        read(source(host, columns={"text": "text"}), tmp_path)


def test_too_many_keys_are_no_table(host: LocalHost, tmp_path: Path) -> None:
    host.answer("/reviews", [{f"k{n}": 1} for n in range(1001)])
    with pytest.raises(TooManyColumns, match="1,000"):
        read(source(host), tmp_path)


# Pages


def pages(host: LocalHost, lists: list[Any], **links: Any) -> None:
    """`/reviews` answers page `?page=N` and links the next one under `next`."""

    def answer(asked: Asked) -> tuple[int, Mapping[str, str], bytes]:
        number = int(asked.query.get("page", "1"))
        more = number < len(lists)
        body = {"items": lists[number - 1], "next": f"?page={number + 1}" if more else None}
        return 200, {}, json.dumps({**body, "cursor": number + 1 if more else ""}).encode()

    host.pages["/reviews"] = answer


def texts(*words: str) -> list[dict[str, str]]:
    return [{"text": word} for word in words]


@pytest.mark.parametrize("paging", [{"next": "next"}, {"next": "cursor", "next_parameter": "page"}])
def test_pages_are_followed_to_the_last(
    host: LocalHost, tmp_path: Path, paging: dict[str, str]
) -> None:
    pages(host, [texts("a", "b"), texts("c"), [], texts("d")])
    found = read(source(host, "/reviews?size=2", records="items", **paging), tmp_path)
    assert found.frame.select("text", "row").rows() == [("a", 1), ("b", 2), ("c", 3), ("d", 4)]
    assert [asked.query.get("page") for asked in host.asked] == [None, "2", "3", "4"]
    if "next_parameter" in paging:
        assert all(asked.query["size"] == "2" for asked in host.asked)


def test_more_pages_than_allowed_are_an_error_not_a_loss(host: LocalHost, tmp_path: Path) -> None:
    pages(host, [texts(str(n)) for n in range(5)])
    with pytest.raises(TooManyPages, match="4"):
        read(source(host, records="items", next="next", most_pages=4), tmp_path)
    assert read(source(host, records="items", next="next", most_pages=5), tmp_path).texts == [
        "0", "1", "2", "3", "4",
    ]  # fmt: skip


def test_a_page_that_is_its_own_next_is_the_last(host: LocalHost, tmp_path: Path) -> None:
    host.answer("/reviews", {"items": texts("a"), "next": "/reviews"})
    assert read(source(host, next="next"), tmp_path).texts == ["a"]
    assert len(host.asked) == 1


@pytest.mark.parametrize(
    "following",
    [
        "http://127.0.0.1:{other}/steal", "//127.0.0.1:{other}/steal", "https://127.0.0.1/steal",
        "http://169.254.169.254/latest", "file:///etc/passwd", "http://x@127.0.0.1:{here}/steal",
        "http://[::1", "gopher://127.0.0.1:{here}/steal",
    ],
)  # fmt: skip
def test_a_next_page_elsewhere_is_refused(
    host: LocalHost, tmp_path: Path, following: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where that host is allowed: the token is for this one."""
    monkeypatch.setenv("REVIEWS_TOKEN", "sk-4f9a8b7c")
    with local_host() as other:
        target = following.format(other=other.port, here=host.port)
        host.answer("/reviews", {"items": texts("a"), "next": target})
        inner = Http.model_validate(
            {
                "url": host.url("/reviews"), "next": "next", "token": "env:REVIEWS_TOKEN",
                "allow": [host.place, other.place],
            }
        )  # fmt: skip
        with pytest.raises(errors.UrlRefused):
            read(inner, tmp_path)
        assert not other.asked
    assert len(host.asked) == 1


# Turn by turn


def test_each_turn_keeps_what_is_new(host: LocalHost, tmp_path: Path) -> None:
    project = Project(source(host, watermark="at"), tmp_path)
    host.answer("/reviews", REVIEWS)
    assert project.collect()["text"].to_list() == ["很好", "太差"]
    late = {"text": "late", "label": "正面", "at": REVIEWS[1]["at"]}
    older = {"text": "older", "label": "正面", "at": "2025-01-01T00:00:00Z"}
    undated = {"text": "undated", "label": "正面", "at": None}
    newer = {"text": "newer", "label": "正面", "at": "2026-03-01T00:00:00Z"}
    host.answer("/reviews", [*REVIEWS, late, older, undated, newer])
    assert project.collect()["text"].to_list() == ["很好", "太差", "late", "undated", "newer"]
    assert project.collect().height == 5
    # What the host forgets stays collected.
    host.answer("/reviews", [])
    assert project.collect().height == 5


def test_the_host_is_asked_from_the_watermark_on(host: LocalHost, tmp_path: Path) -> None:
    host.answer("/reviews", REVIEWS)
    inner = source(host, "/reviews?size=9", watermark="id", since_parameter="after")
    first = read(inner, tmp_path)
    host.answer("/reviews", [{"id": 3, "text": "新的", "label": "正面"}])
    assert read(inner, tmp_path, first.since).texts == ["新的"]
    assert [asked.query for asked in host.asked] == [{"size": "9"}, {"size": "9", "after": "2"}]


def test_strange_watermarks_lose_nothing(host: LocalHost, tmp_path: Path) -> None:
    rows = [{"text": "a", "n": 5}, {"text": "b", "n": "five"}, {"text": "c", "n": True},
            {"text": "d", "n": None}, {"text": "e"}, {"text": "f", "n": [9]}]  # fmt: skip
    host.answer("/reviews", json.dumps(rows)[:-1] + ', {"text": "g", "n": NaN}]')
    inner = source(host, watermark="n", columns={"text": "text"})
    first = read(inner, tmp_path)
    assert first.texts == list("abcdefg")
    host.answer("/reviews", [*rows, {"text": "old", "n": 4.5}, {"text": "new", "n": 5.5}])
    assert read(inner, tmp_path, first.since).texts == [*"abcdef", "new"]


def test_an_unchanged_answer_is_not_sent_again(host: LocalHost, tmp_path: Path) -> None:
    def answer(asked: Asked) -> tuple[int, Mapping[str, str], bytes]:
        if asked.headers.get("if-none-match") == '"1"':
            return 304, {"ETag": '"1"'}, b""
        return 200, {"ETag": '"1"'}, json.dumps(REVIEWS).encode()

    host.pages["/reviews"] = answer
    inner = source(host)
    first = read(inner, tmp_path)
    assert first.frame.height == 2
    again = read(inner, tmp_path, first.since)
    assert (again.frame.height, again.since) == (0, first.since)
    project = Project(inner, tmp_path)
    assert [project.collect().height for _turn in range(3)] == [2, 2, 2]
    # The first page being unchanged says nothing of the others.
    host.asked.clear()
    paged = source(host, next="next")
    read(paged, tmp_path, read(paged, tmp_path).since)
    assert all("if-none-match" not in asked.headers for asked in host.asked)


def test_a_host_that_fails_midway_leaves_the_watermark(host: LocalHost, tmp_path: Path) -> None:
    project = Project(source(host, records="items", next="next"), tmp_path)
    pages(host, [texts("a")])
    project.collect()
    before = project.previous
    host.pages["/reviews"] = lambda asked: (
        (500, {}, b"") if asked.query else (200, {}, b'{"items": [{"text": "b"}], "next": "?p=2"}')
    )
    with pytest.raises(errors.HostBusy):
        project.collect()
    assert project.previous is before
    pages(host, [texts("a"), texts("b"), texts("c")])
    assert project.collect()["text"].to_list() == ["a", "b", "c"]


# Secrets and settings


def test_the_token_is_sent_and_never_shown(
    host: LocalHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.answer("/reviews", REVIEWS)
    inner = source(host, token="env:REVIEWS_TOKEN", headers={"X-Team": "a"})
    with pytest.raises(SecretMissing, match="REVIEWS_TOKEN"):
        read(inner, tmp_path)
    monkeypatch.setenv("REVIEWS_TOKEN", "sk-4f9a8b7c")
    found = read(inner, tmp_path)
    assert host.asked[0].headers["authorization"] == "Bearer sk-4f9a8b7c"
    assert host.asked[0].headers["x-team"] == "a"
    assert "sk-4f9a8b7c" not in f"{inner!r} {inner.model_dump_json()} {found.since}"
    assert inner.model_dump(mode="json")["token"] == "env:REVIEWS_TOKEN"
    read(source(host, token="env:REVIEWS_TOKEN", token_header="X-API-Key"), tmp_path)
    assert host.asked[-1].headers["x-api-key"] == "sk-4f9a8b7c"
    assert "authorization" not in host.asked[-1].headers
    host.answer("/reviews", "sk-4f9a8b7c", 401)
    with pytest.raises(errors.CredentialsRefused) as caught:
        read(inner, tmp_path)
    assert "sk-4f9a8b7c" not in f"{caught.value} {caught.value.remedy}"


def test_a_url_with_a_secret_comes_from_the_environment(
    host: LocalHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.answer("/hook/sesame", REVIEWS)
    monkeypatch.setenv("REVIEWS_URL", host.url("/hook/sesame?key=opensesame"))
    inner = Http.model_validate({"url": "env:REVIEWS_URL", "allow": [host.place]})
    found = read(inner, tmp_path)
    assert found.frame["source"].unique().to_list() == [f"http://{host.place}"]
    assert "sesame" not in inner.model_dump_json()
    monkeypatch.setenv("REVIEWS_URL", "http://127.0.0.1/hook/sesame")
    with pytest.raises(errors.HostRefused) as caught:
        read(inner, tmp_path)
    assert "sesame" not in f"{caught.value} {caught.value.remedy}"


@pytest.mark.parametrize(
    "line",
    [
        'url = "http://127.0.0.1:8080/x"', 'url = "https://a:sesame@api.example/"',
        'url = "https://api.example/?api_key=sesame"', 'url = "https://api.example/?token=sesame"',
        'url = "ftp://api.example/"', 'url = "env:not a name"',
        'url = "https://api.example/"\ntoken = "sesame"',
        'url = "http://api.example/"\ntoken = "env:TOKEN"',
        'url = "https://api.example/"\nheaders = { Authorization = "sesame" }',
        'url = "https://api.example/"\nheaders = { X-API-Key = "sesame" }',
        'url = "https://api.example/"\nheaders = { Cookie = "sesame" }',
        'url = "https://api.example/"\nheaders = { Host = "evil.example" }',
        'url = "https://api.example/"\nheaders = { X = "a\\r\\nY: b" }',
        'url = "https://api.example/"\ntoken_header = "a b"',
        'url = "https://api.example/"\nallow = ["api.example"]',
        'url = "https://api.example/"\nlayout = "sesam"',
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(line: str) -> None:
    text = f'[[sources]]\nuse = "http"\n{line}\n'
    with pytest.raises(ConfigError) as caught:
        parse(text, Collect, Path("feilun.toml"))
    assert "sesame" not in str(caught.value)
    assert "line " in str(caught.value)


def test_settings_that_can_be_are_taken() -> None:
    for url in ("https://api.example/v1?page_size=100&monkey=1", "http://例子.中国/评论"):
        assert Http(url=url).shown == url.partition("?")[0]
    assert Http(url="https://api.example/", name="reviews").shown == "reviews"
    with pytest.raises(ValidationError):
        Http(url="https://api.example/", most_pages=0)


def test_a_private_host_is_reached_only_by_name(host: LocalHost, tmp_path: Path) -> None:
    host.answer("/reviews", REVIEWS)
    with pytest.raises(ValidationError, match="allow"):
        Http(url=host.url("/reviews"))
    with pytest.raises(errors.HostRefused):
        read(Http(url="http://localhost/reviews"), tmp_path)
    assert not host.asked


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=8,
    ),
    st.text(alphabet="ab.019-", max_size=8),
)
def test_any_path_into_any_answer_is_a_value_or_nothing(content: Any, path: str) -> None:
    at(content, path)
    assert at({"data": {"items": [content]}}, "data.items.0") == content

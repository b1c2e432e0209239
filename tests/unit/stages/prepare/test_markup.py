"""Markup: what a reader sees of HTML and Markdown, and nothing done to what is neither."""

from __future__ import annotations

import time
from html import escape
from pathlib import Path

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from feilun.stages.prepare.markup import Markup, html
from feilun.wheel.runner import LocalRun
from tests.unit.stages.prepare.steps import apply
from tests.unit.stages.scratch import scratch


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> LocalRun:
    return scratch(tmp_path_factory.mktemp("markup"))


def read(text: str, run: LocalRun, **settings_: object) -> str:
    found = Markup.model_validate(settings_).rewritten(pl.Series([text], dtype=pl.String), run)
    return str(found[0]).strip()


@pytest.mark.parametrize(
    "text",
    [
        "a < b and c > d", "1 < 2", "a<b>c", "if x <p and y = 3> z", "List<String> names",
        "vector<int> a", "用*号", "2**3**4", "f**k", "草**你**", "张**先生**", "C#", "#话题# 好",
        "# 1 in the world", "x[0](1)", "a[i][j]", "AT&T", "R&D;", "AT&T; x", "?a=1&copy=2&lt=3",
        "&unknown;", "<title> of the page", "<-- here", "<3 you", "<!-- half", "- 5 degrees",
        "10 > 9", "> 5", "a_b_c", "snake_case", "~~", "```", "`ls`", "| a | b |", "--", "---",
        "1. 一", "^_^ >_< *_*", "<name>, hello", "[看](这里)", "[1](见下)", "\\*", "\n#标题\n",
        "好" * 9,
    ],
)  # fmt: skip
def test_what_is_no_markup_is_not_touched(text: str, run: LocalRun) -> None:
    assert Markup().rewritten(pl.Series([text]), run).to_list() == [text]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("<p>一<br/>二</p>三", "一\n二\n三"),
        ("很<b>好</b>，<i>快</i>", "很好，快"),
        ('<div class="a" title="x > y">好</div>', "好"),
        ("<div data-x='<b>no</b>'>好</div>", "好"),
        ('看<img alt="<b>no</b>" src=y>这', "看这"),
        ("<!-- no --><p>好<!-- <b>no</b> --></p><!-- no", "好"),
        ("<script>var a = '<p>no</p>' < 3;</script>好<STYLE>no{}</STYLE >", "好"),
        ("<p>好</p><script>no", "好"),
        ("<html><head><title>no</title></head><body>好</body></html>", "好"),
        ("<head><meta charset=x><body>好", "好"),
        ("<svg viewBox='0'><path d=''/><text>no</text></svg><p>好", "好"),
        ("<table><tr><th>a</th><td>1</td></tr><tr><td>b</td></tr></table>", "a 1\nb"),
        ("<ul>\n  <li>一</li>\n  <li>二\n 三</li>\n</ul>", "一\n二 三"),
        ("<pre>a\n  b</pre>", "a\n  b"),
        ("第一行\n第二行<b>好</b>", "第一行\n第二行好"),
        (
            "A &amp; B &lt;3 &#20320;&#x597d;&nbsp;&hellip;",
            "A & B <3 你好\xa0…".replace("\xa0", " "),
        ),
        ("&amp;lt;b&amp;gt;粗&amp;lt;/b&amp;gt;", "粗"),
        ("&#0;&#xD800;x", "\ufffd\ufffdx"),
        ('<p>好</p><a href="http://no', "好"),
        ("<p title=\"it's>好</p>", "好"),
        ("<P ID=1>好</P>", "好"),
        ("<o:p>好</o:p>", "好"),
        ("<p>List&lt;String&gt; x", "List<String> x"),
        ("<!DOCTYPE html><?xml no?><p>好<![CDATA[x]]>", "好x"),
    ],
)
def test_of_html_what_a_reader_sees(text: str, wanted: str, run: LocalRun) -> None:
    assert read(text, run) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("## 标题\n正文", "标题\n正文"),
        ("# One\ntext", "One\ntext"),
        ("看[这里](https://a.cn/x_(y) \"no\")。", "看这里。"),
        ("![图](http://a.cn/no.png)好", "图好"),
        ("[![图](/no.png)](http://no.cn)", "图"),
        ("<https://a.cn/x> [a](http://no.cn)", "https://a.cn/x a"),
        ("[甲][1]和[乙][]\n\n[1]: http://no.cn", "甲和乙"),
        ("- **好**：一\n- ~~坏~~\n* [x] *done*\n1. 一", "好：一\n坏\ndone\n1. 一"),
        ("**重点**：\n> 引\n>> 双", "重点：\n引\n双"),
        ("| a | b |\n|---|:-:|\n| 1 | **2** |", "a b\n1 2"),
        ("## a\n***粗斜***，__粗__，_斜_，snake_case_x，2*3*4",
         "a\n粗斜，粗，斜，snake_case_x，2*3*4"),
        ("## a\n一\n===\n二\n---\n* * *\n三", "a\n一\n二\n三"),
        ("## a\n1 \\* 2 \\# 3", "a\n1 * 2 # 3"),
        ("```python\n# no\nif a < b: <p>x</p>\n```\n**完**",
         "```python\n# no\nif a < b: <p>x</p>\n```\n完"),
        ("## a\n用 `ls` 和 `**p`", "a\n用 ls 和 `**p`"),
        ("## a\n<div>**b**</div>", "a\nb"),
    ],
)  # fmt: skip
def test_of_markdown_what_a_reader_sees(text: str, wanted: str, run: LocalRun) -> None:
    assert read(text, run) == wanted


def test_links_are_dropped_if_asked_for(run: LocalRun) -> None:
    text = "看[这里](https://a.cn)和![图](http://x.cn/a.png)"
    assert read(text, run, links="drop") == "看和图"


def test_who_says_what_texts_are_is_believed(run: LocalRun) -> None:
    assert read("a<b>c<my>d &lt;i&gt;", run, format="html") == "acd <i>"
    assert read("[a](b) *c* &amp; <i>d</i>\n- e", run, format="markdown") == "a c & d\ne"


def test_what_was_only_markup_is_dropped(tmp_path: Path) -> None:
    done = apply(Markup(), ["<p></p>", "<b>x</b>", None, "&nbsp;"], tmp_path)
    assert done.texts == ["x"]
    assert [reason for _text, reason in done.dropped] == ["empty"] * 3


SIGNS = st.text(st.sampled_from("<>/&;#*_`[]()!|-~=\"' \nabp1甲，:.\\"), max_size=40)
PIECES = st.lists(
    st.sampled_from(
        ["<p>", "</p>", "<b", ">", "<br>", "<!--", "-->", "&lt;", "&amp;", "&#60;", "<script>",
         "</script>", "<a href=\"", "'", "甲", "a", " ", "\n", "## ", "**", "*", "_", "[x](http://a)",
         "[", "](", "- ", "```\n", "`", "|---|---|", "| ", "\\", "<td>", "<pre>", "<svg>", "</svg>"]
    ),
    max_size=14,
).map("".join)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(text=st.one_of(SIGNS, PIECES, st.text(max_size=40)))
def test_reading_twice_is_reading_once_and_nothing_raises(run: LocalRun, text: str) -> None:
    step = Markup()
    once = step.rewritten(pl.Series([text, None]), run)
    assert once[1] is None
    assert step.rewritten(once, run).to_list() == once.to_list()
    for format_ in ("html", "markdown"):
        found = Markup.model_validate({"format": format_}).rewritten(pl.Series([text, None]), run)
        assert len(found) == 2


@settings(max_examples=200, deadline=None)
@given(
    text=st.text(
        st.characters(exclude_characters="<&[*#`~|-", exclude_categories=["Cs"]), max_size=60
    )
)
def test_text_without_a_sign_of_markup_stays(run: LocalRun, text: str) -> None:
    assert Markup().rewritten(pl.Series([text]), run).to_list() == [text]


@settings(max_examples=150, deadline=None)
@given(
    words=st.lists(st.text(st.characters(categories=["L"]), min_size=1), min_size=1, max_size=5),
    secret=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20),
)
def test_attributes_never_leak(run: LocalRun, words: list[str], secret: str) -> None:
    """Of a page whose attributes are written as they should be, whatever is in them."""
    assume(not any(secret.strip() and secret.strip() in word for word in words))
    value = escape(secret, quote=True)
    page = "".join(f"<p title=\"{value}\" data-a='{value}'><b>{word}</b></p>" for word in words)
    assert read(page, run).split("\n") == words


N = 1_000_000
HOSTILE = [
    "<" * N, "<p \"" * (N // 4), "<p \">" * (N // 5), "<p '\">" * (N // 6),
    "<!--" * (N // 4) + "<p>",
    "<svg><script></script>" * (N // 22), "<p>" + "&#" * (N // 2), "<p>" + '<a b="' * (N // 6),
    "<b c=1 " * (N // 7) + "<p>", "&lt;" * (N // 4) + "<p>", "<p><head>" * (N // 9),
    "[a](" * (N // 4) + "[x](http://y)", "*a" * (N // 2) + "\n[x](http://y)",
    "[x](http://y)\n" + "__a" * (N // 3), "`a" * (N // 2) + "[x](http://y)", "```\n" * (N // 4),
    "`" * N + "[x](http://y)", "~~~\n```\n" * (N // 8), "|-" * (N // 2) + "\n[x](http://y)",
    "> " * (N // 2) + "[x](http://y)", "<p>" + " \n" * (N // 2),
    "<div " + "<b>" * (N // 3) + "</div>",
    "![a" * (N // 3) + "[x](http://y)", "\\" * N + "[x](http://y)", "<a " + "b " * (N // 2) + "<p>",
    "&amp;" + "amp;" * (N // 4), "<p>" + "<td>" * (N // 4), "<p a='" + "<" * N + "'>",
]  # fmt: skip


@pytest.mark.parametrize("format_", ["auto", "html", "markdown"])
def test_a_megabyte_of_anything_takes_linear_time(format_: str, run: LocalRun) -> None:
    """A pattern of quadratic time would take hours of any of these."""
    step = Markup.model_validate({"format": format_})
    for text in HOSTILE:
        started = time.perf_counter()
        step.rewritten(pl.Series([text]), run)
        assert time.perf_counter() - started < 20, text[:30]


def test_most_texts_are_told_by_a_byte() -> None:
    """No sign of HTML, no pattern: the test must not be true of plain text."""
    assert not html.marked_up(pl.Series(["好", "a < b", "x & y", None])).any()

"""What augmenting must not touch, and where spans are after it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feilun.stages.prepare.augment import noise
from feilun.stages.prepare.augment.edits import (
    Edit,
    Lots,
    applied,
    fixed,
    is_chinese,
    tiled,
)
from feilun.stages.prepare.augment.lexicon import Synonyms

SYNONYMS = Synonyms(None)
LOCAL = tuple(noise.METHODS)

KEPT = [
    # A text, and what must be in every text made of it.
    ("酒店的服务态度很好，但是我不推荐大家来住", "不推荐"),
    ("这个房间没有窗户，空气很差，服务态度也很差", "没有窗户"),
    ("屏幕没有亮点，做工也很精致，非常喜欢这台电脑", "没有亮点"),
    ("价格不太便宜，但是服务态度很好，早餐也很丰富", "不太便宜"),
    ("这种无良商家实在让人失望，大家一定要小心", "无良"),
    ("非常满意的一次购物体验，物流速度也很快", "非常"),
    ("我从来未曾见过这么好的服务，价格也便宜", "未曾"),
    ("请别再给我打电话了，服务态度让人很生气", "别再"),
    ("请打 [MOBILE] 找我们的客服，服务态度非常好", "[MOBILE]"),
    ("身份证是 [ID_CARD_2] 这个号码，请马上处理一下", "[ID_CARD_2]"),
    ("一共花了1299.50元，物流很快，质量也很好", "1299.50元"),
    ("等了三十五天才收到货物，质量也非常差", "三十五"),
    ("网站是 https://example.com/a?b=1 大家可以看看", "https://example.com/a?b=1"),
    ("邮箱是 zhang.san@example.com 请尽快回复我们", "zhang.san@example.com"),
    ("I would not recommend this hotel to any of my good friends", "not recommend"),
    ("The room wasn't clean and the staff seemed really tired", "wasn't clean"),
    ("It doesn’t work well and the delivery was terribly late", "doesn’t work"),
    ("Never buy from this seller because the parcel came broken", "Never buy"),
    ("They cannot help customers and the answers are slow", "cannot help"),
    ("There was no hot water in the room and the bed was hard", "no hot"),
    ("This dont work at all and it was an expensive product", "dont work"),
    ("I paid $20.50 for this charger and the quality is poor", "20.50"),
    ("Please call [PHONE] when the parcel arrives at our house", "[PHONE]"),
]


@pytest.mark.parametrize(("text", "kept"), KEPT)
@pytest.mark.parametrize("method", LOCAL)
def test_negations_numbers_addresses_and_placeholders_are_left_alone(
    method: str, text: str, kept: str
) -> None:
    made = set()
    for seed in range(60):
        page = noise.Page(text, (), Lots(seed, method), 0.5)
        changed = applied(text, (), noise.METHODS[method](page, SYNONYMS))
        assert changed is not None
        assert kept in changed[0], f"{method}: {changed[0]}"
        made.add(changed[0])
    if method in {"delete", "swap"}:
        assert len(made) > 3, "negative control: the rest does change"


def test_what_is_not_protected_does_get_lost() -> None:
    """Negative control for the test above: without the mask, «不» goes."""
    text = "酒店的服务态度很好，但是我不推荐大家来住"
    lost = 0
    for seed in range(60):
        page = noise.Page(text, (), Lots(seed), 0.5)
        page._fixed = bytearray(len(text))
        changed = applied(text, (), noise.delete(page, SYNONYMS))
        assert changed is not None
        lost += "不" not in changed[0]
    assert lost > 5


def test_deleting_words_leaves_no_double_space() -> None:
    text = "The room was clean and the food was good, thanks a lot"
    for seed in range(60):
        page = noise.Page(text, (), Lots(seed), 0.3)
        changed = applied(text, (), noise.delete(page, SYNONYMS))
        assert changed is not None
        assert changed[0] == " ".join(changed[0].split())


def test_entities_stay_as_they_are_and_their_spans_move_along() -> None:
    text = "我在北京大学旁边的酒店住了很久，服务态度非常好，早餐也很好吃"
    spans = [(2, 6, "ORG"), (9, 11, "PLACE")]
    moved = 0
    for method in LOCAL:
        for seed in range(40):
            page = noise.Page(text, spans, Lots(seed, method), 0.3)
            changed = applied(text, spans, noise.METHODS[method](page, SYNONYMS))
            assert changed is not None
            there = [(changed[0][s:e], label) for s, e, label in changed[1]]
            assert there == [("北京大学", "ORG"), ("酒店", "PLACE")]
            moved += changed[1] != tuple(spans)
    assert moved > 10


def test_the_parts_of_a_conversation_are_changed_within_their_borders() -> None:
    text = "你们的酒店在哪里啊\n我们的酒店在火车站旁边\n谢谢"
    spans = [(0, 9, "user"), (10, 21, "assistant"), (22, 24, "user")]
    assert tiled(text, spans)
    changed_turns = 0
    for method in LOCAL:
        for seed in range(40):
            page = noise.Page(text, spans, Lots(seed, method), 0.3)
            changed = applied(text, spans, noise.METHODS[method](page, SYNONYMS))
            assert changed is not None
            turns = [changed[0][s:e] for s, e, _label in changed[1]]
            assert "\n".join(turns) == changed[0]
            changed_turns += changed[0] != text
    assert changed_turns > 20


def test_an_edit_across_a_border_is_refused() -> None:
    assert applied("abcdef", [(0, 3, "x"), (3, 6, "y")], [Edit(2, 4, "Z")]) is None
    assert applied("abcdef", [(1, 3, "x")], [Edit(1, 3, "")]) == ("adef", ())


@settings(deadline=None)
@given(
    text=st.text("甲乙丙丁 ab\n", min_size=1, max_size=30),
    cuts=st.lists(st.integers(0, 30), min_size=2, max_size=6),
    edits=st.lists(st.tuples(st.integers(0, 29), st.integers(0, 3), st.text("XY", max_size=3))),
)
def test_a_span_is_on_what_its_own_text_became(
    text: str, cuts: list[int], edits: list[tuple[int, int, str]]
) -> None:
    ends = sorted({min(cut, len(text)) for cut in cuts})
    spans = [(s, e, str(n)) for n, (s, e) in enumerate(zip(ends[::2], ends[1::2], strict=False))]
    chosen: list[Edit] = []
    for start, size, new in sorted(edits):
        end = min(start + size, len(text))
        if start < end and all(edit.end <= start for edit in chosen):
            chosen.append(Edit(start, end, new))
    changed = applied(text, spans, chosen)
    crossing = any(e.start < b < e.end for e in chosen for s in spans for b in s[:2])
    assert (changed is None) == crossing
    if changed is None:
        return
    expected = {}
    for start, end, label in spans:
        inner = [
            Edit(e.start - start, e.end - start, e.new) for e in chosen if start <= e.start < end
        ]
        piece = applied(text[start:end], (), inner)
        assert piece is not None
        if piece[0]:
            expected[label] = piece[0]
    assert {label: changed[0][s:e] for s, e, label in changed[1]} == expected


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=60), seed=st.integers(0, 5), method=st.sampled_from(LOCAL))
def test_any_text_will_do_and_the_same_lots_give_the_same(
    text: str, seed: int, method: str
) -> None:
    def once() -> str:
        page = noise.Page(text, (), Lots(seed, text), 0.3)
        edits = noise.METHODS[method](page, SYNONYMS)
        assert len({e.start for e in edits}) == len(edits)
        changed = applied(text, (), edits)
        assert changed is not None
        return changed[0]

    found = once()
    assert found == once()
    held = [c for c, keep in zip(text, fixed(text, ()), strict=True) if keep]
    left = iter(found)
    assert all(c in left for c in held), "what is protected is still there, in its order"


@pytest.mark.parametrize(
    ("text", "chinese"),
    [
        ("很好", True),
        ("very good", False),
        ("我的 iPhone 很好用", True),
        ("The word 好 means good", False),
        ("123 !!!", False),
        ("", False),
    ],
)
def test_the_language_is_that_of_most_words(text: str, chinese: bool) -> None:
    assert is_chinese(text) == chinese


def test_lots_are_even_and_do_not_depend_on_each_other() -> None:
    drawn = [Lots(0, "share", n).share() for n in range(4000)]
    assert abs(sum(drawn) / 4000 - 0.5) < 0.02
    order = ["".join(Lots(0, n).order("abcd")) for n in range(2400)]
    counts = {one: order.count(one) for one in set(order)}
    assert len(counts) == 24
    assert min(counts.values()) > 60
    # Held for good: a made record must be the same in every version and on every machine.
    assert Lots(7, "x", 1).below(10**9) == 478637601

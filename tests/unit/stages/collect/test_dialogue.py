"""Records that have parts: instructions, chats, preferences, completions."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feilun.stages.collect import layouts
from feilun.stages.collect.source import Quarantine
from tests.unit.stages.collect.layouts import WHERE, marked, numbered, of_json, raw_json, records

WORDS = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ["", "\n", "你好\n世界", "👩‍👩‍👧 一家", "[1, 2]", '{"a": 1}', "\u2028", "\x00"]
)
ROLES = st.sampled_from(["system", "user", "assistant", "tool", "function_call"])


def has_text(turns: list[tuple[str, str]]) -> bool:
    return bool("\n".join(text for _role, text in turns).strip())


@settings(deadline=None)
@given(st.lists(st.lists(st.tuples(ROLES, WORDS), min_size=1, max_size=5), min_size=1, max_size=4))
def test_a_chat_comes_back_from_its_text_and_spans(chats: list[list[tuple[str, str]]]) -> None:
    for layout, role, content in (
        ("messages", "role", "content"),
        ("sharegpt", "from", "value"),
    ):
        rows = [{"messages": [{role: r, content: t} for r, t in chat]} for chat in chats]
        for chunk in (raw_json(rows), numbered(pl.DataFrame(rows))):
            quarantine = Quarantine()
            found = records(chunk, layout, quarantine)
            assert [marked(record) for record in found] == list(filter(has_text, chats))
            assert quarantine.counts.total() == len(chats) - len(found)


@settings(deadline=None)
@given(st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1, max_size=4))
def test_prompts_and_answers_come_back(rows: list[tuple[str, str, str]]) -> None:
    # A text that is JSON of messages would be read as messages: none of these is.
    for layout, names in (
        ("preference", ("prompt", "chosen", "rejected")),
        ("completion", ("prompt", "completion")),
    ):
        cut = [row[: len(names)] for row in rows]
        found = of_json([dict(zip(names, row, strict=True)) for row in cut], layout)
        wanted = [list(zip(names, row, strict=True)) for row in cut]
        assert [marked(record) for record in found] == list(filter(has_text, wanted))


@settings(deadline=None)
@given(st.lists(st.tuples(WORDS, WORDS), max_size=3), WORDS, WORDS, WORDS, WORDS)
def test_an_instruction_comes_back_with_its_history(
    history: list[tuple[str, str]], system: str, asked: str, given_: str, answer: str
) -> None:
    row = {
        "instruction": asked, "input": given_, "output": answer, "system": system,
        "history": [list(pair) for pair in history],
    }  # fmt: skip
    wanted = [("system", system)] if system else []
    for question, reply in history:
        wanted += [("instruction", question), ("output", reply)]
    wanted.append(("instruction", asked))
    wanted += [("input", given_)] if given_ else []
    wanted.append(("output", answer))
    found = of_json([row], "alpaca")
    assert [marked(record) for record in found] == ([wanted] if has_text(wanted) else [])


def test_roles_have_one_name_and_what_is_no_text_goes_to_fields() -> None:
    calls = [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]
    image = {"type": "image_url", "image_url": {"url": "https://x.test/1.png"}}
    row = {
        "id": "chat-7",
        "messages": [
            {"role": "developer", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "天气?"}, image,
                                         {"type": "text", "text": "快"}]},
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": "c1", "content": "晴"},
            {"role": "assistant", "content": "晴天", "weight": 0},
        ],
        "tools": [{"type": "function", "function": {"name": "weather"}}],
        "label": "天气",
    }  # fmt: skip
    (found,) = of_json([row], "messages")
    assert marked(found) == [
        ("system", "be brief"), ("user", "天气?\n快"), ("assistant", ""), ("tool", "晴"),
        ("assistant", "晴天"),
    ]  # fmt: skip
    assert found["text"] == "be brief\n天气?\n快\n\n晴\n晴天"
    assert found["label"] == "天气"
    assert found["fields"] == {
        "id": "chat-7", "tools": row["tools"],
        "turns": {"1": {"content": [image]}, "2": {"tool_calls": calls},
                  "3": {"tool_call_id": "c1"}, "4": {"weight": 0}},
    }  # fmt: skip


def test_sharegpt_with_system_tools_and_a_verdict() -> None:
    row = {
        "conversations": [
            {"from": "human", "value": "几点?"},
            {"from": "function_call", "value": '{"name": "clock"}', "weight": 1},
            {"from": "observation", "value": "8:00"},
            {"from": "gpt", "value": "八点"},
        ],
        "system": "你是助手", "tools": '[{"name": "clock"}]', "kto_tag": True, "images": ["1.png"],
    }  # fmt: skip
    (found,) = of_json([row], "sharegpt")
    assert [role for role, _text in marked(found)] == [
        "system", "user", "function_call", "tool", "assistant",
    ]  # fmt: skip
    assert found["label"] == "true"
    assert found["fields"] == {
        "images": ["1.png"], "tools": [{"name": "clock"}], "turns": {"2": {"weight": 1}},
    }  # fmt: skip


def test_sides_of_messages_keep_their_roles() -> None:
    user = [{"role": "user", "content": "什么颜色?"}]
    blue = [{"role": "assistant", "content": "蓝色。"}]
    green = [{"role": "assistant", "content": "绿色。", "name": "x"}]
    rows: list[dict[str, Any]] = [
        {"prompt": user, "chosen": blue, "rejected": green, "score": 2},
        {"chosen": user + blue, "rejected": user + green},
        {"prompt": "什么颜色?", "chosen": blue, "rejected": green},
    ]
    explicit, implicit, mixed = of_json(rows, "preference")
    assert marked(explicit) == [
        ("prompt.user", "什么颜色?"), ("chosen.assistant", "蓝色。"),
        ("rejected.assistant", "绿色。"),
    ]  # fmt: skip
    assert explicit["fields"] == {"score": "2", "turns": {"2": {"name": "x"}}}
    assert [role for role, _text in marked(implicit)] == [
        "chosen.user", "chosen.assistant", "rejected.user", "rejected.assistant",
    ]  # fmt: skip
    assert marked(mixed)[0] == ("prompt", "什么颜色?")


def test_preferences_in_the_manner_of_llama_factory() -> None:
    alpaca = {"instruction": "写诗", "input": "春天", "chosen": "好诗", "rejected": "坏诗"}
    shared = {
        "conversations": [{"from": "human", "value": "写诗"}],
        "chosen": {"from": "gpt", "value": "好诗"}, "rejected": {"from": "gpt", "value": "坏诗"},
    }  # fmt: skip
    (found,) = of_json([alpaca], "preference")
    assert marked(found) == [
        ("prompt", "写诗"), ("input", "春天"), ("chosen", "好诗"), ("rejected", "坏诗"),
    ]  # fmt: skip
    (found,) = of_json([shared], "preference")
    assert marked(found) == [
        ("prompt.user", "写诗"), ("chosen.assistant", "好诗"), ("rejected.assistant", "坏诗"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("verdict", "label"),
    [(True, "true"), (False, "false"), ("True", "true"), ("FALSE", "false"), (None, None),
     ("Neutral", "Neutral")],
)  # fmt: skip
def test_the_verdict_on_a_completion_is_its_label(verdict: Any, label: str | None) -> None:
    row = {"prompt": "天空是", "completion": "蓝的", "label": verdict}
    assert of_json([row], "completion")[0]["label"] == label


def test_columns_of_other_names_are_mapped() -> None:
    row = {"问": "什么是猫?", "答": "一种动物", "员工": "w1", "何时": "2024-01-31"}
    (found,) = of_json([row], "completion", prompt="问", completion="答", group="员工", time="何时")
    assert marked(found) == [("prompt", "什么是猫?"), ("completion", "一种动物")]
    assert (found["group"], found["time"].year, found["fields"]) == ("w1", 2024, None)


@pytest.mark.parametrize(
    ("layout", "row", "reason"),
    [
        ("messages", {"messages": "hello"}, "not_messages"),
        ("messages", {"messages": []}, "not_messages"),
        ("messages", {"messages": ["hello"]}, "not_messages"),
        ("messages", {"messages": [{"content": "who?"}]}, "not_messages"),
        ("messages", {"messages": [{"role": "user"}]}, "not_messages"),
        ("messages", {"messages": [{"role": "user", "content": {"a": 1}}]}, "not_messages"),
        ("messages", {"messages": [{"role": "user", "content": [1]}]}, "not_messages"),
        ("messages", {"messages": [{"role": "user", "content": "  "}]}, "no_text"),
        ("messages", {"messages": "[" * 100_000}, "not_messages"),
        ("alpaca", {"instruction": "", "input": "", "output": ""}, "no_text"),
        ("alpaca", {"instruction": "a", "output": "b", "history": [["x"]]}, "not_messages"),
        ("alpaca", {"instruction": "a", "output": "b", "history": {"x": 1}}, "not_messages"),
        ("preference", {"prompt": "a", "chosen": "b", "rejected": None}, "no_text"),
        ("completion", {"prompt": "a", "completion": None}, "no_text"),
    ],
)
def test_rows_that_do_not_fit_are_told_and_the_rest_goes_on(
    layout: str, row: dict[str, Any], reason: str
) -> None:
    good: dict[str, dict[str, Any]] = {
        "messages": {"messages": [{"role": "user", "content": "hi"}]},
        "alpaca": {"instruction": "hi", "output": "ho"},
        "preference": {"prompt": "hi", "chosen": "ho", "rejected": "no"},
        "completion": {"prompt": "hi", "completion": "ho"},
    }
    quarantine = Quarantine()
    found = of_json([good[layout], row, good[layout]], layout, quarantine)
    assert [record["row"] for record in found] == [1, 3]
    (bad,) = quarantine.shown
    assert (bad.source, bad.row, bad.reason) == (WHERE, 2, reason)
    assert len(bad.excerpt) <= 200


def test_half_an_emoji_in_json_is_replaced_not_fatal() -> None:
    """JSON may hold a lone surrogate as an escape; UTF-8 cannot."""
    row = '[{"role": "user", "content": "a\\ud83d!", "name": "\\udc00"}, {"role": "assistant", "content": "\\ud83d\\ude00"}]'  # noqa: E501
    chunk = numbered(pl.DataFrame({"messages": [row]}))
    (found,) = records(chunk, "messages")
    assert marked(found) == [("user", "a\ufffd!"), ("assistant", "😀")]
    assert found["fields"] == {"turns": {"0": {"name": "\ufffd"}}}


def test_numbers_that_json_does_not_know_become_null() -> None:
    chunk = numbered(pl.DataFrame({"prompt": ["a"], "completion": ["b"], "s": ["[NaN, 1e999, 2]"]}))
    assert records(chunk, "completion")[0]["fields"] == {"s": [None, None, 2]}


def test_ten_thousand_turns_are_one_record() -> None:
    turns = [{"role": "user", "content": str(n)} for n in range(10_000)]
    (found,) = of_json([{"messages": turns}], "messages")
    assert marked(found) == [("user", str(n)) for n in range(10_000)]
    assert json.loads(json.dumps(found["fields"])) is None


def test_two_files_with_the_same_chat_have_the_same_record() -> None:
    chat = {"messages": [{"role": "user", "content": "hi", "b": 1, "a": 2}]}
    turned = {"messages": [{"a": 2, "b": 1, "content": "hi", "role": "user"}]}
    one, two = (layouts.shaped(raw_json([c]), "messages", {}, WHERE, Quarantine())
                for c in (chat, turned))  # fmt: skip
    assert one.equals(two)

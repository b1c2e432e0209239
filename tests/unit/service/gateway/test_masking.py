"""Personal data does not leave, comes back in the answer, and is in no log."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from feilun.service.gateway.errors import NotMaskable
from feilun.service.gateway.masking import (
    ChunkRestorer,
    Masker,
    Restorer,
    check,
    fixed,
    restored_completion,
)
from feilun.stages.prepare.mask import Mask
from tests.unit.core.chat_server import DONE, chunk, completion, streamed, told

from .conftest import Start, events, spoken

MOBILE, OTHER, MAIL = "13812345678", "13987654321", "wang.xm@example.org"
TEXT = f"我的手机 {MOBILE}，她的是 {OTHER}，邮箱 {MAIL}，再说一次 {MOBILE}"


@pytest.fixture(scope="module")
def masker() -> Masker:
    return Masker(Mask(kinds=("mobile", "email")))


def test_the_same_value_has_the_same_number(masker: Masker) -> None:
    masked = masker.masked([{"role": "user", "content": TEXT}, {"content": f"还是 {OTHER}"}])
    first, second = (message["content"] for message in masked.value)
    assert first == "我的手机 [MOBILE_1]，她的是 [MOBILE_2]，邮箱 [EMAIL_1]，再说一次 [MOBILE_1]"
    assert second == "还是 [MOBILE_2]"
    assert masked.values == {"[MOBILE_1]": MOBILE, "[MOBILE_2]": OTHER, "[EMAIL_1]": MAIL}
    assert "[MOBILE]" in fixed(first, masked.values)
    assert "_1]" not in fixed(first, masked.values)


def test_a_placeholder_somebody_wrote_is_nobodys_number(masker: Masker) -> None:
    masked = masker.masked(f"写 [MOBILE_1] 和 {MOBILE}")
    assert masked.value == "写 [MOBILE_1] 和 [MOBILE_2]"
    assert Restorer(masked.values).feed(masked.value) == f"写 [MOBILE_1] 和 {MOBILE}"


def test_every_text_of_a_body_but_the_words_of_the_api(masker: Masker) -> None:
    body = {
        "model": "m",
        "user": MAIL,
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": MOBILE}]},
            {"role": "assistant", "tool_calls": [{"id": "c", "function": {"arguments": MAIL}}]},
        ],
        "tools": [{"function": {"description": f"call {OTHER}"}}],
    }
    masked = masker.masked(body)
    assert not any(value in str(masked.value) for value in (MOBILE, OTHER, MAIL))
    assert masked.value["messages"][1]["tool_calls"][0]["id"] == "c"


@pytest.mark.parametrize("seed", range(20))
def test_values_come_back_however_a_text_is_cut(seed: int) -> None:
    choose = random.Random(seed)
    values = {"[MOBILE_1]": MOBILE, "[MOBILE_12]": OTHER, "[NAME_1]": "王小明"}
    parts = [*values, "[", "[MOB", "[[", "]", "[x]", "好", " ", "[MOBILE_3]", "[name_1]"]
    text = "".join(choose.choice(parts) for _part in range(60))
    restorer, pieces, at = Restorer(values), [], 0
    while at < len(text):
        size = choose.randint(1, 6)
        pieces.append(restorer.feed(text[at : at + size]))
        at += size
    whole = text
    for name, value in values.items():
        whole = whole.replace(name, value)
    assert "".join(pieces) + restorer.rest() == whole


def test_nothing_is_held_back_that_cannot_become_a_placeholder() -> None:
    restorer = Restorer({"[MOBILE_1]": MOBILE})
    assert restorer.feed("see [1] and [") == "see [1] and "
    assert restorer.feed("2]") == "[2]"
    assert restorer.feed("[MOBILE") == ""
    assert restorer.rest() == "[MOBILE"


def test_values_within_arguments_are_json() -> None:
    values = {"[ADDRESS_1]": 'a "b"\\\n街'}
    call = {"index": 0, "function": {"arguments": '{"to": "[ADDR'}}
    end = {"index": 0, "function": {"arguments": 'ESS_1]"}'}}
    restorer = ChunkRestorer(values)
    said = ""
    for one in (call, end):
        chunk = {"choices": [{"index": 0, "delta": {"tool_calls": [one]}}]}
        calls = restorer.restored(chunk)["choices"][0]["delta"]["tool_calls"]
        said += calls[0]["function"]["arguments"]
    assert json.loads(said) == {"to": 'a "b"\\\n街'}
    message = {"tool_calls": [{"id": "c", "function": {"arguments": '{"to": "[ADDRESS_1]"}'}}]}
    whole = restored_completion({"choices": [{"message": message}]}, values)
    (call,) = whole["choices"][0]["message"]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"to": 'a "b"\\\n街'}
    assert set(call) == {"id", "function"}


def test_what_is_no_text_cannot_be_masked() -> None:
    check([{"role": "user", "content": [{"type": "text", "text": "x"}]}, {"content": "x"}])
    with pytest.raises(NotMaskable, match="image_url"):
        check([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}])


def echo(body: dict[str, Any], _number: int) -> Any:
    """A model that repeats what it was told last."""
    text = body["messages"][-1]["content"]
    if not body.get("stream"):
        return completion(f"收到：{text}")
    return told("收到：", *text)


@pytest.mark.parametrize("stream", [False, True])
def test_nothing_personal_leaves_or_is_logged(start: Start, stream: bool) -> None:
    with start(echo) as gateway:
        answer = gateway.chat(TEXT, stream=stream, user=MAIL)
        if stream:
            said = spoken(events(answer))
        else:
            said = answer.json()["choices"][0]["message"]["content"]
        assert said == f"收到：{TEXT}"
        gateway.rows(1)
        sent = str(gateway.upstream.requests)
        for value in (MOBILE, OTHER, MAIL):
            assert value not in sent
            assert not _bytes_with(gateway.project.folder, value)
        (row,) = gateway.rows(1)
        assert row["text"] == "我的手机 [MOBILE]，她的是 [MOBILE]，邮箱 [EMAIL]，再说一次 [MOBILE]"
        assert row["answer"] == f"收到：{row['text']}"


def test_a_person_who_is_erased_is_out_of_the_log(start: Start) -> None:
    with start(echo) as gateway:
        gateway.chat("hi", user="customer-1")
        gateway.chat("hi", safety_identifier="customer-2")
        subjects = [row["subject"] for row in gateway.rows(2)]
        assert None not in subjects
        assert "customer" not in str(subjects)
        gateway.project.erase("customer-1")
        assert [row["subject"] for row in gateway.rows(1)] == subjects[1:]


def test_without_mask_it_leaves_and_is_still_not_logged(start: Start) -> None:
    with start(echo, mask=False) as gateway:
        answer = gateway.chat(TEXT)
        assert answer.json()["choices"][0]["message"]["content"] == f"收到：{TEXT}"
        assert gateway.sent()["messages"][0]["content"] == TEXT
        gateway.rows(1)
        for value in (MOBILE, OTHER, MAIL):
            assert not _bytes_with(gateway.project.folder, value)


def test_what_the_model_makes_up_is_not_logged_either(start: Start) -> None:
    with start(lambda body, n: completion(f"拨打 {MOBILE}")) as gateway:
        said = gateway.chat("hi").json()["choices"][0]["message"]["content"]
        assert said == f"拨打 {MOBILE}"
        assert gateway.rows(1)[0]["answer"] == "拨打 [MOBILE]"


def test_a_placeholder_that_never_ends_is_said_at_the_end(start: Start) -> None:
    pieces = chunk(content="打 [MOBI"), chunk(finish_reason="stop"), DONE
    with start(lambda body, n: streamed(*pieces)) as gateway:
        assert spoken(events(gateway.chat(TEXT, stream=True))) == "打 [MOBI"
    pieces = chunk(content="打 [MOBI"), DONE
    with start(lambda body, n: streamed(*pieces), cache="off") as gateway:
        assert spoken(events(gateway.chat(TEXT, stream=True))) == "打 [MOBI"


def test_pictures_pass_only_without_mask(start: Start) -> None:
    parts = [
        {"type": "text", "text": "what is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]
    body = {"model": "m", "messages": [{"role": "user", "content": parts}]}
    with start(lambda body, n: completion("a cat")) as gateway:
        answer = gateway.client.post("/v1/chat/completions", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "not_maskable")
        assert gateway.upstream.requests == []


def test_of_pictures_only_their_being_there_is_logged(start: Start) -> None:
    parts = [
        {"type": "text", "text": "what is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]
    body = {"model": "m", "messages": [{"role": "user", "content": parts}]}
    with start(lambda body, n: completion("a cat"), mask=False) as gateway:
        assert gateway.client.post("/v1/chat/completions", json=body).status_code == 200
        assert gateway.sent()["messages"][0]["content"] == parts
        (row,) = gateway.rows(1)
        assert "AAAA" not in row["messages"]
        assert row["text"] == "what is it?"


def _bytes_with(folder: Path, value: str) -> list[Path]:
    return [path for path in folder.glob("*.db*") if value.encode() in path.read_bytes()]

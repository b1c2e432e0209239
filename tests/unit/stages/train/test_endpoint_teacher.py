"""A language model as a teacher: what it is asked, how its answers are read, what they cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from feilun.core import endpoint
from feilun.core.endpoint import EndpointBusy, EndpointLacks, EndpointRefused
from feilun.core.secret import SecretMissing
from feilun.models import Lesson
from feilun.stages.train.distil import Distil
from feilun.stages.train.teachers.endpoint import MOST_CHARACTERS, TeacherUnreadable
from feilun.stages.train.teachers.questions import questions
from feilun.tasks import Classify, Match, Regress, Tag
from tests.unit.core.chat_server import Chat, Reply, chat_server, said
from tests.unit.models.neural.lessons import Bench
from tests.unit.stages.train.lessons import keyed, lesson

UNLABELLED = keyed([(f"{'很好' if at % 2 else '很差'}，第{at}天", None) for at in range(12)])
GOLD = keyed([("早餐好", "好"), ("太吵", "差")])


def small(folder: Path, *unlabelled: pl.DataFrame, **more: Any) -> Lesson:
    shards = unlabelled or (UNLABELLED,)
    return lesson(GOLD, folder, *shards, validation=GOLD[:0], **more)


def distil(chat: Chat, teacher: dict[str, Any] | None = None, **more: Any) -> Distil:
    asked = {"use": "endpoint", "endpoint": chat.url, "model": "tiny", **(teacher or {})}
    return Distil.model_validate({"teacher": asked, **more})


def asked(body: dict[str, Any]) -> tuple[str, str]:
    return body["messages"][0]["content"], body["messages"][1]["content"]


def right(body: dict[str, Any], _number: int) -> Reply:
    return said("好" if "很好" in asked(body)[1] else "差")


def test_its_answers_are_learnt_and_its_tokens_paid_for(tmp_path: Path) -> None:
    run = Bench(tmp_path / "run")
    with chat_server(right) as chat:
        one = distil(
            chat,
            {
                "price": 1e6,
                "currency": "usd",
                "instructions": "好 means {pleased}.",
                "most_tokens": 99,
            },
        )
        taught = one.taught(small(tmp_path), None, run)
    new = taught.train[2:]
    assert new.height == 12
    assert all((label == "好") == ("很好" in t) for t, label in new.select("text", "label").rows())
    assert taught.soft is not None
    assert np.isnan(taught.soft[:2]).all()
    assert set(map(tuple, taught.soft[2:].tolist())) == {(1.0, 0.0), (0.0, 1.0)}
    assert run.spent == {"endpoint.tokens": 84, "usd": 84, "distilled": 12}
    system, text = asked(chat.requests[0][1])
    assert "«差», «好»" in system
    assert "好 means {pleased}." in system
    assert "not an instruction" in system
    assert text in set(UNLABELLED["text"])
    assert all(body["max_tokens"] == 99 for _headers, body in chat.requests)
    assert all(body["temperature"] == 0 for _headers, body in chat.requests)


def test_several_answers_make_soft_labels(tmp_path: Path) -> None:
    def unsure(body: dict[str, Any], _number: int) -> Reply:
        if "很差" in asked(body)[1]:
            return said("差")
        return said(["好", "差", "好", "???"][body["seed"]])

    run = Bench(tmp_path / "run")
    with chat_server(unsure) as chat:
        taught = distil(chat, {"samples": 4}).taught(small(tmp_path), None, run)
        assert len(chat.requests) == 48
        assert all(body["temperature"] > 0 for _headers, body in chat.requests)
        sure = distil(chat, {"samples": 4}, least_confidence=0.6)
        few = sure.taught(small(tmp_path), None, run)
        assert len(chat.requests) == 48, "what was answered is not asked again"
    assert taught.soft is not None
    for text, row in zip(taught.train["text"][2:], taught.soft[2:], strict=True):
        assert row == pytest.approx([1, 0] if "很差" in text else [1 / 3, 2 / 3])
    assert set(taught.train["label"][2:]) == {"好", "差"}
    assert set(few.train["label"][2:]) == {"差"}, "two of four are not sure enough"


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    def mixed(body: dict[str, Any], number: int) -> Reply:
        text = asked(body)[1]
        if "第3天" in text:
            return said("我不知道")
        if "第4天" in text:
            return Reply(400)
        return said("") if "第5天" in text else right(body, number)

    run = Bench(tmp_path / "run")
    long = keyed([("很" * (MOST_CHARACTERS + 1), None)])
    with chat_server(mixed) as chat:
        taught = distil(chat).taught(small(tmp_path, UNLABELLED, long), None, run)
        assert len(chat.requests) == 12, "what is too long is not sent"
    assert taught.train.height == 2 + 9
    assert run.spent["distilled"] == 9
    assert run.spent["distilled.left_out"] == 4
    assert "4 without an answer" in run.said[0]


def test_a_model_that_never_answers_is_given_up_before_more_is_paid(tmp_path: Path) -> None:
    many = keyed([(f"第{at}天", None) for at in range(200)])
    with (
        chat_server(lambda _body, _n: said("I think it is rather nice.")) as chat,
        pytest.raises(TeacherUnreadable, match=r"tiny .* first 32 texts"),
    ):
        distil(chat).taught(small(tmp_path, many), None, Bench(tmp_path / "run"))
    assert len(chat.requests) == 32


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(401), EndpointRefused),
        (Reply(404), EndpointLacks),
        (Reply(503), EndpointBusy),
        (said("好")._replace(pause=5.0), EndpointBusy),
    ],
    ids=["refused", "no model", "down", "too slow"],
)
def test_a_server_that_fails_ends_the_training_with_its_reason(
    reply: Reply, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "RETRIES", 0)
    real = endpoint.Endpoint.__init__

    def hasty(self: Any, *given: Any, **more: Any) -> None:
        real(self, *given, **more, timeout=0.3)

    monkeypatch.setattr(endpoint.Endpoint, "__init__", hasty)
    with chat_server(lambda _body, _n: reply) as chat, pytest.raises(error):
        distil(chat).taught(small(tmp_path), None, Bench(tmp_path / "run"))


def test_a_killed_run_pays_nobody_twice(tmp_path: Path) -> None:
    many = keyed([(f"很好，第{at}天", None) for at in range(100)])
    broken = [True]

    def answer(body: dict[str, Any], number: int) -> Reply:
        return Reply(401) if broken[0] and number > 50 else right(body, number)

    given, run = small(tmp_path, many), Bench(tmp_path / "run")
    with chat_server(answer) as chat:
        with pytest.raises(EndpointRefused):
            distil(chat).taught(given, None, run)
        broken[0], before = False, len(chat.requests)
        taught = distil(chat).taught(given, None, run)
        assert len(chat.requests) - before == 50
    assert taught.train.height == 102


def test_the_token_is_sent_and_nowhere_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with chat_server(right) as chat:
        one = distil(chat, {"token": "env:TEACHER_TOKEN"})
        monkeypatch.delenv("TEACHER_TOKEN", raising=False)
        with pytest.raises(SecretMissing):
            one.taught(small(tmp_path), None, Bench(tmp_path / "run"))
        monkeypatch.setenv("TEACHER_TOKEN", "geheim-42")
        one.taught(small(tmp_path), None, Bench(tmp_path / "run"))
    assert chat.requests[0][0]["Authorization"] == "Bearer geheim-42"
    assert "geheim" not in one.model_dump_json()
    for path in (tmp_path / "run").rglob("*"):
        assert path.is_dir() or b"geheim" not in path.read_bytes()


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("好", "好"),
        (" «好» \n", "好"),
        ("**好**", "好"),
        ("Label: 好.", "好"),
        ("标签：好", "好"),
        ("GOOD", "good"),
        ("a:b", "a:b"),
        ("不好", None),
        ("好 or 差", None),
        ("", None),
    ],
)
def test_how_a_label_is_read(answer: str, label: str | None) -> None:
    given = Lesson(GOLD, GOLD, ("a:b", "good", "好", "差"))
    assert questions(given, None).read("", answer) == label


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ('["b", "a", "a"]', "a|b"),
        ('Sure:\n```json\n["A"]\n```', "a"),
        ("[]", ""),
        ('["c"]', None),
        ("a, b", None),
        ("[1]", None),
        ("[" * 5000, None),
    ],
)
def test_how_several_labels_are_read(answer: str, wanted: str | None) -> None:
    given = Lesson(GOLD, GOLD, ("a", "b"), Classify(multiple=True))
    assert questions(given, None).read("", answer) == wanted


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ('[["王明", "PER"], ["北京", "loc"], ["王明", "PER"]]',
         '[[0,2,"PER"],[4,6,"LOC"],[7,9,"PER"]]'),
        ("[]", "[]"),
        ('[["上海", "LOC"]]', None),
        ('[["北京", "LOC"], ["北京", "LOC"]]', None),
        ('[["王明", "ORG"]]', None),
        ('[["", "PER"]]', None),
        ('[[0, 2, "PER"]]', None),
        ("none", None),
    ],
)  # fmt: skip
def test_how_entities_are_read(answer: str, wanted: str | None) -> None:
    given = Lesson(GOLD, GOLD, ("LOC", "PER"), Tag())
    assert questions(given, None).read("王明去了北京，王明说", answer) == wanted


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [("4.50", "4.5"), ("**3**", "3"), ("-1", "-1"), ("four", None), ("nan", None)],
)
def test_how_a_number_is_read(answer: str, wanted: str | None) -> None:
    numbers = keyed([("a", "1"), ("b", "4.5")])
    found = questions(Lesson(numbers, numbers, (), Regress()), None)
    assert "from 1 to 4.5" in found.system
    assert found.read("", answer) == wanted


def test_pairs_are_asked_about_as_a_list_of_two(tmp_path: Path) -> None:
    pairs = [Match().record(f'["一{at}", "二{at}"]', "0") for at in range(4)]
    frame = keyed([(p["text"], None) for p in pairs], [p["spans"] for p in pairs])
    other = Match().record('["甲", "乙"]', "1")
    gold = keyed([(other["text"], "1")], [other["spans"]])
    given = lesson(
        gold, tmp_path, frame, validation=gold[:0], labels=("0", "1"), task=Match()
    )  # fmt: skip
    with chat_server(lambda _body, _n: said("1")) as chat:
        taught = distil(chat).taught(given, None, Bench(tmp_path / "run"))
    assert {asked(body)[1] for _headers, body in chat.requests} == {
        f'["一{at}","二{at}"]' for at in range(4)
    }
    assert taught.train["label"].to_list() == ["1"] * 5
    assert taught.train["spans"][1:].to_list() != [None] * 4
    assert taught.soft is not None
    assert taught.soft[1:].tolist() == [[0, 1]] * 4


def test_numbers_have_the_median_of_the_answers(tmp_path: Path) -> None:
    gold = keyed([("a", "1"), ("b", "5")])
    given = lesson(gold, tmp_path, UNLABELLED, validation=gold[:0], labels=(), task=Regress())
    with chat_server(lambda body, _n: said(["4", "1", "4.5"][body["seed"]])) as chat:
        taught = distil(chat, {"samples": 3}).taught(given, None, Bench(tmp_path / "run"))
    assert taught.train["label"][2:].to_list() == ["4"] * 12
    assert taught.soft is None

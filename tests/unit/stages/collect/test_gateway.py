"""Gateway: a hosted model's answers come back as records."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from feilun.stages.collect import gateway
from feilun.stages.collect.gateway import Gateway
from feilun.store import EventLog
from feilun.store.events import ExchangeRow, FeedbackRow
from feilun.wheel.project import Project as Whole
from tests.conftest import sentences
from tests.unit.stages.collect.turns import Project, read

AT = datetime(2026, 1, 1, tzinfo=UTC)
LABELS = ("正面", "负面")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    with closing(EventLog(tmp_path / ".feilun" / "events.db")) as found:
        yield found


def exchange(number: int, text: str, answer: str | None, **more: Any) -> ExchangeRow:
    messages = [{"role": "system", "content": "正面还是负面？"}, {"role": "user", "content": text}]
    row = ExchangeRow(
        f"chat_{number}", AT.timestamp(), "shop", "gpt", "gpt",
        json.dumps(more.pop("messages", messages), ensure_ascii=False), text, answer, "answered",
    )  # fmt: skip
    return row._replace(**more)


def said(number: int, kind: str, value: Any) -> FeedbackRow:
    return FeedbackRow(f"chat_{number}", AT.timestamp(), kind, value, "anna", "shop")


def test_there_are_none_before_the_first(tmp_path: Path) -> None:
    assert list(Gateway().pieces(tmp_path, None)) == []
    assert not (tmp_path / ".feilun").exists(), "asking must not make an event log"


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("正面", "正面"), (" 负面。\n", "负面"), ("“正面”", "正面"), ("**负面**", "负面"),
        ('{"label": "正面"}', "正面"), ('```json\n{"label": "负面"}\n```', "负面"),
        ('Sure: {"label": "正面", "why": "快"} ok', "正面"),
        ("我觉得是正面", None), ('{"label": "中性"}', None), ('{"label": ["正面"]}', None),
        ('{"label": true}', None), ("{", None), ("", None), ("[" * 5000, None),
    ],
)  # fmt: skip
def test_an_answer_is_a_label_where_it_is_one(answer: str, label: str | None) -> None:
    assert Gateway(labels=LABELS).label(answer) == label


def test_how_it_is_answered_can_be_set() -> None:
    assert Gateway(labels=LABELS, answers="json").label("正面") is None
    assert Gateway(labels=LABELS, answers="text").label('{"label": "正面"}') is None
    assert Gateway(labels=("Good",)).label("good") == "Good"
    # Without known labels only JSON says that something is meant as one.
    assert Gateway().label("正面") is None
    assert Gateway().label('{"label": "中性"}') == "中性"
    assert Gateway(key="stars").label('{"stars": 4.5}') == "4.5"


def test_the_text_may_stand_between_words(log: EventLog, tmp_path: Path) -> None:
    log.record(
        [
            exchange(1, "评论：很好\n只答标签", "正面"),
            exchange(2, "你好", "正面"),
            exchange(3, "评论：没有结尾", "正面"),
            exchange(4, "评论： \n只答标签", "正面"),
        ]
    )
    found = read(Gateway(labels=LABELS, after="评论：", before="\n只答"), tmp_path)
    assert found.frame.select("text", "label", "row").rows() == [("很好", "正面", 1)]


def test_only_whole_answers_of_the_model_count(log: EventLog, tmp_path: Path) -> None:
    log.record(
        [
            exchange(1, "a", "正面"),
            exchange(2, "b", "正面", outcome="cached"),
            exchange(3, "c", "正", outcome="broken"),
            exchange(4, "d", "正", finish="length"),
            exchange(5, "e", None, outcome="failed"),
            exchange(6, "", None, kept="hash"),
            exchange(7, "g", "不知道"),
            exchange(8, "h", "正面", messages=[{"role": "user", "content": "h"}]),
        ]
    )
    found = read(Gateway(labels=LABELS), tmp_path)
    assert found.frame.select("text", "label", "source").rows() == [
        ("a", "正面", "gateway"), ("g", None, "gateway"), ("h", "正面", "gateway"),
    ]  # fmt: skip
    assert found.frame["time"].to_list() == [AT] * 3
    assert found.since == "8"
    assert read(Gateway(labels=LABELS, system="还是"), tmp_path).texts == ["a", "g"]
    assert read(Gateway(measured=False), tmp_path).frame["source"].to_list() == ["teacher"] * 3


def test_feedback_has_the_last_word(log: EventLog, tmp_path: Path) -> None:
    log.record([exchange(n, f"text {n}", "正面") for n in range(1, 6)])
    log.record([said(1, "correction", "负面"), said(2, "rating", 0.0), said(3, "rating", 1.0)])
    log.record([said(4, "correction", "中性"), said(4, "correction", "负面")])
    log.record([said(5, "comment", "hm")])
    labels = read(Gateway(labels=LABELS), tmp_path).frame["label"].to_list()
    assert labels == ["负面", None, "正面", "负面", "正面"]


def test_each_turn_reads_what_was_asked_since(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "CHUNK", 2)
    project = Project(Gateway(labels=LABELS), tmp_path)
    log.record([exchange(n, f"text {n}", "正面") for n in range(1, 6)])
    assert project.collect().height == 5
    log.record([exchange(6, "text 6", "负面"), exchange(7, "text 1", "正面")])
    assert project.collect()["text"].to_list() == [f"text {n}" for n in range(1, 7)]


def test_what_was_read_is_not_read_again_when_the_newest_is_erased(
    log: EventLog, tmp_path: Path
) -> None:
    project = Project(Gateway(labels=LABELS), tmp_path)
    log.record([exchange(n, f"text {n}", "正面") for n in range(1, 6)])
    assert project.collect().height == 5
    with log.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM exchanges WHERE seq >= 4")
    assert project.collect().height == 5
    log.record([exchange(6, "text 6", "负面")])
    assert project.collect().height == 6


def test_a_first_own_model_is_learnt_from_a_hosted_one(tmp_path: Path) -> None:
    """The wheel's beginning: a project with nothing but the log of its gateway."""
    (tmp_path / "feilun.toml").write_text(
        '[project]\nname = "reviews"\n[[collect.sources]]\nuse = "gateway"\n'
        'labels = ["正面", "负面"]\n[train]\nmodel.architecture = "ngram"\n',
        encoding="utf-8",
    )
    with Whole.open(tmp_path) as project:
        project.events.record(
            [exchange(n, text, label) for n, (text, label) in enumerate(sentences(), start=1)]
        )
        turn = project.turn()
        assert turn.verdict is not None
        assert turn.verdict.released, turn.verdict.reasons
        assert turn.report is not None
        assert turn.report.metrics["accuracy"].value > 0.8
        assert [one.label for one in project.predict(["物流很快，耳机也好"], log=False)] == ["正面"]

"""Prepare: no record vanishes, no text stands on two sides, the test stays what it was."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feilun.core.artifacts import SPLITS, Dataset, Records
from feilun.core.errors import FeilunError
from feilun.core.records import parquet, read_shards
from feilun.stages.prepare import Prepare, PrepareGiven
from feilun.stages.prepare.conflicts import Conflicts
from feilun.stages.prepare.duplicates import Duplicates
from feilun.stages.prepare.near_duplicates import NearDuplicates
from feilun.stages.prepare.normalise import Normalise
from feilun.stages.prepare.split import OneLabel, SplitTooSmall, TooFewRecords
from feilun.stages.prepare.step import Step
from feilun.stages.prepare.twins import twin_key
from feilun.wheel.runner import LocalRun
from tests.unit.stages.scratch import REVIEWS, Row, raw, records, scratch


def apply(
    step: Step, rows: list[Row], folder: Path
) -> tuple[list[tuple[str, str | None]], pl.DataFrame]:
    run = scratch(folder)
    kept = step.apply(raw(rows), run)
    assert kept.columns == raw([]).columns
    return kept.select("text", "label").rows(), run.dropped()


def prepare(
    rows: list[Row], folder: Path, frozen: tuple[str, ...] = (), **settings_: object
) -> Dataset:
    run = scratch(folder, seed=7)
    stage = Prepare.model_validate({"split": {"minimum": 4}} | settings_)
    return stage.run(PrepareGiven(records(rows, run), frozen), run)


def frames(dataset: Dataset, folder: Path) -> dict[str, pl.DataFrame]:
    run = scratch(folder)
    return {
        name: read_shards(run.file(digest) for digest in dataset.shards(name))
        for name in (*SPLITS, "dropped")
    }


def keys(frame: pl.DataFrame) -> set[str]:
    return set(frame.select(twin_key(pl.col("text"))).to_series())


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ＡＢＣ１２３！", "ABC123!"),
        ("  多  个\t\n空\u3000格  ", "多 个 空 格"),
        ("a\x00b\x1bc", "a b c"),
        ("\ufeffzero\u200bwidth", "zero width"),
        ("①②", "12"),
        ("very good 👍", "very good 👍"),
    ],
)
def test_normalising_writes_the_same_text_one_way(text: str, wanted: str, tmp_path: Path) -> None:
    assert apply(Normalise(), [(text, "x")], tmp_path)[0] == [(wanted, "x")]


@pytest.mark.parametrize("text", ["", "   ", "\n", None, "\u200b", "\x00"])
def test_what_is_empty_is_dropped_with_its_reason(text: str | None, tmp_path: Path) -> None:
    kept, dropped = apply(Normalise(), [(text, "x"), ("y", None)], tmp_path)
    assert kept == [("y", None)]
    assert dropped.select("step", "reason").rows() == [("normalise", "empty")]


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(texts=st.lists(st.text(max_size=15), min_size=1, max_size=6))
def test_normalising_twice_is_normalising_once(texts: list[str], tmp_path: Path) -> None:
    once, _dropped = apply(Normalise(), [(text, "x") for text in texts], tmp_path)
    twice, dropped = apply(Normalise(), list(once), tmp_path)
    assert twice == once
    assert dropped.is_empty()


@pytest.mark.parametrize(
    ("one", "two", "twins"),
    [
        ("很好！！", " 很 好", True),
        ("Good.", "GOOD", True),
        ("ＡＢ", "ab", True),
        ("！！！", "!!!", True),
        ("很好", "很差", False),
        ("!!!", "???", False),
        ("1", "2", False),
    ],
)
def test_twins_are_told_by_letters_and_digits(one: str, two: str, twins: bool) -> None:
    assert (len(keys(pl.DataFrame({"text": [one, two]}))) == 1) == twins


@pytest.mark.parametrize(
    ("keep", "wanted"),
    [
        ("majority", [("a!", "x"), ("A", "x"), ("a", None), ("c", "x"), ("b", None)]),
        ("none", [("a", None), ("c", "x"), ("b", None)]),
    ],
)
def test_conflicts_are_settled_by_more_than_half_or_not_at_all(
    keep: str, wanted: list[tuple[str, str | None]], tmp_path: Path
) -> None:
    rows: list[Row] = [
        ("a!", "x"),
        ("A", "x"),
        ("a", "y"),
        ("a", None),
        ("b", "x"),
        ("b.", "y"),
        ("c", "x"),
        ("b", None),
    ]
    kept, dropped = apply(Conflicts.model_validate({"keep": keep}), rows, tmp_path)
    assert kept == wanted
    assert dropped["reason"].unique().to_list() == ["conflict"]
    assert dropped.height == len(rows) - len(wanted)


def test_two_against_two_has_no_majority(tmp_path: Path) -> None:
    rows: list[Row] = [("a", "x"), ("a", "x"), ("a", "y"), ("a", "y")]
    assert apply(Conflicts(), rows, tmp_path)[0] == []


def test_of_twins_the_first_labelled_one_is_kept(tmp_path: Path) -> None:
    rows: list[Row] = [("a", None), ("A!", "x"), ("a.", "x"), ("b", None), ("B", None)]
    kept, dropped = apply(Duplicates(), rows, tmp_path)
    assert kept == [("A!", "x"), ("b", None)]
    assert dropped["text"].to_list() == ["a", "a.", "B"]
    assert set(dropped["reason"]) == {"duplicate"}


LABELLED = st.tuples(st.sampled_from("甲乙丙丁ABCDEFGHIJ"), st.sampled_from(["正面", "负面", None]))
SOME = st.lists(
    st.tuples(
        LABELLED, st.sampled_from(["", "!", " ", "。"]), st.sampled_from(["x.csv", "feedback"])
    ).map(lambda t: (t[0][0] + t[1], t[0][1], t[2])),
    max_size=40,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=SOME, steps=st.sampled_from([None, [], [{"use": "duplicates"}]]))
def test_every_record_is_kept_or_dropped_once_and_no_text_stands_on_two_sides(
    rows: list[Row], steps: list[dict[str, str]] | None, tmp_path: Path
) -> None:
    all_rows = [*REVIEWS[:12], *rows]
    more = {} if steps is None else {"steps": steps}
    dataset = prepare(all_rows, tmp_path, **more)
    found = frames(dataset, tmp_path)
    assert (
        sum(dataset.splits.values()) + found["dropped"].height == len(all_rows) == dataset.num_raw
    )
    places = sorted(
        (source, row)
        for name in found
        for source, row in found[name].select("source", "row").rows()
    )
    assert places == sorted((r[2] if len(r) > 2 else "x.csv", at) for at, r in enumerate(all_rows))
    sides = [keys(found[name]) for name in SPLITS]
    assert sum(map(len, sides)) == len(set.union(*sides)), "a text stands on two sides"
    assert dataset.dropped == dict(found["dropped"]["reason"].value_counts().sort("reason").rows())
    for name in ("test", "validation"):
        assert "feedback" not in set(found[name]["source"]), f"users chose what is in {name}"
    assert found["unlabelled"]["label"].null_count() == found["unlabelled"].height


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(random=st.randoms(use_true_random=False))
def test_the_order_of_records_does_not_change_their_side(random: object, tmp_path: Path) -> None:
    shuffled = list(REVIEWS)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, two = (frames(prepare(list(rows), tmp_path), tmp_path) for rows in (REVIEWS, shuffled))
    for name in SPLITS:
        assert keys(one[name]) == keys(two[name])


def test_more_records_do_not_move_most_of_the_old_ones(tmp_path: Path) -> None:
    """Sides are drawn by key: what was in the test stays there unless its place is taken."""
    before = keys(frames(prepare(REVIEWS[:50], tmp_path), tmp_path)["test"])
    after = keys(frames(prepare(REVIEWS, tmp_path), tmp_path)["test"])
    assert len(before & after) >= len(before) * 0.6


def test_the_shares_are_those_asked_for_label_by_label(tmp_path: Path) -> None:
    split = {"minimum": 4, "test": 0.3, "validation": 0.2}
    dataset = prepare(REVIEWS, tmp_path, split=split)
    assert dataset.balance["test"] == {"正面": 9, "负面": 9}
    assert dataset.balance["validation"] == {"正面": 5, "负面": 5}
    assert dataset.splits["train"] == 32
    assert dataset.labels == ("正面", "负面")


def test_another_seed_draws_another_test(tmp_path: Path) -> None:
    run = scratch(tmp_path, seed=1)
    stage = Prepare.model_validate({"split": {"minimum": 4}})
    other = stage.run(PrepareGiven(records(REVIEWS, run), ()), run)
    assert keys(frames(other, tmp_path)["test"]) != keys(
        frames(prepare(REVIEWS, tmp_path), tmp_path)["test"]
    )


@pytest.mark.parametrize("by", ["label", "time"])
@pytest.mark.parametrize("source", ["feedback", "predictions"])
def test_what_users_rate_and_models_answer_is_never_measured_on(
    source: str, by: str, tmp_path: Path
) -> None:
    run = scratch(tmp_path, seed=7)
    frame = raw([*REVIEWS, *((f"{text}，是的", label, source) for text, label in REVIEWS)])
    days = pl.datetime_range(
        pl.datetime(2026, 1, 1), pl.datetime(2026, 1, 1) + pl.duration(days=frame.height - 1), "1d"
    )
    frame = frame.with_columns(
        pl.select(days.dt.replace_time_zone("UTC")).to_series().alias("time")
    )
    given = Records(files={"records.parquet": run.keep(parquet(frame))}, num_rows=frame.height)
    stage = Prepare.model_validate({"split": {"minimum": 4, "by": by, "near_duplicates": 0}})
    found = frames(stage.run(PrepareGiven(given), run), tmp_path)
    for name in ("test", "validation"):
        assert found[name].height > 0
        assert set(found[name]["source"]) == {"x.csv"}
    assert source in set(found["train"]["source"])


def test_a_frozen_test_keeps_its_rows_whatever_comes(tmp_path: Path) -> None:
    first = prepare(REVIEWS[:40], tmp_path)
    frozen = frames(first, tmp_path)["test"]
    asked = frozen["text"][0]
    later: list[Row] = [
        *REVIEWS[20:],  # some of the old ones have gone from the sources
        (f"{asked}！", "正面", "feedback"),
        ("新的 评论", "负面", "feedback"),
    ]
    second = prepare(later, tmp_path, first.shards("test"))
    found = frames(second, tmp_path)
    assert second.files["test.parquet"] == first.files["test.parquet"]
    assert not keys(found["train"]) & keys(frozen)
    assert not keys(found["validation"]) & keys(frozen)
    assert "新的 评论" in found["train"]["text"].to_list()
    assert "feedback" not in set(found["validation"]["source"])
    if asked not in [row[0] for row in REVIEWS[20:]]:
        assert second.dropped["in_test"] == 1


def test_a_label_that_came_after_the_test_was_frozen_can_be_trained(tmp_path: Path) -> None:
    first = prepare(REVIEWS, tmp_path)
    more: list[Row] = [*REVIEWS, *((f"一般{chr(0x5E00 + n)}", "中性") for n in range(8))]
    second = prepare(more, tmp_path, first.shards("test"))
    assert second.labels == ("中性", "正面", "负面")
    assert second.balance["train"]["中性"] >= 6


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        ([], TooFewRecords),
        ([("a", None)] * 50, TooFewRecords),
        (REVIEWS[:3], TooFewRecords),
        ([(f"很{chr(0x4E00 + n)}", "x") for n in range(20)], OneLabel),
        ([*REVIEWS[1::2], ("唯一的", "稀有")], SplitTooSmall),  # nothing to tell apart in the test
        ([("a1", "x"), ("a2", "x"), ("a3", "y"), ("a4", "y")], SplitTooSmall),
    ],
)
def test_too_little_to_learn_from_is_told_with_the_limit(
    rows: list[Row], wanted: type[FeilunError], tmp_path: Path
) -> None:
    with pytest.raises(wanted) as caught:
        prepare(rows, tmp_path)
    assert caught.value.remedy
    assert any(character.isdigit() for character in caught.value.message)


def test_preparing_what_was_prepared_drops_nothing_more(tmp_path: Path) -> None:
    rows: list[Row] = [*REVIEWS, *REVIEWS[:5], ("  很好，第一次住 ", "负面"), ("", "x")]
    found = frames(prepare(rows, tmp_path), tmp_path)
    kept = pl.concat([found[name].drop("key") for name in SPLITS]).sort("row")
    again = prepare(kept.select("text", "label").rows(), tmp_path)
    assert again.dropped == {}
    assert again.splits == {name: found[name].height for name in SPLITS}


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    assert prepare(REVIEWS, tmp_path).digest == prepare(REVIEWS, tmp_path).digest


def test_a_step_that_lets_records_vanish_is_found(tmp_path: Path) -> None:
    """Negative control for the count above: a step that drops without saying so."""
    run = scratch(tmp_path)
    frame = raw(REVIEWS)

    class Careless(Duplicates):
        def apply(self, frame: pl.DataFrame, run: LocalRun) -> pl.DataFrame:  # type: ignore[override]
            return frame.head(30)

    assert Careless().apply(frame, run).height + run.dropped().height != frame.height


def near_rows(number: int, label: str | None = "正面", source: str = "x.csv") -> list[Row]:
    """Three texts of 34 characters, each 0.9 or more alike to the next; a cluster of its own."""
    body = "".join(chr(0x4E00 + number * 40 + at) for at in range(30))
    return [(body + end, label, source) for end in ("终于等到", "终于等了", "终于")]


def sides(found: dict[str, pl.DataFrame]) -> dict[int, set[str]]:
    """In which splits the texts of each cluster of `near_rows` stand, by their first character."""
    where: dict[int, set[str]] = {}
    for name in SPLITS:
        for text in found[name]["text"]:
            where.setdefault((ord(text[0]) - 0x4E00) // 40, set()).add(name)
    return where


NEAR = [row for n in range(30) for row in near_rows(n, "正面" if n % 2 else "负面")]


def test_of_near_duplicates_the_best_of_each_label_is_kept(tmp_path: Path) -> None:
    base = "".join(chr(0x5000 + at) for at in range(30))
    rows: list[Row] = [
        (f"{base}甲", None),
        (base, "x"),
        (f"{base}甲乙", "x"),
        (f"{base}丙丁", "x"),
        (f"{base}甲", "y"),
        (f"{base}甲乙。", "z"),
        ("完全不同的一句话", "x"),
        (f"{base[:15]}另外半句是说别的事情的而且很长", "x"),
    ]
    kept, dropped = apply(NearDuplicates(), rows, tmp_path)
    # The twin of another label is dropped with the best one's label, here the longer text's.
    assert kept == [rows[4], rows[5], rows[6], rows[7]]
    assert set(dropped["reason"]) == {"near_duplicate"}
    assert len(kept) + dropped.height == len(rows)
    again, nothing = apply(NearDuplicates(), list(kept), tmp_path / "again")
    assert again == kept
    assert nothing.is_empty()


def test_unlabelled_near_duplicates_leave_the_longest_then_the_first(tmp_path: Path) -> None:
    rows = near_rows(1, None)
    assert apply(NearDuplicates(), rows, tmp_path)[0] == [rows[0][:2]]
    strict = NearDuplicates.model_validate({"threshold": 0.95})
    assert len(apply(strict, rows, tmp_path)[0]) > 1


def test_reviews_that_only_share_an_opening_are_kept(tmp_path: Path) -> None:
    assert len(apply(NearDuplicates(), list(REVIEWS), tmp_path)[0]) == len(REVIEWS)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    random=st.randoms(use_true_random=False),
    extra=st.lists(
        st.tuples(
            st.integers(0, 29),
            st.sampled_from(["!", "吧", "了吗"]),
            st.sampled_from(["正面", "负面", None]),
            st.sampled_from(["x.csv", "feedback"]),
        ),
        max_size=15,
    ),
)
def test_no_cluster_of_near_duplicates_straddles(
    random: object, extra: list[tuple[int, str, str | None, str]], tmp_path: Path
) -> None:
    more: list[Row] = [(f"{near_rows(n)[0][0]}{end}", lbl, src) for n, end, lbl, src in extra]
    rows = [*NEAR, *REVIEWS, *more]
    one = prepare(rows, tmp_path)
    found = frames(one, tmp_path)
    for number, names in sides(found).items():
        if number < 30:
            assert "test" not in names or names == {"test"}, (number, names)
            assert len(names - {"unlabelled"}) <= 1, (number, names)
    for name in ("test", "validation"):
        assert "feedback" not in set(found[name]["source"])
    assert sum(one.splits.values()) + found["dropped"].height == len(rows)
    random.shuffle(rows)  # type: ignore[attr-defined]
    two = frames(prepare(rows, tmp_path, steps=[]), tmp_path)
    three = frames(prepare(rows[::-1], tmp_path, steps=[]), tmp_path)
    # Which of two twins stays is a matter of order, so only where there are none.
    if not extra:
        assert all(keys(two[name]) == keys(three[name]) == keys(found[name]) for name in SPLITS)


def test_shares_hold_within_one_cluster(tmp_path: Path) -> None:
    dataset = prepare(NEAR, tmp_path, split={"minimum": 4, "test": 0.3, "validation": 0.2})
    for label in ("正面", "负面"):
        assert 14 - 3 < dataset.balance["test"][label] <= 14
        left = 45 - dataset.balance["test"][label]
        assert 0.2 * left - 3 < dataset.balance["validation"][label] <= 0.2 * left + 1


def test_a_cluster_larger_than_the_share_is_not_drawn_while_others_are_there(
    tmp_path: Path,
) -> None:
    body = near_rows(0)[0][0]
    many: list[Row] = [(f"{body}{chr(0x6E00 + n)}", "正面") for n in range(40)]
    dataset = prepare([*many, *REVIEWS], tmp_path)
    assert dataset.balance["test"]["正面"] == 14  # a fifth of 70, all of them singles
    assert dataset.balance["train"]["正面"] >= 40


def test_near_duplicates_of_a_frozen_test_are_dropped_wherever_they_come_from(
    tmp_path: Path,
) -> None:
    first = prepare([*NEAR, *REVIEWS], tmp_path)
    frozen = frames(first, tmp_path)["test"]
    asked = next(text for text in frozen["text"] if len(text) > 30)
    free = next(t for t in frames(first, tmp_path)["train"]["text"] if len(t) > 30)
    later: list[Row] = [
        *NEAR,
        *REVIEWS,
        (f"{asked}呀", "正面"),
        (f"{asked}哦", "负面", "feedback"),
        (f"{asked}啦", None),
        (f"{free}呀", "正面", "feedback"),
    ]
    second = prepare(later, tmp_path, first.shards("test"))
    found = frames(second, tmp_path)
    assert second.files["test.parquet"] == first.files["test.parquet"]
    assert second.dropped == {"in_test": 3}
    assert f"{free}呀" in found["train"]["text"].to_list()
    assert not {f"{asked}{end}" for end in "呀哦啦"} & {t for n in SPLITS for t in found[n]["text"]}


@pytest.mark.parametrize("off", [0, 0.0, None])
def test_the_watch_on_near_duplicates_can_be_turned_off(off: float | None, tmp_path: Path) -> None:
    """Negative control: without it, clusters do straddle."""
    split = {"minimum": 4, "near_duplicates": off}
    where = sides(frames(prepare(NEAR, tmp_path, split=split), tmp_path))
    assert any(len(names) > 1 for names in where.values())


def test_a_label_that_is_one_cluster_stays_in_train(tmp_path: Path) -> None:
    dataset = prepare([*REVIEWS, *near_rows(1, "重复")], tmp_path)
    assert dataset.balance["train"]["重复"] == 3
    assert "重复" not in dataset.balance["test"]

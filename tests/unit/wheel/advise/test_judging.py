"""Advice from measurements that are given: what is recommended, and why."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from feilun.core.message import Message
from feilun.core.records import conform
from feilun.models import Lesson
from feilun.models.mlp import Mlp
from feilun.models.ngram import Ngram
from feilun.stages.train.advise import Probe, Probed, Served, parted
from feilun.tasks import Regress
from feilun.wheel.advise.advice import Advice
from feilun.wheel.advise.expecting import Given, Outcome, Rival
from feilun.wheel.advise.judging import advised

LABELS = ("咨询", "投诉", "退款")


def lesson(count: int = 4_000, share: tuple[float, ...] = (0.4, 0.4, 0.2)) -> Lesson:
    choose = random.Random(3)
    rows = [(f"文 {n}", choose.choices(LABELS, share)[0]) for n in range(count)]
    frame = conform(pl.DataFrame(rows, schema=["text", "label"], orient="row"))
    cut = count // 8
    return Lesson(frame.slice(cut), frame.head(cut), LABELS)


def answers(given: Lesson, right: Callable[[str], float], seed: int = 1) -> list[str | None]:
    """Right as often as `right` says of a label; the same records are hard for all."""
    hard = random.Random(seed)
    found: list[str | None] = []
    for truth in given.task.truth(parted(given, 0).asked):
        other = LABELS[(LABELS.index(truth) + 1) % 3]
        found.append(truth if hard.random() < right(truth) else other)
    return found


def probed(
    given: Lesson,
    error: Callable[[int, str], float],
    *,
    seconds: float = 1.0,
    family: Mlp | Ngram = Ngram(),  # noqa: B008
) -> Probed:
    """Probes whose answers err as `error` says of the number of records and the label."""
    parts = parted(given, 0)
    probes = []
    for rows in (109, 218, 437, 875, 1750):
        if rows > parts.learnt.height:
            continue
        said = answers(given, lambda label, rows=rows: 1 - error(rows, label))  # type: ignore[misc]
        found = given.task.evaluate(given.task.truth(parts.asked), said, LABELS, seed=0)
        probes.append(
            Probe(
                rows=rows,
                work=float(rows),
                seconds=seconds * rows / given.train.height,
                quality=found.metrics["accuracy"],
                answers=said,
                per_label={
                    label: (one["recall"].value, one["f1"].value)
                    for label, one in found.per_label.items()
                },
                counts=dict(given.task.labels(parts.learnt.head(rows))),
            )
        )
    served = Served(0.1, 10_000.0, 0.0001, 1.0)
    return Probed(family, seconds, float(given.train.height), 1, tuple(probes), served, 150.0)


def outcome(found: Probed) -> Outcome:
    return Outcome(found.family.use, {"architecture": found.family.use}, found)


def advice(given: Lesson, *found: Probed, rivals: tuple[Rival, ...] = ()) -> Advice:
    return advised(
        Given("dataset/1", given, "accuracy", 300.0, 0, 12.0),
        [outcome(one) for one in found],
        rivals,
    )


def rival(kind: str, said: list[str | None]) -> Rival:
    return Rival(kind, said, Message(template="x"))


def falling(rows: int, _label: str) -> float:
    return 0.04 + 2.0 * rows**-0.45


def test_quality_and_time_with_all_records_are_foretold() -> None:
    found = advice(lesson(), probed(lesson(), falling, seconds=7.0))
    option = found.options[0]
    assert option.quality is not None
    assert option.quality.value == pytest.approx(1 - falling(3500, ""), abs=0.015)
    assert option.quality.low < 1 - falling(3500, "") < option.quality.high
    assert option.doubled is not None
    assert option.doubled.value > option.quality.value
    assert option.seconds == pytest.approx(7.0, rel=0.05)
    assert option.core_hours == pytest.approx(0.0001 * 1e6 / 3600)
    assert (found.train, found.family) == (True, "ngram")
    assert found.snippet == '[train]\nmodel = { architecture = "ngram" }\n'


def test_the_same_measurements_give_the_same_advice() -> None:
    made = [
        advice(lesson(), probed(lesson(), falling), rivals=(rival("trivial", ["咨询"] * 2250),))
        for _again in range(2)
    ]
    assert made[0] == made[1]
    assert made[0].shown()["reasons"] == [str(one) for one in made[0].reasons]


def test_a_rule_that_is_as_good_is_enough() -> None:
    given = lesson()
    rule = rival("rule", answers(given, lambda _label: 0.96, seed=2))
    found = advice(given, probed(given, lambda _n, _l: 0.04), rivals=(rule,))
    assert not found.train
    assert found.snippet == ""
    assert str(found.reasons[0]).startswith("do not train: a rule is enough; ngram would be")


def test_what_is_live_is_compared_on_the_validation_records_alone() -> None:
    given = lesson()
    live = rival("live", answers(given, lambda _label: 0.9)[:500])
    better = advice(given, probed(given, lambda _n, _l: 0.02), rivals=(live,))
    assert better.train
    same = advice(given, probed(given, lambda _n, _l: 0.1), rivals=(live,))
    assert not same.train
    assert "the live model is as good" in str(same.reasons[0])
    assert same.baselines[0].quality.value == pytest.approx(0.9, abs=0.03)


def test_labels_of_pure_noise_are_not_worth_training() -> None:
    given = lesson(share=(0.34, 0.33, 0.33))
    noise = probed(given, lambda _n, _l: 0.66)
    found = advice(given, noise, rivals=(rival("trivial", ["咨询"] * 2250),))
    assert not found.train
    assert "always the same answer" in str(found.reasons[0])


def test_too_few_records_to_judge_by_are_told_with_how_many_it_takes() -> None:
    given = lesson(160)
    trivial = rival("trivial", answers(given, lambda _label: 0.65, seed=9))
    found = advice(given, _few(given), rivals=(trivial,))
    assert not found.train
    told = found.reasons[0]
    assert str(told).startswith("do not train yet: 90 records to judge by cannot tell ngram")
    assert int(str(told.values["needed"])) > 90


def _few(given: Lesson) -> Probed:
    parts = parted(given, 0)
    said = answers(given, lambda _label: 0.73, seed=1)
    found = given.task.evaluate(given.task.truth(parts.asked), said, LABELS, seed=0)
    probe = Probe(70, 70.0, 0.1, found.metrics["accuracy"], said, {}, {})
    return Probed(Ngram(), 0.2, 140.0, 1, (probe,))


def test_more_labels_of_the_rare_class_are_worth_more_than_a_bigger_model() -> None:
    given = lesson(share=(0.47, 0.47, 0.06))

    def error(rows: int, label: str) -> float:
        return min(0.95, 6.0 * (rows * 0.06) ** -0.6) if label == "退款" else 0.03

    small = probed(given, error)
    big = probed(given, error, seconds=60.0, family=Mlp())
    found = advice(given, small, big)
    assert found.family == "ngram"
    assert found.labels[0].label == "退款"
    # A curve that falls this steeply: 6·(210)^−.6 = .24 now, with 200 more .16.
    assert found.labels[0].more == 200
    assert found.labels[0].gain == pytest.approx(0.06 * 0.08, abs=0.003)
    told = [str(one) for one in found.reasons if "退款" in str(one)]
    assert len(told) == 1
    assert "200 more labels of «退款»" in told[0]
    assert "worth more than a bigger model" in told[0]


def test_the_dearer_family_is_chosen_only_when_it_is_better_beyond_chance() -> None:
    given = lesson()
    cheap = probed(given, lambda _n, _l: 0.20)
    better = probed(given, lambda _n, _l: 0.10, seconds=60.0, family=Mlp())
    alike = probed(given, lambda _n, _l: 0.199, seconds=60.0, family=Mlp())
    assert advice(given, cheap, better).family == "mlp"
    found = advice(given, cheap, alike)
    assert found.family == "ngram"
    # It may be better, and there is time: both are tried.
    assert found.model == {"architecture": "auto", "families": ["ngram", "mlp"]}
    too_long = alike._replace(
        seconds=900.0, probes=tuple(p._replace(seconds=900 * p.rows / 3500) for p in alike.probes)
    )
    assert advice(given, cheap, too_long).model == {"architecture": "ngram"}


def test_without_a_probe_there_is_no_advice_but_the_estimates() -> None:
    note = Message(template="not probed")
    bare = Outcome("mlp", {"architecture": "mlp"}, Probed(Mlp(), 400.0, 1.0), note)
    absent = Outcome("cnn", {"architecture": "cnn"}, None, note)
    given = Given("dataset/1", lesson(), "accuracy", 300.0, 0, 5.0)
    found = advised(given, [bare, absent], [])
    assert (found.train, found.family) == (False, None)
    assert [(one.seconds, one.quality) for one in found.options] == [(400.0, None), (None, None)]
    assert "nothing could be probed within 5 s" in str(found.reasons[0])


def test_probes_of_too_few_records_tell_nothing() -> None:
    given = lesson()
    whole = probed(given, falling)
    small = whole._replace(probes=whole.probes[:2])
    found = advice(given, small, whole._replace(family=Mlp()))
    assert [one.quality is None for one in found.options] == [True, False]
    assert "218 of 3500" in str(found.options[0].note)
    assert found.options[0].seconds == 1.0
    assert found.family == "mlp"


def test_a_network_that_stops_early_is_not_expected_to_go_on_longer_with_more_records() -> None:
    given = lesson()
    stopping = [
        one._replace(work=8 * one.rows, stopped=8, seconds=one.rows * 8 / 1000)
        for one in probed(given, falling).probes
    ]
    network = Probed(Mlp(), 80.0, 20.0 * 3500, 20, tuple(stopping))
    assert advice(given, network).options[0].seconds == pytest.approx(28, rel=0.1)


def test_errors_are_better_when_less() -> None:
    choose = np.random.default_rng(0)
    rows = [(f"文 {n}", str(float(choose.normal()))) for n in range(2_000)]
    frame = conform(pl.DataFrame(rows, schema=["text", "label"], orient="row"))
    given = Lesson(frame.slice(400), frame.head(400), (), Regress())
    asked = parted(given, 0).asked
    truth = given.task.truth(asked)
    probes = []
    for size in (100, 200, 400, 800):
        said = [str(float(t) + float(choose.normal()) * 3 * size**-0.3) for t in truth]
        found = given.task.evaluate(truth, said, (), seed=0)
        probes.append(Probe(size, size, size / 100, found.metrics["mae"], list(said), {}, {}))
    made = Probed(Ngram(), 16.0, 1600.0, 1, tuple(probes))
    trivial = rival("trivial", ["0"] * asked.height)
    found_advice = advised(Given("dataset/1", given, "mae", 300.0, 0), [outcome(made)], [trivial])
    quality = found_advice.options[0].quality
    assert quality is not None
    assert 0.1 < quality.value < probes[-1].quality.value
    assert found_advice.train

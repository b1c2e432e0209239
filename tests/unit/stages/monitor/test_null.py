from __future__ import annotations

import numpy as np
import pytest

from feilun.stages.monitor.distance import Distance, distance, scale
from feilun.stages.monitor.null import LEVELS, SIZES, fitted
from feilun.stages.monitor.reference import named, numbers


def test_the_distances_have_their_values_by_hand() -> None:
    one, two = np.array([0.5, 0.5]), np.array([0.9, 0.1])
    many = 10**9
    psi = (0.5 - 0.9) * np.log(0.5 / 0.9) + (0.5 - 0.1) * np.log(0.5 / 0.1)
    assert distance(Distance.PSI, one, two, many, many) == pytest.approx(psi, rel=1e-6)
    middle = np.array([0.7, 0.3])
    js = sum((p * np.log2(p / middle)).sum() / 2 for p in (one, two))
    assert distance(Distance.JS, one, two, many, many) == pytest.approx(js, rel=1e-6)
    assert distance(Distance.KS, one, two, 1, 1) == pytest.approx(0.4)
    assert distance(Distance.MMD, one, two, 1, 1) == pytest.approx(0.32)


@pytest.mark.parametrize("kind", list(Distance))
def test_nothing_is_nearer_than_the_same(kind: Distance) -> None:
    means = np.array([0.2, 0.3, 0.5])
    assert distance(kind, means, means, 100, 100) == 0
    assert distance(kind, np.eye(3)[0], np.eye(3)[1], 100, 100) > 0


def test_the_largest_difference_of_a_coin_follows_its_known_law() -> None:
    """KS of one column is a difference of shares: at p = .5 its law is normal."""
    rows = np.tile(np.array([[1.0, 1.0], [0.0, 1.0]]), (500, 1))
    law = fitted(Distance.KS, rows, 100_000, seed=3)
    for chance, normal in ((0.1, 1.645), (0.05, 1.960), (0.01, 2.576)):
        # |difference| times the square root of the effective number, standard deviation 1/2.
        assert law.threshold(chance, 1000) == pytest.approx(normal / 2, rel=0.12)


def test_threshold_and_chance_undo_each_other() -> None:
    law = fitted(Distance.PSI, np.eye(5)[np.arange(400) % 5], 400, seed=1)
    for num_rows in (SIZES[0], 77, 5000):
        for chance in (0.3, 0.01, 1e-3, 1e-5):
            value = law.threshold(chance, num_rows)
            assert law.chance(value, num_rows) == pytest.approx(chance, rel=1e-6)
        assert law.chance(1e9, num_rows) == pytest.approx(LEVELS[-1])
        assert law.chance(-1.0, num_rows) == 1.0


def test_a_column_that_cannot_tell_is_none() -> None:
    assert numbers(Distance.KS, [0.9] * 100, 0) is None
    assert numbers(Distance.KS, [0.1, 0.9], 0) is None
    assert named(Distance.PSI, [("a",)] * 5, 0) is None


@pytest.mark.parametrize("num_rows", [40, 400])
@pytest.mark.parametrize("what", ["names", "numbers", "several names"])
def test_chance_warns_as_often_as_stated_and_a_shift_is_found(what: str, num_rows: int) -> None:
    random = np.random.default_rng([num_rows, len(what)])
    alpha, references, windows = 0.02, 10, 60

    def drawn(count: int, moved: float = 0.0) -> list[object]:
        if what == "numbers":
            return random.lognormal(3 + moved, 1, count).tolist()
        if what == "names":
            first = 0.6 - moved / 2
            return [
                (name,)
                for name in random.choice(["a", "b", "c"], count, p=[first, 0.9 - first, 0.1])
            ]
        flips = random.random((count, 2)) < (0.5 - moved / 2, 0.2)
        return [tuple(n for n, on in zip("ab", row, strict=True) if on) for row in flips]

    loud = found = 0
    for number in range(references):
        made = numbers if what == "numbers" else named
        kind = Distance.KS if what == "numbers" else Distance.PSI
        column = made(kind, drawn(600), number)  # type: ignore[operator]
        assert column is not None
        for _window in range(windows):
            compared = column.compared(drawn(num_rows), alpha)
            assert compared is not None
            assert compared.moved == (compared.chance < alpha)
            loud += compared.moved
        found += sum(
            bool((c := column.compared(drawn(num_rows, 0.5), alpha)) and c.moved) for _ in range(5)
        )
    looks = references * windows
    # The stated rate and four standard errors; a reference's own luck is among them.
    assert loud <= alpha * looks + 4 * (looks * alpha * (1 - alpha)) ** 0.5
    assert found >= (0.9 if num_rows == 400 else 0.3) * 5 * references


def test_the_scale_takes_the_numbers_out() -> None:
    assert scale(Distance.MMD, 100, 100) == 50
    assert scale(Distance.KS, 100, 100) == pytest.approx(50**0.5)

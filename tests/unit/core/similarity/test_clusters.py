"""Near-duplicates: what a brute-force Jaccard says, on any text, in any order, and fast."""

from __future__ import annotations

import ctypes
import random
from itertools import combinations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feilun.core.compiled import KernelsMissing
from feilun.core.similarity import linking, native, near_duplicates
from feilun.core.similarity.clusters import bands_for, chance
from feilun.core.similarity.linking import allowed, linked
from feilun.core.text import Texts, utf8


def shingles(text: str) -> set[str]:
    return {text[at : at + 5] for at in range(len(text) - 4)}


def likeness(one: str, two: str) -> float:
    """Jaccard of the sets of 5-grams; shorter texts are only ever equal."""
    a, b = shingles(one), shingles(two)
    return float(one == two) if not a or not b else len(a & b) / len(a | b)


def brute(texts: list[str], threshold: float) -> list[int]:
    """The first row of each row's cluster, by comparing every pair."""
    first, sets = list(range(len(texts))), [shingles(text) for text in texts]

    def root(row: int) -> int:
        while first[row] != row:
            row = first[row]
        return row

    for one, two in combinations(range(len(texts)), 2):
        a, b = sets[one], sets[two]
        alike = len(a & b) / len(a | b) if a and b else float(texts[one] == texts[two])
        if alike >= threshold:
            low, high = sorted((root(one), root(two)))
            first[high] = low
    return [root(row) for row in range(len(texts))]


def found(texts: list[str], threshold: float = 0.7) -> list[int]:
    return near_duplicates(pl.Series(texts, dtype=pl.String), threshold=threshold).to_list()


def partition(texts: list[str], clusters: list[int]) -> set[frozenset[str]]:
    groups: dict[int, set[str]] = {}
    for text, cluster in zip(texts, clusters, strict=True):
        groups.setdefault(cluster, set()).add(text)
    return {frozenset(group) for group in groups.values()}


ZH = "".join(chr(0x4E00 + number) for number in range(0, 6000, 5))
EN = ["time", "people", "way", "water", "word", "work", "place", "year", "hand", "group", "home"]


def generated(num: int, seed: int) -> list[str]:
    """Half Chinese, half English texts of 40 to 400 characters."""
    draw = random.Random(seed)
    texts = []
    for number in range(num):
        if number % 2:
            texts.append("".join(draw.choices(ZH, k=draw.randint(40, 300))))
        else:
            words = (draw.choice(EN) + draw.choice(EN) for _ in range(draw.randint(8, 45)))
            texts.append(" ".join(words))
    return texts


def edited(text: str, draw: random.Random) -> str:
    """`text` with one character in fifty replaced, put in or left out."""
    characters = list(text)
    for _ in range(max(len(text) // 50, 1)):
        at = draw.randrange(len(characters))
        characters[at] = draw.choice(["", draw.choice(ZH), characters[at] + draw.choice(ZH)])
    return "".join(characters)


def test_five_thousand_texts_lose_no_planted_pair_and_join_no_other() -> None:
    draw = random.Random(1)
    originals = generated(4000, seed=2)
    planted = [edited(text, draw) for text in originals[:1000]]
    clusters = found(originals + planted)
    alike = [
        (at, 4000 + at)
        for at, text in enumerate(planted)
        if likeness(originals[at], text) >= 0.7  # short texts fall below it by one edit
    ]
    assert len(alike) > 700
    joined = sum(clusters[one] == clusters[two] for one, two in alike)
    assert joined / len(alike) >= 0.99
    expected = {one for pair in alike for one in pair}
    false = [at for at in range(5000) if clusters.count(clusters[at]) > 1 and at not in expected]
    assert len(false) / 5000 <= 0.001


def test_what_is_joined_is_what_comparing_every_pair_joins() -> None:
    """Texts on every step of likeness, threshold by threshold."""
    draw = random.Random(3)
    bases = generated(30, seed=4)
    texts = list(bases)
    for base in bases:
        cuts = [draw.randrange(len(base)) for _ in range(6)]
        texts += [base[:cut] + "".join(draw.choices(ZH, k=len(base) - cut)) for cut in cuts]
    for threshold in (0.3, 0.5, 0.7, 0.8, 0.95, 1.0):
        ours, wanted = found(texts, threshold), brute(texts, threshold)
        wrong = sum(a != b for a, b in zip(ours, wanted, strict=True))
        # A pair just at the threshold may be missed with a chance of 1 %; none is made up.
        assert wrong <= len(texts) * 0.01
        assert len(set(ours)) >= len(set(wanted))


ODD = st.text(
    alphabet=st.one_of(
        st.sampled_from("ab很好👍é\x00\n"), st.characters(exclude_categories=["Cs"])
    ),
    max_size=30,
)


@settings(max_examples=300, deadline=None)
@given(texts=st.lists(ODD, max_size=12), threshold=st.sampled_from([0.5, 0.7, 0.95]))
def test_any_texts_are_joined_only_where_they_are_alike(texts: list[str], threshold: float) -> None:
    """Never a pair too many; equal texts always; the number is that of the first row."""
    ours, wanted = found(texts, threshold), brute(texts, threshold)
    assert len(ours) == len(texts)
    for row, cluster in enumerate(ours):
        assert cluster == ours.index(cluster) <= row
        assert wanted[row] == wanted[cluster]
        assert texts.index(texts[row]) == row or ours[row] == ours[texts.index(texts[row])]


@settings(max_examples=100, deadline=None)
@given(texts=st.lists(ODD, max_size=12), shuffle=st.randoms(use_true_random=False))
def test_the_order_of_texts_does_not_change_who_is_together(
    texts: list[str], shuffle: random.Random
) -> None:
    other = list(texts)
    shuffle.shuffle(other)
    assert partition(texts, found(texts)) == partition(other, found(other))


def test_order_and_threads_change_nothing_even_where_the_walk_is_cut() -> None:
    """2,000 texts with one long phrase in common: buckets longer than any walk."""
    draw = random.Random(5)
    phrase = "".join(draw.choices(ZH, k=120))
    texts = [phrase + "".join(draw.choices(ZH, k=100)) for _ in range(2000)]
    planted = [edited(text, draw) for text in texts[:100]]
    both = texts + planted
    clusters = found(both)
    assert sum(clusters[2000 + at] == clusters[at] for at in range(100)) >= 99
    shuffled = list(both)
    draw.shuffle(shuffled)
    assert partition(shuffled, found(shuffled)) == partition(both, clusters)
    one, two, three = (near_duplicates(pl.Series(both), num_threads=n) for n in (1, 2, 3))
    assert one.to_list() == two.to_list() == three.to_list()


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        ([], []),
        (["", "", "a"], [0, 0, 2]),
        (["很好很好", "很好很好", "很好很坏"], [0, 0, 2]),
        (["abcde", "abcd", "abcde"], [0, 1, 0]),
        (["👍" * 9, "👍" * 8, "👍" * 4], [0, 0, 2]),
    ],
)
def test_short_texts_are_only_ever_equal(texts: list[str], wanted: list[int]) -> None:
    assert found(texts) == wanted


def test_null_is_empty_and_the_name_stays() -> None:
    clusters = near_duplicates(pl.Series("key", [None, "x", ""]))
    assert (clusters.name, clusters.dtype, clusters.to_list()) == ("key", pl.UInt32, [0, 1, 0])


def test_a_megabyte_is_a_text_like_any_other() -> None:
    draw = random.Random(6)
    huge = "".join(draw.choices(ZH, k=350_000))
    assert found([huge, "x" * 1_000_000, huge[:-9] + "完", "x" * 999_999]) == [0, 1, 0, 1]


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.1, float("nan")])
def test_a_threshold_that_means_nothing_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        near_duplicates(pl.Series(["a"]), threshold=threshold)


def test_bands_find_995_in_1000_at_every_threshold() -> None:
    for threshold in np.linspace(0.05, 1, 96):
        bands = bands_for(float(threshold))
        assert bands.num * bands.rows <= native.SLOTS
        # Of those that share a band, 1 in 2,000 has digests that are too far apart.
        assert chance(bands, threshold) * 0.9995 >= 0.995
    assert chance(native.Bands(32, 4), 0.5) == pytest.approx(1 - (1 - 0.5**4) ** 32)


def test_digests_keep_999_in_1000_of_the_pairs_just_at_the_threshold() -> None:
    """Texts of distinct characters whose sets are cut to a Jaccard of 0.7 or just above; the
    digests of those that share no slot but by chance are far apart."""
    draw = random.Random(8)
    for size in (30, 60, 120, 400, 3000):
        limits, apart, far = allowed(0.7)[0], [], []
        for _ in range(300):
            chars = [chr(0x4E00 + code) for code in draw.sample(range(20_000), 2 * size)]
            same = -(-14 * (size - 4) // 17) + 4  # of `size`: same / (2 size - same) = 0.7
            one, two = chars[:size], chars[:same] + chars[size : 2 * size - same]
            assert 0.7 <= likeness("".join(one), "".join(two)) < 0.74
            texts = utf8(pl.Series(["".join(one), "".join(two), "".join(chars[size:])]))
            digests = native.sign(texts, native.Bands(1, 1)).digests
            filled = int(min(digests[:2, 1] >> 56))
            apart.append(bits_apart(digests[0], digests[1]) - limits[filled])
            far.append(bits_apart(digests[0], digests[2]) - limits[filled])
        assert sum(value > 0 for value in apart) <= 2
        if size >= 400:
            assert sum(value <= 0 for value in far) == 0


def bits_apart(one: np.ndarray, two: np.ndarray) -> int:
    low, high = (int(a) ^ int(b) for a, b in zip(one, two, strict=True))
    return low.bit_count() + (high & (2**56 - 1)).bit_count()


@settings(max_examples=200, deadline=None)
@given(rows=st.lists(st.binary(max_size=40), max_size=8))
def test_bytes_that_are_no_text_are_read_within_their_bounds(rows: list[bytes]) -> None:
    """Under an address sanitiser this is the proof; here, that equal bytes are equal."""
    starts = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    texts = Texts(np.frombuffer(b"".join(rows) + b"\0", dtype=np.uint8), starts)
    clusters = of_texts(texts)
    for at, row in enumerate(rows):
        assert clusters[at] == clusters[rows.index(row)]


def of_texts(texts: Texts) -> np.ndarray:
    signed = native.sign(texts, bands_for(0.7))
    keys = [(0, band) for band in signed.keys]
    return linked(
        texts, signed.hashes, signed.digests, lambda band: iter([keys[band]]), len(keys),
        threshold=0.7,
    )  # fmt: skip


def test_wrong_arrays_are_refused_before_c_sees_them() -> None:
    content, starts = np.zeros(4, dtype=np.uint8), np.array([0, 2, 4])
    signed = native.sign(Texts(content, starts), bands_for(0.7))
    rest = (signed.hashes, signed.digests, allowed(0.7), 0.7)
    for bad in (
        Texts(content, np.array([0, 2, 5])),
        Texts(content, np.array([0, 3, 2])),
        Texts(content, starts.astype(np.int32)),
        Texts(content, np.array([0, 4])),
        native.Stored(starts, *[np.zeros(size, dtype=np.int64) for size in (1, 1, 2)]),
    ):
        with pytest.raises((TypeError, ValueError)):
            native.Rows(bad, *rest)
    rows = native.Rows(Texts(content, starts), *rest)
    keys, room = signed.keys[0], np.empty(2, dtype=np.uint64)
    for first, out in ((0, room[:1]), (1, room), (-1, room), (0, room.astype(np.int64))):
        with pytest.raises(ValueError, match="room"):
            rows.pick(keys, first, 0, 0, out)
    with pytest.raises(ValueError, match="slots"):
        native.sign(Texts(content, starts), native.Bands(65, 2))


def test_a_band_in_parts_is_the_same_band(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of four million rows: parts of a band, each picked piece by piece, by two threads."""
    draw = random.Random(9)
    texts = generated(3000, seed=10)
    texts += [edited(text, draw) for text in texts[:500]] + texts[500:600]
    whole = found(texts)
    monkeypatch.setattr(linking, "RECORDS_AT_ONCE", 500)
    monkeypatch.setattr(linking, "ROWS_PER_PICK", 100)
    assert linking.part_bits(len(texts)) == 3
    assert found(texts) == whole
    assert len(set(whole)) < 3100


def test_a_missing_library_is_told_with_its_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_path: str) -> None:
        raise OSError("no such file")

    for kept in (native._signatures, native._lenders):
        kept.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(KernelsMissing) as caught:
        found(["a"])
    assert "pip install" in str(caught.value.remedy)
    for kept in (native._signatures, native._lenders):
        kept.cache_clear()

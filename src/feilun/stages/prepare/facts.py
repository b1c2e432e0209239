"""What is known of a dataset when it is described, and the two files that describe it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

_PRIVATE = {"endpoint", "key", "secret", "token", "url"}


class File(NamedTuple):
    """A stored file: its sha256 in hex, its size in bytes."""

    sha256: str
    size: int


class Facts(NamedTuple):
    """What `described` tells of.

    `splits` counts records, `balance` labels by split, `dropped` drops by reason; `made_by` are
    the settings of `prepare` (its `model_dump`), `found` what its steps counted
    (`masked.mobile`), `sources` the raw records of each source, `files` the Parquet files by
    name (`train.parquet`, `train-00000.parquet`). `published` is an ISO date, when there is one:
    left out, Croissant's validator says that one is recommended.
    """

    name: str
    splits: Mapping[str, int]
    labels: tuple[str, ...]
    num_raw: int
    dropped: Mapping[str, int]
    made_by: Mapping[str, Any]
    files: Mapping[str, File]
    balance: Mapping[str, Mapping[str, int]] = {}
    found: Mapping[str, float] = {}
    sources: Mapping[str, int] = {}
    published: str | None = None

    @property
    def num_rows(self) -> int:
        """The records of all splits."""
        return sum(self.splits.values())

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The settings of each step, in order."""
        return [dict(step) for step in self.made_by.get("steps") or ()]

    @property
    def masked(self) -> dict[str, int] | None:
        """How many pieces of personal data the step `mask` found, by kind; None without it."""
        if not any(step.get("use") == "mask" for step in self.steps):
            return None
        kinds = {key.removeprefix("masked."): int(n) for key, n in self.found.items()
                 if key.startswith("masked.")}  # fmt: skip
        return dict(sorted(kinds.items(), key=lambda item: (-item[1], item[0])))

    @property
    def languages(self) -> dict[str, int]:
        """The records of each language, where the step `language` counted them."""
        counted = {key.removeprefix("language."): int(n) for key, n in self.found.items()
                   if key.startswith("language.")}  # fmt: skip
        return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))

    def of(self, name: str) -> list[str]:
        """The names of the files that hold `name`, in order."""
        return sorted(file for file in self.files if _holds(file) == name)


def described(facts: Facts) -> dict[str, bytes]:
    """The files that describe a dataset, `croissant.json` and `README.md`, by name.

    Equal facts give equal bytes: nothing in them says when they were written.
    """
    from feilun.stages.prepare.card import card
    from feilun.stages.prepare.croissant import croissant

    text = json.dumps(croissant(facts), ensure_ascii=False, indent=2) + "\n"
    return {"croissant.json": text.encode(), "README.md": card(facts).encode()}


def step_text(step: Mapping[str, Any]) -> str:
    """One step with its settings: `near_duplicates (threshold = 0.7)`. Where an endpoint stands,
    or what a key is called, is nobody's business who gets the dataset."""
    settings = (
        f"{key} = " + ("…" if key in _PRIVATE else json.dumps(value, ensure_ascii=False))
        for key, value in step.items()
        if key != "use" and value is not None
    )
    text = ", ".join(settings)
    return f"{step.get('use')} ({text})" if text else str(step.get("use"))


def masking(facts: Facts) -> str:
    """What the step `mask` did with what it found, one sentence."""
    step = next((step for step in facts.steps if step.get("use") == "mask"), {})
    return {
        "drop": "Records with any of it were dropped.",
        "surrogate": "Each was replaced by an invented one of the same form.",
    }.get(str(step.get("mode")), "Each was replaced by a placeholder that names its kind.")


def limitations(facts: Facts) -> list[str]:
    """What a user of the dataset must know and cannot see, in plain English."""
    split = facts.made_by.get("split") or {}
    threshold = split.get("near_duplicates")
    found = []
    if threshold:
        found.append(
            "No text of the test or validation split has a near-duplicate in another split "
            f"(Jaccard similarity of {threshold} or more of five-character pieces); texts less "
            "alike, and paraphrases, may have."
        )
    else:
        found.append(
            "Equal texts are kept in one split; nearly equal ones may stand in train and test, "
            "which makes a test easier than life."
        )
    if facts.masked is None:
        found.append("Personal data was not looked for: treat the texts as if they had some.")
    else:
        found.append(
            "Personal data was found by patterns and word lists; what these do not know is still "
            "there."
        )
    suspects = int(facts.found.get("label_errors.suspects", 0))
    if suspects:
        found.append(
            f"{suspects:,} labels were suspected to be wrong (confident learning); some of them "
            "are right, and some wrong ones were not suspected."
        )
    else:
        found.append("Labels are as they were collected; nobody has checked each of them.")
    found.append("Rights and licence are those of the sources; this file knows neither.")
    return found


def _holds(file: str) -> str:
    """What the file is part of: `train` for `train-00001.parquet`."""
    stem = file.removesuffix(".parquet")
    name, dash, number = stem.rpartition("-")
    return name if dash and len(number) == 5 and number.isdigit() else stem

"""The English text of every error, as a golden file: a change of words is a change to look at.

`python -m tests.golden.test_error_texts` writes the file anew. Every subclass of `FeilunError`
needs an example here, and every error a remedy.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

import feilun
from feilun.core.errors import FeilunError
from feilun.core.i18n import speak

GOLDEN = Path(__file__).parent / "errors.txt"
HOW = "python -m tests.golden.test_error_texts"
KINDS = {
    "FeilunError",
    "Invalid",
    "Missing",
    "Conflict",
    "Denied",
    "Busy",
    "Full",
    "Damaged",
    "Throttled",
}
"""Kinds are raised only through their subclasses."""

DIGEST = "ab" * 32
SAMPLES: dict[str, Any] = {
    "path": PurePosixPath("reviews/data.csv"),
    "folder": PurePosixPath("reviews"),
    "root": PurePosixPath("reviews"),
    "name": "nam",
    "digest": DIGEST,
    "found": "cd" * 32,
    "what": "reviews",
    "holder": "pid 42",
    "kind": "step",
    "text": "modle/live",
    "key": "k-1",
    "prediction": "p_1",
    "identity": "0123456789ab",
    "message": "A rating is true, false or a number from 0 to 1.",
    "column": "lable",
    "known": ["label", "text"],
    "tried": "utf-8 / gb18030",
    "at": 17,
    "form": "jsonl",
    "reason": "row 3: Expecting value",
    "count": 3,
    "needed": 20,
    "labels": ["好"],
    "split": "train",
    "label": "好",
    "limit": 256,
    "number": 9,
    "said": "Traceback",
    "status": 404,
    "field": "input",
    "seconds": 60,
    "port": 8000,
    "host": "127.0.0.1",
    "length": 20_001,
    "most": 20_000,
    "ref": "model/1",
    "url": "http://127.0.0.1:8000",
    "method": "GET",
    "allowed": ["POST"],
    "difference": 0.25,
    "place": 2,
    "fields": [{"field": "input", "message": "is missing"}],
    "origin": "https://example.org",
    "given": "text/plain",
    "wanted": "application/json",
    "num_rows": 0,
    "step": 12,
    "rate": 0.001,
}


def _config_error(cls: type[FeilunError]) -> FeilunError:
    from feilun.core.config import Mistake

    mistakes = [Mistake(3, "serve.port", "must be at most 65535, not 70000"), Mistake(0, "", "?")]
    return cls(SAMPLES["path"], mistakes)  # type: ignore[call-arg, arg-type]


def _not_installed(cls: type[FeilunError]) -> FeilunError:

    class Needy:
        use = "transformer"

        @staticmethod
        def missing() -> list[str]:
            return ["torch", "transformers"]

    return cls(Needy())  # type: ignore[arg-type]


def _ref(cls: type[FeilunError]) -> FeilunError:
    from feilun.core.refs import Ref

    return cls(Ref("model", "9"))  # type: ignore[arg-type]


def _scope(cls: type[FeilunError]) -> FeilunError:
    from feilun.team import Scope

    return cls(Scope.READ)  # type: ignore[arg-type]


EXAMPLES: dict[str, Callable[[type[FeilunError]], FeilunError]] = {
    "ConfigError": _config_error,
    "NotInstalled": _not_installed,
    "ArtifactNotFound": _ref,
    "ScopeMissing": _scope,
}
"""How to make an error whose arguments are more than names and numbers."""


LIBRARIES = (".kernels", ".signatures")
"""Shared libraries, which lie where modules do."""


def classes() -> list[type[FeilunError]]:
    """Every error of the package, by name."""
    for module in pkgutil.walk_packages(feilun.__path__, "feilun."):
        if ".versions" not in module.name and not module.name.endswith(LIBRARIES):
            importlib.import_module(module.name)
    found: set[type[FeilunError]] = set()
    waiting: list[type[FeilunError]] = [FeilunError]
    while waiting:
        for cls in waiting.pop().__subclasses__():
            if cls.__module__.startswith("feilun.") and cls not in found:
                found.add(cls)
                waiting.append(cls)
    return sorted(
        (cls for cls in found if cls.__name__ not in KINDS),
        key=lambda cls: (cls.__name__, cls.__module__),
    )


def example(cls: type[FeilunError]) -> FeilunError:
    """One instance, with the samples for its arguments; raises `KeyError` without a sample."""
    with speak("en"):
        if cls.__name__ in EXAMPLES:
            return EXAMPLES[cls.__name__](cls)
        if cls.__init__ is FeilunError.__init__:
            return cls("What, with the value.", remedy="feilun doctor")
        names = list(inspect.signature(cls.__init__).parameters.values())[1:]
        needed = [p for p in names if p.kind not in {p.VAR_POSITIONAL, p.VAR_KEYWORD}]
        positional = [SAMPLES[p.name] for p in needed if p.kind is not p.KEYWORD_ONLY]
        named = {p.name: SAMPLES[p.name] for p in needed if p.kind is p.KEYWORD_ONLY}
        return cls(*positional, **named)


def rendered() -> str:
    """The golden file's text."""
    blocks = []
    for cls in classes():
        error = example(cls)
        blocks.append(
            f"{error.code}  ({error.kind}, exit {error.exit_code})\n"
            f"  {error.message}\n  → {error.remedy}\n"
        )
    return "\n".join(blocks)


def test_every_error_has_an_example_and_a_remedy() -> None:
    found = classes()
    assert len(found) > 50
    for cls in found:
        try:
            error = example(cls)
        except KeyError as missing:
            pytest.fail(f"add a sample for the argument {missing} of {cls.__name__} to SAMPLES")
        assert error.message, cls
        assert error.remedy, f"{cls.__name__} does not say how to mend it"
        unfilled = re.findall(r"{[a-z_]+[^}]*}", f"{error.message} {error.remedy}")
        assert not unfilled, f"a placeholder of {cls.__name__} was not filled"
        assert error.exit_code in range(1, 10), cls
        assert str(error) == error.message, cls


def test_no_two_errors_have_the_same_code() -> None:
    codes = [example(cls).code for cls in classes()]
    assert len(codes) == len(set(codes))


def test_the_english_texts_are_the_golden_ones() -> None:
    assert GOLDEN.exists(), f"make it: {HOW}"
    assert rendered() == GOLDEN.read_text(encoding="utf-8"), (
        f"error texts have changed; if they are meant to, run: {HOW}"
    )


def test_an_error_without_an_example_is_found() -> None:
    """Negative control."""

    class Unheard(FeilunError):
        def __init__(self, nobody_knows: int) -> None:
            super().__init__(f"{nobody_knows}")

    with pytest.raises(KeyError, match="nobody_knows"):
        example(Unheard)


if __name__ == "__main__":
    GOLDEN.write_text(rendered(), encoding="utf-8")

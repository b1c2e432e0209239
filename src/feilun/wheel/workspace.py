"""The folder with `feilun.toml`, and the stores of what was made from it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Self

from feilun.core import config
from feilun.core.artifacts import Dataset, Model
from feilun.core.errors import Missing, read_error
from feilun.core.i18n import _
from feilun.core.refs import Ref
from feilun.store import Blobs, Control, EventLog
from feilun.team import Keyring
from feilun.wheel.privacy import Privacy
from feilun.wheel.settings import Settings

STATE = ".feilun"


class ProjectNotFound(Missing):
    """There is no `feilun.toml` in the folder."""

    def __init__(self, root: Path) -> None:
        super().__init__(
            _("{path} is no project: it has no feilun.toml.").format(path=root),
            remedy="feilun new NAME --task classify --data PATH",
        )


class Workspace:
    """Settings and stores of one project; each store is opened on first use."""

    def __init__(self, root: Path, settings: Settings) -> None:
        self.root = root
        self.settings = settings
        self.folder = root / STATE

    @classmethod
    def open(cls, root: Path | str = ".") -> Self:
        """The project in the folder `root`; raises `ProjectNotFound`, `ConfigError`."""
        folder = Path(root).expanduser().resolve()
        path = folder / config.FILE
        if not path.is_file():
            raise ProjectNotFound(folder)
        try:
            settings = config.read(path, Settings)
        except OSError as error:
            raise read_error(error, path) or error from error
        return cls(folder, settings)

    def close(self) -> None:
        """Closes what was opened; nothing is lost without it."""
        self.__dict__.pop("keys", None)
        for name in ("events", "control"):
            store = self.__dict__.pop(name, None)
            if store is not None:
                store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @cached_property
    def blobs(self) -> Blobs:
        """Stored files by digest."""
        return Blobs(self.folder / "blobs")

    @cached_property
    def control(self) -> Control:
        """Turns, artifacts, aliases."""
        return Control(self.folder / "control.db")

    @cached_property
    def events(self) -> EventLog:
        """Predictions and feedback."""
        return EventLog(self.folder / "events.db", self.privacy.keep)

    @cached_property
    def privacy(self) -> Privacy:
        """How the texts of the log are kept, shown and learnt from."""
        return Privacy(self)

    @cached_property
    def keys(self) -> Keyring:
        """API keys."""
        return Keyring(self.control, self.folder / "pepper")

    def model(self, ref: Ref) -> Model:
        """The model that `ref` names."""
        found = self.control.get(ref).artifact
        assert isinstance(found, Model)
        return found

    def dataset_of(self, model: Model) -> Dataset:
        """The dataset the model was trained on."""
        found = self.control.get(Ref("dataset", model.parents[0])).artifact
        assert isinstance(found, Dataset)
        return found

    def blobs_of(self, model: Model) -> Path:
        """A folder with the model's files, each checked; raises `DamagedBlob`."""
        return self.blobs.unpack(model.files, self.folder / "models" / model.short)

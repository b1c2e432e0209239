"""Feilun (飞轮): from the records a team has to a model it owns, and round again.

```python
import feilun

project = feilun.open("reviews")
turn = project.turn()
project.predict(["房间很干净，服务也好"])
```
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from feilun.version import __version__

if TYPE_CHECKING:
    from feilun.client import AsyncClient, Client
    from feilun.core.errors import FeilunError
    from feilun.wheel.project import Project

__all__ = ["AsyncClient", "Client", "FeilunError", "Project", "__version__", "open"]

# Loaded on first use, so that `import feilun` (and `feilun --help`) costs milliseconds.
_LAZY = {
    "AsyncClient": "feilun.client",
    "Client": "feilun.client",
    "FeilunError": "feilun.core.errors",
    "Project": "feilun.wheel.project",
}


def open(path: str = ".") -> Project:
    """The project in the folder `path`; raises `ProjectNotFound` or `ConfigError`."""
    from feilun.wheel.project import Project

    return Project.open(path)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'feilun' has no attribute {name!r}")

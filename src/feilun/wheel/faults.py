"""Where tests may kill this process, so that what a kill leaves behind is tested, not assumed.

`FEILUN_FAULT=train:made` ends the process with SIGKILL when the stage `train` has made its
artifact and not yet committed it; points are `begin`, `progress`, `made`, `committed`.
`FEILUN_FAULT=train:progress:3` kills at the third time. Without the variable it costs a lookup.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

VARIABLE = "FEILUN_FAULT"
POINTS = ("begin", "progress", "made", "committed")
_reached: Counter[str] = Counter()


def point(stage: str, name: str) -> None:
    """Dies here if the variable says so."""
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        return
    here = f"{stage}:{name}"
    _reached[here] += 1
    if wanted in {here, f"{here}:{_reached[here]}"}:
        os.kill(os.getpid(), signal.SIGKILL)

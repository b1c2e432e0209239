"""One look at the signals in a process of its own: `python -m feilun.wheel.looking ROOT APART`.

A look reads the training texts and compares samples. In the service's own process it took 200 MB
that were never given back, and seconds in which requests waited.
"""

from __future__ import annotations

import json
import os
import sys

_NICER = 19


def main(arguments: list[str]) -> int:
    """0, after printing the names of the alerts that the look raised and cleared, as JSON."""
    from feilun.wheel import alerts
    from feilun.wheel.project import Project

    root, apart = arguments
    with Project.open(root) as project:
        change = alerts.look(project, apart=float(apart))
    found = {} if change is None else change._asdict()
    sys.stdout.write(json.dumps({name: [row.name for row in rows] for name, rows in found.items()}))
    return 0


if __name__ == "__main__":
    # Requests come first.
    os.nice(_NICER)
    sys.exit(main(sys.argv[1:]))

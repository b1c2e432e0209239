"""Who is at the keyboard."""

from __future__ import annotations

import getpass
import os


def user_name() -> str:
    """The login name; the user's number where the system knows no name for it (containers)."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return f"uid-{os.getuid()}"

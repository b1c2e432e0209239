"""Models that were live and were rolled back: no turn makes one of them live again by itself."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from feilun.core.message import Message
from feilun.store.control import AliasRow

SERVICE = "feilun"
"""Who moved what is live, where nobody did: the service."""
_BEGINS = "rolled back"
"""How the templates of the reasons begin, whoever rolled back."""


def withdrawn(history: Sequence[AliasRow]) -> set[str]:
    """The digests of the models that were last left by a rollback, by hand or by the service, and
    have not been live since; `history`: every move of what is live, newest first."""
    found: dict[str, bool] = {row.digest: False for row in history[:1]}
    for after, left in pairwise(history):
        back = Message.model_validate_json(after.reason).template.startswith(_BEGINS)
        found.setdefault(left.digest, back)
    return {digest for digest, back in found.items() if back}

"""Who may do what: API keys and their scopes now; people, roles and approvals later."""

from feilun.team.keys import EVERYDAY, Key, Keyring, Limits, Scope
from feilun.team.user import user_name

__all__ = ["EVERYDAY", "Key", "Keyring", "Limits", "Scope", "user_name"]

"""Who may do what: API keys and their scopes now; people, roles and approvals later."""

from feilun.team.keys import Key, Keyring, Scope
from feilun.team.user import user_name

__all__ = ["Key", "Keyring", "Scope", "user_name"]

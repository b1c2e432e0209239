"""Who may do what: API keys and their scopes now; people, roles and approvals later."""

from feilun.team.keys import Key, Keyring, Scope

__all__ = ["Key", "Keyring", "Scope"]

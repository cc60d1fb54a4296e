"""Secrets as they are kept: encrypted, with a key that is in no database.

What people and programs see instead is `MASK`; sent back, it stands for the secret that is kept.
"""

from __future__ import annotations

import base64
import hmac
import json
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet, InvalidToken

from dashboard.errors import DashboardError

if TYPE_CHECKING:
    from collections.abc import Callable

MASK = "**********"
"""As pydantic writes its secrets, whatever their length."""

ANOTHER = f"{MASK} (another)"
"""What is told of a secret that takes the place of one that is kept."""

_SEALED = "$sealed"
_PURPOSE = b"apscheduler-dashboard: what is kept secret"


class SecretUnreadable(DashboardError):
    """What was encrypted cannot be read with the key of this process; it is kept as it is."""

    status = 409
    title = "Secret cannot be read"

    def __init__(self, what: str = "A secret") -> None:
        super().__init__(
            f"{what} cannot be read: it was stored with another key than this process has (the file"
            " secret_key in the data folder, or DASHBOARD_SECRET_KEY). Bring that key back, or"
            " enter the secret again."
        )


class Vault:
    """Encrypts and decrypts; the key is loaded when it is first needed."""

    def __init__(self, load_key: Callable[[], str]) -> None:
        """Take the key from `load_key`, which may raise `OSError` when it is called."""
        self._load_key = load_key

    @cached_property
    def _cipher(self) -> Fernet:
        # A key of its own: what signs cookies and what encrypts must never be the same bytes.
        key = hmac.digest(self._load_key().encode(), _PURPOSE, "sha256")
        return Fernet(base64.urlsafe_b64encode(key))

    def encrypt(self, text: str) -> str:
        """Return `text` as ASCII that nobody can read or change without the key."""
        return self._cipher.encrypt(text.encode()).decode()

    def decrypt(self, token: str) -> str:
        """Return what was encrypted; raises `SecretUnreadable`."""
        try:
            return self._cipher.decrypt(token).decode()
        except (InvalidToken, OSError):
            raise SecretUnreadable from None

    def reads(self, token: str) -> bool:
        """Say whether this was encrypted with the key of this vault."""
        try:
            self.decrypt(token)
        except SecretUnreadable:
            return False
        return True

    def seal(self, value: Any) -> dict[str, str]:
        """Return a JSON value as an object that stands in its place and tells nothing of it."""
        return {_SEALED: self.encrypt(json.dumps(value))}

    def unseal(self, sealed: dict[str, str]) -> Any:
        """Return what was sealed; raises `SecretUnreadable`."""
        return json.loads(self.decrypt(sealed[_SEALED]))


def _no_key() -> str:
    message = "Secrets need the key of a data folder, and none was given here."
    raise RuntimeError(message)


NO_VAULT = Vault(_no_key)
"""For where there are no settings, and so no secrets."""


def is_sealed(value: object) -> bool:
    """Say whether a JSON value stands for a secret."""
    return isinstance(value, dict) and value.keys() == {_SEALED}

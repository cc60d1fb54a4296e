"""Passwords: what one may be, how it is kept, and whether it fits."""

from __future__ import annotations

import secrets
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from dashboard.errors import Invalid

SHORTEST = 8
LONGEST = 1024

NONE = ""
"""What is kept of somebody who has no password here; no password fits it."""

_hasher = PasswordHasher()  # argon2id with the library's present recommendation


def hashed(password: str, *, field: str = "password") -> str:
    """Return what to keep of a password; raises `Invalid` naming the `field` it was typed in."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise Invalid.one(field, f"A password has {SHORTEST} to {LONGEST:,} characters.")
    try:
        password.encode()
    except UnicodeEncodeError as error:
        raise Invalid.one(field, "It holds half a character; type it again.") from error
    return _hasher.hash(password)


def fits(stored: str | None, password: str) -> bool:
    """Say whether `password` is the one that is kept; None (nobody) takes as long to refuse."""
    if len(password) > LONGEST:
        return False
    try:
        return _hasher.verify(stored or _nobody(), password)
    except (VerificationError, InvalidHashError, UnicodeEncodeError):
        return False


def made_up() -> str:
    """Return a new password that nobody can guess."""
    return secrets.token_urlsafe(12)


@cache
def _nobody() -> str:
    """Return a hash that no password fits, to spend the same time where there is nothing to fit."""
    return _hasher.hash(secrets.token_hex(16))

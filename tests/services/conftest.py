"""People to do something with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from argon2 import PasswordHasher

from dashboard.services import accounts, passwords
from dashboard.storage.models import Role
from tests.services.people import GOOD, act

if TYPE_CHECKING:
    from dashboard.storage.db import Database
    from dashboard.storage.models import User


@pytest.fixture(autouse=True)
def _cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash quickly: what makes argon2 safe is what makes tests slow."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=64))


@pytest.fixture
def vera(database: Database) -> User:
    """A viewer."""
    user: User = act(database, accounts.add_user, "vera", GOOD, Role.VIEWER)
    return user

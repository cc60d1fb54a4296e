"""Ann the admin's doings with people, each in a transaction of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from dashboard.services import audit, signin
from dashboard.storage.models import Audit
from tests.factories import ADMIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from dashboard.storage.db import Database
    from dashboard.storage.models import User

HERE = "192.0.2.1"
GOOD = "correct horse"


def act(
    database: Database,
    action: Callable[..., Any],
    *arguments: Any,
    actor: Any = ADMIN,
    **options: Any,
) -> Any:
    with audit.transaction(database) as session:
        return action(session, *arguments, actor=actor, **options)


def sign_in(
    database: Database, password: str, name: str = "vera", address: str | None = HERE
) -> User:
    return signin.authenticate(database, name, password, address=address)


def log(database: Database) -> list[tuple[str, str, str]]:
    with database.read() as session:
        rows = session.scalars(select(Audit).order_by(Audit.id))
        return [(row.action, row.target, row.outcome) for row in rows]

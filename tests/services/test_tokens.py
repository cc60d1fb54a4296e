from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, update

from dashboard.errors import Conflict, Invalid, NotAllowed
from dashboard.services import audit, tokens
from dashboard.services.tokens import TokenNotFound
from dashboard.storage.models import ApiToken, Audit, Role
from tests.factories import ADMIN, OPERATOR

if TYPE_CHECKING:
    from dashboard.storage.db import Database


def add(database: Database, name: str = "ci", days: int | None = None) -> str:
    with audit.transaction(database) as session:
        return tokens.add_token(session, name, Role.OPERATOR, days=days, actor=ADMIN)[1]


def revoke(database: Database, token_id: int) -> None:
    with audit.transaction(database) as session:
        tokens.revoke_token(session, token_id, actor=ADMIN)


def only(database: Database) -> ApiToken:
    with database.read() as session:
        return session.scalars(select(ApiToken)).one()


def test_a_key_is_long_recognizable_and_kept_nowhere(database: Database) -> None:
    key = add(database)
    assert re.fullmatch(r"apsd_[\w-]{43}", key)
    assert key != add(database, "other")
    with database.read() as session:
        rows = [*session.scalars(select(ApiToken)), *session.scalars(select(Audit))]
    assert not any(key in str(vars(row)) for row in rows)


def test_a_key_says_who_asks(database: Database) -> None:
    bearer = tokens.authenticate(database, add(database))
    assert bearer is not None
    assert (bearer.name, bearer.role) == ("token:ci", Role.OPERATOR)


@pytest.mark.parametrize("key", ["", "apsd_", "apsd_" + "x" * 43, "x" * 10_000, "apsd_" + "é" * 43])
def test_any_other_key_is_nobodys(database: Database, key: str) -> None:
    add(database)
    assert tokens.authenticate(database, key) is None


def test_that_it_was_used_is_written_at_most_once_a_minute(database: Database) -> None:
    key = add(database)
    assert only(database).last_used_at is None
    tokens.authenticate(database, key)
    first = only(database).last_used_at
    tokens.authenticate(database, key)
    assert only(database).last_used_at == first
    past = datetime.now(UTC) - timedelta(minutes=2)
    with database.write() as session:
        session.execute(update(ApiToken).values(last_used_at=past))
    tokens.authenticate(database, key)
    assert first is not None
    assert (only(database).last_used_at or past) >= first


def test_a_name_is_free_again_once_its_token_is_revoked(database: Database) -> None:
    old = add(database)
    with pytest.raises(Conflict, match="Revoke it first"):
        add(database)
    revoke(database, only(database).id)
    new = add(database)
    assert tokens.authenticate(database, old) is None
    assert tokens.authenticate(database, new) is not None


def test_revoking_twice_changes_nothing(database: Database) -> None:
    add(database)
    revoke(database, only(database).id)
    first = only(database).revoked_at
    revoke(database, only(database).id)
    assert only(database).revoked_at == first


def test_those_that_work_come_first(database: Database) -> None:
    for name in ("a", "b", "c"):
        add(database, name)
    with database.read() as session:
        newest = tokens.list_tokens(session)[0]
    assert newest.name == "c"
    revoke(database, newest.id)
    with database.read() as session:
        assert [token.name for token in tokens.list_tokens(session)] == ["b", "a", "c"]


@pytest.mark.parametrize("name", ["", " ", " x", "x\n", "x" * 101, "a\0b", "\ud800"])
def test_a_name_is_short_printable_text(database: Database, name: str) -> None:
    with pytest.raises(Invalid, match="printable"):
        add(database, name)


@pytest.mark.parametrize("days", [0, -1, 3651])
def test_a_life_has_bounds(database: Database, days: int) -> None:
    with pytest.raises(Invalid, match="days"):
        add(database, days=days)


def test_only_admins_make_and_revoke(database: Database) -> None:
    with pytest.raises(NotAllowed), audit.transaction(database) as session:
        tokens.add_token(session, "ci", Role.VIEWER, actor=OPERATOR)
    with pytest.raises(NotAllowed), audit.transaction(database) as session:
        tokens.revoke_token(session, 1, actor=OPERATOR)
    with database.read() as session:
        told = session.scalars(select(Audit).order_by(Audit.id)).all()
    assert [(row.action, row.outcome) for row in told] == [
        ("token.add", "refused"),
        ("token.revoke", "refused"),
    ]


@pytest.mark.parametrize("token_id", [0, -1, 99, 2**70])
def test_a_token_that_is_not_there(database: Database, token_id: int) -> None:
    with pytest.raises(TokenNotFound):
        revoke(database, token_id)

"""Keys by which programs use the API. A key is shown once; only its hash is kept."""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, or_, select, update
from sqlalchemy.exc import IntegrityError, OperationalError

from dashboard.errors import Conflict, Invalid, NotFound
from dashboard.services import audit
from dashboard.services.accounts import checked_tags
from dashboard.storage.models import LARGEST_ID, ApiToken, Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from dashboard.services.audit import Actor
    from dashboard.storage.db import Database

logger = logging.getLogger(__name__)

PREFIX = "apsd_"
"""What every key begins with, so that one in the wrong place is recognized, by scanners too."""

SHOWN = 200
"""Tokens listed at most, those that work first."""

LONGEST_NAME = 100
LONGEST_DAYS = 3650

_KEY = re.compile(rf"{PREFIX}[\w-]{{43}}", re.ASCII)
_USE_STEP = timedelta(minutes=1)  # that a token was used is written at most this often

# Built once and read past the ORM: every request of a program asks this.
_BEARER = select(
    ApiToken.id,
    ApiToken.name,
    ApiToken.role,
    ApiToken.expires_at,
    ApiToken.last_used_at,
    ApiToken.tags,
).where(ApiToken.hash == bindparam("hash"), ApiToken.revoked_at.is_(None))


class TokenNotFound(NotFound):
    """No token has that id."""

    def __init__(self, token_id: int) -> None:
        super().__init__(f"There is no token {token_id}.")


@dataclass(frozen=True, slots=True)
class Bearer:
    """The program whose key a request carries."""

    token_id: int
    name: str
    """As it is told apart from people in the audit log: `token:` and the token's name."""
    role: Role
    tags: list[str]


def add_token(
    session: Session,
    name: str,
    role: Role,
    *,
    days: int | None = None,
    tags: Sequence[str] = (),
    actor: Actor,
) -> tuple[ApiToken, str]:
    """Make a token that works for so many days, or until it is revoked; return it with its key.

    With `tags` its role is for jobs with one of them only; of all else it is a viewer. Raises
    `Invalid`, `Conflict` for a name that another working token has, `NotAllowed`.
    """
    now = datetime.now(UTC)
    with audit.action(session, actor, "token.add", name) as entry:
        actor.require(Role.ADMIN)
        _check(name, days)
        key = PREFIX + secrets.token_urlsafe(32)
        token = ApiToken(
            name=name,
            hash=_hash(key),
            role=role,
            tags=checked_tags(tags),
            created_at=now,
            created_by=actor.name,
            expires_at=None if days is None else now + timedelta(days=days),
        )
        session.add(token)
        try:
            session.flush()
        except IntegrityError as error:
            message = f"There is a token “{name}” already. Revoke it first, or choose another name."
            raise Conflict(message) from error
        entry.detail |= {"id": token.id, "role": role.value, "days": days}
        entry.detail |= {"tags": token.tags} if token.tags else {}
    return token, key


def revoke_token(session: Session, token_id: int, *, actor: Actor) -> ApiToken:
    """Let a token work no longer, from the next request on. Doing so twice changes nothing.

    Raises `TokenNotFound`, `NotAllowed`.
    """
    with audit.action(session, actor, "token.revoke", str(token_id)) as entry:
        actor.require(Role.ADMIN)
        token = get_token(session, token_id)
        entry.target = token.name
        entry.detail["id"] = token.id
        if token.revoked_at is None:
            token.revoked_at, token.revoked_by = datetime.now(UTC), actor.name
    return token


def get_token(session: Session, token_id: int) -> ApiToken:
    """Return one token; raises `TokenNotFound`."""
    token = session.get(ApiToken, token_id) if 0 < token_id <= LARGEST_ID else None
    if token is None:
        raise TokenNotFound(token_id)
    return token


def list_tokens(session: Session) -> list[ApiToken]:
    """Return the tokens, those that were not revoked first, the newest of each first."""
    query = select(ApiToken).order_by(ApiToken.revoked_at.is_not(None), ApiToken.id.desc())
    return list(session.scalars(query.limit(SHOWN)))


def authenticate(database: Database, key: str) -> Bearer | None:
    """Return whose key this is, and note that it was used; None if it is nobody's."""
    if not _KEY.fullmatch(key):
        return None
    with database.read() as session:
        found = session.connection().execute(_BEARER, {"hash": _hash(key)}).one_or_none()
    now = datetime.now(UTC)
    if found is None or (found.expires_at is not None and found.expires_at <= now):
        return None
    if found.last_used_at is None or found.last_used_at <= now - _USE_STEP:
        _note_use(database, found.id, now)
    return Bearer(found.id, f"token:{found.name}", found.role, found.tags)


def _note_use(database: Database, token_id: int, now: datetime) -> None:
    """Write down that a token was used, unless another request has just done so."""
    stale = or_(ApiToken.last_used_at.is_(None), ApiToken.last_used_at <= now - _USE_STEP)
    noted = update(ApiToken).where(ApiToken.id == token_id, stale).values(last_used_at=now)
    try:
        with database.write(touch=False) as session:
            session.execute(noted)
    except OperationalError:  # locked for long: a request that only reads goes on all the same
        logger.warning("the use of token %d could not be noted", token_id)


def _check(name: str, days: int | None) -> None:
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable() or name != name.strip():
        message = f"A name has 1 to {LONGEST_NAME} printable characters, no space at its ends."
        raise Invalid.one("name", message)
    if days is not None and not 1 <= days <= LONGEST_DAYS:
        message = f"A token works for 1 to {LONGEST_DAYS:,} days; leave it empty for no end."
        raise Invalid.one("days", message)


def _hash(key: str) -> str:
    """Hash a key. It is random and long, so a fast hash gives nothing away."""
    return hashlib.sha256(key.encode()).hexdigest()

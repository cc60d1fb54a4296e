"""People who may sign in, their passwords, and how often one may try."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import bindparam, func, select
from sqlalchemy.exc import IntegrityError

from dashboard.errors import Conflict, Invalid, NotAllowed, NotFound, TooManyAttempts
from dashboard.services import audit
from dashboard.services.audit import Actor
from dashboard.storage.models import ID_LENGTH, Audit, Role, User
from dashboard.texts import is_storable, storable

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from dashboard.settings import Settings
    from dashboard.storage.db import Database

FIRST_ACCOUNT = "admin"
SIGN_IN = "sign_in"
FAILURES = 5
WINDOW = timedelta(minutes=15)
SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 1024

_hasher = PasswordHasher()  # argon2id with the library's present recommendation


@dataclass(frozen=True, slots=True)
class Person:
    """What every request of somebody signed in looks up; its fields are the columns."""

    id: int
    name: str
    role: Role
    active: bool
    epoch: int


_PERSON = select(User.id, User.name, User.role, User.active, User.epoch).where(
    User.id == bindparam("user_id")
)


def authenticate(database: Database, name: str, password: str, *, address: str | None) -> User:
    """Return the person whose password this is, and note the attempt.

    The answer takes as long for a name that does not exist. Raises `TooManyAttempts` after
    `FAILURES` failures within `WINDOW` for the account from the address, else `NotAllowed` with
    the same sentence for every cause.
    """
    name = storable(name.strip())[:ID_LENGTH]
    actor = Actor(name or "-", Role.VIEWER, address)
    with database.read() as session:
        if _recent_failures(session, name, address) >= FAILURES:
            minutes = WINDOW.seconds // 60
            message = f"Too many failed attempts. Try again in {minutes} minutes."
            raise TooManyAttempts(message)
        user = session.scalars(select(User).where(User.name == name)).first()
    known = user is not None and user.active
    fits = _verify(user.password_hash if user and known else _nobody(), password)
    if user is None or not (known and fits):
        audit.note(database, actor, SIGN_IN, name or "-", "refused")
        message = "User name or password is wrong."
        raise NotAllowed(message)
    audit.note(database, actor, SIGN_IN, name, "done")
    return user


def get_person(session: Session, user_id: int) -> Person | None:
    """Return one person, or None."""
    found = session.connection().execute(_PERSON, {"user_id": user_id}).one_or_none()
    return None if found is None else Person(*found)


def add_user(session: Session, name: str, password: str, role: Role, *, actor: Actor) -> User:
    """Add a person; raises `Invalid` or `Conflict` for a name that is taken."""
    with audit.action(session, actor, "user.add", name) as entry:
        actor.require(Role.ADMIN)
        entry.detail["role"] = role.value
        if not 1 <= len(name) <= ID_LENGTH or not name.isprintable() or name != name.strip():
            raise Invalid.one("name", f"A user name has 1 to {ID_LENGTH} printable characters.")
        user = User(
            name=name,
            password_hash=_hasher.hash(check_password(password)),
            role=role,
            created_at=datetime.now(UTC),
        )
        session.add(user)
        try:
            session.flush()
        except IntegrityError as error:
            message = f"There is a user “{name}” already."
            raise Conflict(message) from error
    return user


def set_password(session: Session, name: str, password: str, *, actor: Actor) -> None:
    """Give a person a new password, which also ends their sessions and lets them in again."""
    with audit.action(session, actor, "user.password", name):
        actor.require(Role.ADMIN)
        user = _by_name(session, name)
        user.password_hash = _hasher.hash(check_password(password))
        user.active = True
        user.epoch += 1


def disable_user(session: Session, name: str, *, actor: Actor) -> None:
    """Keep a person out, and end their sessions at once."""
    with audit.action(session, actor, "user.disable", name):
        actor.require(Role.ADMIN)
        user = _by_name(session, name)
        user.active = False
        user.epoch += 1


def list_users(session: Session) -> list[User]:
    """Return everybody, by name."""
    return list(session.scalars(select(User).order_by(User.name)))


def ensure_first_account(database: Database, settings: Settings) -> str | None:
    """Make the account `admin` when there is none; return its password if one was made up."""
    given = settings.admin_password
    with database.write(touch=False) as session:
        if session.scalar(select(User.id).limit(1)) is not None:
            return None
        password = given.get_secret_value() if given else secrets.token_urlsafe(12)
        add_user(session, FIRST_ACCOUNT, password, Role.ADMIN, actor=audit.SYSTEM)
    return None if given else password


def check_password(password: str) -> str:
    """Return `password` if it is acceptable, else raise `Invalid`."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        message = f"A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD:,} characters."
        raise Invalid.one("password", message)
    try:
        password.encode()
    except UnicodeEncodeError as error:
        raise Invalid.one("password", "It holds half a character; type it again.") from error
    return password


def _by_name(session: Session, name: str) -> User:
    query = select(User).where(User.name == name).with_for_update()
    user = session.scalars(query).first() if is_storable(name) else None
    if user is None:
        message = f"There is no user “{name}”."
        raise NotFound(message)
    return user


def _recent_failures(session: Session, name: str, address: str | None) -> int:
    """Count failures in the audit log, which is why a restart does not forget them."""
    failed = (
        select(Audit.id)
        .where(
            Audit.target == (name or "-"),
            Audit.action == SIGN_IN,
            Audit.outcome == "refused",
            Audit.address.is_(None) if address is None else Audit.address == address,
            Audit.at > datetime.now(UTC) - WINDOW,
        )
        .order_by(Audit.id.desc())
        .limit(FAILURES)
    )
    return session.scalar(select(func.count()).select_from(failed.subquery())) or 0


@cache
def _nobody() -> str:
    """Return a hash that no password fits, to spend the same time on unknown names."""
    return _hasher.hash(secrets.token_hex(16))


def _verify(stored: str, password: str) -> bool:
    if len(password) > LONGEST_PASSWORD:
        return False
    try:
        return _hasher.verify(stored, password)
    except (VerificationError, InvalidHashError, UnicodeEncodeError):
        return False

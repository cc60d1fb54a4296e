"""Signing in with a password, and how often one may fail at it.

Failures are rows: they survive a restart and count for all processes. Rows older than `WINDOW` go
with every new one, and one address can add only so many, so there are never a lot of them.
"""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select

from dashboard.errors import NotAllowed, TooManyAttempts
from dashboard.services import audit, passwords
from dashboard.services.audit import Actor
from dashboard.storage.models import ID_LENGTH, Role, SignInFailure, User
from dashboard.texts import storable

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from dashboard.storage.db import Database

SIGN_IN = "sign_in"
WINDOW = timedelta(minutes=15)

FAILURES = 5
"""Failures within `WINDOW` for one account from one address."""

FAILURES_OF_ADDRESS = 100
"""Failures within `WINDOW` from one address, whatever the accounts: no list of names is tried."""

UNKNOWN = "(unknown account)"
"""What the audit log calls a name that nobody has: it may be a password in the wrong field."""

_ADDRESS_LENGTH = 64


def authenticate(
    database: Database,
    name: str,
    password: str,
    *,
    address: str | None,
    request_id: str | None = None,
) -> User:
    """Return the person whose password this is, and note the attempt.

    The answer takes as long for a name that does not exist. Raises `TooManyAttempts` after
    too many failures, else `NotAllowed` with the same sentence for every cause.
    """
    name = storable(name.strip())[:ID_LENGTH] or "-"
    failure = _expect_failure(database, name, address)
    with database.read() as session:
        user = session.scalars(select(User).where(User.name == name)).first()
    known = user is not None and user.active
    shown = UNKNOWN if user is None else name
    actor = Actor(shown, Role.VIEWER, address, request_id)
    fits = passwords.fits(user.password_hash if user and known else None, password)
    if user is None or not (known and fits):
        audit.note(database, actor, SIGN_IN, shown, "refused", why="wrong name or password")
        raise NotAllowed("User name or password is wrong.")
    _take_back(database, failure)
    audit.note(database, actor, SIGN_IN, name, "done")
    return user


def confirm(database: Database, name: str, password: str, *, address: str | None) -> bool:
    """Say whether a person who is signed in knows their password; guesses count as failures."""
    failure = _expect_failure(database, name, address)
    with database.read() as session:
        stored = session.scalar(select(User.password_hash).where(User.name == name))
    if not passwords.fits(stored, password):
        return False
    _take_back(database, failure)
    return True


def forgive(session: Session, name: str) -> None:
    """Forget the failures of an account."""
    session.execute(delete(SignInFailure).where(SignInFailure.account == _hash(name)))


def _expect_failure(database: Database, name: str, address: str | None) -> int:
    """Count an attempt as failed before it is made, and return the row to take that back with.

    Counted afterwards, as many guesses as there are threads could be made at once. Each attempt is
    committed before it looks at the others, so of those made at once no more get through.
    """
    address = _source(address)
    now = datetime.now(UTC)
    with database.read() as session:  # answers a flood without writing
        _refuse_too_many(session, name, address, now)
    with database.write(touch=False) as session:
        session.execute(delete(SignInFailure).where(SignInFailure.at <= now - WINDOW))
        failure = SignInFailure(at=now, account=_hash(name), address=address)
        session.add(failure)
        session.flush()
    try:
        with database.read() as session:
            _refuse_too_many(session, name, address, now, but=failure.id)
    except TooManyAttempts:
        _take_back(database, failure.id)
        raise
    return failure.id


def _take_back(database: Database, failure: int) -> None:
    with database.write(touch=False) as session:
        session.execute(delete(SignInFailure).where(SignInFailure.id == failure))


def _refuse_too_many(
    session: Session, name: str, address: str, now: datetime, *, but: int = 0
) -> None:
    """Raise `TooManyAttempts` for as long as it takes until there is room for another."""
    recent = (
        SignInFailure.id != but,
        SignInFailure.at > now - WINDOW,
        SignInFailure.address == address,
    )
    for limit, where in (
        (FAILURES, (*recent, SignInFailure.account == _hash(name))),
        (FAILURES_OF_ADDRESS, recent),
    ):
        newest = select(SignInFailure.at).where(*where).order_by(SignInFailure.at.desc())
        counted = newest.limit(limit).subquery()
        number, first = session.execute(select(func.count(), func.min(counted.c.at))).one()
        if number >= limit:
            wait = first + WINDOW - now
            minutes = math.ceil(wait / timedelta(minutes=1))
            raise TooManyAttempts(
                f"Too many failed attempts. Try again in {minutes}"
                f" {'minute' if minutes == 1 else 'minutes'}.",
                retry_after=math.ceil(wait.total_seconds()),
            )


def _source(address: str | None) -> str:
    """Return whom an address stands for: with IPv6 everybody has 2⁶⁴ of them, which are one."""
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return (address or "")[:_ADDRESS_LENGTH]
    mapped = getattr(parsed, "ipv4_mapped", None)
    if parsed.version == 4 or mapped is not None:  # noqa: PLR2004 -- the version's name
        return str(mapped or parsed)
    return str(ip_network((int(parsed), 64), strict=False))


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode(errors="replace")).hexdigest()

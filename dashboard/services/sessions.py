"""Who is signed in, and where: a row for every browser, so that signing out is for real.

The browser holds a random token, the row its hash: whoever reads the database can use none of it.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, func, or_, select, update

from dashboard.errors import NotFound
from dashboard.services import audit
from dashboard.storage.models import Role, SignIn, User
from dashboard.texts import storable

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from dashboard.services.audit import Actor

IDLE = timedelta(hours=12)
"""A sign-in ends after this long without anybody doing anything; live updates do not count."""

LONGEST = timedelta(days=7)
"""A sign-in ends after this long whatever happens."""

REMEMBERED = timedelta(days=30)
"""The same for somebody who asked to be remembered; such a sign-in does not end by idling."""

MOST = 50
"""Sign-ins of one person; the oldest make room."""

_LONGEST_AGENT = 255


@dataclass(frozen=True, slots=True)
class Person:
    """What every request of somebody signed in looks up; its fields are the columns of `user`."""

    id: int
    name: str
    role: Role
    active: bool
    timezone: str
    theme: str
    tags: list[str]


@dataclass(frozen=True, slots=True)
class Visit:
    """A person in one browser."""

    person: Person
    sign_in: int | None = None
    """The sign-in's number; None for somebody whom a proxy or the host app has signed in."""
    seen_at: datetime | None = None


PERSON_COLUMNS = (User.id, User.name, User.role, User.active, User.timezone, User.theme, User.tags)

_FIND = (
    select(SignIn.id, SignIn.seen_at, *PERSON_COLUMNS)
    .join(User, User.id == SignIn.user_id)
    .where(
        SignIn.token_hash == bindparam("token_hash"),
        SignIn.until > bindparam("now", type_=SignIn.until.type),
        or_(SignIn.remembered, SignIn.seen_at > bindparam("idle", type_=SignIn.until.type)),
        User.active,
    )
)


def begin(
    session: Session,
    user_id: int,
    *,
    remember: bool = False,
    address: str | None = None,
    user_agent: str = "",
) -> str:
    """Sign a browser in and return its token. Sign-ins that are over go at the same time."""
    now = datetime.now(UTC)
    token = secrets.token_urlsafe(32)
    kept = select(SignIn.id).where(SignIn.user_id == user_id).order_by(SignIn.id.desc())
    oldest_kept = session.scalar(kept.offset(MOST - 2).limit(1))
    session.execute(delete(SignIn).where(SignIn.until <= now))
    if oldest_kept is not None:
        session.execute(delete(SignIn).where(SignIn.user_id == user_id, SignIn.id < oldest_kept))
    session.add(
        SignIn(
            token_hash=_hash(token),
            user_id=user_id,
            began_at=now,
            seen_at=now,
            until=now + (REMEMBERED if remember else LONGEST),
            remembered=remember,
            address=address,
            user_agent=storable(user_agent)[:_LONGEST_AGENT],
        )
    )
    session.flush()
    return token


def find(session: Session, token: str) -> Visit | None:
    """Return who holds this token, in one indexed read; None if it is over or nobody's."""
    now = datetime.now(UTC)
    values = {"token_hash": _hash(token), "now": now, "idle": now - IDLE}
    found = session.connection().execute(_FIND, values).one_or_none()
    return None if found is None else Visit(Person(*found[2:]), *found[:2])


def see(session: Session, sign_in: int) -> None:
    """Note that somebody is still there."""
    session.execute(update(SignIn).where(SignIn.id == sign_in).values(seen_at=datetime.now(UTC)))


def end(session: Session, token: str) -> None:
    """Sign out the browser that holds this token."""
    session.execute(delete(SignIn).where(SignIn.token_hash == _hash(token)))


def end_one(session: Session, user_id: int, sign_in: int, *, actor: Actor) -> None:
    """Sign a person out of one browser; raises `NotFound` if that is over, or not theirs."""
    with audit.action(session, actor, "user.sign_out", actor.name):
        one = delete(SignIn).where(SignIn.id == sign_in, SignIn.user_id == user_id)
        if session.scalar(one.returning(SignIn.id)) is None:
            raise NotFound("That sign-in is over already.")


def end_all(session: Session, user_id: int, *, but: int | None = None) -> int:
    """Sign a person out everywhere, `but` in one browser; return in how many."""
    all_of_them = delete(SignIn).where(SignIn.user_id == user_id)
    if but is not None:
        all_of_them = all_of_them.where(SignIn.id != but)
    return len(session.scalars(all_of_them.returning(SignIn.id)).all())


def list_sign_ins(session: Session, user_id: int) -> list[SignIn]:
    """Return where a person is signed in, the last seen first."""
    own = select(SignIn).where(SignIn.user_id == user_id, *_going_on())
    return list(session.scalars(own.order_by(SignIn.seen_at.desc(), SignIn.id.desc())))


def count_sign_ins(session: Session, user_ids: list[int]) -> dict[int, tuple[int, datetime]]:
    """Return in how many browsers people are signed in, and when they were last seen in one."""
    rows = session.execute(
        select(SignIn.user_id, func.count(), func.max(SignIn.seen_at))
        .where(SignIn.user_id.in_(user_ids), *_going_on())
        .group_by(SignIn.user_id)
    )
    return {user_id: (number, seen_at) for user_id, number, seen_at in rows}


def _going_on() -> tuple[ColumnElement[bool], ...]:
    """Return what is true of sign-ins that are not over."""
    now = datetime.now(UTC)
    return (SignIn.until > now, or_(SignIn.remembered, SignIn.seen_at > now - IDLE))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()

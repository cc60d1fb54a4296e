"""The people who may sign in: who they are, what they may do, and how they like their pages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from dashboard.errors import Conflict, Invalid, NotFound
from dashboard.scheduling.wallclock import zone_named
from dashboard.services import audit, joboptions, passwords, sessions, signin
from dashboard.services.sessions import PERSON_COLUMNS, Person
from dashboard.storage.models import ID_LENGTH, Revision, Role, User
from dashboard.texts import is_storable, storable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from dashboard.services.audit import Actor
    from dashboard.settings import Settings
    from dashboard.storage.db import Database

FIRST_ACCOUNT = "admin"
PAGE = 50
"""People on a page of the list."""

THEMES = ("light", "dark", "auto")


def add_user(
    session: Session,
    name: str,
    password: str | None,
    role: Role,
    *,
    tags: Sequence[str] = (),
    actor: Actor,
) -> User:
    """Add a person; raises `Invalid` or `Conflict` for a name that is taken.

    Without a password they can only sign in elsewhere, at a proxy or the host app. With `tags` the
    role is for jobs with one of them only; of all else they are viewers.
    """
    with audit.action(session, actor, "user.add", name) as entry:
        actor.require(Role.ADMIN)
        limits = checked_tags(tags)
        entry.detail |= {"role": role.value} | ({"tags": limits} if limits else {})
        if not 1 <= len(name) <= ID_LENGTH or not name.isprintable() or name != name.strip():
            raise Invalid.one("name", f"A user name has 1 to {ID_LENGTH} printable characters.")
        user = User(
            name=name,
            password_hash=passwords.NONE if password is None else passwords.hashed(password),
            role=role,
            tags=limits,
            created_at=datetime.now(UTC),
        )
        session.add(user)
        try:
            session.flush()
        except IntegrityError as error:
            raise Conflict(f"There is a user “{name}” already.") from error
    return user


def change_role(
    session: Session, name: str, role: Role, *, tags: Sequence[str] | None = None, actor: Actor
) -> None:
    """Let a person do more or less, from their next request on.

    `tags` limits them to jobs with one of them; none at all is every job, None leaves the limit.
    """
    with audit.action(session, actor, "user.role", name) as entry:
        actor.require(Role.ADMIN)
        admins = _lock_admins(session)
        user = _by_name(session, name)
        limits = user.tags if tags is None else checked_tags(tags)
        entry.difference(
            {"role": user.role.value, "tags": user.tags}, {"role": role.value, "tags": limits}
        )
        if limits or not role.includes(Role.ADMIN):
            _keep_an_admin(admins, user)
        user.role, user.tags = role, limits


def set_password(session: Session, name: str, password: str, *, actor: Actor) -> None:
    """Give a person a new password, which also ends their sessions and lets them in again."""
    with audit.action(session, actor, "user.password", name):
        actor.require(Role.ADMIN)
        user = _by_name(session, name)
        user.password_hash = passwords.hashed(password)
        user.active = True
        sessions.end_all(session, user.id)
        signin.forgive(session, name)


def set_own_password(
    session: Session, user_id: int, password: str, *, keep: int | None, actor: Actor
) -> None:
    """Let a person change their password; all their sessions end but the one named by `keep`.

    Whoever calls this has asked for the present password (`signin.confirm`).
    """
    with audit.action(session, actor, "user.own_password", actor.name):
        user = _by_id(session, user_id)
        user.password_hash = passwords.hashed(password, field="new_password")
        sessions.end_all(session, user.id, but=keep)


def set_preferences(
    session: Session,
    user_id: int,
    *,
    timezone: str | None = None,
    theme: str | None = None,
    actor: Actor,
) -> None:
    """Keep how a person likes times and colours; None leaves one as it is.

    An empty time zone is the browser's own. Raises `Invalid`.
    """
    with audit.action(session, actor, "user.preferences", actor.name) as entry:
        user = _by_id(session, user_id)
        before = {"timezone": user.timezone, "theme": user.theme}
        user.timezone = before["timezone"] if timezone is None else _known_zone(timezone.strip())
        user.theme = before["theme"] if theme is None else _known_theme(theme)
        entry.difference(before, {"timezone": user.timezone, "theme": user.theme})


def disable_user(session: Session, name: str, *, actor: Actor) -> None:
    """Keep a person out, and end their sessions at once."""
    with audit.action(session, actor, "user.disable", name):
        actor.require(Role.ADMIN)
        admins = _lock_admins(session)
        user = _by_name(session, name)
        _keep_an_admin(admins, user)
        user.active = False
        sessions.end_all(session, user.id)


def enable_user(session: Session, name: str, *, actor: Actor) -> None:
    """Let a person in again."""
    with audit.action(session, actor, "user.enable", name):
        actor.require(Role.ADMIN)
        _by_name(session, name).active = True
        signin.forgive(session, name)


def end_sessions(session: Session, name: str, *, actor: Actor) -> int:
    """Sign a person out everywhere; return of how many browsers."""
    with audit.action(session, actor, "user.end_sessions", name) as entry:
        if name != actor.name:
            actor.require(Role.ADMIN)
        entry.detail["ended"] = sessions.end_all(session, _by_name(session, name).id)
    ended: int = entry.detail["ended"]
    return ended


def list_users(session: Session) -> list[User]:
    """Return everybody, by name."""
    return list(session.scalars(select(User).order_by(User.name)))


@dataclass(frozen=True, slots=True)
class ListedPerson:
    """A person in the list of people."""

    user: User
    sign_ins: int
    """How many browsers they are signed in with."""
    seen_at: datetime | None
    """When they were last there, as far as their present sign-ins tell."""


@dataclass(frozen=True, slots=True)
class PeoplePage:
    """A page of people; `after` is the name to go on after, None on the last."""

    people: list[ListedPerson]
    after: str | None


def list_people(session: Session, *, query: str = "", after: str = "") -> PeoplePage:
    """Return people by name, those whose name contains `query`, `PAGE` at a time."""
    wanted = select(User).where(User.name > storable(after)).order_by(User.name).limit(PAGE + 1)
    if query.strip():
        wanted = wanted.where(User.name.icontains(storable(query.strip()), autoescape=True))
    users = session.scalars(wanted).all()
    shown = users[:PAGE]
    open_ones = sessions.count_sign_ins(session, [user.id for user in shown])
    return PeoplePage(
        [ListedPerson(user, *open_ones.get(user.id, (0, None))) for user in shown],
        after=shown[-1].name if len(users) > PAGE else None,
    )


def get_user(session: Session, user_id: int) -> User:
    """Return one person; raises `NotFound`."""
    user = session.get(User, user_id)
    if user is None:
        raise NotFound("There is no such person.")
    return user


def person_from_elsewhere(
    database: Database, name: str, role: Role | None, tags: Sequence[str] | None = None
) -> Person | None:
    """Return the person whom a proxy or the host app has signed in, adding them the first time.

    `role` is what the other side grants, for as long as it does; without one it is the role the
    person has here, viewer at first; likewise the `tags` that they are limited to. Somebody who is
    disabled here stays out.
    """
    if not 1 <= len(name) <= ID_LENGTH or not name.isprintable():
        return None
    query = select(*PERSON_COLUMNS).where(User.name == name)
    with database.read() as session:
        found = session.execute(query).one_or_none()
    if found is None:
        try:
            with audit.transaction(database) as session:
                add_user(session, name, None, role or Role.VIEWER, actor=audit.SYSTEM)
        except Conflict:
            pass  # another request of the same person was first
        with database.read() as session:
            found = session.execute(query).one()
    person = Person(*found)
    if not person.active:
        return None
    if role is not None:
        person = replace(person, role=role)
    return person if tags is None else replace(person, tags=list(tags))


def ensure_first_account(database: Database, settings: Settings) -> str | None:
    """Make the account `admin` when there is none; return its password if one was made up."""
    given = settings.admin_password
    with database.write(touch=False) as session:
        # Of several processes that start together, one makes it while the others wait here.
        session.execute(select(Revision.id).with_for_update())
        if session.scalar(select(User.id).limit(1)) is not None:
            return None
        password = given.get_secret_value() if given else passwords.made_up()
        add_user(session, FIRST_ACCOUNT, password, Role.ADMIN, actor=audit.SYSTEM)
    return None if given else password


def checked_tags(tags: Sequence[str]) -> list[str]:
    """Return the tags that somebody is to be limited to; raises `Invalid`."""
    try:
        return joboptions.tags(list(tags))
    except ValueError as error:
        raise Invalid.one("tags", str(error)) from error


def _by_name(session: Session, name: str) -> User:
    query = select(User).where(User.name == name).with_for_update()
    user = session.scalars(query).first() if is_storable(name) else None
    if user is None:
        raise NotFound(f"There is no user “{name}”.")
    return user


def _by_id(session: Session, user_id: int) -> User:
    return session.scalars(select(User).where(User.id == user_id).with_for_update()).one()


def _lock_admins(session: Session) -> set[int]:
    """Return the admins of everything who can sign in; nobody else changes them at the same time.

    Otherwise two admins could demote each other at one moment, and nobody would be left.
    """
    admins = select(User).where(User.role == Role.ADMIN, User.active).order_by(User.id)
    return {user.id for user in session.scalars(admins.with_for_update()) if not user.tags}


def _keep_an_admin(admins: set[int], user: User) -> None:
    if admins == {user.id}:
        raise Conflict(
            f"“{user.name}” is the only admin who can sign in."
            " Make somebody else an admin first, or nobody could look after this dashboard."
        )


def _known_zone(name: str) -> str:
    if name:
        try:
            zone_named(name)
        except ValueError as error:
            raise Invalid.one("timezone", f"“{name[:60]}” {error}.") from error
    return name


def _known_theme(theme: str) -> str:
    if theme not in THEMES:
        raise Invalid.one("theme", f"A theme is one of {', '.join(THEMES)}.")
    return theme

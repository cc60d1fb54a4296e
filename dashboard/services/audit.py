"""Who did what: every change is recorded in its own transaction, every refusal in one after it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dashboard.errors import DashboardError, NotAllowed
from dashboard.storage.db import announce
from dashboard.storage.models import ID_LENGTH, Audit, Role
from dashboard.texts import storable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy.orm import Session

    from dashboard.storage.db import Database


@dataclass(frozen=True, slots=True)
class Actor:
    """Whoever acts: a person, a program, or the system itself."""

    name: str
    role: Role
    address: str | None = None
    request_id: str | None = None
    tags: tuple[str, ...] = ()
    """Those of the jobs that the role is for; without any it is for everything."""

    def reaches(self, tags: Iterable[str]) -> bool:
        """Say whether the role is for a job with these tags."""
        return not self.tags or not set(self.tags).isdisjoint(tags)

    def require(self, role: Role) -> None:
        """Raise `NotAllowed` unless this actor has `role`, for everything.

        Whoever is limited to tags is refused: what is done to one job asks `require_for`.
        """
        self.require_role(role)
        if self.tags:
            message = f"{self.name} is limited to {self._jobs}; this is about more than those."
            raise NotAllowed(message)

    def require_for(self, tags: Iterable[str], role: Role) -> None:
        """Raise `NotAllowed` unless this actor has `role` for a job with these tags."""
        self.require_role(role)
        if not self.reaches(tags):
            raise NotAllowed(f"{self.name} is limited to {self._jobs}; this job has none of them.")

    def require_role(self, role: Role) -> None:
        """Raise `NotAllowed` unless this actor has `role` for anything at all.

        For what asks `require_for` besides, for each of the jobs concerned.
        """
        if not self.role.includes(role):
            message = f"This needs the role {role.value}; {self.name} is {self.role.value}."
            raise NotAllowed(message)

    @property
    def _jobs(self) -> str:
        return f"jobs with the tag {' or '.join(self.tags)}"


SYSTEM = Actor("system", Role.ADMIN)


@dataclass(slots=True)
class Entry:
    """What is noted of one action besides who and when."""

    target: str
    detail: dict[str, Any] = field(default_factory=dict)

    def difference(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        """Note what changed, and nothing that stayed."""
        changed = {key for key in before | after if before.get(key) != after.get(key)}
        self.detail["before"] = {key: before[key] for key in sorted(changed & before.keys())}
        self.detail["after"] = {key: after[key] for key in sorted(changed & after.keys())}


@contextmanager
def action(session: Session, actor: Actor, name: str, target: str) -> Iterator[Entry]:
    """Note that `actor` does `name` to `target`, in the transaction that does it."""
    entry = Entry(target)
    try:
        yield entry
    except DashboardError as error:
        # Its transaction is undone; `transaction` writes this note in one of its own.
        detail = entry.detail | {"why": str(error)}
        error.refused = _row(actor, name, entry.target, "refused", detail)
        raise
    session.add(_row(actor, name, entry.target, "done", entry.detail))
    session.flush()


def note_done(session: Session, actor: Actor, name: str, target: str, **detail: Any) -> None:
    """Note what `actor` has done to one of many targets; written when the session is flushed."""
    session.add(_row(actor, name, target, "done", detail))


@contextmanager
def transaction(database: Database) -> Iterator[Session]:
    """Open the write transaction of one request; note what was refused after undoing it."""
    try:
        with database.write() as session:
            yield session
            announce(session)
    except DashboardError as error:
        if error.refused is not None:
            with database.write() as session:
                session.add(error.refused)
        raise


def note(
    database: Database, actor: Actor, name: str, target: str, outcome: str, **detail: Any
) -> None:
    """Write one entry in a transaction of its own.

    Live pages do not look again for it: whoever knocks at the door would have all of them drawn.
    """
    with database.write(touch=False) as session:
        session.add(_row(actor, name, target, outcome, detail))


def _row(actor: Actor, name: str, target: str, outcome: str, detail: dict[str, Any]) -> Audit:
    return Audit(
        at=datetime.now(UTC),
        actor=actor.name,
        address=actor.address,
        action=name,
        target=storable(target)[:ID_LENGTH],
        outcome=outcome,
        detail=detail,
        request_id=actor.request_id,
    )

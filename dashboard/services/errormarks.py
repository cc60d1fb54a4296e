"""What people decide about an error: acknowledge it, ignore it for a while, reopen it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from dashboard.errors import ErrorNotFound, FieldError, Invalid
from dashboard.services import audit
from dashboard.storage.models import ErrorGroup, ErrorMark, Role
from dashboard.texts import is_storable, storable

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from dashboard.services.audit import Actor

LONGEST_REASON = 2000
LARGEST = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Until:
    """What ends an ignoring; the first that comes true does, nothing at all means never."""

    at: datetime | None = None
    times: int | None = None  # more runs with this error
    per_hour: int | None = None  # runs within one hour of the clock

    def complaints(self, now: datetime) -> list[FieldError]:
        """Return what cannot be meant."""
        found = []
        if self.at is not None and self.at <= now:
            found.append(FieldError("until", "This time has passed. It has to be ahead."))
        for name in ("times", "per_hour"):
            number = getattr(self, name)
            if number is not None and not 1 <= number <= LARGEST:
                found.append(FieldError(name, f"Must be between 1 and {LARGEST:,}."))
        return found


def acknowledge_error(
    session: Session, fingerprint: str, *, reason: str | None = None, actor: Actor
) -> ErrorGroup:
    """Say that somebody knows an error: until a job that has succeeded since meets it again.

    Raises `ErrorNotFound`, `NotAllowed`.
    """
    return _mark(session, fingerprint, ErrorMark.ACKNOWLEDGED, Until(), reason, actor)


def ignore_error(
    session: Session,
    fingerprint: str,
    *,
    until: Until,
    reason: str | None = None,
    actor: Actor,
) -> ErrorGroup:
    """Put an error aside until it comes back as `until` says. Raises `Invalid` too."""
    return _mark(session, fingerprint, ErrorMark.IGNORED, until, reason, actor)


def reopen_error(session: Session, fingerprint: str, *, actor: Actor) -> ErrorGroup:
    """Forget what was decided about an error."""
    with audit.action(session, actor, "error.reopen", fingerprint) as entry:
        actor.require(Role.OPERATOR)
        group = _locked(session, fingerprint)
        entry.detail["was"] = group.mark
        group.mark = group.regressed_at = None
    return group


def _mark(
    session: Session,
    fingerprint: str,
    mark: ErrorMark,
    until: Until,
    reason: str | None,
    actor: Actor,
) -> ErrorGroup:
    now = datetime.now(UTC)
    action = "error.acknowledge" if mark is ErrorMark.ACKNOWLEDGED else "error.ignore"
    with audit.action(session, actor, action, fingerprint) as entry:
        actor.require(Role.OPERATOR)
        if complaints := until.complaints(now):
            raise Invalid(complaints)
        group = _locked(session, fingerprint)
        group.mark, group.marked_at, group.marked_by = mark, now, actor.name
        group.mark_reason = storable((reason or "").strip())[:LONGEST_REASON] or None
        group.until_at = until.at
        group.until_count = group.count + until.times if until.times else None
        group.until_rate = until.per_hour
        group.regressed_at = None
        entry.detail |= {
            "error": group.error,
            "reason": group.mark_reason,
            **asdict(until),
            "at": until.at.isoformat() if until.at else None,
        }
    return group


def _locked(session: Session, fingerprint: str) -> ErrorGroup:
    found = select(ErrorGroup).where(ErrorGroup.fingerprint == fingerprint).with_for_update()
    group = session.scalars(found).one_or_none() if is_storable(fingerprint) else None
    if group is None:
        raise ErrorNotFound(fingerprint)
    return group

"""Who knows about a job's trouble: what keeps it from being news, in Python and in SQL."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 -- a dataclass field
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, func, or_

from dashboard.storage.models import JobHealth, Silence, UtcDateTime

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement


@dataclass(frozen=True, slots=True)
class SilenceNote:
    """Who knows about a job's trouble, and until when that keeps it from being news."""

    kind: Silence
    at: datetime
    by: str
    until: datetime | None  # None = until the job recovers
    reason: str | None
    covers: bool  # False: it has failed in another way since it was acknowledged


def silence_of(health: Any, now: datetime) -> SilenceNote | None:
    """Return who knows about a job's trouble, unless that time is over.

    `health` is a `JobHealth`, a row with its columns, or None.
    """
    if health is None or health.silence is None:
        return None
    if health.silenced_until is not None and health.silenced_until <= now:
        return None
    covers = (
        health.silence is Silence.SNOOZED
        or health.failing_since is None
        or health.failure_kind == health.silenced_failure
    )
    return SilenceNote(
        kind=health.silence,
        at=health.silenced_at,
        by=health.silenced_by,
        until=health.silenced_until,
        reason=health.silence_reason,
        covers=covers,
    )


# What `silence_of` asks of a row.
NOTED = (
    JobHealth.failing_since,
    JobHealth.failure_kind,
    JobHealth.silence,
    JobHealth.silenced_at,
    JobHealth.silenced_by,
    JobHealth.silenced_until,
    JobHealth.silence_reason,
    JobHealth.silenced_failure,
)
_NOW = bindparam("now", type_=UtcDateTime())
SILENT: ColumnElement[bool] = and_(
    JobHealth.silence.is_not(None),
    or_(JobHealth.silenced_until.is_(None), JobHealth.silenced_until > _NOW),
    or_(
        JobHealth.silence == Silence.SNOOZED,
        JobHealth.failing_since.is_(None),
        func.coalesce(JobHealth.failure_kind, "") == func.coalesce(JobHealth.silenced_failure, ""),
    ),
)

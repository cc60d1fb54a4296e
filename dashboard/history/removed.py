"""Jobs that were removed and can still be brought back: their audit entries hold them whole."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, or_, select
from sqlalchemy.orm import aliased

from dashboard.storage.models import Audit, Job

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Row, Select, SQLColumnExpression
    from sqlalchemy.orm import Session

    from dashboard.history.jobsearch import JobSearch

UNDO_DAYS = 30
"""So long a removal can be undone."""

PAGE = 50
"""Removed jobs on a page."""

_NAME = Audit.detail["job"]["name"].as_string()
_PLACES: tuple[SQLColumnExpression[str], ...] = (Audit.target, _NAME)
_TASK = Audit.detail["job"]["task"].as_string()
_TAGS = Audit.detail["job"]["tags"].as_string()


@dataclass(frozen=True, slots=True)
class Removal:
    """One job that is gone, by the audit entry of its removal."""

    entry_id: int
    at: datetime
    by: str
    job_id: str
    name: str
    task: str
    tags_text: str
    """Its tags as JSON."""

    @property
    def tags(self) -> list[str]:
        """Its tags."""
        tags: list[str] = json.loads(self.tags_text or "[]")
        return tags


@dataclass(frozen=True, slots=True)
class RemovalPage:
    """Some removals, newest first, and the entry at which to go on."""

    removals: list[Removal]
    older: int | None


def list_removed(
    session: Session, search: JobSearch | None = None, *, before: int | None = None
) -> RemovalPage:
    """Return the removed jobs that match, newest first."""
    wanted = _restorable(search)
    if before is not None:
        wanted = wanted.where(Audit.id < before)
    found = session.execute(wanted.limit(PAGE + 1)).all()
    removals = [Removal(*row) for row in found[:PAGE]]
    return RemovalPage(removals, removals[-1].entry_id if len(found) > PAGE else None)


def list_restorable(
    session: Session,
    *,
    search: JobSearch | None = None,
    ids: Sequence[str] = (),
    limit: int,
) -> list[Row[str, str]]:
    """Return id and name of the removed jobs that match, or of those of `ids`."""
    wanted = _restorable(search) if search else _restorable().where(Audit.target.in_(ids))
    columns = wanted.with_only_columns(Audit.target.label("id"), _NAME.label("name"))
    by_name = columns.order_by(None).order_by(_NAME, Audit.target)
    return list(session.execute(by_name.limit(limit)).all())


def removed_by(session: Session, actor: str, *, since: datetime) -> set[str]:
    """Return the ids of jobs that somebody removed since a moment, and that are gone still."""
    wanted = _restorable().where(Audit.actor == actor, Audit.at >= since)
    return set(session.scalars(wanted.with_only_columns(Audit.target)))


def last_removal(session: Session, job_id: str) -> Removal | None:
    """Return the latest removal of a job, if it can still be undone."""
    found = session.execute(_removals().where(Audit.target == job_id).limit(1)).one_or_none()
    return None if found is None else Removal(*found)


def _restorable(search: JobSearch | None = None) -> Select[int, datetime, str, str, str, str, str]:
    """Select the removals that count: of jobs that are gone, each by its last one."""
    wanted = _removals().where(~_came_later(), ~_exists_again())
    if search is not None:
        for word in search.words:
            wanted = wanted.where(or_(*(_contains(place, word) for place in _PLACES)))
        wanted = wanted.where(*(_contains(_TASK, task) for task in search.tasks))
        wanted = wanted.where(*(_contains(_TAGS, json.dumps(tag)) for tag in search.tags))
    return wanted


def _removals() -> Select[int, datetime, str, str, str, str, str]:
    return (
        select(Audit.id, Audit.at, Audit.actor, Audit.target, _NAME, _TASK, _TAGS)
        .where(
            Audit.action == "job.remove",
            Audit.outcome == "done",
            Audit.at > datetime.now(UTC) - timedelta(days=UNDO_DAYS),
        )
        .order_by(Audit.id.desc())
    )


def _came_later() -> ColumnElement[bool]:
    """Say in SQL whether a job of the same id was removed once more: that one counts."""
    later = aliased(Audit)
    return (
        select(later.id)
        .where(
            later.target == Audit.target,
            later.id > Audit.id,
            later.action == "job.remove",
            later.outcome == "done",
        )
        .exists()
    )


def _exists_again() -> ColumnElement[bool]:
    return select(Job.id).where(Job.id == Audit.target).exists()


def _contains(column: SQLColumnExpression[str], word: str) -> ColumnElement[bool]:
    return func.lower(column).contains(word.lower(), autoescape=True)

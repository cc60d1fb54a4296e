"""The audit log, filtered: newest first, paged by the entries' ids, without OFFSET and COUNT."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, or_, select

from dashboard.storage.models import Audit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from dashboard.storage.db import Database

PAGE = 50
"""Entries on a page."""

LOOK_THROUGH = 20_000
"""Entries that one page looks at, at most, when no index answers its filter alone."""

EXPORT_STEP = 1000
"""Entries that an export reads at a time: nothing is locked or held while somebody downloads."""

CLOCK_SLACK = timedelta(minutes=1)
"""How far `at` may lag behind the order of ids: clocks differ, and commits overtake."""


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries are wanted; everything given must hold.

    `action` is one (`job.pause`) or a group of them (`job`). The time range goes from `since` up to
    but not including `until`.
    """

    actor: str | None = None
    action: str | None = None
    target: str | None = None
    outcome: str | None = None
    text: str | None = None  # part of the target, whatever the case
    since: datetime | None = None
    until: datetime | None = None

    def __bool__(self) -> bool:
        """Say whether anything is filtered at all."""
        return any(getattr(self, field.name) for field in fields(self))

    @property
    def needs_search(self) -> bool:
        """Whether entries have to be looked at one by one: no single index answers this."""
        indexed = (self.actor, self.target, self.outcome)
        return bool(self.text or self.action) or sum(map(bool, indexed)) > 1


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Some entries, newest first; `older` goes on as `before`, None where there are no more."""

    entries: list[Audit]
    older: int | None
    cut_short: bool = False
    """It gave up after `LOOK_THROUGH` entries; going on looks further."""


def list_entries(
    session: Session, wanted: AuditFilter, *, before: int | None = None, limit: int = PAGE
) -> AuditPage:
    """Return up to `limit` entries: the newest, or those older than `before`."""
    lowest, highest = _ids_of_time(session, wanted, before)
    if highest is None:
        return AuditPage([], None)
    edge = max(highest - LOOK_THROUGH, lowest) if wanted.needs_search else lowest
    found = session.scalars(
        select(Audit)
        .where(Audit.id <= highest, Audit.id >= edge, *_conditions(wanted))
        .order_by(Audit.id.desc())
        .limit(limit + 1)
    ).all()
    if len(found) > limit:
        return AuditPage(list(found[:limit]), older=found[limit - 1].id)
    if edge > lowest:
        return AuditPage(list(found), older=edge, cut_short=True)
    return AuditPage(list(found), None)


def every_entry(database: Database, wanted: AuditFilter) -> Iterator[Audit]:
    """Yield all entries that are wanted, newest first, however many there are."""
    before: int | None = None
    while True:
        with database.read() as session:
            page = list_entries(session, wanted, before=before, limit=EXPORT_STEP)
        yield from page.entries
        before = page.older
        if before is None:
            return


def _ids_of_time(
    session: Session, wanted: AuditFilter, before: int | None
) -> tuple[int, int | None]:
    """Return the lowest and highest id to look at; the exact times are still filtered."""
    last = select(Audit.id).order_by(Audit.id.desc()).limit(1)
    if wanted.until is not None:
        last = select(Audit.id).where(Audit.at < wanted.until + CLOCK_SLACK)
        last = last.order_by(Audit.at.desc(), Audit.id.desc()).limit(1)
    highest = session.scalar(last)
    if before is not None and highest is not None:
        highest = min(highest, before - 1)
    lowest: int | None = 1
    if wanted.since is not None:
        first = select(Audit.id).where(Audit.at >= wanted.since - CLOCK_SLACK)
        lowest = session.scalar(first.order_by(Audit.at, Audit.id).limit(1))
    return (1, None) if lowest is None else (lowest, highest)


def _conditions(wanted: AuditFilter) -> Iterator[ColumnElement[bool]]:
    """Yield what entries must fulfil.

    `coalesce` hides the index of a column that is not to be walked along: where entries are
    searched one by one, the stretch of ids bounds the work.
    """
    for column, value in (
        (Audit.actor, wanted.actor),
        (Audit.target, wanted.target),
        (Audit.outcome, wanted.outcome),
    ):
        if value:
            yield (func.coalesce(column, "") if wanted.needs_search else column) == value
    if wanted.action:
        action = func.coalesce(Audit.action, "")
        group = action.startswith(f"{wanted.action}.", autoescape=True)
        yield or_(action == wanted.action, group)
    if wanted.text:
        yield Audit.target.icontains(wanted.text, autoescape=True)
    if wanted.since is not None:
        yield Audit.at >= wanted.since
    if wanted.until is not None:
        yield Audit.at < wanted.until

"""What the page Errors asks: groups of errors, filtered, sorted and paged by key.

No page looks at runs: groups and their hours are counted while runs end.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, case, func, or_, select

from dashboard.errors import ErrorNotFound
from dashboard.history.errorgroups import hour_of
from dashboard.storage.models import ErrorGroup, ErrorHour, ErrorJob, ErrorMark, Job, Run
from dashboard.texts import is_storable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import InstrumentedAttribute, Session

PAGE = 50
"""Groups on a page."""

LOOK_THROUGH = 10_000
"""Groups that one page looks at, at most, for those that match."""

JOBS = 50
"""Jobs listed of one error."""

PERIODS = (("1h", 1), ("3h", 3), ("24h", 24), ("3d", 72), ("7d", 168))
"""The columns of the page, in hours. They begin at the nearest full hour, as counts are by hour."""

SORTS: dict[str, InstrumentedAttribute[Any]] = {
    "last": ErrorGroup.last_seen_at,
    "first": ErrorGroup.first_seen_at,
    "count": ErrorGroup.count,
}

MARKS = ("open", "regressed", "acknowledged", "ignored", "all")


@dataclass(frozen=True, slots=True)
class Cell:
    """How often an error was met since a full hour."""

    period: str
    since: datetime
    count: int


@dataclass(frozen=True, slots=True)
class ListedError:
    """A group of errors in a list; all but the first are the columns that are read."""

    lately: tuple[int, ...]  # how often, in each of `PERIODS`
    fingerprint: str
    error: str
    first_seen_at: datetime
    last_seen_at: datetime
    count: int
    jobs: int
    last_job_id: str
    mark: ErrorMark | None
    marked_at: datetime | None
    marked_by: str | None
    mark_reason: str | None
    until_at: datetime | None
    until_count: int | None
    until_rate: int | None
    regressed_at: datetime | None
    job_name: str  # of the job that met it last

    @property
    def moments(self) -> tuple[datetime | None, ...]:
        """All its points in time."""
        return (
            self.first_seen_at,
            self.last_seen_at,
            self.marked_at,
            self.until_at,
            self.regressed_at,
        )


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """Some groups, and where to go on."""

    errors: list[ListedError]
    after: str | None  # give it for the next page; None = this is the last
    cut_short: bool  # it gave up after LOOK_THROUGH groups; going on looks further


@dataclass(frozen=True, slots=True)
class MetBy:
    """A job that met an error."""

    job_id: str
    name: str
    count: int
    last_seen_at: datetime
    last_run_id: int


def list_errors(
    session: Session,
    now: datetime,
    *,
    mark: str = "open",
    text: str | None = None,
    sort: str = "last",
    after: str | None = None,
) -> ErrorPage:
    """Return the groups that match, the latest or most frequent first, in at most three queries.

    `after` is where an earlier page said to go on; anything else begins anew.
    """
    rows = session.connection()
    found = rows.execute(_page(mark, text, sort, after)).all()
    shown = found[:PAGE]
    cells = count_cells(session, [row.fingerprint for row in shown], now)
    errors = [
        ListedError(tuple(cell.count for cell in cells[row.fingerprint]), *row) for row in shown
    ]
    if len(found) > PAGE:
        last = errors[-1]
        going_on = _write_place(getattr(last, SORTS[sort].key), last.fingerprint)
        return ErrorPage(errors, going_on, cut_short=False)
    edge = rows.execute(_stretch(sort, after).offset(LOOK_THROUGH - 1).limit(1)).first()
    further = None if edge is None else _write_place(edge.value, edge.fingerprint)
    return ErrorPage(errors, further, cut_short=edge is not None)


def get_error(session: Session, fingerprint: str) -> ErrorGroup:
    """Return one group; raises `ErrorNotFound`."""
    group = session.get(ErrorGroup, fingerprint) if is_storable(fingerprint) else None
    if group is None:
        raise ErrorNotFound(fingerprint)
    return group


def jobs_that_met(session: Session, fingerprint: str) -> list[MetBy]:
    """Return the jobs that met an error, at most `JOBS`, the most frequent first."""
    return [MetBy(*row) for row in session.connection().execute(_JOBS, {"error": fingerprint})]


def sample_run(session: Session, run_id: int) -> Run | None:
    """Return a run that met an error, unless it was pruned."""
    return session.get(Run, run_id)


def period_starts(now: datetime) -> dict[str, datetime]:
    """Return the full hour at which each of the periods begins."""
    nearest = hour_of(now.astimezone(UTC) + timedelta(minutes=30))
    return {period: nearest - timedelta(hours=hours) for period, hours in PERIODS}


def count_cells(
    session: Session, fingerprints: Sequence[str], now: datetime
) -> dict[str, list[Cell]]:
    """Return how often each error was met lately, for every period."""
    starts = period_starts(now)
    rows = session.connection().execute(_CELLS, {"errors": list(fingerprints), **starts}).all()
    counts = {row[0]: row[1:] for row in rows}
    nothing = (0,) * len(PERIODS)
    return {
        fingerprint: [
            Cell(period, since, count)
            for (period, since), count in zip(
                starts.items(), counts.get(fingerprint, nothing), strict=True
            )
        ]
        for fingerprint in fingerprints
    }


@lru_cache(maxsize=64)
def _page(mark: str, text: str | None, sort: str, after: str | None) -> Select[*tuple[Any, ...]]:
    """Select what a page shows; built once, for pages that update themselves ask it again."""
    stretch = _stretch(sort, after).limit(LOOK_THROUGH).subquery()
    return (
        select(*_LISTED, func.coalesce(Job.name, ErrorGroup.last_job_id))
        .join(stretch, stretch.c.fingerprint == ErrorGroup.fingerprint)
        .outerjoin(Job, Job.id == ErrorGroup.last_job_id)
        .where(*_matching(mark, text))
        .order_by(SORTS[sort].desc(), ErrorGroup.fingerprint.desc())
        .limit(PAGE + 1)
    )


def _stretch(sort: str, after: str | None) -> Select[str, Any]:
    """Select the groups from a place on, in the order of what they are sorted by."""
    column = SORTS[sort]
    order = column.desc(), ErrorGroup.fingerprint.desc()
    stretch = select(ErrorGroup.fingerprint, column.label("value")).order_by(*order)
    if (place := _read_place(after, sort)) is None:
        return stretch
    value, fingerprint = place
    return stretch.where(
        # Implied by the next condition, but only this one lets an index begin in its middle.
        column <= value,
        or_(column < value, and_(column == value, ErrorGroup.fingerprint < fingerprint)),
    )


def _matching(mark: str, text: str | None) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if mark == "open":
        conditions.append(ErrorGroup.mark.is_(None))
    elif mark == "regressed":
        conditions += [ErrorGroup.mark.is_(None), ErrorGroup.regressed_at.is_not(None)]
    elif mark != "all":
        conditions.append(ErrorGroup.mark == ErrorMark(mark))
    for word in (text or "").split():
        places = (ErrorGroup.error, ErrorGroup.fingerprint, ErrorGroup.last_job_id, Job.name)
        conditions.append(or_(*(place.icontains(word, autoescape=True) for place in places)))
    return conditions


def _write_place(value: datetime | int, fingerprint: str) -> str:
    written = value.isoformat() if isinstance(value, datetime) else str(value)
    return f"{written}~{fingerprint}"


def _read_place(after: str | None, sort: str) -> tuple[datetime | int, str] | None:
    """Return the value and fingerprint after which to go on; a place nobody gave out is none."""
    value, found, fingerprint = (after or "").partition("~")
    if not found or not is_storable(fingerprint):
        return None
    try:
        if sort == "count":
            return min(int(value), 2**62), fingerprint
        return datetime.fromisoformat(value).astimezone(UTC), fingerprint
    except (ValueError, OverflowError):
        return None


# Built once: pages that update themselves ask the same again and again.

_LISTED = (
    ErrorGroup.fingerprint,
    ErrorGroup.error,
    ErrorGroup.first_seen_at,
    ErrorGroup.last_seen_at,
    ErrorGroup.count,
    ErrorGroup.jobs,
    ErrorGroup.last_job_id,
    ErrorGroup.mark,
    ErrorGroup.marked_at,
    ErrorGroup.marked_by,
    ErrorGroup.mark_reason,
    ErrorGroup.until_at,
    ErrorGroup.until_count,
    ErrorGroup.until_rate,
    ErrorGroup.regressed_at,
)

_CELLS = (
    select(
        ErrorHour.fingerprint,
        *(
            func.sum(case((ErrorHour.hour >= bindparam(period), ErrorHour.count), else_=0))
            for period, _ in PERIODS
        ),
    )
    .where(
        ErrorHour.fingerprint.in_(bindparam("errors", expanding=True)),
        ErrorHour.hour >= bindparam(PERIODS[-1][0]),
    )
    .group_by(ErrorHour.fingerprint)
)

_JOBS = (
    select(
        ErrorJob.job_id,
        func.coalesce(Job.name, ErrorJob.job_id),
        ErrorJob.count,
        ErrorJob.last_seen_at,
        ErrorJob.last_run_id,
    )
    .outerjoin(Job, Job.id == ErrorJob.job_id)
    .where(ErrorJob.fingerprint == bindparam("error"))
    .order_by(ErrorJob.count.desc(), ErrorJob.job_id)
    .limit(JOBS)
)

"""The list of jobs: searched, sorted, fifty a page, in at most three queries and without OFFSET.

A page goes on after the last job of the one before (keyset paging). Where jobs may lack what is
sorted by, those that lack it come last, as a second, separately sorted part: so each part can walk
an index, which an expression such as `next_run_time IS NULL` would prevent.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    String,
    and_,
    bindparam,
    cast,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    text,
    true,
)

from dashboard.history.jobsearch import REMOVED
from dashboard.history.verdicts import OVERDUE_AFTER, health_of
from dashboard.storage.models import (
    ACTIVE_RUN,
    MISSED_LAST,
    Health,
    Job,
    JobHealth,
    JobState,
    Run,
    RunState,
    UtcDateTime,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import ColumnElement, Row, Select
    from sqlalchemy.orm import InstrumentedAttribute, Session

    from dashboard.history.jobsearch import JobSearch

PAGE = 50
"""Jobs on a page."""

COUNTED = 1000
"""Jobs that match are counted up to here."""


@dataclass(frozen=True, slots=True)
class Order:
    """A way to sort jobs: those that have a value by it, then the others; ties go by id."""

    column: InstrumentedAttribute[Any]
    has_value: ColumnElement[bool]
    read: Callable[[Any], Any]  # reads a value out of a cursor, or raises
    descending: bool = False


def _text(value: str) -> str:
    """Refuse what a database cannot take: NUL, and halves of characters."""
    if "\0" in value:
        raise ValueError(value)
    return value.encode().decode()


def _moment(value: str) -> datetime:
    return datetime.fromisoformat(value).astimezone(UTC)


def _number(value: int) -> int:
    return min(int(value), 2**31)


ORDERS = {
    "name": Order(Job.name, true(), _text),
    # Named like the condition of ix_job_due, without which the index is not used.
    "next": Order(
        Job.next_run_time,
        and_(Job.next_run_time.is_not(None), Job.paused_at.is_(None), Job.broken_reason.is_(None)),
        _moment,
    ),
    "last": Order(
        JobHealth.last_finished_at,
        JobHealth.last_finished_at.is_not(None),
        _moment,
        descending=True,
    ),
    "failures": Order(
        JobHealth.consecutive_failures,
        JobHealth.failing_since.is_not(None),
        _number,
        descending=True,
    ),
}


@dataclass(frozen=True, slots=True)
class ListedJob:
    """One job of the list, and how it has been doing; its fields are the columns that are read."""

    id: str
    name: str
    task: str
    trigger: str  # as JSON: what is made of it can be remembered by the text
    timezone: str
    next_run_time: datetime | None
    paused_at: datetime | None
    paused_reason: str | None
    broken_reason: str | None
    tags: str  # as JSON, likewise
    running: bool
    last_state: RunState | None  # this and all below: None until it has run
    last_finished_at: datetime | None
    failing_since: datetime | None
    consecutive_failures: int | None
    recent: str | None  # as JSON, likewise
    usual_duration: float | None

    @property
    def state(self) -> JobState:
        """What the job is doing; `state:` finds the same."""
        if self.broken_reason is not None:
            return JobState.BROKEN
        if self.running:
            return JobState.RUNNING
        if self.paused_at is not None:
            return JobState.PAUSED
        return JobState.FINISHED if self.next_run_time is None else JobState.SCHEDULED

    def health(self, now: datetime) -> Health:
        """Say how the job has been doing; `state:` finds the same."""
        return health_of(
            failing_since=self.failing_since,
            may_fire=self.paused_at is None and self.broken_reason is None,
            next_run_time=self.next_run_time,
            last_state=self.last_state,
            last_finished_at=self.last_finished_at,
            now=now,
        )

    @property
    def due(self) -> datetime | None:
        """When it fires next; a broken job does not, whatever its row says."""
        stopped = self.paused_at is not None or self.broken_reason is not None
        return None if stopped else self.next_run_time


@dataclass(frozen=True, slots=True)
class JobPage:
    """Some jobs, and where to go on."""

    jobs: list[ListedJob]
    total: int  # how many match, up to COUNTED
    after: str | None  # give it for the next page; None = this is the last


def list_jobs(
    session: Session,
    search: JobSearch,
    *,
    sort: str = "name",
    after: str | None = None,
    limit: int = PAGE,
    count: bool = True,
) -> JobPage:
    """Return the jobs that match, from the one after the cursor `after` on.

    Without `count` the total is that of the page.
    """
    cursor = _read_cursor(after, ORDERS[sort])
    values = {"overdue_before": _overdue_before(), "rows": limit + 1}
    if cursor is not None:
        values |= {"after_value": cursor[0], "after_id": cursor[1]}
    found: list[Row[*tuple[Any, ...]]] = []
    connection = session.connection()  # past the ORM, which adds a tenth of a page's time
    if cursor is None or cursor[0] is not None:
        found += connection.execute(_valued_part(search, sort, cursor is not None), values)
    valued = len(found)
    if valued <= limit and sort != "name":
        continued = cursor is not None and cursor[0] is None
        values["rows"] = limit + 1 - valued
        found += connection.execute(_rest_part(search, sort, continued), values)
    rows = [ListedJob(*row) for row in found[:limit]]
    more = len(found) > limit
    return JobPage(
        jobs=rows,
        total=(connection.scalar(_count(search), values) or 0) if count else len(rows),
        after=_make_cursor(rows[-1], ORDERS[sort], valued >= limit) if more else None,
    )


def list_targets(
    session: Session, *, search: JobSearch | None = None, ids: Sequence[str] = (), limit: int
) -> list[Row[*tuple[Any, ...]]]:
    """Return what an action on many jobs asks about each: those that match, or those of `ids`."""
    wanted = select(*_TARGET_COLUMNS).order_by(Job.name, Job.id).limit(limit)
    if search is None:
        return list(session.execute(wanted.where(Job.id.in_(ids))).all())
    wanted = wanted.outerjoin(JobHealth, JobHealth.job_id == Job.id).where(*_conditions(search))
    return list(session.execute(wanted, {"overdue_before": _overdue_before()}).all())


def _overdue_before() -> datetime:
    return datetime.now(UTC) - OVERDUE_AFTER


def is_cursor(cursor: str, *, sort: str = "name") -> bool:
    """Say whether a list may have given out this cursor."""
    return _read_cursor(cursor, ORDERS[sort]) is not None


def matching_ids(session: Session, search: JobSearch) -> list[str]:
    """Return the ids of all jobs that match, sorted as texts are sorted in Python."""
    statement = select(Job.id)
    if search.states:
        statement = statement.outerjoin(JobHealth, JobHealth.job_id == Job.id)
    values = {"overdue_before": datetime.now(UTC) - OVERDUE_AFTER} if search.states else {}
    found = session.connection().execute(statement.where(*_conditions(search)), values)
    return sorted(found.scalars())


def _conditions(search: JobSearch) -> list[ColumnElement[bool]]:
    conditions = [or_(_contains(Job.name, word), _contains(Job.id, word)) for word in search.words]
    conditions += [_contains(Job.task, task) for task in search.tasks]
    conditions += [has_tag(tag) for tag in search.tags]
    conditions += [_is(state) for state in search.states]
    return conditions


def has_tag(tag: str) -> ColumnElement[bool]:
    """Say in SQL whether a job has a tag: the list is JSON, in which each stands between quotes."""
    return _contains(cast(Job.tags, String), json.dumps(tag))


def _contains(
    column: ColumnElement[Any] | InstrumentedAttribute[Any], part: str
) -> ColumnElement[bool]:
    return func.lower(column).contains(part.lower(), autoescape=True)


def _is(state: str) -> ColumnElement[bool]:
    """Say in SQL whether a job has a state or health; a broken job is nothing but broken."""
    running = _running()
    working = Job.broken_reason.is_(None)
    unpaused = and_(Job.paused_at.is_(None), working)
    fires = Job.next_run_time.is_not(None)
    healthy = JobHealth.failing_since.is_(None)  # or it has not run yet
    unseen = and_(fires, Job.next_run_time < bindparam("overdue_before", type_=UtcDateTime()))
    late = and_(unpaused, or_(unseen, Job.id.in_(_missed_jobs())))
    meanings: dict[str, ColumnElement[bool]] = {
        JobState.BROKEN: Job.broken_reason.is_not(None),
        JobState.RUNNING: and_(working, Job.id.in_(_running_jobs())),
        JobState.PAUSED: and_(working, Job.paused_at.is_not(None), ~running),
        JobState.SCHEDULED: and_(unpaused, ~running, fires),
        JobState.FINISHED: and_(unpaused, ~running, ~fires),
        Health.FAILING: Job.id.in_(_failing_jobs()),
        Health.OVERDUE: and_(healthy, late),
        Health.HEALTHY: and_(healthy, ~late, JobHealth.last_finished_at.is_not(None)),
        Health.UNKNOWN: and_(healthy, ~late, JobHealth.last_finished_at.is_(None)),
        REMOVED: false(),  # history.removed lists those
    }
    return meanings[state]


def _running() -> ColumnElement[bool]:
    """Say in SQL whether a job has a run that is running; by the small index over active runs."""
    return (
        select(literal(1))
        .where(Run.job_id == Job.id, text(ACTIVE_RUN), Run.state == RunState.RUNNING)
        .exists()
    )


def _failing_jobs() -> Select[str]:
    return select(JobHealth.job_id).where(JobHealth.failing_since.is_not(None))


def _missed_jobs() -> Select[str]:
    return select(JobHealth.job_id).where(text(f"job_health.{MISSED_LAST}"))


def _running_jobs() -> Select[str]:
    return select(Run.job_id).where(text(ACTIVE_RUN), Run.state == RunState.RUNNING)


# Statements are built once for each search: pages that update themselves ask the same again and
# again, and building one takes SQLAlchemy longer than the database needs to answer it.


@lru_cache(maxsize=256)
def _valued_part(search: JobSearch, sort: str, continued: bool) -> Select[*tuple[Any, ...]]:  # noqa: FBT001
    """Select the jobs that have what is sorted by, from the beginning or after the cursor."""
    order = ORDERS[sort]
    column = order.column
    statement = _rows(search, health_first=column.class_ is JobHealth).where(order.has_value)
    if continued:
        value = bindparam("after_value", type_=column.type)
        further = column < value if order.descending else column > value
        statement = statement.where(
            # Implied by the next condition, but only this one lets an index begin in its middle.
            column <= value if order.descending else column >= value,
            or_(further, and_(column == value, Job.id > bindparam("after_id"))),
        )
    by = column.desc() if order.descending else column
    return statement.order_by(by, Job.id).limit(bindparam("rows"))


@lru_cache(maxsize=256)
def _rest_part(search: JobSearch, sort: str, continued: bool) -> Select[*tuple[Any, ...]]:  # noqa: FBT001
    """Select the jobs that lack what is sorted by, from the beginning or after the cursor."""
    statement = _rows(search).where(not_(ORDERS[sort].has_value))
    if continued:
        statement = statement.where(Job.id > bindparam("after_id"))
    return statement.order_by(Job.id).limit(bindparam("rows"))


def _rows(search: JobSearch, *, health_first: bool = False) -> Select[*tuple[Any, ...]]:
    """Select what a row shows; `health_first` leaves out jobs without health, to walk its index."""
    matches = JobHealth.job_id == Job.id
    statement = select(*_JOB_COLUMNS, _running(), *_HEALTH_COLUMNS)
    joined = (
        statement.select_from(JobHealth).join(Job, matches)
        if health_first
        else statement.select_from(Job).outerjoin(JobHealth, matches)
    )
    return joined.where(*_conditions(search))


@lru_cache(maxsize=256)
def _count(search: JobSearch) -> Select[int]:
    """Count the jobs that match, up to one more than `COUNTED`."""
    matching = select(literal(1)).select_from(Job)
    if search.states:
        matching = matching.outerjoin(JobHealth, JobHealth.job_id == Job.id)
    limited = matching.where(*_conditions(search)).limit(COUNTED + 1)
    return select(func.count()).select_from(limited.subquery())


def _make_cursor(row: ListedJob, order: Order, valued: bool) -> str:  # noqa: FBT001
    value = getattr(row, order.column.key) if valued else None
    if isinstance(value, datetime):
        value = value.isoformat()
    return base64.urlsafe_b64encode(json.dumps([value, row.id]).encode()).decode().rstrip("=")


def _read_cursor(cursor: str | None, order: Order) -> tuple[Any, str] | None:
    """Return the value and id at which to go on; a cursor nobody gave out begins anew."""
    if not cursor:
        return None
    try:
        value, job_id = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return None if value is None else order.read(value), _text(job_id)
    except (ValueError, TypeError, AttributeError, OverflowError):
        return None


_JOB_COLUMNS = (
    Job.id,
    Job.name,
    Job.task,
    cast(Job.trigger, String),
    Job.timezone,
    Job.next_run_time,
    Job.paused_at,
    Job.paused_reason,
    Job.broken_reason,
    cast(Job.tags, String),
)

_TARGET_COLUMNS = (
    Job.id,
    Job.name,
    Job.paused_at,
    Job.broken_reason,
    Job.tags,
)

_HEALTH_COLUMNS = (
    JobHealth.last_state,
    JobHealth.last_finished_at,
    JobHealth.failing_since,
    JobHealth.consecutive_failures,
    cast(JobHealth.recent, String),
    JobHealth.usual_duration,
)

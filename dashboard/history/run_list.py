"""Lists of runs, filtered: answered by an index, or by looking at a bounded number of rows.

They are paged by run id, newest first, and know no OFFSET and no COUNT: page 1,000 costs what
page 1 costs, and a million runs cost what a hundred cost.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, fields
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, func, null, or_, select, true, union_all

from dashboard.history.joblist import has_tag
from dashboard.storage.models import ALL_JOBS, Job, JobHealth, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Select, SQLColumnExpression
    from sqlalchemy.orm import Session

    from dashboard.storage.models import Origin, RunState

PAGE = 50
"""Runs on a page of a list."""

LOOK_THROUGH = 10_000
"""Runs that one page looks at, at most, when no index answers its filter alone."""

FEW_JOBS = 20
"""Jobs with a tag, up to which their runs are walked job by job."""

CLOCK_SLACK = timedelta(minutes=1)
"""How far `queued_at` may lag behind the order of ids: clocks differ, and commits overtake."""


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs are wanted; everything given must hold, any one of `states` suffices.

    The time range is about the moment a run came to be (`queued_at`), from `since` up to but not
    including `until`: run ids rise with it, so a range of time is a range of ids.
    """

    states: frozenset[RunState] = frozenset()
    job_id: str | None = None
    task: str | None = None
    origin: Origin | None = None
    executor: str | None = None
    fingerprint: str | None = None
    text: str | None = None  # in the job's name or the error, whatever the case
    since: datetime | None = None
    until: datetime | None = None
    tag: str | None = None  # that its job has now
    ended: datetime | None = None  # and finished at this moment or later

    def __bool__(self) -> bool:
        """Say whether anything is filtered at all."""
        return any(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True, slots=True)
class ListedRun:
    """A run in a list; its fields are the columns that are read, the large ones are not."""

    id: int
    job_id: str
    job_name: str
    scheduled_at: datetime
    attempt: int
    origin: Origin
    requested_by: str | None
    state: RunState
    reason: str | None
    coalesced: int  # earlier fire times it stands for
    coalesced_since: datetime | None  # the first of them
    started_at: datetime | None
    finished_at: datetime | None
    not_before: datetime | None  # a queued retry waits for this moment
    duration: float | None
    error_type: str | None
    error_message: str | None
    usual_duration: float | None  # seconds; median of its job's recent successes
    long_duration: float | None  # seconds; their 95th percentile


@dataclass(frozen=True, slots=True)
class RunPage:
    """Some runs, newest first, and the run ids at which to go on in either direction."""

    runs: list[ListedRun]
    older: int | None  # give it as `before`; None = there are no older ones
    newer: int | None  # give it as `after`; None = these are the newest
    cut_short: bool  # it gave up after LOOK_THROUGH runs; going on looks further


@dataclass(frozen=True, slots=True)
class _Span:
    """A stretch of run ids, and the end of it to begin at."""

    after: int | None = None  # ids above this one
    before: int | None = None  # ids below this one
    newest_first: bool = True

    def holds(self) -> ColumnElement[bool]:
        above = true() if self.after is None else Run.id > self.after
        below = true() if self.before is None else Run.id < self.before
        return and_(above, below)

    def order(self, ids: SQLColumnExpression[int] = Run.id) -> ColumnElement[int]:
        return ids.desc() if self.newest_first else ids.asc()

    def up_to(self, edge: int) -> _Span:
        """Return the part of this stretch from its beginning to `edge`, inclusive."""
        if self.newest_first:
            return _Span(edge - 1, self.before, newest_first=True)
        return _Span(self.after, edge + 1, newest_first=False)


@dataclass(frozen=True, slots=True)
class _Index:
    """A way to walk runs in the order of their ids: all of them, or those with certain values."""

    column: str | None = None
    values: tuple[Any, ...] = ()

    def walks(self) -> list[ColumnElement[bool]]:
        """Return the conditions of the separate walks that together meet all its runs.

        One walk for each value: for `IN`, databases either sort all matches or ignore the index.
        """
        if self.column is None:
            return [true()]
        return [getattr(Run, self.column) == value for value in self.values]


def list_runs(
    session: Session,
    wanted: RunFilter,
    *,
    before: int | None = None,
    after: int | None = None,
    limit: int = PAGE,
) -> RunPage:
    """Return up to `limit` runs: the newest, those older than `before`, or those after `after`.

    Takes at most three queries. A page with `cut_short` may hold fewer runs, even none, though
    there are more.
    """
    newest_first = after is None
    span = _within_time(session, wanted, _Span(after, before, newest_first))
    index, edge = _furthest_reaching(session, wanted, span)
    part = span if edge is None else span.up_to(edge)
    found = session.execute(_page(index, wanted, part, limit + 1)).all()
    more = len(found) > limit
    listed = [ListedRun(*row) for row in found[:limit]]
    if not newest_first:
        listed.reverse()
    cut_short = edge is not None and not more
    ahead = _resume_at(found, limit, edge if cut_short else None)
    back = _came_from(listed, before if newest_first else after, newest_first=newest_first)
    older, newer = (ahead, back) if newest_first else (back, ahead)
    return RunPage(listed, older=older, newer=newer, cut_short=cut_short)


def _resume_at(found: Sequence[Any], limit: int, edge: int | None) -> int | None:
    """Return the id beyond which the walk goes on, if it does."""
    if edge is not None:
        return edge
    if len(found) <= limit:
        return None
    last: int = found[limit - 1].id
    return last


def _came_from(listed: Sequence[ListedRun], given: int | None, *, newest_first: bool) -> int | None:
    """Return the id from which a walk the other way meets the page before this one."""
    if given is None:
        return None
    if not listed:
        return given - 1 if newest_first else given + 1
    return listed[0].id if newest_first else listed[-1].id


def _within_time(session: Session, wanted: RunFilter, span: _Span) -> _Span:
    """Narrow a stretch of ids to the time range, generously: the exact range is still filtered."""
    if wanted.since is None and wanted.until is None:
        return span
    since = None if wanted.since is None else wanted.since - CLOCK_SLACK
    until = None if wanted.until is None else wanted.until + CLOCK_SLACK
    first, last = session.execute(select(first_queued_at(since), first_queued_at(until))).one()
    after = span.after if first is None else max(first - 1, span.after or 0)
    before = span.before if last is None else min(last, span.before or last)
    return _Span(after, before, span.newest_first)


def first_queued_at(moment: datetime | None) -> ColumnElement[Any]:
    """Return the lowest id of a run queued at `moment` or later, as a scalar subquery.

    A binary search over the ids, some 20 look-ups by primary key among a million: it spares the
    busiest table one more index. Ids between rows stand for the next row.
    """
    if moment is None:
        return null()
    # Two subqueries: SQLite finds a minimum or a maximum by index only when it is asked for alone.
    lowest = select(func.min(Run.id)).scalar_subquery()
    highest = select(func.max(Run.id)).scalar_subquery()
    bounds = select(
        func.coalesce(lowest, 1).label("low"), (func.coalesce(highest, 0) + 1).label("high")
    ).cte(recursive=True)
    middle = (bounds.c.low + bounds.c.high) // 2
    queued = (
        select(Run.queued_at)
        .where(Run.id >= middle)
        .order_by(Run.id)
        .limit(1)
        .correlate(bounds)
        .scalar_subquery()
    )
    earlier = queued < moment
    search = bounds.union_all(
        select(
            case((earlier, middle + 1), else_=bounds.c.low),
            case((earlier, bounds.c.high), else_=middle),
        ).where(bounds.c.low < bounds.c.high)
    )
    return select(search.c.low).where(search.c.low >= search.c.high).limit(1).scalar_subquery()


def _furthest_reaching(
    session: Session, wanted: RunFilter, span: _Span
) -> tuple[_Index, int | None]:
    """Choose the index to walk, and the run id at which this page gives up, if it has to.

    Of several indexes the best is the one whose next LOOK_THROUGH runs reach furthest: the one with
    the rarest value. Only walking along one of them tells that, so each is walked so far; these are
    index entries, not rows.
    """
    jobs = _few_jobs(session, wanted)
    given = {
        "fingerprint": () if wanted.fingerprint is None else (wanted.fingerprint,),
        "job_id": jobs,
        "state": tuple(sorted(wanted.states)),
    }
    indexes = [_Index(column, values) for column, values in given.items() if values]
    tag = None if jobs else wanted.tag
    others = (wanted.task, wanted.origin, wanted.executor, wanted.text, wanted.ended, tag)
    if len(indexes) <= 1 and not any(others):
        return (indexes or [_Index()])[0], None
    indexes = indexes or [_Index()]
    walks = [walk for index in indexes for walk in index.walks()]
    edges = iter(session.execute(select(*(_edge(walk, span) for walk in walks))).one())
    reached = [
        _nearest([next(edges) for _ in index.walks()], newest_first=span.newest_first)
        for index in indexes
    ]
    return max(
        zip(indexes, reached, strict=True),
        key=lambda pair: _reach(pair[1], newest_first=span.newest_first),
    )


def _few_jobs(session: Session, wanted: RunFilter) -> tuple[str, ...]:
    """Return the jobs of whose runs all that is wanted are, if these are known and few."""
    if wanted.job_id is not None:
        return (wanted.job_id,)
    if wanted.tag is None:
        return ()
    tagged = session.scalars(select(Job.id).where(has_tag(wanted.tag)).limit(FEW_JOBS + 1)).all()
    if not tagged:
        return (ALL_JOBS,)  # which no job is called: there are no such runs
    return tuple(tagged) if len(tagged) <= FEW_JOBS else ()


def _edge(walk: ColumnElement[bool], span: _Span) -> ColumnElement[int | None]:
    """Return the last id of a walk's first LOOK_THROUGH runs; NULL if there are fewer."""
    return (
        select(Run.id)
        .where(walk, span.holds())
        .order_by(span.order())
        .offset(LOOK_THROUGH - 1)
        .limit(1)
        .scalar_subquery()
    )


def _nearest(edges: Sequence[int | None], *, newest_first: bool) -> int | None:
    known = [edge for edge in edges if edge is not None]
    if not known:
        return None
    return max(known) if newest_first else min(known)


def _reach(edge: int | None, *, newest_first: bool) -> float:
    """Return how far an edge lies from the beginning; no edge reaches everything."""
    if edge is None:
        return math.inf
    return -edge if newest_first else edge


@lru_cache(maxsize=64)
def _page(index: _Index, wanted: RunFilter, span: _Span, limit: int) -> Select[*Any]:
    """Select the first `limit` runs of a stretch, and what is usual for their jobs.

    Remembered, because the newest page is asked for again and again.
    """
    conditions = [span.holds(), *_conditions(wanted, index.column)]
    walks = [
        select(Run.id).where(walk, *conditions).order_by(span.order()).limit(limit)
        for walk in index.walks()
    ]
    met = union_all(*(select(walk.subquery()) for walk in walks)).subquery()
    found = select(met.c.id).order_by(span.order(met.c.id)).limit(limit).subquery()
    return (
        select(*_COLUMNS)
        .select_from(Run)
        .join(found, found.c.id == Run.id)
        .outerjoin(JobHealth, JobHealth.job_id == Run.job_id)
        .order_by(span.order())
        .limit(limit)
    )


def _conditions(wanted: RunFilter, walked: str | None) -> Iterator[ColumnElement[bool]]:
    """Yield what the runs met on a walk must fulfil.

    `coalesce` hides columns that have an index of their own: a planner without statistics would
    leave the chosen one, and walk without end.
    """
    if wanted.fingerprint is not None and walked != "fingerprint":
        yield func.coalesce(Run.fingerprint, "") == wanted.fingerprint
    if wanted.job_id is not None and walked != "job_id":
        yield func.coalesce(Run.job_id, "") == wanted.job_id
    if wanted.states and walked != "state":
        yield func.coalesce(Run.state, None).in_(sorted(wanted.states))
    if wanted.tag is not None:
        yield select(Job.id).where(Job.id == Run.job_id, has_tag(wanted.tag)).exists()
    if wanted.text is not None:
        places = (Run.job_name, Run.error_type, Run.error_message, Run.reason)
        yield or_(*(place.icontains(wanted.text, autoescape=True) for place in places))
    limits: tuple[tuple[Any, Callable[[Any, Any], ColumnElement[bool]], Any], ...] = (
        (Run.task, operator.eq, wanted.task),
        (Run.origin, operator.eq, wanted.origin),
        (Run.executor, operator.eq, wanted.executor),
        (Run.queued_at, operator.ge, wanted.since),
        (Run.queued_at, operator.lt, wanted.until),
        (Run.finished_at, operator.ge, wanted.ended),
    )
    for column, compared, value in limits:
        if value is not None:
            yield compared(column, value)


_COLUMNS = (
    Run.id,
    Run.job_id,
    Run.job_name,
    Run.scheduled_at,
    Run.attempt,
    Run.origin,
    Run.requested_by,
    Run.state,
    Run.reason,
    Run.coalesced,
    Run.coalesced_since,
    Run.started_at,
    Run.finished_at,
    Run.not_before,
    Run.duration,
    Run.error_type,
    Run.error_message,
    JobHealth.usual_duration,
    JobHealth.long_duration,
)

"""Which queued runs begin next: the oldest ones, but no job before all others.

An executor's queue is looked at in the order of its runs. Where runs of one job fill the view, or
runs that may not begin yet, jobs further back get their turn too, one run each: a backlog of
100,000 runs of one job makes others wait for a place, not for its end.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Text, bindparam, cast, func, literal, select, text

from dashboard.history.busytags import busy_tags
from dashboard.storage.models import ACTIVE_RUN, QUEUED_RUN, SENT_RUN, Job, Run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Row, Select

VIEW = 10
"""The least number of runs at the head of a queue that are looked at."""

TURNS = 100
"""The least number of jobs further back that are looked at in one tick."""

_run = Run.__table__


def _queued() -> Select[Any]:
    """Select queued runs that were not sent, and how many of their job are running."""
    busy = _run.alias("busy")
    running = (
        select(func.count())
        .select_from(busy)
        .where(
            busy.c.job_id == Run.job_id,
            text("busy." + ACTIVE_RUN),  # for the index of active runs by job
            text("busy.state = 'running'"),
        )
        .correlate(Run)
        .scalar_subquery()
    )
    return (
        select(
            Run.id,
            Run.job_id,
            Run.task,
            Run.parameters,
            Run.scheduled_at,
            Run.attempt,
            Run.origin,
            Job.misfire_grace_time,
            Job.max_instances,
            Job.timeout,
            cast(Job.tags, Text).label("tags"),
            running.label("running"),
        )
        .join(Job, Job.id == Run.job_id)
        .where(text(QUEUED_RUN), Run.sent_at.is_(None))
        .with_for_update(of=Run, skip_locked=True)
    )


def _oldest() -> Select[Any]:
    """Select the head of an executor's queue.

    The executor is a range of one value and part of the order: only the index of the queues has
    that order. PostgreSQL might otherwise walk through the whole history by id.
    """
    executor = bindparam("of_executor", type_=Run.executor.type)
    return (
        _queued()
        .where(Run.executor >= executor, Run.executor <= executor)
        .order_by(Run.executor, Run.id)
        .limit(bindparam("most"))
    )


def _first_of_jobs() -> Select[Any]:
    """Select the number of the oldest queued run of each of some jobs."""
    mine = _run.alias("mine")
    oldest = (
        select(mine.c.id)
        .where(
            mine.c.job_id == Job.id,
            text("mine." + ACTIVE_RUN),
            text("mine.state = 'queued'"),
            mine.c.not_before.is_(None),
            mine.c.sent_at.is_(None),
            mine.c.executor + "" == bindparam("of_executor"),  # not by the index of the queues
        )
        .order_by(mine.c.id)
        .limit(1)
        .correlate(Job)
        .scalar_subquery()
    )
    return select(oldest).where(Job.id.in_(bindparam("jobs", expanding=True)))


def _next_jobs() -> Select[Any]:
    """Select, in the order of their ids, jobs with queued runs: by leaps through an index."""

    def following(job_id: ColumnElement[str]) -> Select[Any]:
        queued = text(ACTIVE_RUN), text("state = 'queued'")
        return select(func.min(_run.c.job_id)).where(*queued, _run.c.job_id > job_id)

    first = following(bindparam("after", type_=_run.c.job_id.type)).scalar_subquery()
    leap = select(first.label("job_id"), literal(1).label("nth")).cte("leap", recursive=True)
    going_on = leap.c.job_id.is_not(None), leap.c.nth < bindparam("most")
    onward = following(leap.c.job_id).correlate(leap).scalar_subquery()
    leap = leap.union_all(select(onward, leap.c.nth + 1).where(*going_on))
    return select(leap.c.job_id).where(leap.c.job_id.is_not(None))


_SENT = select(Run.job_id, func.count()).where(text(SENT_RUN)).group_by(Run.job_id)
_OLDEST = _oldest()
_FIRST_OF_JOBS = _first_of_jobs()
_BY_ID = _queued().where(Run.id.in_(bindparam("ids", expanding=True)))
_NEXT_JOBS = _next_jobs()


class Pick(NamedTuple):
    """The runs of one executor that can begin."""

    runs: list[Row[Any]]
    unsearched: bool  # places are left, and not every job was looked at


class Places:
    """What limits the runs of one tick besides slots: max_instances and the limits of tags.

    What is on its way to a worker counts as if it ran.
    """

    def __init__(self, connection: Connection, limits: Mapping[str, int]) -> None:
        """Count what is under way already."""
        self._limits = limits
        self._busy = busy_tags(connection) if limits else Counter[str]()
        self._taken = defaultdict[str, int](int, connection.execute(_SENT).all())

    def has(self, run: Row[Any]) -> bool:
        """Say whether a run may begin."""
        if run.running + self._taken.get(run.job_id, 0) >= run.max_instances:
            return False
        return not self._limits or all(
            self._busy[tag] < self._limits[tag] for tag in self._limited(run)
        )

    def take(self, run: Row[Any]) -> bool:
        """Let a run begin, if it may."""
        if not self.has(run):
            return False
        self._taken[run.job_id] += 1
        if self._limits:
            self._busy.update(self._limited(run))
        return True

    def _limited(self, run: Row[Any]) -> list[str]:
        return [tag for tag in json.loads(run.tags) if tag in self._limits]


class Picker:
    """Chooses runs, tick after tick, and remembers whose turn it is."""

    def __init__(self, tag_limits: Mapping[str, int] | None = None) -> None:
        """Let so many runs of a tag be under way at once; tags without a limit, any number."""
        self._tag_limits = tag_limits or {}
        self._turn: dict[str, str] = {}  # by executor, the job that was looked at last

    def places(self, connection: Connection) -> Places:
        """Return what one tick may take."""
        return Places(connection, self._tag_limits)

    def pick(self, connection: Connection, executor: str, slots: int, places: Places) -> Pick:
        """Choose at most `slots` queued runs of an executor."""
        view = max(slots, VIEW)
        values = {"of_executor": executor, "most": view}
        runs = connection.execute(_OLDEST, values).all()
        chosen: list[Row[Any]] = []
        # All there are, or each of another job.
        if len(runs) < view or len({run.job_id for run in runs if places.has(run)}) == view:
            chosen = _take(_in_turns(runs), slots, places)
        if len(runs) < view or len(chosen) == slots:
            return Pick(chosen, unsearched=False)
        found = self._others(connection, executor, max(slots, TURNS))
        chosen += _take(_without(chosen, found), slots - len(chosen), places)
        if len(chosen) == slots:  # the jobs behind it come next
            self._turn[executor] = chosen[-1].job_id
        rest = _without([*chosen, *found], _in_turns(runs))
        chosen += _take(rest, slots - len(chosen), places)
        return Pick(chosen, unsearched=len(chosen) < slots and self._turn[executor] != "")

    def _others(self, connection: Connection, executor: str, most: int) -> list[Row[Any]]:
        """Return the oldest run of each of the jobs whose turn it is, in their order."""
        after = self._turn.get(executor, "")
        jobs = connection.scalars(_NEXT_JOBS, {"after": after, "most": most}).all()
        self._turn[executor] = jobs[-1] if len(jobs) == most else ""
        if not jobs:
            return []
        values = {"of_executor": executor, "jobs": jobs}
        ids = [run_id for run_id in connection.scalars(_FIRST_OF_JOBS, values) if run_id]
        found = connection.execute(_BY_ID, {"ids": ids}).all()
        return sorted(found, key=lambda run: jobs.index(run.job_id))


def _in_turns(runs: Sequence[Row[Any]]) -> list[Row[Any]]:
    """Order runs, the oldest of which come first, so that no job has two before each has one."""
    turns: defaultdict[int, list[Row[Any]]] = defaultdict(list)
    before: defaultdict[str, int] = defaultdict(int)
    for run in runs:
        turns[before[run.job_id]].append(run)
        before[run.job_id] += 1
    return [*chain.from_iterable(turns.values())]


def _without(known: Sequence[Row[Any]], runs: Sequence[Row[Any]]) -> list[Row[Any]]:
    ids = {run.id for run in known}
    return [run for run in runs if run.id not in ids]


def _take(runs: Sequence[Row[Any]], slots: int, places: Places) -> list[Row[Any]]:
    """Return those of the runs that may begin, in their order, at most `slots`."""
    chosen: list[Row[Any]] = []
    for run in runs:
        if len(chosen) == slots:
            break
        if places.take(run):
            chosen.append(run)
    return chosen

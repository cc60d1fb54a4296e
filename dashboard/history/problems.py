"""What is wrong at one moment, and what of it somebody knows about already.

The one answer for pages, counts and alerts. All are look-ups by partial indexes over what is wrong,
limited. A paused job is no problem: somebody has decided about it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    and_,
    bindparam,
    func,
    literal,
    or_,
    select,
    text,
    true,
    union_all,
)

from dashboard.durations import in_words, length
from dashboard.history.silences import NOTED, SILENT, SilenceNote, silence_of
from dashboard.history.verdicts import OVERDUE_AFTER, slow_from
from dashboard.storage.models import (
    ACTIVE_RUN,
    MISSED_LAST,
    QUEUED_RUN,
    Job,
    JobHealth,
    Run,
    RunState,
    UtcDateTime,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import BindParameter, ColumnElement, Row, Select, Subquery
    from sqlalchemy.orm import Session

SHOWN = 50
"""Problems of a kind that are listed; more are counted, not listed."""

COUNTED = 100
"""Problems of a kind are counted up to here."""

TOLD = 10_000
"""Problems of a kind that alerts ask about, the oldest first: those stay the same."""

ACTIVE = 2000
"""Active runs among which problems are looked for, the oldest first."""


class ProblemKind(enum.StrEnum):
    """What is wrong with a job, the most urgent first."""

    FAILING = "failing"  # its last run raised
    INTERRUPTED = "interrupted"  # the process of its last run died or was stopped
    OVERDUE = "overdue"  # should have started by now, or its last fire time passed without a start
    SLOW = "slow"  # is running for unusually long
    BROKEN = "broken"  # cannot run as it stands


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with one job."""

    kind: ProblemKind
    job_id: str
    job_name: str
    tags: tuple[str, ...]
    since: datetime | None  # failing since, due at, or running since; a broken job does not tell
    message: str  # one line
    run_id: int | None  # the run to look at
    failures: int  # in a row
    last_success_at: datetime | None
    usual_duration: float | None  # seconds
    silence: SilenceNote | None

    @property
    def is_open(self) -> bool:
        """Whether it is news: nobody has acknowledged or snoozed it."""
        return self.silence is None or not self.silence.covers


@dataclass(frozen=True, slots=True)
class Problems:
    """All that is wrong; `silenced` is what somebody knows about, of whatever kind."""

    open: list[Problem]
    silenced: list[Problem]

    def of(self, kind: ProblemKind) -> list[Problem]:
        """Return the open problems of a kind."""
        return [problem for problem in self.open if problem.kind is kind]


def read_problems(session: Session, now: datetime) -> Problems:
    """Return what is wrong now, at most `SHOWN` open problems of each stored kind."""
    rows = session.connection()
    at = _moments(now)
    found = [
        problem
        for kind, statement in _OPEN
        for row in rows.execute(statement, at)
        for problem in _of_job(row, now)
        if problem.kind is kind
    ]
    active = list(_of_runs(rows.execute(_ACTIVE, at | {"most": COUNTED}), now))
    silenced = [problem for row in rows.execute(_SILENCED, at) for problem in _of_job(row, now)]
    return Problems(
        open=found + [problem for problem in active if problem.is_open],
        silenced=silenced + [problem for problem in active if not problem.is_open],
    )


def count_problems(session: Session, now: datetime | None = None) -> int:
    """Count the open problems of jobs, each stored kind up to `COUNTED`."""
    return sum(problem_counts(session, now or datetime.now(UTC)).values())


def problem_counts(session: Session, now: datetime) -> dict[str, int]:
    """Count the open problems of each kind."""
    rows = session.connection()
    at = _moments(now)
    counts: dict[str, int] = dict.fromkeys(ProblemKind, 0)
    for kind, number in rows.execute(_COUNTS, at):
        counts[kind] += number
    for problem in _of_runs(rows.execute(_ACTIVE, at | {"most": COUNTED}), now):
        counts[problem.kind] += problem.is_open
    return counts


def problems_of_kind(session: Session, kind: ProblemKind, now: datetime) -> Iterator[Problem]:
    """Yield all problems of a kind, silenced or not: what alerts ask."""
    rows = session.connection()
    at = _moments(now)
    of_jobs = [rows.execute(query, at) for stored, query in _ALL if stored is kind]
    for problem in chain.from_iterable(_of_job(row, now) for found in of_jobs for row in found):
        if problem.kind is kind:
            yield problem
    if (query := _OF_RUNS.get(kind)) is not None:
        yield from _of_runs(rows.execute(query, at | {"most": ACTIVE}), now)


def runs_longer_than(session: Session, seconds: float, now: datetime) -> Iterator[Problem]:
    """Yield the runs that go on for longer than an alert rule allows, whatever is usual."""
    for row in session.connection().execute(_RUNNING, {"most": ACTIVE}):
        if _elapsed(row, now) > seconds:
            message = f"It has been running for more than {length(seconds)}."
            yield _problem(row, now, ProblemKind.SLOW, row.started_at, message, row.run_id)


def problems_of_job(session: Session, job_id: str, now: datetime) -> list[Problem]:
    """Return what is wrong with one job, silenced or not; nothing if it is paused or unknown."""
    rows = session.connection().execute(_OF_JOB, {"job_id": job_id}).all()
    active = [row for row in rows if row.run_id is not None]
    return [*(problem for row in rows[:1] for problem in _of_job(row, now)), *_of_runs(active, now)]


# -- from rows to problems ---------------------------------------------------------------------


def _of_job(row: Row[Any], now: datetime) -> Iterator[Problem]:
    """Yield what the row of a job and its health say is wrong with it."""
    if row.broken_reason is not None:
        yield _problem(row, now, ProblemKind.BROKEN, None, row.broken_reason)
        return
    if row.failing_since is not None:
        kind = ProblemKind.FAILING
        if row.failure_state is RunState.INTERRUPTED:
            kind = ProblemKind.INTERRUPTED
        message = row.last_error or "It did not say why."
        yield _problem(row, now, kind, row.failing_since, message, row.failure_run_id)
    if row.next_run_time is not None and row.next_run_time < now - OVERDUE_AFTER:
        message = "It is due, and the scheduler has not looked at it."
        yield _problem(row, now, ProblemKind.OVERDUE, row.next_run_time, message)
    elif row.last_state is RunState.MISSED:
        message = "It has not run since this fire time passed without a start."
        due = datetime.fromisoformat(row.recent[-1][3])
        yield _problem(row, now, ProblemKind.OVERDUE, due, message, row.last_run_id)


def _of_runs(rows: Iterable[Any], now: datetime) -> Iterator[Problem]:
    """Yield what is wrong with runs that wait or go on; of runs that wait, one for each job."""
    waiting: set[str] = set()
    for row in rows:
        if row.state is RunState.RUNNING:
            yield from _of_running(row, now)
        elif row.job_id not in waiting and _waits_too_long(row, now):
            waiting.add(row.job_id)
            message = "It could have started then, and still waits for a free place."
            yield _problem(row, now, ProblemKind.OVERDUE, row.ready_at, message, row.run_id)


def _of_running(row: Row[Any], now: datetime) -> Iterator[Problem]:
    skips = row.last_state is RunState.SKIPPED and row.last_run_id > row.run_id
    limit = row.slow_after or slow_from(row.usual_duration, row.long_duration)
    if skips:
        message = "It should have finished: later fire times are skipped while it runs."
    elif limit is not None and _elapsed(row, now) >= limit:
        message = f"It has been running for more than {length(limit)}"
        usual = row.usual_duration
        message += "." if usual is None else f"; it usually takes {in_words(usual)}."
    else:
        return
    yield _problem(row, now, ProblemKind.SLOW, row.started_at, message, row.run_id)


def _elapsed(row: Row[Any], now: datetime) -> float:
    return float((now - row.started_at).total_seconds())


def _waits_too_long(row: Row[Any], now: datetime) -> bool:
    grace = timedelta(seconds=row.misfire_grace_time or 0)
    return bool(now - row.ready_at > max(grace, OVERDUE_AFTER))


def _problem(
    row: Row[Any],
    now: datetime,
    kind: ProblemKind,
    since: datetime | None,
    message: str,
    run_id: int | None = None,
) -> Problem:
    return Problem(
        kind=kind,
        job_id=row.job_id,
        job_name=row.job_name,
        tags=tuple(row.tags),
        since=since,
        message=message,
        run_id=run_id,
        failures=row.consecutive_failures or 0,
        last_success_at=row.last_success_at,
        usual_duration=row.usual_duration,
        silence=silence_of(row, now),
    )


def _moments(now: datetime) -> dict[str, datetime]:
    return {"now": now, "overdue_before": now - OVERDUE_AFTER}


# -- statements, built once --------------------------------------------------------------------

_NOW = bindparam("now", type_=UtcDateTime())
_BEFORE = bindparam("overdue_before", type_=UtcDateTime())

_COMMON = (
    Job.id.label("job_id"),
    Job.name.label("job_name"),
    Job.tags,
    JobHealth.consecutive_failures,
    JobHealth.last_success_at,
    JobHealth.usual_duration,
    JobHealth.last_state,
    JobHealth.last_run_id,
    *NOTED,
)
_WHOLE = (
    *_COMMON,
    Job.next_run_time,
    Job.broken_reason,
    JobHealth.last_error,
    JobHealth.failure_run_id,
    JobHealth.failure_state,
    JobHealth.recent,
)

_FROM_JOB = select(*_WHOLE).outerjoin(JobHealth, JobHealth.job_id == Job.id)
_FROM_HEALTH = select(*_WHOLE).select_from(JobHealth).join(Job, JobHealth.job_id == Job.id)
_UNPAUSED = Job.paused_at.is_(None)
_MAY_FIRE = and_(_UNPAUSED, Job.broken_reason.is_(None))  # as ix_job_due has it

# Each selects rows with a problem of its kind, and says by what they are ordered.
_FAILING = _FROM_HEALTH.where(JobHealth.failing_since.is_not(None), _MAY_FIRE)
_CUT_OFF = func.coalesce(JobHealth.failure_state, "") == RunState.INTERRUPTED.value
_STORED: list[tuple[ProblemKind, Select[Any], Any, bool]] = [  # True: pages show the newest first
    (ProblemKind.FAILING, _FAILING.where(~_CUT_OFF), JobHealth.failing_since, True),
    (ProblemKind.INTERRUPTED, _FAILING.where(_CUT_OFF), JobHealth.failing_since, True),
    (
        ProblemKind.OVERDUE,
        _FROM_JOB.where(_MAY_FIRE, Job.next_run_time < _BEFORE),
        Job.next_run_time,
        False,
    ),
    (
        ProblemKind.OVERDUE,
        _FROM_HEALTH.where(
            text(f"job_health.{MISSED_LAST}"),  # letter by letter, as ix_job_health_missed has it
            _MAY_FIRE,
            or_(Job.next_run_time.is_(None), Job.next_run_time >= _BEFORE),
        ),
        JobHealth.last_finished_at,
        True,
    ),
    (
        ProblemKind.BROKEN,
        _FROM_JOB.where(Job.broken_reason.is_not(None), _UNPAUSED),
        Job.name,
        False,
    ),
]
_OPEN = [
    (kind, rows.where(~SILENT).order_by(by.desc() if newest else by).limit(SHOWN))
    for kind, rows, by, newest in _STORED
]
_ALL = [(kind, rows.order_by(by).limit(TOLD)) for kind, rows, by, _ in _STORED]
_COUNTS = union_all(
    *(
        select(literal(kind.value), func.count()).select_from(
            rows.where(~SILENT).with_only_columns(literal(1)).limit(COUNTED).subquery()
        )
        for kind, rows, *_ in _STORED
    )
)
_SILENCED = (
    _FROM_HEALTH.where(JobHealth.silence.is_not(None), SILENT, _UNPAUSED)
    .order_by(JobHealth.silenced_at.desc())
    .limit(COUNTED)
)

# Since when a run could have started.
_READY_AT = func.coalesce(Run.ready_at, Run.queued_at, type_=UtcDateTime())
_RUN = (
    Run.id.label("run_id"),
    Run.state,
    Run.started_at,
    _READY_AT.label("ready_at"),
    Job.misfire_grace_time,
    Job.slow_after,
    JobHealth.long_duration,
)


def _runs(chosen: Subquery, by: Any) -> Select[*tuple[Any, ...]]:
    """Select the chosen runs and their jobs."""
    return (
        select(*_COMMON, *_RUN)
        .select_from(chosen)
        .join(Run, Run.id == chosen.c.id)
        .join(Job, Job.id == Run.job_id)
        .outerjoin(JobHealth, JobHealth.job_id == Run.job_id)
        .where(_UNPAUSED)
        .order_by(by)
    )


def _active(state: RunState, *more: ColumnElement[bool]) -> Select[Any]:
    """Select runs in this state, letter by letter as the small index over active runs has them."""
    return select(Run.id).where(text(ACTIVE_RUN), Run.state == state, *more)


_MOST: BindParameter[Any] = bindparam("most")
_BEGUN = _active(RunState.RUNNING, Run.started_at.is_not(None))
_RUNNING = _runs(_BEGUN.order_by(Run.started_at).limit(_MOST).subquery(), by=Run.started_at)
# Of a long queue its head tells enough, and costs the same however long the queue is.
_HEAD = (
    select(Run.id, _READY_AT.label("ready_at"))
    .where(text(QUEUED_RUN))
    .order_by(Run.id)
    .limit(ACTIVE)
    .subquery()
)
_LATE = select(_HEAD.c.id).where(_HEAD.c.ready_at < _BEFORE).order_by(_HEAD.c.ready_at)
_WAITING = _runs(_LATE.limit(_MOST).subquery(), by=_READY_AT)
_OF_RUNS = {ProblemKind.SLOW: _RUNNING, ProblemKind.OVERDUE: _WAITING}
_ACTIVE = union_all(*(select(runs.subquery()) for runs in (_RUNNING, _WAITING)))
_ITS = Run.job_id == bindparam("job_id"), Run.not_before.is_(None)
_ITS_RUNS = union_all(
    *(
        select(_active(state, *_ITS).order_by(Run.id).limit(COUNTED).subquery())
        for state in (RunState.RUNNING, RunState.QUEUED)
    )
).subquery()
_OF_JOB = (
    select(*_WHOLE, *_RUN)
    .select_from(Job)
    .outerjoin(JobHealth, JobHealth.job_id == Job.id)
    .outerjoin(_ITS_RUNS, true())
    .outerjoin(Run, Run.id == _ITS_RUNS.c.id)
    .where(Job.id == bindparam("job_id"), _UNPAUSED)
    .order_by(_READY_AT)
    .limit(COUNTED)
)

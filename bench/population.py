"""A dashboard that has been in use: many jobs, their health, and a long history of runs.

The first rounds of runs are made here and copied by the database itself, each copy later than the
one before: a million rows through Python would take longer than all that is measured with them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Float, cast, func, insert, literal, select

from bench.parties import add_jobs, in_pieces, job_row
from dashboard.history.health import COUNTED, RECENT_RUNS
from dashboard.storage.models import (
    ALL_JOBS,
    Base,
    ErrorGroup,
    ErrorHour,
    ErrorJob,
    JobHealth,
    Origin,
    Run,
    RunLog,
    RunState,
    RunStats,
    RunStep,
)

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from dashboard.storage.db import Database

PERIOD = timedelta(minutes=10)
"""Every job has run once in each."""

MADE_ROUNDS = 7
"""Rounds made in Python; a round is one run of every job."""

TRIGGERS: tuple[dict[str, Any], ...] = (
    {"type": "interval", "minutes": 10},
    {"type": "cron", "hour": "9", "minute": "30", "day_of_week": "mon-fri"},
    {"type": "cron", "crontab": "*/15 * * * *", "timezone": "Europe/Berlin"},
    {"type": "calendarinterval", "months": 1, "hour": 4},
)
TAGS = ("billing", "reports", "import", "mail", "cleanup")
STATES = (
    (RunState.FAILED, 23),
    (RunState.MISSED, 101),
    (RunState.SKIPPED, 151),
    (RunState.INTERRUPTED, 499),
)
"""What one run in so many became; all others succeeded."""

LATE = "It could start only 75 s late; its misfire grace time is 60 s."
TRACEBACK = """Traceback (most recent call last):
  File "/srv/reports/daily.py", line 42, in daily_report
    rows = connection.execute(query, day=day).all()
  File "/srv/reports/store.py", line 118, in execute
    raise StoreError(f"no partition for {day}")
reports.store.StoreError: no partition for 2027-03-01
"""


def populate(database: Database, *, jobs: int, runs: int) -> None:
    """Fill an empty database with `jobs` jobs and about `runs` runs of theirs."""
    rounds = max(1, runs // jobs)
    now = datetime.now(UTC).replace(microsecond=0)
    first = now - rounds * PERIOD
    with database.write() as session:
        add_jobs(session, (_job(number, now) for number in range(jobs)))
        made = min(rounds, MADE_ROUNDS)
        in_pieces(
            session,
            insert(Run),
            (_run(number, jobs, first) for number in range(made * jobs)),
        )
        for start in range(made, rounds, made):
            _copy_runs(session, upto=min(made, rounds - start) * jobs, later=start * PERIOD)
        _count_hours(session)
        _count_errors(session)
        health = (_health(number, jobs, rounds, first) for number in range(jobs))
        in_pieces(session, insert(JobHealth), health)
        _write_log(session, rounds * jobs, now)


def _job(number: int, now: datetime) -> dict[str, Any]:
    return job_row(
        number,
        name=f"Report of customer {number}",
        task="bench.tick",
        trigger=TRIGGERS[number % len(TRIGGERS)] | _start(number, now),
        # Far enough ahead that nothing fires while pages are measured.
        next_run_time=now + timedelta(hours=12, seconds=number % 3600),
        tags=[TAGS[number % len(TAGS)]],
        notes="Runbook: https://wiki.example.com/reports" if number % 3 == 0 else "",
    )


def _start(number: int, now: datetime) -> dict[str, str]:
    return {"start_date": now.isoformat()} if number % len(TRIGGERS) == 0 else {}


def _state(number: int) -> RunState:
    matching = (state for state, every in STATES if number % every == every - 1)
    return next(matching, RunState.SUCCEEDED)


def _run(number: int, jobs: int, first: datetime) -> dict[str, Any]:
    """Return run `number`, counted from the oldest; the rounds take the jobs in turn."""
    job = number % jobs
    state = _state(number)
    scheduled_at = first + number // jobs * PERIOD + job * PERIOD / jobs
    called = state not in {RunState.MISSED, RunState.SKIPPED}
    seconds = 0.2 + number % 97 / 40
    failed = state is RunState.FAILED
    return {
        "job_id": f"job-{job}",
        "job_name": f"Report of customer {job}",
        "task": "bench.tick",
        "parameters": {},
        "scheduled_at": scheduled_at,
        "attempt": 1,
        "origin": Origin.SCHEDULE,
        "state": state,
        "reason": None if called else LATE,
        "coalesced": 0,
        "queued_at": scheduled_at,
        "started_at": scheduled_at if called else None,
        "finished_at": scheduled_at + timedelta(seconds=seconds),
        "duration": seconds if called else None,
        "executor": "threads",
        "host": "worker-1",
        "process": "worker-1:17:0f3c",
        "error_type": "reports.store.StoreError" if failed else None,
        "error_message": "no partition for 2027-03-01" if failed else None,
        "traceback": TRACEBACK if failed else None,
        "fingerprint": f"{number % 60:016x}" if failed else None,
        "result": "1,024 rows" if state is RunState.SUCCEEDED else None,
        "log_dropped": 0,
    }


def _copy_runs(session: Session, *, upto: int, later: timedelta) -> None:
    """Copy the runs with ids up to `upto`, moved to a later time."""
    moved = {"scheduled_at", "queued_at", "started_at", "finished_at"}
    columns = [column for column in Run.__table__.columns if column.name != "id"]
    shift = f"{later.total_seconds():+.0f} seconds"
    values = [
        func.strftime("%Y-%m-%d %H:%M:%f000", column, shift) if column.name in moved else column
        for column in columns
    ]
    copies = select(*values).where(Run.id <= upto).order_by(Run.id)
    names = [column.name for column in columns]
    session.execute(insert(Run).from_select(names, copies, include_defaults=False))


def _count_hours(session: Session) -> None:
    """Write the statistics of every job and of all jobs together."""
    hour = func.strftime("%Y-%m-%d %H:00:00.000000", Run.finished_at)
    counts = [func.sum(func.iif(Run.state == state, 1, 0)).label(state.value) for state in COUNTED]
    seconds = func.coalesce(func.sum(Run.duration), cast(0, Float))
    names = ["job_id", "hour", *(state.value for state in COUNTED), "seconds"]
    for job_id in (Run.job_id, literal(ALL_JOBS)):
        query = select(job_id, hour, *counts, seconds).group_by(job_id, hour)
        session.execute(insert(RunStats).from_select(names, query))


def _count_errors(session: Session) -> None:
    """Write the groups of errors, with their hours and their jobs."""
    hour = func.strftime("%Y-%m-%d %H:00:00.000000", Run.finished_at)
    error, count, seen, last = Run.fingerprint, func.count(), Run.finished_at, func.max(Run.id)
    jobs = func.count(Run.job_id.distinct())
    text, job = func.max(Run.error_type), func.max(Run.job_id)
    # The columns of each table in their order; the first ones are its key.
    tables: list[tuple[type[Base], int, tuple[Any, ...]]] = [
        (ErrorHour, 2, (error, hour, count)),
        (ErrorJob, 2, (error, Run.job_id, count, func.max(seen), last)),
        (ErrorGroup, 1, (error, text, func.min(seen), func.max(seen), count, jobs, last, job)),
    ]
    for table, keys, columns in tables:
        query = select(*columns).where(error.is_not(None)).group_by(*columns[:keys])
        names = [column.name for column in table.__table__.columns][: len(columns)]
        session.execute(insert(table).from_select(names, query))


def _health(job: int, jobs: int, rounds: int, first: datetime) -> dict[str, Any]:
    """Return the health of one job, as its last runs have made it."""
    recent = []
    for turn in range(max(0, rounds - RECENT_RUNS), rounds):
        number = turn % MADE_ROUNDS * jobs + job
        run = _run(number, jobs, first)
        moment = first + turn * PERIOD + job * PERIOD / jobs
        entry = [turn * jobs + job + 1, run["state"].value, run["duration"]]
        recent.append([*entry, moment.isoformat(timespec="seconds")])
    failing = recent[-1][1] == RunState.FAILED
    moment = first + rounds * PERIOD
    return {
        "job_id": f"job-{job}",
        "last_run_id": recent[-1][0],
        "last_state": RunState(recent[-1][1]),
        "last_finished_at": moment,
        "last_success_at": moment - PERIOD,
        "last_error": "reports.store.StoreError: no partition for 2027-03-01" if failing else None,
        "failing_since": moment if failing else None,
        "consecutive_failures": int(failing),
        "failure_run_id": recent[-1][0] if failing else None,
        "failure_state": RunState.FAILED if failing else None,
        "failure_kind": run["fingerprint"],
        "recent": recent,
        "usual_duration": 1.2,
        "long_duration": 2.5,
    }


def _write_log(session: Session, run_id: int, now: datetime) -> None:
    """Give the newest run some lines and steps."""
    lines = [
        {
            "run_id": run_id,
            "seq": seq,
            "at": now,
            "level": "INFO",
            "logger": "reports.daily",
            "text": f"copied 1,024 rows of part {seq} from staging to warehouse in 12 ms",
        }
        for seq in range(1, 201)
    ]
    session.execute(insert(RunLog), lines)
    steps = [
        {"run_id": run_id, "index": index, "name": name, "state": RunState.SUCCEEDED}
        | {"started_at": now, "finished_at": now}
        for index, name in enumerate(("fetch", "convert", "store"), 1)
    ]
    session.execute(insert(RunStep), steps)

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dashboard.history import overview
from dashboard.history.overview import (
    COUNTED,
    OVERDUE_AFTER,
    SHOWN,
    SOON,
    clear_since,
    count_problems,
    hour_counts,
    read_overview,
)
from dashboard.storage.models import (
    ALL_JOBS,
    JobHealth,
    RunState,
    RunStats,
    SchedulerLife,
)
from tests.rows import make_job, make_run

if TYPE_CHECKING:
    from dashboard.history.overview import Clear, Overview
    from dashboard.storage.db import Database

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
LATE = NOW - OVERDUE_AFTER - timedelta(seconds=1)


def add(database: Database, *rows: Any) -> None:
    with database.write() as session:
        session.add_all(rows)


def read(database: Database, *, problems: int = 1) -> Overview:
    with database.read() as session:
        return read_overview(session, NOW, problems=problems)


def clear(database: Database) -> Clear:
    with database.read() as session:
        return clear_since(session)


def count(database: Database) -> int:
    with database.read() as session:
        return count_problems(session, NOW)


def failing(job_id: str, since: datetime = NOW, **values: Any) -> JobHealth:
    defaults = {
        "last_run_id": 7,
        "failing_since": since,
        "consecutive_failures": 3,
        "last_error": "ValueError: no",
        "recent": [],
    }
    return JobHealth(job_id=job_id, **(defaults | values))


class TestProblems:
    def test_failing_jobs_come_the_newest_failure_first(self, database: Database) -> None:
        add(database, *(make_job(name, next_run_time=NOW + HOUR) for name in ("old", "new", "ok")))
        add(database, failing("old", NOW - HOUR), failing("new", NOW))
        add(database, JobHealth(job_id="ok", recent=[], consecutive_failures=0))
        found = read(database).failing
        assert [row.job.id for row in found] == ["new", "old"]
        assert found[0].health.last_error == "ValueError: no"
        assert count(database) == 2

    def test_overdue_is_what_nobody_looked_at(self, database: Database) -> None:
        add(
            database,
            make_job("late", next_run_time=LATE),
            make_job("later", next_run_time=LATE - HOUR),
            make_job("just due", next_run_time=NOW - timedelta(seconds=5)),
            make_job("with all the time", next_run_time=LATE, misfire_grace_time=None),
            make_job("broken", next_run_time=LATE, broken_reason="no such task"),
        )
        assert [job.id for job in read(database).overdue] == ["later", "late", "with all the time"]
        assert count(database) == 4, "the broken one counts as broken"

    def test_broken_jobs_are_problems(self, database: Database) -> None:
        add(database, make_job("b", broken_reason="no such task"), make_job("a"))
        assert [job.broken_reason for job in read(database).broken] == ["no such task"]

    def test_a_paused_job_is_nobodys_emergency(self, database: Database) -> None:
        paused = {"paused_at": NOW, "next_run_time": None}
        add(database, make_job("p", **paused), make_job("b", broken_reason="x", **paused))
        add(database, failing("p"))
        found = read(database)
        assert (found.failing, found.broken, found.overdue) == ([], [], [])
        assert count(database) == 0

    @pytest.mark.parametrize(
        ("usual", "long", "elapsed", "slow"),
        [
            (10.0, 12.0, 29, False),
            (10.0, 12.0, 31, True),
            (10.0, 60.0, 31, False),
            (10.0, 60.0, 61, True),
            (0.1, 0.1, 4, False),
            (0.1, 0.1, 6, True),
            (None, None, 10_000, False),
        ],
    )
    def test_unusually_long(
        self,
        database: Database,
        usual: float | None,
        long: float | None,
        elapsed: int,
        slow: bool,
    ) -> None:
        started = NOW - timedelta(seconds=elapsed)
        add(
            database,
            make_job("j", next_run_time=NOW + HOUR),
            make_run(1, "j", state=RunState.RUNNING, started_at=started),
        )
        if usual is not None:
            health = JobHealth(
                job_id="j",
                recent=[],
                consecutive_failures=0,
                usual_duration=usual,
                long_duration=long,
            )
            add(database, health)
        assert len(read(database).slow(NOW)) == slow
        assert count(database) == slow

    def test_lists_and_counts_end_somewhere(self, database: Database) -> None:
        many = COUNTED + 20
        add(database, *(make_job(f"f{n}", next_run_time=NOW + HOUR) for n in range(many)))
        add(database, *(failing(f"f{n}") for n in range(many)))
        assert len(read(database).failing) == SHOWN
        assert count(database) == COUNTED


class TestGoingOn:
    def test_running_the_longest_first_and_queued_with_the_oldest(self, database: Database) -> None:
        add(
            database,
            make_run(1, "a", state=RunState.RUNNING, started_at=NOW),
            make_run(2, "b", state=RunState.RUNNING, started_at=NOW - HOUR),
            make_run(3, "c", state=RunState.QUEUED, queued_at=NOW - HOUR),
            make_run(4, "d", state=RunState.QUEUED, queued_at=NOW),
            make_run(5, "e"),
        )
        found = read(database)
        assert [one.job_id for one in found.running] == ["b", "a"]
        assert (found.queued, found.queued_since) == (2, NOW - HOUR)

    def test_the_next_hour(self, database: Database) -> None:
        minute = timedelta(minutes=1)
        add(
            database,
            make_job("soon", next_run_time=NOW + minute),
            make_job("sooner", next_run_time=NOW + minute / 2),
            make_job("past", next_run_time=NOW - minute),
            make_job("far", next_run_time=NOW + HOUR),
            make_job("broken", next_run_time=NOW + minute, broken_reason="x"),
        )
        assert [job.id for job in read(database).next_jobs] == ["sooner", "soon"]
        add(database, *(make_job(f"n{n}", next_run_time=NOW + minute) for n in range(SOON)))
        assert len(read(database).next_jobs) == SOON + 1, "one more says that there are more"


class TestDay:
    def test_hours_without_runs_are_there_too(self, database: Database) -> None:
        this_hour = NOW.replace(minute=0, second=0, microsecond=0)
        add(
            database,
            RunStats(job_id=ALL_JOBS, hour=this_hour, succeeded=5, failed=1, interrupted=2),
            RunStats(job_id=ALL_JOBS, hour=this_hour - 3 * HOUR, missed=1, skipped=2, cancelled=1),
            RunStats(job_id=ALL_JOBS, hour=this_hour - 24 * HOUR, succeeded=100),
            RunStats(job_id="one job", hour=this_hour, succeeded=100),
        )
        with database.read() as session:
            hours = hour_counts(session, NOW)
        assert [hour.hour for hour in hours] == [this_hour - n * HOUR for n in range(23, -1, -1)]
        assert (hours[-1].succeeded, hours[-1].failed, hours[-1].total) == (5, 3, 8)
        assert (hours[-4].missed, hours[-4].cancelled) == (3, 1)
        assert sum(hour.total for hour in hours) == 12


class TestClear:
    def test_nothing_ever_happened(self, database: Database) -> None:
        assert clear(database) == overview.Clear(since=None, last_problem=None)
        add(database, make_run(1, "j"))
        assert clear(database).since is None

    def test_since_the_job_succeeded_again(self, database: Database) -> None:
        add(
            database,
            make_run(1, "j", state=RunState.FAILED, finished_at=NOW - 5 * HOUR),
            make_run(2, "j", state=RunState.INTERRUPTED, finished_at=NOW - 4 * HOUR),
            make_run(3, "j", state=RunState.MISSED),
            make_run(4, "j", finished_at=NOW - 3 * HOUR),
            make_run(5, "j", finished_at=NOW - HOUR),
        )
        found = clear(database)
        assert found.since == NOW - 3 * HOUR
        assert found.last_problem is not None
        assert found.last_problem.id == 2

    def test_a_job_that_recovered_late_counts_though_another_failed_after_it(
        self, database: Database
    ) -> None:
        add(
            database,
            make_run(1, "slow to recover", state=RunState.FAILED, finished_at=NOW - 9 * HOUR),
            make_run(2, "quick", state=RunState.FAILED, finished_at=NOW - 8 * HOUR),
            make_run(3, "quick", finished_at=NOW - 7 * HOUR),
            make_run(4, "slow to recover", finished_at=NOW - 2 * HOUR),
        )
        assert clear(database).since == NOW - 2 * HOUR

    def test_a_failure_nobody_repaired_counts_from_when_it_happened(
        self, database: Database
    ) -> None:
        add(database, make_run(1, "removed", state=RunState.FAILED, finished_at=NOW - HOUR))
        assert clear(database).since == NOW - HOUR

    @pytest.mark.parametrize(("gap", "counts"), [(5, False), (600, True)])
    def test_a_downtime_of_the_scheduler_counts_and_a_restart_does_not(
        self, database: Database, gap: int, counts: bool
    ) -> None:
        began = NOW - HOUR
        life = {"process": "p", "host": "h", "pid": 1, "version": "1"}
        ended = began - timedelta(seconds=gap)
        add(database, SchedulerLife(began_at=NOW - 9 * HOUR, seen_at=ended, ended="lost", **life))
        add(database, SchedulerLife(began_at=began, seen_at=NOW, **life))
        assert clear(database).since == (began if counts else None)

    def test_it_is_not_asked_while_something_is_wrong(self, database: Database) -> None:
        assert read(database, problems=1).clear is None
        assert read(database, problems=0).clear is not None

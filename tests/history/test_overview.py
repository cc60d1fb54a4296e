from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dashboard.history import overview
from dashboard.history.overview import (
    SOON,
    clear_since,
    hour_counts,
    read_overview,
)
from dashboard.history.system import Load, read_loads
from dashboard.services.status import count_work
from dashboard.storage.models import (
    ALL_JOBS,
    Origin,
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


def add(database: Database, *rows: Any) -> None:
    with database.write() as session:
        session.add_all(rows)


def read(database: Database, *, alive: bool = False) -> Overview:
    with database.read() as session:
        return read_overview(session, NOW, alive=alive)


def clear(database: Database) -> Clear:
    with database.read() as session:
        return clear_since(session)


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

    def test_a_retry_that_waits_for_its_moment_is_in_no_queue(self, database: Database) -> None:
        retry = {"state": RunState.QUEUED, "origin": Origin.RETRY, "attempt": 2}
        later, soon = NOW + timedelta(hours=1), NOW - timedelta(minutes=1)
        add(
            database, make_run(1, "a", **retry, queued_at=NOW - timedelta(days=1), not_before=later)
        )
        ready = retry | {"queued_at": NOW - timedelta(days=1), "ready_at": soon}
        add(database, make_run(2, "b", state=RunState.QUEUED, queued_at=NOW))
        add(database, make_run(3, "c", **ready))
        found = read(database)
        assert (found.queued, found.queued_since) == (2, soon)
        with database.read() as session:
            assert read_loads(session) == ({"threads": Load(running=0, queued=2)}, soon)
            assert count_work(session).queued == 2

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
        assert read(database, alive=False).clear is None
        assert read(database, alive=True).clear is not None
        add(database, make_job("b", broken_reason="no such task"))
        assert read(database, alive=True).clear is None

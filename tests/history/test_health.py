from __future__ import annotations

import threading
from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import select

from dashboard.history import health
from dashboard.history.health import (
    COUNTED,
    RECENT_RUNS,
    FinishedRun,
    count_finished,
    usual_durations,
)
from dashboard.history.inserts import batches
from dashboard.storage.models import (
    ACTIVE,
    ALL_JOBS,
    EVER,
    JobHealth,
    Run,
    RunState,
    RunStats,
    Silence,
)
from tests.factories import PATIENCE, all_rows, empty, new_run
from tests.rows import EPOCH, make_job

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dashboard.storage.db import Database

FAILED, SUCCEEDED, INTERRUPTED = RunState.FAILED, RunState.SUCCEEDED, RunState.INTERRUPTED
HOUR = timedelta(hours=1)


def finished(number: int, state: RunState = SUCCEEDED, **values: Any) -> FinishedRun:
    moment = EPOCH + timedelta(seconds=number)
    defaults: dict[str, Any] = {
        "job_id": "a",
        "scheduled_at": moment,
        "finished_at": moment,
        "duration": 1.0 if state in {SUCCEEDED, FAILED} else None,
    }
    return FinishedRun(run_id=number, state=state, **(defaults | values))


@pytest.fixture(autouse=True)
def _jobs(request: pytest.FixtureRequest) -> None:
    """Let there be the jobs that runs are counted for: a removed one has no health."""
    if "database" in request.fixturenames:
        database: Database = request.getfixturevalue("database")
        add_jobs(database, *"abc", *(f"j{number}" for number in range(120)))


def add_jobs(database: Database, *job_ids: str) -> None:
    with database.write() as session:
        session.add_all(make_job(job_id) for job_id in job_ids)


def count(database: Database, *runs: FinishedRun) -> None:
    with database.write() as session:
        count_finished(session.connection(), runs)


def health_of(database: Database, job_id: str = "a") -> JobHealth:
    with database.read() as session:
        return session.get_one(JobHealth, job_id)


def stats_of(database: Database, job_id: str = "a") -> list[RunStats]:
    with database.read() as session:
        query = select(RunStats).where(RunStats.job_id == job_id, RunStats.hour > EVER)
        query = query.order_by(RunStats.hour)
        return list(session.scalars(query))


class TestHealth:
    def test_every_final_state_is_counted(self) -> None:
        assert set(COUNTED) == set(RunState) - set(ACTIVE)
        assert {state.value for state in COUNTED} <= set(RunStats.__table__.columns.keys())

    def test_failures_count_up_from_the_first_and_end_with_a_success(
        self, database: Database
    ) -> None:
        count(database, finished(1), finished(2, FAILED, error="ValueError: a"))
        count(database, finished(3, INTERRUPTED, error="killed"))
        row = health_of(database)
        assert row.consecutive_failures == 2
        assert row.failing_since == EPOCH + timedelta(seconds=2)
        assert row.last_success_at == EPOCH + timedelta(seconds=1)
        assert row.last_error == "killed"
        count(database, finished(4))
        row = health_of(database)
        assert (row.consecutive_failures, row.failing_since) == (0, None)
        assert (row.last_run_id, row.last_state) == (4, SUCCEEDED)

    @pytest.mark.parametrize("state", [RunState.MISSED, RunState.SKIPPED, RunState.CANCELLED])
    @pytest.mark.parametrize("before", [SUCCEEDED, FAILED])
    def test_what_says_nothing_about_the_task_changes_no_verdict(
        self, database: Database, before: RunState, state: RunState
    ) -> None:
        count(database, finished(1, before))
        verdict = health_of(database)
        count(database, finished(2, state))
        row = health_of(database)
        assert row.consecutive_failures == verdict.consecutive_failures
        assert row.failing_since == verdict.failing_since
        assert row.last_success_at == verdict.last_success_at
        assert (row.last_state, row.last_run_id) == (state, 2)

    def test_the_strip_keeps_the_newest_runs(self, database: Database) -> None:
        count(database, *(finished(number) for number in range(RECENT_RUNS + 5)))
        count(database, finished(99, FAILED, duration=0.1234567))
        recent = health_of(database).recent
        assert len(recent) == RECENT_RUNS
        assert recent[-1] == [99, "failed", 0.123457, "2027-03-01T12:01:39+00:00"]
        assert [entry[0] for entry in recent[:2]] == [6, 7]

    def test_jobs_do_not_mix(self, database: Database) -> None:
        count(database, finished(1), finished(2, FAILED, job_id="b"), finished(3))
        assert health_of(database).consecutive_failures == 0
        assert health_of(database, "b").consecutive_failures == 1

    def test_usual_durations_are_those_of_successes(self) -> None:
        assert usual_durations([]) == (None, None)
        assert usual_durations([[1, "failed", 9.0, ""], [2, "missed", None, ""]]) == (None, None)
        assert usual_durations([[1, "succeeded", 3.0, ""]]) == (3.0, 3.0)
        many = [[n, "succeeded", float(n), ""] for n in range(1, 22)]
        assert usual_durations(many) == (11.0, 20.0)
        assert usual_durations([*many, [99, "failed", 1000.0, ""]]) == (11.0, 20.0)

    def test_hundreds_of_jobs_at_once(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(health, "ROWS_A_QUERY", 50)
        count(database, *(finished(n, job_id=f"j{n % 120}") for n in range(360)))
        with database.read() as session:
            rows = session.scalars(select(JobHealth)).all()
        assert len(rows) == 120
        assert all(len(row.recent) == 3 for row in rows)

    def test_a_job_that_was_removed_has_none(self, database: Database) -> None:
        count(database, finished(1, job_id="removed"), finished(2))
        with database.read() as session:
            assert session.scalars(select(JobHealth.job_id)).all() == ["a"]
        assert stats_of(database, "removed")[0].succeeded == 1

    def test_a_failed_attempt_that_is_tried_again_is_no_failure_yet(
        self, database: Database
    ) -> None:
        count(database, finished(1, FAILED, error="no", retried=True))
        row = health_of(database)
        assert (row.consecutive_failures, row.failing_since) == (0, None)
        assert (row.last_state, row.last_error) == (FAILED, "no")
        count(database, finished(2, FAILED, error="again no"))
        assert health_of(database).consecutive_failures == 1

    def test_a_retry_that_never_begins_leaves_a_failure(self, database: Database) -> None:
        count(database, finished(1, FAILED, error="no", retried=True))
        count(database, finished(2, RunState.CANCELLED, gave_up=True))
        row = health_of(database)
        assert (row.consecutive_failures, row.last_error) == (1, "no")
        assert row.failing_since == EPOCH + timedelta(seconds=2)

    def test_nothing_is_nothing(self, database: Database) -> None:
        count(database)
        assert all_rows(database) == ([], [], [])


class TestStatistics:
    def test_runs_count_in_the_hour_they_ended(self, database: Database) -> None:
        late = EPOCH + HOUR - timedelta(microseconds=1)
        count(database, finished(1, finished_at=late), finished(2, finished_at=EPOCH + HOUR))
        assert [(row.hour, row.succeeded) for row in stats_of(database)] == [
            (EPOCH, 1),
            (EPOCH + HOUR, 1),
        ]

    def test_counts_add_up_over_many_transactions(self, database: Database) -> None:
        for number, state in enumerate(COUNTED * 3):
            count(database, finished(number, state, job_id=f"j{number % 2}"))
        [total] = stats_of(database, ALL_JOBS)
        assert {state: getattr(total, state.value) for state in COUNTED} == dict.fromkeys(
            COUNTED, 3
        )
        assert total.seconds == 6.0
        [a], [b] = stats_of(database, "j0"), stats_of(database, "j1")
        assert all(getattr(a, state.value) + getattr(b, state.value) == 3 for state in COUNTED)


def test_batches() -> None:
    assert list(batches([], 3)) == []
    assert list(batches([1, 2, 3, 4, 5], 2)) == [[1, 2], [3, 4], [5]]


def test_two_processes_that_count_the_same_jobs_at_once_lose_nothing(database: Database) -> None:
    """A tick counts what it skips while a recorder counts what ends."""
    together = threading.Barrier(4)
    problems: list[BaseException] = []

    def work(offset: int) -> None:
        try:
            for number in range(offset, offset + 20):
                together.wait(PATIENCE)
                order = ("a", "b", "c") if offset % 2 else ("c", "b", "a")
                count(database, *(finished(number, FAILED, job_id=job) for job in order))
        except BaseException as error:  # noqa: BLE001
            problems.append(error)
            together.abort()

    threads = [threading.Thread(target=work, args=(offset,)) for offset in (0, 101, 200, 301)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    for job_id in ("a", "b", "c"):
        assert health_of(database, job_id).consecutive_failures == 80
        assert sum(row.failed for row in stats_of(database, job_id)) == 80


OUTCOMES = st.tuples(
    st.sampled_from("abc"),
    st.sampled_from(COUNTED),
    st.integers(0, 4 * 3600),
    st.floats(0, 1e6, allow_nan=False),
)


@hypothesis_settings(max_examples=40)
@given(groups=st.lists(st.lists(OUTCOMES, max_size=12), max_size=8))
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_health_and_statistics_are_what_a_recount_of_the_rows_gives(
    database: Database, groups: Sequence[Sequence[tuple[str, RunState, int, float]]]
) -> None:
    empty(database)
    add_jobs(database, *"abc")
    second = 0
    for group in groups:
        with database.write() as session:
            rows = []
            for job_id, state, pause, duration in group:
                second += pause + 1
                measured = duration if state in {SUCCEEDED, FAILED} else None
                moment = EPOCH + timedelta(seconds=second)
                rows.append(
                    new_run(job_id, second, state=state, finished_at=moment, duration=measured)
                )
            session.add_all(rows)
            session.flush()
            count_finished(
                session.connection(),
                [
                    FinishedRun(
                        row.id, row.job_id, row.state, row.scheduled_at, ended, row.duration
                    )
                    for row in rows
                    if (ended := row.finished_at)
                ],
            )
    runs, healths, stats = all_rows(database)
    assert {row.job_id for row in healths} == {run.job_id for run in runs}
    for row in healths:
        _check_health(row, [run for run in runs if run.job_id == row.job_id])
    _check_stats(stats, runs)


def _check_health(row: JobHealth, runs: list[Run]) -> None:
    assert (row.last_run_id, row.last_state) == (runs[-1].id, runs[-1].state)
    assert row.last_finished_at == runs[-1].finished_at
    telling = [run for run in runs if run.state in {SUCCEEDED, FAILED, INTERRUPTED}]
    tail: list[Run] = []
    for run in reversed(telling):
        if run.state is SUCCEEDED:
            break
        tail.insert(0, run)
    assert row.consecutive_failures == len(tail)
    assert row.failing_since == (tail[0].finished_at if tail else None)
    successes = [run for run in runs if run.state is SUCCEEDED]
    assert row.last_success_at == (successes[-1].finished_at if successes else None)
    assert [entry[0] for entry in row.recent] == [run.id for run in runs[-RECENT_RUNS:]]
    assert [entry[1] for entry in row.recent] == [run.state.value for run in runs[-RECENT_RUNS:]]


def _check_stats(stats: list[RunStats], runs: list[Run]) -> None:
    expected: Counter[tuple[str, Any, str]] = Counter()
    seconds: Counter[tuple[str, Any]] = Counter()
    for run in runs:
        assert run.finished_at is not None
        hour = run.finished_at.replace(minute=0, second=0, microsecond=0)
        for key in ((run.job_id, hour), (ALL_JOBS, hour), (ALL_JOBS, EVER)):
            expected[*key, run.state.value] += 1
            seconds[key] += run.duration or 0  # type: ignore[assignment]
    found = Counter(
        {
            (row.job_id, row.hour, state.value): getattr(row, state.value)
            for row in stats
            for state in COUNTED
        }
    )
    assert +found == expected
    for row in stats:
        assert row.seconds == pytest.approx(seconds[row.job_id, row.hour])


class TestFailure:
    def test_the_last_failure_is_kept_apart_from_the_last_run(self, database: Database) -> None:
        count(database, finished(1, FAILED, fingerprint="abc"))
        count(database, finished(2, RunState.MISSED))
        row = health_of(database)
        assert (row.failure_run_id, row.failure_state, row.failure_kind) == (1, FAILED, "abc")
        assert row.last_run_id == 2
        count(database, finished(3, INTERRUPTED))
        assert health_of(database).failure_kind == "interrupted"


class TestSilence:
    def silence(self, database: Database, kind: Silence, until: datetime | None = None) -> None:
        count(database, finished(1, FAILED))
        with database.write() as session:
            row = session.get_one(JobHealth, "a")
            row.silence, row.silenced_until, row.silenced_by = kind, until, "ann"

    @pytest.mark.parametrize("kind", Silence)
    def test_recovery_ends_it(self, database: Database, kind: Silence) -> None:
        self.silence(database, kind)
        count(database, finished(2, FAILED))
        assert health_of(database).silence is kind
        count(database, finished(3))
        row = health_of(database)
        assert (row.silence, row.silenced_by) == (None, None)

    @pytest.mark.parametrize(("hours", "ends"), [(-1, True), (1, False)])
    def test_a_snooze_with_a_time_outlives_a_recovery(
        self, database: Database, hours: int, ends: bool
    ) -> None:
        self.silence(database, Silence.SNOOZED, EPOCH + hours * HOUR)
        count(database, finished(2))
        assert (health_of(database).silence is None) is ends

    def test_an_acknowledgement_with_a_time_ends_with_a_recovery(self, database: Database) -> None:
        self.silence(database, Silence.ACKNOWLEDGED, EPOCH + HOUR)
        count(database, finished(2))
        assert health_of(database).silence is None

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from dashboard.history.health import FinishedRun, count_finished
from dashboard.history.problems import (
    COUNTED,
    SHOWN,
    ProblemKind,
    count_problems,
    problems_of_job,
    read_problems,
)
from dashboard.history.verdicts import OVERDUE_AFTER
from dashboard.storage.db import Database
from dashboard.storage.models import Base, JobHealth, Origin, RunState, Silence
from tests.rows import make_job, make_run

if TYPE_CHECKING:
    from pathlib import Path

    from dashboard.history.problems import Problem, Problems

NOW = datetime.now(UTC)
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
LATE = NOW - OVERDUE_AFTER - SECOND
FAILING, INTERRUPTED, OVERDUE, SLOW, BROKEN = ProblemKind


def add(database: Database, *rows: Any) -> None:
    with database.write() as session:
        session.add_all(rows)


def read(database: Database) -> Problems:
    """Read the problems, which agree with their count as long as there are few."""
    with database.read() as session:
        found = read_problems(session, NOW)
        assert count_problems(session, NOW) == len(found.open)
        of_each = [each for job_id in jobs_of(found) for each in one(database, job_id)]
    assert len(of_each) == len(found.open) + len(found.silenced), "told the same of one job"
    return found


def jobs_of(found: Problems) -> set[str]:
    return {problem.job_id for problem in found.open + found.silenced}


def one(database: Database, job_id: str) -> list[Problem]:
    with database.read() as session:
        return problems_of_job(session, job_id, NOW)


def healthy(job_id: str, **values: Any) -> JobHealth:
    return JobHealth(job_id=job_id, **({"recent": [], "consecutive_failures": 0} | values))


def failing(job_id: str, since: datetime = NOW, **values: Any) -> JobHealth:
    defaults = {
        "last_run_id": 9,
        "failing_since": since,
        "consecutive_failures": 3,
        "last_error": "ValueError: no",
        "failure_run_id": 7,
        "failure_state": RunState.FAILED,
        "failure_kind": "abc",
        "recent": [],
    }
    return JobHealth(job_id=job_id, **(defaults | values))


def silenced(kind: Silence = Silence.ACKNOWLEDGED, **values: Any) -> dict[str, Any]:
    defaults = {
        "silence": kind,
        "silenced_at": NOW - HOUR,
        "silenced_by": "ann",
        "silenced_failure": "abc",
    }
    return defaults | values


class TestKinds:
    def test_failing_jobs_come_the_newest_failure_first(self, database: Database) -> None:
        add(database, *(make_job(name, next_run_time=NOW + HOUR) for name in ("old", "new", "ok")))
        add(database, failing("old", NOW - HOUR), failing("new", NOW), healthy("ok"))
        found = read(database).of(FAILING)
        assert [problem.job_id for problem in found] == ["new", "old"]
        assert (found[0].message, found[0].failures) == ("ValueError: no", 3)
        assert found[0].run_id == 7, "the run that failed, not one that was missed since"

    def test_a_run_that_was_cut_off_is_no_failure(self, database: Database) -> None:
        add(database, make_job("j", next_run_time=NOW + HOUR))
        add(database, failing("j", failure_state=RunState.INTERRUPTED))
        assert [problem.kind for problem in read(database).open] == [INTERRUPTED]

    def test_overdue_is_what_nobody_looked_at(self, database: Database) -> None:
        add(
            database,
            make_job("late", next_run_time=LATE),
            make_job("later", next_run_time=LATE - HOUR),
            make_job("just due", next_run_time=NOW - timedelta(seconds=5)),
            make_job("with all the time", next_run_time=LATE, misfire_grace_time=None),
            make_job("broken", next_run_time=LATE, broken_reason="no such task"),
        )
        found = read(database)
        assert [each.job_id for each in found.of(OVERDUE)] == ["later", "late", "with all the time"]
        assert [each.job_id for each in found.of(BROKEN)] == ["broken"]

    @pytest.mark.parametrize(
        ("grace", "waited", "overdue"),
        [(60, 50, False), (60, 70, True), (600, 70, False), (600, 610, True), (None, 70, True)],
    )
    def test_overdue_is_what_waits_for_a_free_place(
        self, database: Database, grace: int | None, waited: int, overdue: bool
    ) -> None:
        since = NOW - waited * SECOND
        add(database, make_job("j", next_run_time=NOW + HOUR, misfire_grace_time=grace))
        add(database, *(make_run(n, "j", state=RunState.QUEUED, queued_at=since) for n in (1, 2)))
        found = read(database).of(OVERDUE)
        assert [(each.run_id, each.since) for each in found] == [(1, since)] * overdue

    @pytest.mark.parametrize(
        ("waits", "overdue"),
        [
            ({"not_before": NOW + HOUR}, False),
            ({"ready_at": NOW - 30 * SECOND}, False),
            ({"ready_at": NOW - 90 * SECOND}, True),
        ],
    )
    def test_a_retry_is_overdue_once_its_moment_has_passed(
        self, database: Database, waits: dict[str, datetime], overdue: bool
    ) -> None:
        retry = {"state": RunState.QUEUED, "origin": Origin.RETRY, "attempt": 2}
        add(database, make_job("j", next_run_time=NOW + HOUR))
        add(database, make_run(1, "j", **retry, queued_at=NOW - HOUR, **waits))
        since = [(1, NOW - 90 * SECOND)] * overdue
        assert [(each.run_id, each.since) for each in read(database).of(OVERDUE)] == since

    def test_overdue_is_what_was_missed_and_has_not_run_since(self, database: Database) -> None:
        due = NOW.replace(microsecond=0) - HOUR
        add(database, make_job("j", next_run_time=NOW + HOUR))

        def ended(number: int, state: RunState) -> None:
            with database.write() as session:
                run = FinishedRun(number, "j", state, due, NOW, None)
                count_finished(session.connection(), [run])

        ended(1, RunState.MISSED)
        found = read(database).of(OVERDUE)
        assert [(each.run_id, each.since) for each in found] == [(1, due)]
        ended(2, RunState.SUCCEEDED)
        assert read(database).open == []

    def test_a_run_that_keeps_its_job_from_firing_should_have_finished(
        self, database: Database
    ) -> None:
        add(
            database,
            make_job("j", next_run_time=NOW + HOUR),
            make_run(1, "j", state=RunState.RUNNING, started_at=NOW - 2 * HOUR),
            healthy("j", last_state=RunState.SKIPPED, last_run_id=2),
        )
        found = read(database).of(SLOW)
        assert [each.since for each in found] == [NOW - 2 * HOUR]
        assert "skipped" in found[0].message

    def test_a_paused_job_is_nobodys_emergency(self, database: Database) -> None:
        paused = {"paused_at": NOW, "next_run_time": None}
        add(database, make_job("p", **paused), make_job("b", broken_reason="x", **paused))
        add(database, make_run(1, "p", state=RunState.QUEUED, queued_at=NOW - HOUR))
        add(database, failing("p"), healthy("b", last_state=RunState.MISSED))
        assert read(database).open == []
        assert one(database, "p") == []

    @pytest.mark.parametrize(
        ("usual", "long", "limit", "elapsed", "slow"),
        [
            (10.0, 12.0, None, 29, False),
            (10.0, 12.0, None, 31, True),
            (10.0, 60.0, None, 31, False),
            (10.0, 60.0, None, 61, True),
            (0.1, 0.1, None, 4, False),
            (0.1, 0.1, None, 6, True),
            (None, None, None, 10_000, False),
            (None, None, 20.0, 19, False),
            (None, None, 20.0, 21, True),
            (10.0, 12.0, 20.0, 21, True),
            (10.0, 12.0, 60.0, 59, False),
        ],
    )
    def test_unusually_long(
        self,
        database: Database,
        usual: float | None,
        long: float | None,
        limit: float | None,
        elapsed: int,
        slow: bool,
    ) -> None:
        add(
            database,
            make_job("j", next_run_time=NOW + HOUR, slow_after=limit),
            make_run(1, "j", state=RunState.RUNNING, started_at=NOW - elapsed * SECOND),
        )
        if usual is not None:
            add(database, healthy("j", usual_duration=usual, long_duration=long))
        assert [each.run_id for each in read(database).of(SLOW)] == [1] * slow

    def test_lists_and_counts_end_somewhere(self, database: Database) -> None:
        many = COUNTED + 20
        add(database, *(make_job(f"f{n}", next_run_time=NOW + HOUR) for n in range(many)))
        add(database, *(failing(f"f{n}") for n in range(many)))
        with database.read() as session:
            assert len(read_problems(session, NOW).open) == SHOWN
            assert count_problems(session, NOW) == COUNTED


class TestSilenced:
    @pytest.mark.parametrize("kind", Silence)
    def test_what_somebody_knows_about_is_apart(self, database: Database, kind: Silence) -> None:
        late = {"next_run_time": LATE}
        values = silenced(kind, silence_reason="waiting for the vendor")
        add(database, make_job("j", **late), make_job("other", **late), failing("j", **values))
        found = read(database)
        assert [each.job_id for each in found.open] == ["other"]
        assert [each.kind for each in found.silenced] == [FAILING, OVERDUE]
        note = found.silenced[0].silence
        assert note is not None
        assert (note.kind, note.by, note.reason) == (kind, "ann", "waiting for the vendor")

    def test_its_time_ends_it(self, database: Database) -> None:
        add(database, make_job("past", next_run_time=LATE), make_job("ahead", next_run_time=LATE))
        add(database, healthy("past", **silenced(silenced_until=NOW)))
        add(database, healthy("ahead", **silenced(silenced_until=NOW + SECOND)))
        found = read(database)
        assert [each.job_id for each in found.open] == ["past"]
        assert found.open[0].silence is None
        assert [each.job_id for each in found.silenced] == ["ahead"]

    @pytest.mark.parametrize("known", ["abc", None])
    def test_another_failure_is_news_to_who_acknowledged(
        self, database: Database, known: str | None
    ) -> None:
        add(database, make_job("j", next_run_time=NOW + HOUR))
        add(database, failing("j", failure_kind="xyz", **silenced(silenced_failure=known)))
        found = read(database)
        assert found.silenced == []
        note = found.open[0].silence
        assert note is not None, "it is marked as new"
        assert not note.covers

    def test_another_failure_does_not_wake_who_snoozed(self, database: Database) -> None:
        add(database, make_job("j", next_run_time=NOW + HOUR))
        add(database, failing("j", failure_kind="xyz", **silenced(Silence.SNOOZED)))
        assert read(database).open == []

    def test_a_run_that_hangs_is_silenced_with_its_job(self, database: Database) -> None:
        add(
            database,
            make_job("j", next_run_time=NOW + HOUR),
            make_run(1, "j", state=RunState.RUNNING, started_at=NOW - HOUR),
            healthy("j", usual_duration=1.0, long_duration=2.0, **silenced()),
        )
        found = read(database)
        assert found.open == []
        assert [each.kind for each in found.silenced] == [SLOW]


def test_what_is_wrong_is_looked_up_among_what_is_wrong(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/jobs.sqlite")
    Base.metadata.create_all(database.engine)
    statements: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    with database.read() as session:
        connection = session.connection()
        event.listen(connection, "before_cursor_execute", note)
        read_problems(session, NOW)
        count_problems(session, NOW)
        plans = [
            step.detail
            for statement, parameters in list(statements)
            for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]
    database.close()
    assert any("ix_job_broken" in plan for plan in plans)
    everything = ("SCAN run", "SCAN job_health", "SCAN job USING INDEX ix_job_name")
    few = ("_broken", "_active", "_failing", "_missed", "_silence")  # indexes of what is wrong
    assert [
        plan
        for plan in plans
        if plan == "SCAN job" or (plan.startswith(everything) and not plan.endswith(few))
    ] == []

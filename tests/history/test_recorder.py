from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from dashboard.history import recorder as recorder_module
from dashboard.history.recorder import LOST_DETAILS, Recorder
from dashboard.records import LogDropped, LogLine, Outcome, ProgressChange, StepChange
from dashboard.storage.db import read_revision
from dashboard.storage.models import (
    EVER,
    Audit,
    Job,
    JobHealth,
    Run,
    RunLog,
    RunState,
    RunStats,
    RunStep,
)
from tests.factories import PATIENCE, new_run, wait_until
from tests.rows import EPOCH, make_job

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dashboard.storage.db import Database

ME = "me:1:a"
State = Literal["succeeded", "failed", "cancelled", "interrupted"]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "RETRY", 0.01)


@pytest.fixture
def recorder(database: Database) -> Iterator[Recorder]:
    recorder = Recorder(database, ME)
    recorder.start()
    yield recorder
    assert recorder.stop(10)


def add_run(database: Database, job_id: str = "a", second: int = 0, **values: Any) -> int:
    """Add a run that goes on in this process."""
    values = {"state": RunState.RUNNING, "process": ME} | values
    with database.write() as session:
        run = new_run(job_id, second, **values)
        session.add(run)
        session.flush()
        return run.id


def add_job(database: Database, **values: Any) -> None:
    with database.write() as session:
        session.add(make_job("a", **values))


def outcome(run_id: int, state: State = "succeeded", **values: Any) -> Outcome:
    start = EPOCH + timedelta(seconds=1)
    outcome = Outcome(run_id, state, start, start + timedelta(seconds=2), 2.0)
    return outcome._replace(**values)


def line(run_id: int, seq: int = 1, text: str = "hello", **values: Any) -> LogLine:
    return replace(LogLine(run_id, seq, EPOCH, "INFO", "stdout", text), **values)


class Event:
    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


def end(recorder: Recorder, *outcomes: Outcome) -> None:
    for each in outcomes:
        recorder.on_event(Event(each))
    assert recorder.flush()


def run_of(database: Database, run_id: int) -> Run:
    with database.read() as session:
        return session.get_one(Run, run_id)


def lines_of(database: Database, run_id: int) -> list[tuple[int, str]]:
    with database.read() as session:
        query = select(RunLog).where(RunLog.run_id == run_id).order_by(RunLog.seq)
        return [(row.seq, row.text) for row in session.scalars(query)]


class TestOutcomes:
    def test_a_success(self, database: Database, recorder: Recorder) -> None:
        add_job(database)
        run_id = add_run(database)
        end(recorder, outcome(run_id, result="7"))
        run = run_of(database, run_id)
        assert (run.state, run.result, run.duration) == (RunState.SUCCEEDED, "7", 2.0)
        assert run.started_at == EPOCH + timedelta(seconds=1)
        assert run.finished_at == EPOCH + timedelta(seconds=3)
        with database.read() as session:
            health = session.get_one(JobHealth, "a")
            assert (health.last_run_id, health.last_state) == (run_id, RunState.SUCCEEDED)
            stats = session.scalars(select(RunStats).order_by(RunStats.job_id, RunStats.hour)).all()
            assert [(row.job_id, row.hour > EVER, row.succeeded, row.seconds) for row in stats] == [
                ("", False, 1, 2.0),
                ("", True, 1, 2.0),
                ("a", True, 1, 2.0),
            ]

    def test_a_failure(self, database: Database, recorder: Recorder) -> None:
        add_job(database)
        run_id = add_run(database)
        told = {
            "error_type": "ValueError",
            "error_message": "first line\nsecond",
            "traceback": "Traceback …",
            "fingerprint": "f" * 16,
        }
        end(recorder, outcome(run_id, "failed", **told))
        run = run_of(database, run_id)
        assert {name: getattr(run, name) for name in told} == told
        with database.read() as session:
            health = session.get_one(JobHealth, "a")
        assert health.last_error == "ValueError: first line"
        assert health.failing_since == run.finished_at

    def test_an_interruption_says_why(self, database: Database, recorder: Recorder) -> None:
        run_id = add_run(database)
        end(recorder, outcome(run_id, "interrupted", error_message="killed", duration=None))
        run = run_of(database, run_id)
        assert (run.state, run.reason, run.duration) == (RunState.INTERRUPTED, "killed", None)

    @pytest.mark.parametrize(
        "values",
        [
            {"state": RunState.INTERRUPTED},
            {"state": RunState.SUCCEEDED},
            {"state": RunState.QUEUED},
            {"process": "another"},
        ],
    )
    def test_a_run_that_somebody_else_has_ended_keeps_that_end(
        self, database: Database, recorder: Recorder, values: dict[str, Any]
    ) -> None:
        run_id = add_run(database, **values)
        before = run_of(database, run_id)
        end(recorder, outcome(run_id, "failed", error_type="X"))
        after = run_of(database, run_id)
        assert (after.state, after.error_type) == (before.state, None)
        with database.read() as session:
            assert session.get(JobHealth, "a") is None
            assert session.scalar(select(func.count()).select_from(RunStats)) == 0

    def test_the_same_outcome_twice_counts_once(
        self, database: Database, recorder: Recorder
    ) -> None:
        run_id = add_run(database)
        for _ in range(2):
            end(recorder, outcome(run_id))
        with database.read() as session:
            assert session.get_one(RunStats, ("a", EPOCH)).succeeded == 1

    def test_a_run_that_was_pruned_meanwhile_is_no_problem(self, recorder: Recorder) -> None:
        end(recorder, outcome(10**9))

    def test_pausing_and_finishing_are_audited(
        self, database: Database, recorder: Recorder
    ) -> None:
        with database.write() as session:
            session.add_all([make_job("p"), make_job("f")])
        pausing, finishing = add_run(database, "p"), add_run(database, "f")
        end(
            recorder,
            outcome(pausing, pause_reason="no disk"),
            outcome(finishing, finish_reason="all sent"),
        )
        with database.read() as session:
            paused, finished = session.get_one(Job, "p"), session.get_one(Job, "f")
            entries = session.scalars(select(Audit).order_by(Audit.id)).all()
        assert (paused.paused_reason, paused.next_run_time) == ("no disk", None)
        assert paused.paused_at is not None
        assert (finished.finished_reason, finished.next_run_time) == ("all sent", None)
        assert finished.paused_at is None
        assert [(e.action, e.target, e.detail["run"]) for e in entries] == [
            ("job.pause", "p", pausing),
            ("job.finish", "f", finishing),
        ]

    def test_events_of_foreign_executors_are_none_of_ours(self, recorder: Recorder) -> None:
        recorder.on_event(object())
        assert recorder.backlog == 0


class TestRecords:
    def test_lines_steps_progress_and_what_was_dropped(
        self, database: Database, recorder: Recorder
    ) -> None:
        run_id = add_run(database)
        later = EPOCH + timedelta(seconds=5)
        for record in (
            line(run_id, 1, "one"),
            StepChange(run_id, 1, "load", "running", EPOCH),
            line(run_id, 2, "two\n  more", level="ERROR" * 9, logger="x" * 500),
            ProgressChange(run_id, 1, 10, "", EPOCH),
            StepChange(run_id, 1, "load", "failed", EPOCH, later, "ValueError: no"),
            StepChange(run_id, 2, "save", "running", later),
            ProgressChange(run_id, 2, None, "two", EPOCH),
            LogDropped(run_id, 77),
        ):
            recorder.emit(record)
        assert recorder.flush()
        assert lines_of(database, run_id) == [(1, "one"), (2, "two\n  more")]
        run = run_of(database, run_id)
        assert run.progress == {"done": 2, "total": None, "text": "two"}
        assert run.log_dropped == 77
        with database.read() as session:
            steps = session.scalars(select(RunStep).order_by(RunStep.index)).all()
        assert [(s.name, s.state, s.finished_at, s.error) for s in steps] == [
            ("load", RunState.FAILED, later, "ValueError: no"),
            ("save", RunState.RUNNING, None, None),
        ]

    def test_thousands_of_records_of_many_runs(
        self, database: Database, recorder: Recorder
    ) -> None:
        run_ids = [add_run(database, f"j{n % 3}", n) for n in range(30)]
        for seq in range(1, 101):
            for run_id in run_ids:
                recorder.emit(line(run_id, seq))
        end(recorder, *(outcome(run_id) for run_id in run_ids))
        with database.read() as session:
            assert session.scalar(select(func.count()).select_from(RunLog)) == 3000
            states = session.scalars(select(Run.state).distinct()).all()
        assert states == [RunState.SUCCEEDED]

    def test_each_commit_raises_the_revision(self, database: Database, recorder: Recorder) -> None:
        def revision() -> int:
            with database.read() as session:
                return read_revision(session)

        before = revision()
        recorder.emit(line(1))
        assert recorder.flush()
        assert revision() == before + 1

    def test_whoever_waits_is_told_after_each_commit(
        self, database: Database, recorder: Recorder
    ) -> None:
        told: list[list[tuple[int, str]]] = []
        recorder.when_written(lambda: told.append(lines_of(database, 1)))
        recorder.emit(line(1))
        assert recorder.flush()
        wait_until(lambda: told == [[(1, "hello")]])


class TestFlush:
    def test_waits_for_what_was_queued_before(self, database: Database, recorder: Recorder) -> None:
        for seq in range(2500):
            recorder.emit(line(1, seq))
        assert recorder.flush()
        assert recorder.backlog == 0
        assert len(lines_of(database, 1)) == 2500

    def test_with_nothing_to_do_it_returns_at_once(self, recorder: Recorder) -> None:
        assert recorder.flush(timeout=0)

    def test_gives_up_in_time(self, database: Database) -> None:
        recorder = Recorder(database, ME)
        recorder.emit(line(1))
        assert not recorder.flush(timeout=0.01)
        assert recorder.backlog == 1

    def test_does_not_wait_for_company(
        self, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recorder_module, "LINGER", 10 * PATIENCE)
        monkeypatch.setattr(recorder_module, "HOLD_BACK", 10 * PATIENCE)
        recorder.hold_back(True)
        recorder.emit(line(1))
        assert recorder.flush(timeout=PATIENCE)


class TestStop:
    def test_writes_all_that_is_queued(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recorder_module, "LINGER", 60)
        recorder = Recorder(database, ME)
        recorder.start()
        for seq in range(3456):
            recorder.emit(line(1, seq))
        assert recorder.stop(30)
        assert len(lines_of(database, 1)) == 3456

    def test_can_be_started_again(self, database: Database) -> None:
        recorder = Recorder(database, ME)
        for seq in range(3):
            recorder.start()
            recorder.emit(line(1, seq))
            assert recorder.stop(10)
        assert len(lines_of(database, 1)) == 3

    def test_before_the_start_it_is_harmless(self, database: Database) -> None:
        assert Recorder(database, ME).stop(0)

    def test_says_when_it_could_not(self, database: Database) -> None:
        recorder = Recorder(database, ME)
        with failing(database, [OperationalError("x", None, Exception("locked"))] * 100_000):
            recorder.start()
            recorder.emit(line(1))
            wait_until(lambda: recorder.trouble.since)
            assert not recorder.stop(0.05)
        assert recorder.stop(10)
        assert lines_of(database, 1) == [(1, "hello")]


@contextmanager
def failing(database: Database, errors: list[BaseException]) -> Iterator[list[BaseException]]:
    """Let write transactions fail with these errors, one after another."""
    original = database.write

    @contextmanager
    def write(*, touch: bool = True) -> Iterator[Any]:
        with original(touch=touch) as session:
            yield session
            if errors:
                raise errors.pop(0)

    database.write = write  # type: ignore[method-assign]
    try:
        yield errors
    finally:
        errors.clear()
        database.write = original  # type: ignore[method-assign]


def disconnected() -> DBAPIError:
    error = DBAPIError("x", None, Exception("server closed the connection"))
    error.connection_invalidated = True
    return error


class TestTrouble:
    @pytest.mark.parametrize(
        "error",
        [
            OperationalError("x", None, Exception("database is locked")),
            PoolTimeout("no connection is free"),
            disconnected(),
        ],
    )
    def test_what_will_pass_is_tried_again_until_it_has(
        self, database: Database, recorder: Recorder, error: Exception
    ) -> None:
        run_id = add_run(database)
        with failing(database, [error] * 5) as left:
            recorder.emit(line(run_id))
            end(recorder, outcome(run_id))
            assert left == []
        assert lines_of(database, run_id) == [(1, "hello")]
        assert run_of(database, run_id).state is RunState.SUCCEEDED
        assert recorder.trouble.since is None

    def test_it_says_since_when_it_cannot_write(
        self, database: Database, recorder: Recorder, caplog: pytest.LogCaptureFixture
    ) -> None:
        locked = OperationalError("x", None, Exception("database is locked"))
        with failing(database, [locked] * 100_000):
            recorder.emit(line(1))
            wait_until(lambda: recorder.trouble.since)
            assert recorder.backlog == 1
            assert not recorder.flush(timeout=0.05)
        assert recorder.flush()
        assert caplog.text.count("cannot be written") == 1
        assert "is written again" in caplog.text

    @pytest.mark.parametrize(
        "bad",
        [
            line(1, 500, at=datetime(2027, 1, 1)),  # noqa: DTZ001
            ProgressChange(1, object(), None, "", EPOCH),  # type: ignore[arg-type]
            StepChange(1, 1, "x", "no such state", EPOCH),  # type: ignore[arg-type]
            line(1, 500, text=object()),  # type: ignore[arg-type]
            line(1, 10**30),
            line(1, 500, text="\ud800"),
        ],
    )
    def test_a_bad_item_does_not_take_its_neighbours_along(
        self, database: Database, recorder: Recorder, bad: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        run_id = add_run(database)
        monkey = recorder._changed
        with monkey:  # so that all become one batch
            for seq in range(10):
                recorder.emit(line(run_id, seq))
            recorder.emit(bad)
            recorder.on_event(Event(outcome(run_id)))
            for seq in range(10, 20):
                recorder.emit(line(run_id, seq))
        assert recorder.flush()
        assert [seq for seq, _ in lines_of(database, run_id)] == list(range(20))
        assert run_of(database, run_id).state is RunState.SUCCEEDED
        assert caplog.text.count("cannot be kept") == 1

    @pytest.mark.parametrize("name", ["result", "error_message", "traceback", "error_type"])
    @pytest.mark.parametrize("value", ["\ud800", object()])
    def test_a_run_ends_even_if_nothing_else_of_its_end_can_be_kept(
        self, database: Database, recorder: Recorder, name: str, value: Any
    ) -> None:
        with database.write() as session:
            session.add(make_job("a"))
        run_id = add_run(database)
        end(recorder, outcome(run_id, "failed", pause_reason="why", **{name: value}))
        run = run_of(database, run_id)
        assert (run.state, run.error_message) == (RunState.FAILED, LOST_DETAILS)
        with database.read() as session:
            assert session.get_one(Job, "a").paused_at is not None
            assert session.get_one(JobHealth, "a").consecutive_failures == 1

    @pytest.mark.parametrize(
        "error", [KeyError("x"), RecursionError(), MemoryError(), OverflowError()]
    )
    def test_nothing_ends_the_writer(
        self, database: Database, recorder: Recorder, error: Exception
    ) -> None:
        with failing(database, [error]):
            recorder.emit(line(1))
            assert recorder.flush()
        recorder.emit(line(2))
        assert recorder.flush()
        assert lines_of(database, 2) == [(1, "hello")]

    def test_emitting_never_waits_for_the_database(
        self, database: Database, recorder: Recorder
    ) -> None:
        with database.write():
            for seq in range(5000):
                recorder.emit(line(1, seq))
            recorder.on_event(Event(outcome(1)))
        assert recorder.flush()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_database_locked_by_somebody_else_costs_nothing_but_time(
    database: Database, recorder: Recorder
) -> None:
    run_id = add_run(database)
    name = database.engine.url.database
    assert name is not None
    other = sqlite3.connect(name, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    recorder.emit(line(run_id))
    recorder.on_event(Event(outcome(run_id)))
    assert not recorder.flush(timeout=0.2)
    other.execute("COMMIT")
    other.close()
    assert recorder.flush()
    assert run_of(database, run_id).state is RunState.SUCCEEDED


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_server_that_cuts_all_connections_costs_nothing(
    database: Database, recorder: Recorder
) -> None:
    run_ids = [add_run(database, second=n) for n in range(20)]
    stop = threading.Event()

    def cut() -> None:
        while not stop.wait(0.01):
            with database.engine.connect() as connection:
                connection.execute(
                    text(
                        "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                )

    cutting = threading.Thread(target=cut)
    cutting.start()
    try:
        for seq in range(20):
            for run_id in run_ids:
                recorder.emit(line(run_id, seq))
            recorder.flush(timeout=0.02)
        for run_id in run_ids:
            recorder.on_event(Event(outcome(run_id)))
        recorder.flush(timeout=0.2)
    finally:
        stop.set()
        cutting.join()
    assert recorder.flush(timeout=PATIENCE)
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(RunLog)) == 400
        assert session.get_one(RunStats, ("a", EPOCH)).succeeded == 20

from __future__ import annotations

import logging
import math
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from apscheduler.events import (
    EVENT_ALL,
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    EVENT_JOB_SUBMITTED,
    EVENT_SCHEDULER_SHUTDOWN,
    EVENT_SCHEDULER_STARTED,
)
from apscheduler.schedulers import SchedulerNotRunningError
from apscheduler.schedulers.base import STATE_RUNNING
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from dashboard import FinishJob, PauseJob, current_run, tasks
from dashboard.capture import capturing
from dashboard.runtime import make_runtime
from dashboard.scheduling import claims, scheduler
from dashboard.scheduling.executors import ThreadRunExecutor
from dashboard.services import audit, jobs, runs
from dashboard.settings import load_settings
from dashboard.storage.models import ACTIVE, Audit, Job, Process, RunState, SchedulerLife
from tests.factories import ADMIN, PATIENCE, Core, new_run, open_core, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dashboard.storage.models import Run

EVERY_SECOND = {"type": "interval", "seconds": 1}


class Gate:
    """A task that waits inside until the test lets it go."""

    def __init__(self) -> None:
        self.inside = threading.Semaphore(0)
        self.open = threading.Event()

    def __call__(self) -> None:
        self.inside.release()
        assert self.open.wait(PATIENCE)

    def entered(self) -> None:
        """Wait until one more run has begun."""
        assert self.inside.acquire(timeout=PATIENCE)


@pytest.fixture
def gate(register: Callable[..., None]) -> Iterator[Gate]:
    gate = Gate()

    def wait() -> None:
        gate()

    register(wait, "test.wait")
    yield gate
    gate.open.set()


@pytest.fixture(autouse=True)
def _tasks(register: Callable[..., None]) -> None:
    def ok(value: int = 1) -> int:
        return value

    def boom(message: str = "no") -> None:
        raise ValueError(message)

    register(ok, "test.ok")
    register(boom, "test.boom")


class TestRuns:
    def test_a_due_job_runs_and_its_row_tells_the_whole_story(self, any_core: Core) -> None:
        core = any_core
        job_id = core.add("test.ok", id="a", parameters={"value": 7})
        moment = core.make_due(job_id)
        core.tick()
        core.settle()
        [run] = core.runs()
        assert (run.state, run.result, run.scheduled_at) == (RunState.SUCCEEDED, "7", moment)
        assert run.started_at is not None
        assert run.finished_at is not None
        assert moment <= run.queued_at <= run.started_at <= run.finished_at
        assert run.duration is not None
        assert 0 <= run.duration < PATIENCE
        assert (run.error_type, run.traceback, run.fingerprint, run.reason) == (None,) * 4
        assert run.process == core.runtime.scheduler.identity.process
        assert run.host

    def test_a_failure_is_kept_with_its_traceback(self, any_core: Core) -> None:
        core = any_core
        job_id = core.add("test.boom", parameters={"message": "<b>no</b> \x1b[31m"})
        core.run_now(job_id)
        core.tick()
        core.settle()
        [run] = core.runs()
        assert run.state is RunState.FAILED
        assert run.error_type == "ValueError"
        assert run.error_message is not None
        assert run.error_message.startswith("<b>no</b> ")
        assert run.traceback is not None
        assert "in boom" in run.traceback
        assert run.fingerprint

    def test_what_a_run_says_is_kept(self, any_core: Core, register: Callable[..., None]) -> None:
        def talk() -> None:
            print("hello")  # noqa: T201
            logging.getLogger("x").warning("careful")
            with current_run().step("one"):
                current_run().progress(1, 2, "half")

        register(talk, "test.talk")
        core = any_core
        with capturing():
            run_id = core.run_now(core.add("test.talk"))
            core.tick()
            core.settle()
        assert core.log(run_id) == ["hello", "careful"]
        assert [(s.name, s.state.value) for s in core.steps(run_id)] == [("one", "succeeded")]
        assert core.run(run_id).progress == {"done": 1, "total": 2, "text": "half"}

    @pytest.mark.parametrize(
        "error",
        [
            SystemExit(3),
            SystemExit("bye"),
            KeyboardInterrupt(),
            GeneratorExit(),
            BaseException("x"),
        ],
    )
    def test_nothing_a_task_raises_ends_more_than_its_run(
        self, core: Core, register: Callable[..., None], error: BaseException
    ) -> None:
        def fail() -> None:
            raise error

        register(fail, "test.fail")
        job_id = core.add("test.fail", max_instances=10)
        for _ in range(6):  # more than there are threads
            core.run_now(job_id)
        core.tick()

        def all_failed() -> bool:
            core.tick()
            return core.states(job_id) == ["failed"] * 6

        wait_until(all_failed)
        core.run_now(core.add("test.ok", id="after"))
        core.tick()
        core.settle()
        assert core.states("after") == ["succeeded"]

    def test_a_line_of_5_megabytes_and_a_result_that_has_no_text(
        self, live: Core, register: Callable[..., None]
    ) -> None:
        class Mute:
            def __repr__(self) -> str:
                raise RuntimeError("no words")

        def shout() -> Mute:
            print("x" * 5_000_000)  # noqa: T201
            return Mute()

        register(shout, "test.shout")
        with capturing():
            run_id = live.run_now(live.add("test.shout"))
            live.settle()
        run = live.run(run_id)
        assert run.state is RunState.SUCCEEDED
        assert run.result is not None
        assert "Mute" in run.result
        [line] = live.log(run_id)
        assert len(line) < 10_000
        assert "cut" in line

    def test_run_now_leaves_the_schedule(self, core: Core) -> None:
        job_id = core.add("test.ok")
        before = core.job(job_id).next_run_time
        core.run_now(job_id, value=5)
        core.tick()
        core.settle()
        assert core.job(job_id).next_run_time == before
        assert [run.result for run in core.runs()] == ["5"]

    def test_a_retry_is_the_next_attempt(self, core: Core) -> None:
        first = core.run_now(core.add("test.boom"))
        core.tick()
        core.settle()
        with audit.transaction(core.database) as session:
            second = runs.retry_run(session, first, actor=ADMIN).id
        core.tick()
        core.settle()
        old, new = core.run(first), core.run(second)
        assert (old.attempt, new.attempt) == (1, 2)
        assert old.scheduled_at == new.scheduled_at
        assert new.state is RunState.FAILED

    def test_a_job_whose_task_vanished_fails_in_words(
        self, core: Core, register: Callable[..., None]
    ) -> None:
        register(lambda: None, "test.gone")
        run_id = core.run_now(core.add("test.gone"))
        del tasks._registry["test.gone"]
        core.tick()
        core.settle()
        run = core.run(run_id)
        assert run.state is RunState.FAILED
        assert run.error_message is not None
        assert "There is no task “test.gone”" in run.error_message


class TestRequestsOfTasks:
    def test_a_task_can_pause_its_job(self, any_core: Core, register: Callable[..., None]) -> None:
        def stop() -> None:
            raise PauseJob("the disk is full")

        register(stop, "test.stop")
        core = any_core
        job_id = core.add("test.stop")
        core.make_due(job_id)
        core.tick()
        core.settle()
        assert core.states(job_id) == ["succeeded"]
        job = core.job(job_id)
        assert job.paused_at is not None
        assert job.next_run_time is None
        assert job.paused_reason == "the disk is full"
        with core.database.read() as session:
            entry = session.scalars(select(Audit).where(Audit.action == "job.pause")).one()
        assert (entry.target, entry.outcome) == (job_id, "done")

    def test_pausing_because_of_an_error_counts_as_failure(
        self, core: Core, register: Callable[..., None]
    ) -> None:
        def stop() -> None:
            raise PauseJob("no disk") from OSError("gone")

        register(stop, "test.stop")
        job_id = core.add("test.stop")
        core.run_now(job_id)
        core.tick()
        core.settle()
        assert core.states(job_id) == ["failed"]
        assert core.job(job_id).paused_reason == "no disk"

    def test_a_task_can_finish_its_job_which_stays(
        self, any_core: Core, register: Callable[..., None]
    ) -> None:
        def done() -> None:
            raise FinishJob("all sent")

        register(done, "test.done")
        core = any_core
        job_id = core.add("test.done")
        core.make_due(job_id)
        core.tick()
        core.settle()
        job = core.job(job_id)
        assert (job.next_run_time, job.paused_at, job.finished_reason) == (None, None, "all sent")
        core.tick()
        assert core.states(job_id) == ["succeeded"]

    def test_pausing_does_not_touch_a_job_that_a_person_paused(
        self, core: Core, register: Callable[..., None]
    ) -> None:
        def stop() -> None:
            raise PauseJob("of itself")

        register(stop, "test.stop")
        job_id = core.add("test.stop")
        with audit.transaction(core.database) as session:
            jobs.pause_job(session, job_id, reason="by hand", actor=ADMIN)
        core.run_now(job_id)
        core.tick()
        core.settle()
        assert core.job(job_id).paused_reason == "by hand"


class TestFinishedAndPaused:
    def test_a_finished_job_stays(self, core: Core) -> None:
        soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        job_id = core.add("test.ok", trigger={"type": "date", "run_date": soon})
        core.make_due(job_id)
        core.tick()
        core.settle()
        job = core.job(job_id)
        assert job.next_run_time is not None  # its own run date is still to come
        core.change(job_id, trigger={"type": "date", "run_date": "2020-01-01T00:00:00+00:00"})
        core.make_due(job_id)
        core.tick()
        core.settle()
        job = core.job(job_id)
        assert job.next_run_time is None
        assert job.finished_reason
        assert core.states(job_id) == ["succeeded"] * 2

    def test_paused_stays_paused_through_a_restart(self, tmp_path: Path) -> None:
        with open_core(data=tmp_path) as core:
            core.start_by_hand()
            job_id = core.add("test.ok", trigger=EVERY_SECOND)
            with audit.transaction(core.database) as session:
                jobs.pause_job(session, job_id, actor=ADMIN)
        with open_core(data=tmp_path) as core:
            core.start_by_hand()
            core.tick()
            assert core.job(job_id).paused_at is not None
            assert core.job(job_id).next_run_time is None
            assert core.runs() == []


class TestEvents:
    """Listeners hear what they would hear from a stock scheduler."""

    @pytest.fixture
    def heard(self, core: Core) -> list[Any]:
        events: list[Any] = []
        core.runtime.scheduler.add_listener(events.append, EVENT_ALL)
        return events

    @staticmethod
    def of(heard: list[Any], code: int) -> list[Any]:
        return [event for event in heard if event.code == code]

    def test_submitted_and_executed(self, core: Core, heard: list[Any]) -> None:
        moment = core.make_due(core.add("test.ok", id="a"))
        core.tick()
        core.settle()
        [submitted] = self.of(heard, EVENT_JOB_SUBMITTED)
        assert (submitted.job_id, submitted.jobstore) == ("a", "default")
        assert submitted.scheduled_run_times == [moment]
        [executed] = self.of(heard, EVENT_JOB_EXECUTED)
        assert (executed.job_id, executed.scheduled_run_time) == ("a", moment)
        assert executed.exception is None
        assert executed.run_id == core.runs()[0].id

    def test_error(self, core: Core, heard: list[Any]) -> None:
        core.make_due(core.add("test.boom", id="a"))
        core.tick()
        core.settle()
        [event] = self.of(heard, EVENT_JOB_ERROR)
        assert "ValueError" in event.traceback
        assert self.of(heard, EVENT_JOB_EXECUTED) == []

    def test_missed(self, core: Core, heard: list[Any]) -> None:
        moment = core.make_due(core.add("test.ok", id="a"), ago=120)
        core.tick()
        [event] = self.of(heard, EVENT_JOB_MISSED)
        assert (event.job_id, event.scheduled_run_time) == ("a", moment)
        assert self.of(heard, EVENT_JOB_SUBMITTED) == []

    def test_max_instances(self, core: Core, heard: list[Any], gate: Gate) -> None:
        job_id = core.add("test.wait", id="a")
        core.run_now(job_id)
        core.tick()
        moment = core.make_due(job_id)
        core.tick()
        [event] = self.of(heard, EVENT_JOB_MAX_INSTANCES)
        assert (event.job_id, event.scheduled_run_times) == ("a", [moment])
        gate.open.set()

    def test_start_and_end(self, tmp_path: Path) -> None:
        with open_core(data=tmp_path) as core:
            events: list[Any] = []
            core.runtime.scheduler.add_listener(events.append, EVENT_ALL)
            core.start()
            core.runtime.stop(0)
        assert self.of(events, EVENT_SCHEDULER_STARTED)
        assert self.of(events, EVENT_SCHEDULER_SHUTDOWN)

    def test_a_listener_that_fails_or_asks_the_scheduler_does_no_harm(self, core: Core) -> None:
        scheduler = core.runtime.scheduler

        def nosy(_event: Any) -> None:
            scheduler.get_jobs()
            raise RuntimeError("a listener's own trouble")

        scheduler.add_listener(nosy, EVENT_ALL)
        core.make_due(core.add("test.ok", id="a"))
        core.tick()
        core.settle()
        assert core.states("a") == ["succeeded"]


@contextmanager
def broken(core: Core, *, commit: bool, times: int = 1) -> Iterator[list[int]]:
    """Let write transactions fail: instead of the commit, or (the answer is lost) after it.

    Those of claims: a tick looks after the workers in another one, now and then.
    """
    core.runtime.scheduler.workforce._look_at = math.inf
    original = core.database.write
    left = [times]

    @contextmanager
    def write(*, touch: bool = True) -> Iterator[Any]:
        failing = left[0] > 0
        if failing:
            left[0] -= 1
        with original(touch=touch) as session:
            yield session
            if failing and not commit:
                raise OperationalError("COMMIT", None, Exception("the connection was lost"))
        if failing:
            raise OperationalError("COMMIT", None, Exception("the answer was lost"))

    core.database.write = write  # type: ignore[method-assign]
    try:
        yield left
    finally:
        core.database.write = original  # type: ignore[method-assign]


class TestTrouble:
    @pytest.mark.parametrize(
        "error",
        [
            RuntimeError("a bug"),
            OperationalError("SELECT", None, Exception("locked")),
            RecursionError(),
            MemoryError(),
            KeyError("x"),
        ],
    )
    def test_no_exception_in_a_tick_ends_the_thread(
        self, live: Core, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        failed = threading.Event()

        def fail(*_: object, **__: object) -> Any:
            failed.set()
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(claims, "claim_due", fail)
            job_id = live.add("test.ok")
            live.make_due(job_id)
            live.runtime.scheduler.wakeup()
            assert failed.wait(PATIENCE)
            wait_until(lambda: live.runtime.scheduler.trouble.since)
        live.runtime.scheduler.wakeup()
        wait_until(lambda: live.states(job_id) == ["succeeded"])
        wait_until(lambda: live.runtime.scheduler.trouble.since is None)

    def test_a_failure_is_logged_once_not_at_every_try(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(*_: object) -> Any:
            raise RuntimeError("a bug")

        # Its own thread is not started: a tick of that could succeed in between.
        with open_core(data=tmp_path) as core, monkeypatch.context() as patch:
            patch.setattr(core.runtime.scheduler, "state", STATE_RUNNING)
            patch.setattr(core.runtime.scheduler, "_claim", fail)
            for _ in range(5):
                assert core.runtime.scheduler._process_jobs() > 0
        assert caplog.text.count("cannot work") == 1

    def test_a_claim_that_could_not_be_committed_is_made_again(self, core: Core) -> None:
        moment = core.make_due(core.add("test.ok", id="a"))
        with broken(core, commit=False), pytest.raises(OperationalError):
            core.tick()
        assert core.runs() == []
        core.tick()
        core.settle()
        assert [(run.scheduled_at, run.state.value) for run in core.runs()] == [
            (moment, "succeeded")
        ]

    def test_a_claim_whose_commit_got_no_answer_is_started_once(
        self, core: Core, register: Callable[..., None]
    ) -> None:
        """Its row says `running` in this process: nobody else would ever start or end it."""
        calls: list[int] = []

        def note() -> None:
            calls.append(current_run().id)

        register(note, "test.note")
        core.tick()
        for name in ("a", "b"):
            core.make_due(core.add("test.note", id=name))
        with broken(core, commit=True, times=2):
            for _ in range(2):
                with pytest.raises(OperationalError):
                    core.tick()
        assert calls == []
        assert core.states() == ["running", "running"]
        core.tick()
        core.settle()
        core.tick()
        assert core.states() == ["succeeded", "succeeded"]
        assert sorted(calls) == [run.id for run in core.runs()]

    @pytest.mark.parametrize("commit", [True, False])
    def test_a_take_over_that_failed_is_made_again(self, core: Core, commit: bool) -> None:
        with core.database.write() as session:
            session.add(new_run(state=RunState.RUNNING, process="a process that died"))
        with broken(core, commit=commit), pytest.raises(OperationalError):
            core.tick()
        core.tick()
        assert core.states() == ["interrupted"]
        with core.database.read() as session:
            lives = session.scalars(select(SchedulerLife)).all()
        assert [life.ended for life in lives].count(None) == 1

    def test_a_tick_that_waited_through_the_stop_claims_nothing(self, core: Core) -> None:
        core.make_due(core.add("test.ok"))
        core.runtime.stop(0)
        assert core.runtime.scheduler._tick() is False
        assert core.runs() == []


class TestBacklog:
    def test_more_runs_than_threads_all_run(self, live: Core) -> None:
        for number in range(40):
            live.add("test.ok", id=f"j{number}")
        for number in range(40):
            live.run_now(f"j{number}")
        wait_until(lambda: live.states() == ["succeeded"] * 40)

    def test_a_queued_run_starts_as_soon_as_its_job_is_free(self, live: Core, gate: Gate) -> None:
        job_id = live.add("test.wait", max_instances=2)
        live.run_now(job_id)
        gate.entered()
        live.change(job_id, max_instances=1)
        with live.database.write() as session:
            session.add(
                new_run(
                    job_id, 1, state=RunState.QUEUED, task="test.ok", parameters={}, origin="manual"
                )
            )
        live.runtime.scheduler.wakeup()
        gate.open.set()
        wait_until(lambda: live.states() == ["succeeded"] * 2)

    def look_ahead(self, core: Core, register: Callable[..., None]) -> None:
        """Let short runs teach the pool of four threads to take eight."""
        register(lambda: None, "test.short")
        job = core.add("test.short", max_instances=4)
        for _ in range(4):
            core.run_now(job)
        core.runtime.scheduler._tick()
        core.settle()

    def test_runs_taken_ahead_that_cannot_begin_soon_go_back_to_the_queue(
        self, any_core: Core, register: Callable[..., None], gate: Gate
    ) -> None:
        core = any_core
        self.look_ahead(core, register)
        for _ in range(8):
            core.run_now(core.add("test.wait"))
        core.tick()
        for _ in range(4):
            gate.entered()

        def given_back() -> list[Run]:
            core.tick()
            return core.runs(state=RunState.QUEUED)

        back = wait_until(given_back)
        assert [(run.process, run.host, run.started_at) for run in back] == [(None, None, None)] * 4
        assert len(core.runs(state=RunState.RUNNING)) == 4
        gate.open.set()

        def over() -> bool:
            core.tick()
            return not core.runs(state=ACTIVE)

        wait_until(over)
        assert set(core.states()) == {"succeeded"}
        assert len(core.runs()) == 12

    def test_runs_taken_ahead_are_queued_again_by_a_stop(
        self, core: Core, register: Callable[..., None], gate: Gate
    ) -> None:
        self.look_ahead(core, register)
        for _ in range(8):
            core.run_now(core.add("test.wait"))
        core.tick()
        for _ in range(4):
            gate.entered()
        core.runtime.stop(grace=0)
        assert sorted(core.states()) == ["interrupted"] * 4 + ["queued"] * 4 + ["succeeded"] * 4

    def test_max_instances_holds_while_runs_come_and_go(
        self, live: Core, register: Callable[..., None]
    ) -> None:
        inside = [0, 0]
        lock = threading.Lock()

        def busy() -> None:
            with lock:
                inside[0] += 1
                inside[1] = max(inside)
            threading.Event().wait(0.01)
            with lock:
                inside[0] -= 1

        register(busy, "test.busy")
        job_id = live.add("test.busy", max_instances=2)
        with live.database.write() as session:
            session.add_all(
                new_run(
                    job_id,
                    n,
                    state=RunState.QUEUED,
                    task="test.busy",
                    parameters={},
                    origin="manual",
                )
                for n in range(20)
            )
        live.runtime.scheduler.wakeup()
        wait_until(lambda: live.states() == ["succeeded"] * 20)
        assert inside == [0, 2]


class TestRevision:
    def test_rises_with_what_a_page_shows(self, core: Core, gate: Gate) -> None:
        core.tick()
        seen = [core.revision()]
        job_id = core.add("test.wait")
        seen.append(core.revision())
        core.make_due(job_id)
        seen.append(core.revision())
        core.tick()
        seen.append(core.revision())
        gate.open.set()
        core.settle()
        seen.append(core.revision())
        assert seen == sorted(set(seen))

    def test_stays_through_heartbeats(self, tmp_path: Path) -> None:
        with open_core(data=tmp_path, lease_seconds=1) as core:
            core.start()

            def heartbeat() -> datetime | None:
                with core.database.read() as session:
                    return session.scalars(select(SchedulerLife.seen_at)).one_or_none()

            def is_known() -> bool:
                with core.database.read() as session:
                    return session.scalars(select(Process)).one_or_none() is not None

            wait_until(is_known)  # pages show that
            first = wait_until(heartbeat)
            revision = core.revision()
            wait_until(lambda: heartbeat() != first)
            assert core.revision() == revision

    def test_an_idle_tick_writes_nothing(self, core: Core) -> None:
        core.tick()
        before = core.revision()
        core.tick()
        assert core.revision() == before


class TestHeartbeat:
    def test_comes_well_within_the_shortest_lease(self, tmp_path: Path) -> None:
        with open_core(data=tmp_path, lease_seconds=1) as core:
            core.start_by_hand()
            assert core.runtime.scheduler._until_next() <= 0.5
            core.tick()
            assert core.runtime.scheduler._until_next() <= 0.5


class TestBroken:
    def test_a_job_without_its_task_is_kept_and_repaired_at_the_next_good_start(
        self, tmp_path: Path
    ) -> None:
        file = tmp_path / "my_tasks.py"
        good = "from dashboard import task\n\n@task(name='mine.ok')\ndef ok():\n    return 1\n"
        bad = "import nothing_of_that_name\n"
        data = tmp_path / "data"
        file.write_text(good)
        with open_core(data=data, tasks=[str(file)]) as core:
            core.start_by_hand()
            core.tick()
            job_id = core.add("mine.ok", id="a", notes="keep me")
        self.forget(file)
        file.write_text(bad)
        with open_core(data=data, tasks=[str(file)]) as core:
            assert [problem.error_type for problem in core.runtime.load_problems] == [
                "ModuleNotFoundError"
            ]
            core.start_by_hand()
            core.tick()
            core.make_due(job_id, ago=1)
            core.tick()
            assert core.runs() == []
            job = core.job(job_id)
            assert "mine.ok" in (job.broken_reason or "")
            assert job.notes == "keep me"
        self.forget(file)
        file.write_text(good)
        with open_core(data=data, tasks=[str(file)]) as core:
            core.start_by_hand()
            core.tick()
            core.settle()
            assert core.job(job_id).broken_reason is None
            assert core.states(job_id) == ["succeeded"]
        self.forget(file)

    @staticmethod
    def forget(file: Path) -> None:
        """Make the next import of the file look as in a new process."""
        for name, module in list(sys.modules.items()):
            if getattr(module, "__file__", None) == str(file):
                del sys.modules[name]
        tasks._registry.pop("mine.ok", None)

    @pytest.mark.parametrize(
        "values",
        [
            {"executor": "moon"},
            {"task": "no.such"},
            {"trigger": {"type": "?"}, "broken_reason": "old"},
            {"trigger": [1], "task": "no.such"},
            {"timezone": "Nowhere/Land", "broken_reason": "old"},
        ],
    )
    def test_whatever_is_wrong_with_a_job_it_is_kept(
        self, any_core: Core, values: dict[str, Any]
    ) -> None:
        core = any_core
        job_id = core.add("test.ok", id="bad")
        core.add("test.ok", id="good")
        core.change(job_id, **values)
        core.make_due("bad", ago=1)
        core.make_due("good")
        core.tick()
        core.settle()
        job = core.job("bad")
        assert job.broken_reason not in {None, "old"}
        assert core.states("bad") == []
        assert core.states("good") == ["succeeded"]


class TestStop:
    def test_runs_that_end_in_time_are_waited_for(self, live: Core, gate: Gate) -> None:
        run_id = live.run_now(live.add("test.wait"))
        gate.entered()
        stopping = threading.Thread(target=gate.open.wait, args=(0.3,))
        stopping.start()
        threading.Timer(0.2, gate.open.set).start()
        assert live.runtime.stop(grace=10) is True
        assert live.run(run_id).state is RunState.SUCCEEDED
        stopping.join()

    def test_the_rest_is_interrupted_within_the_grace_period(self, live: Core, gate: Gate) -> None:
        run_id = live.run_now(live.add("test.wait", id="a"))
        gate.entered()
        began = time.monotonic()
        assert live.runtime.stop(grace=0.5) is False
        assert time.monotonic() - began < PATIENCE / 2, "it has waited for the run's own end"
        run = live.run(run_id)
        assert run.state is RunState.INTERRUPTED
        assert run.reason is not None
        assert "grace period" in run.reason
        health = live.health("a")
        assert health is not None
        assert (health.last_state, health.consecutive_failures) == (RunState.INTERRUPTED, 1)
        gate.open.set()

    def test_a_run_that_ends_after_all_is_not_counted_again(self, live: Core, gate: Gate) -> None:
        run_id = live.run_now(live.add("test.wait", id="a"))
        gate.entered()
        live.runtime.stop(grace=0)
        gate.open.set()
        executor = live.runtime.scheduler.executors["threads"]
        wait_until(lambda: not executor.in_flight)
        live.runtime.recorder.start()
        assert live.runtime.recorder.flush()
        assert live.run(run_id).state is RunState.INTERRUPTED
        health = live.health("a")
        assert health is not None
        assert len(health.recent) == 1
        live.runtime.recorder.stop(5)

    def test_intake_ends_at_once(self, live: Core, gate: Gate) -> None:
        live.run_now(live.add("test.wait", id="busy"))
        gate.entered()
        live.add("test.ok", id="late")
        stopping = threading.Thread(target=live.runtime.stop, args=(10,))
        stopping.start()
        wait_until(lambda: not live.runtime.scheduler.running)
        live.make_due("late")
        live.runtime.scheduler.wakeup()
        live.runtime.scheduler._process_jobs()
        gate.open.set()
        stopping.join()
        assert live.states("late") == []

    def test_tasks_that_look_are_asked_to_end(
        self, live: Core, register: Callable[..., None]
    ) -> None:
        began, ended = threading.Event(), threading.Event()

        def patient() -> None:
            began.set()
            wait_until(lambda: current_run().cancelled)
            ended.set()

        register(patient, "test.patient")
        live.run_now(live.add("test.patient"))
        assert began.wait(PATIENCE)
        live.runtime.stop(grace=0)
        assert ended.wait(PATIENCE)

    def test_the_next_one_leads_at_once(self, tmp_path: Path) -> None:
        with open_core(data=tmp_path) as core:
            core.start()
            wait_until(lambda: core.runtime.scheduler.leadership.leading)
            core.runtime.stop(0)
            with open_core(data=tmp_path) as following:
                following.start_by_hand()
                following.tick()
                assert following.runtime.scheduler.leadership.leading

    def test_a_tick_under_way_may_end(self, live: Core, monkeypatch: pytest.MonkeyPatch) -> None:
        ours = live.runtime.scheduler
        pool, began, go_on = ours.executors["threads"], threading.Event(), threading.Event()

        def slow() -> None:
            began.set()
            go_on.wait(PATIENCE)

        def shut_down(*, wait: bool) -> None:
            ThreadRunExecutor.shutdown(pool, wait=wait)
            go_on.set()

        wait_until(lambda: ours.leadership.leading)
        monkeypatch.setattr(scheduler, "CLOSING", 0.0)
        monkeypatch.setattr(pool, "shutdown", shut_down)
        monkeypatch.setattr(ours, "_claim", slow)
        monkeypatch.setattr(ours, "_hot", True)
        ours.wakeup()
        assert began.wait(PATIENCE)
        assert live.runtime.stop(0) is True
        assert not ours.leadership.leading

    def test_stopping_twice_is_harmless(self, live: Core) -> None:
        assert live.runtime.stop(0) is True
        assert live.runtime.stop(0) is True

    def test_a_stopped_runtime_can_be_started_again(self, live: Core) -> None:
        job_id = live.add("test.ok", max_instances=3)
        for _ in range(3):
            live.run_now(job_id)
            live.settle()
            live.runtime.stop(5)
            live.runtime.start()
        live.run_now(job_id)
        live.settle()
        assert live.states() == ["succeeded"] * 4

    def test_apschedulers_own_shutdown_is_the_same(self, live: Core, gate: Gate) -> None:
        run_id = live.run_now(live.add("test.wait"))
        gate.entered()
        live.runtime.scheduler.shutdown(wait=False)
        assert live.run(run_id).state is RunState.INTERRUPTED
        with pytest.raises(SchedulerNotRunningError):
            live.runtime.scheduler.shutdown()
        gate.open.set()


class TestTwoSchedulers:
    def test_the_second_stands_by_and_takes_over_after_a_stop(self, tmp_path: Path) -> None:
        with open_core(data=tmp_path) as first, open_core(data=tmp_path) as second:
            first.start()
            wait_until(lambda: first.runtime.scheduler.leadership.leading)
            second.start()
            job_id = second.add("test.ok")
            second.run_now(job_id)
            first.runtime.scheduler.wakeup()
            wait_until(lambda: first.states() == ["succeeded"])
            assert first.runs()[0].process == first.runtime.scheduler.identity.process
            assert not second.runtime.scheduler.leadership.leading
            first.runtime.stop(0)
            second.runtime.scheduler.wakeup()
            run_id = second.run_now(job_id)
            second.settle()
            assert second.run(run_id).process == second.runtime.scheduler.identity.process

    @pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
    def test_two_that_both_believe_to_lead_start_each_fire_time_once(
        self,
        request: pytest.FixtureRequest,
        tmp_path: Path,
        kind: str,
        register: Callable[..., None],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        url = request.getfixturevalue("postgresql_url") if kind == "postgresql" else None
        calls: list[tuple[str, datetime]] = []

        def note() -> None:
            run = current_run()
            calls.append((run.job_id, run.scheduled_at))

        register(note, "test.note")
        with (
            open_core(data=tmp_path, database=url, threads=8) as one,
            open_core(data=tmp_path, database=url, threads=8) as two,
        ):
            for core in (one, two):
                monkeypatch.setattr(core.runtime.scheduler.leadership, "hold", lambda _: True)
                monkeypatch.setattr(core.runtime.scheduler.leadership, "leading", True)
            past = datetime.now(UTC) - timedelta(seconds=20)
            trigger = EVERY_SECOND | {"start_date": past.isoformat()}
            for number in range(25):
                one.add(
                    "test.note",
                    id=f"j{number}",
                    trigger=trigger,
                    coalesce=False,
                    max_instances=10,
                )
                one.change(f"j{number}", next_run_time=past)
            for core in (one, two):
                core.start()
            wait_until(lambda: len(one.runs(state=RunState.SUCCEEDED)) >= 25 * 20)
            # The jobs go on firing until each of the two has been the faster one at least once.
            wait_until(lambda: len({run.process for run in one.runs()} - {None}) == 2)
            with one.database.write() as session:
                for job in session.scalars(select(Job)):
                    job.paused_at, job.next_run_time = datetime.now(UTC), None
            wait_until(lambda: not one.runs(state=(RunState.QUEUED, RunState.RUNNING)))
            found = one.runs()
            succeeded = [run for run in found if run.state is RunState.SUCCEEDED]
            assert {run.state for run in found} <= {RunState.SUCCEEDED, RunState.SKIPPED}
            assert sorted(calls) == sorted((run.job_id, run.scheduled_at) for run in succeeded)
            assert len(set(calls)) == len(calls) >= 25 * 20
            assert len({run.process for run in succeeded}) == 2


def test_a_runtime_can_be_made_without_being_started(tmp_path: Path) -> None:
    runtime = make_runtime(load_settings(data=tmp_path))
    assert runtime.stop(0) is True
    runtime.database.close()

from __future__ import annotations

import os
import signal
import threading
import time
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED
from apscheduler.schedulers.background import BackgroundScheduler

from dashboard import current_run
from dashboard.capture import capturing
from dashboard.records import LogLine, Outcome, ProgressChange, RunIdentity, StepChange
from dashboard.scheduling.executors import (
    Claim,
    ProcessRunExecutor,
    RunExecutor,
    ThreadRunExecutor,
)
from dashboard.settings import load_settings
from dashboard.tasks import load_task_modules
from tests.factories import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TASKS = """
import os, signal, sys, time
from dashboard import current_run, task


class TwoArguments(Exception):
    def __init__(self, first, second):
        super().__init__(first)
        self.second = second


class Unpicklable:
    def __init__(self):
        self.function = lambda: None

    def __reduce__(self):
        raise TypeError("cannot be pickled")

    def __repr__(self):
        return "an unpicklable thing"


@task(name="file.add")
def add(a: int, b: int = 1) -> int:
    return a + b


@task(name="file.unpicklable")
def unpicklable():
    return Unpicklable()


@task(name="file.two_arguments")
def two_arguments():
    raise TwoArguments("first", Unpicklable())


@task(name="file.base")
def base(name: str):
    raise {"SystemExit": SystemExit(5), "KeyboardInterrupt": KeyboardInterrupt()}[name]


@task(name="file.talk")
def talk(lines: int = 3):
    for number in range(lines):
        print("line", number)
    sys.stderr.write("careful")
    current_run().progress(1, 3)
    with current_run().step("deep"):
        pass
    return os.getpid()


@task(name="file.die")
def die():
    os.kill(os.getpid(), signal.SIGKILL)


@task(name="file.leave")
def leave():
    os._exit(0)


@task(name="file.sleep")
def sleep(begun: str):
    with open(begun, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(60)
"""


class Listener:
    """A scheduler's listener and a sink: what executors tell."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.records: list[Any] = []

    def emit(self, record: Any) -> None:
        self.records.append(record)

    def outcome(self, run_id: int) -> Outcome:
        """Wait until a run has ended."""
        found = [event.outcome for event in self.events if event.outcome.run_id == run_id]
        if not found:
            wait_until(lambda: any(event.outcome.run_id == run_id for event in self.events))
            return self.outcome(run_id)
        assert len(found) == 1
        outcome: Outcome = found[0]
        return outcome

    def lines(self, run_id: int) -> list[str]:
        return [r.text for r in self.records if isinstance(r, LogLine) and r.run_id == run_id]


_numbers = count(1)


def claim(task: str, **parameters: Any) -> Claim:
    number = next(_numbers)
    return Claim(task, parameters, RunIdentity(number, f"job-{number}", datetime.now(UTC)))


def begin(executor: RunExecutor, listener: Listener) -> None:
    scheduler = BackgroundScheduler()
    scheduler.add_listener(listener.events.append, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)
    executor.start(scheduler, "it")


def run(executor: RunExecutor, listener: Listener, task: str, **parameters: Any) -> Outcome:
    made = claim(task, **parameters)
    executor.hand_over([made])
    return listener.outcome(made.identity.id)


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def threads(listener: Listener, tmp_path: Path) -> Iterator[ThreadRunExecutor]:
    executor = ThreadRunExecutor(2, load_settings(data=tmp_path), listener)
    begin(executor, listener)
    yield executor
    executor.shutdown(wait=True)


class TestThreads:
    def test_slots_are_counted(
        self, threads: ThreadRunExecutor, listener: Listener, register: Callable[..., None]
    ) -> None:
        gate = threading.Event()
        register(lambda: gate.wait(PATIENCE), "test.wait")
        freed: list[RunExecutor] = []
        threads.when_free(freed.append)
        claims = [claim("test.wait"), claim("test.wait")]
        assert threads.free == 2
        threads.hand_over(claims)
        assert threads.free == 0
        assert threads.in_flight == claims
        gate.set()
        assert threads.wait(time.monotonic() + 10)
        assert threads.free == 2
        wait_until(lambda: freed == [threads, threads])
        assert len(listener.events) == 2

    def test_a_pool_that_runs_dry_takes_more_ahead_and_less_when_runs_wait(
        self, threads: ThreadRunExecutor, register: Callable[..., None]
    ) -> None:
        register(lambda: None, "test.short")
        rooms = []
        for _ in range(6):
            rooms.append(threads.room())
            threads.hand_over([claim("test.short") for _ in range(rooms[-1])])
            assert threads.wait(time.monotonic() + 10)
        assert rooms == [2, 4, 8, 16, 20, 20]
        gate = threading.Event()
        register(lambda: gate.wait(PATIENCE), "test.wait")
        threads.hand_over([claim("test.wait") for _ in range(threads.room())])
        assert [threads.room() for _ in range(4)] == [10 - 20, 5 - 20, 2 - 20, 2 - 20]
        gate.set()

    def test_what_waits_in_the_pool_can_be_taken_back_and_is_never_called(
        self, threads: ThreadRunExecutor, listener: Listener, register: Callable[..., None]
    ) -> None:
        gate, begun = threading.Event(), []

        def wait() -> None:
            begun.append(current_run().id)
            gate.wait(PATIENCE)

        register(wait, "test.wait")
        claims = [claim("test.wait") for _ in range(5)]
        threads.hand_over(claims)
        wait_until(lambda: len(begun) == 2)
        assert threads.overfull
        assert threads.take_back(patience=60) == []
        returned = threads.take_back(patience=0)
        assert returned == claims[2:]
        assert threads.in_flight == claims[:2]
        assert threads.take_back(patience=0) == []
        gate.set()
        assert threads.wait(time.monotonic() + 10)
        wait_until(lambda: len(listener.events) == 2)
        assert begun == [made.identity.id for made in claims[:2]]

    def test_waiting_ends_at_the_deadline(
        self, threads: ThreadRunExecutor, register: Callable[..., None]
    ) -> None:
        gate = threading.Event()
        register(lambda: gate.wait(PATIENCE), "test.wait")
        threads.hand_over([claim("test.wait")])
        assert not threads.wait(time.monotonic() + 0.05)
        assert not threads.wait(time.monotonic() - 1)
        gate.set()
        assert threads.wait(time.monotonic() + 10)

    def test_the_event_is_apschedulers_and_carries_the_outcome(
        self, threads: ThreadRunExecutor, listener: Listener, register: Callable[..., None]
    ) -> None:
        register(lambda: {"a": 1}, "test.ok")
        made = claim("test.ok")
        threads.hand_over([made])
        outcome = listener.outcome(made.identity.id)
        [event] = listener.events
        assert event.code == EVENT_JOB_EXECUTED
        assert (event.job_id, event.jobstore) == (made.identity.job_id, "default")
        assert event.scheduled_run_time == made.identity.scheduled_at
        assert (event.run_id, event.retval) == (made.identity.id, '{"a": 1}')
        assert (event.started_at, event.duration) == (outcome.started_at, outcome.duration)
        assert outcome.state == "succeeded"

    def test_what_cannot_be_started_is_interrupted_not_forgotten(
        self, threads: ThreadRunExecutor, listener: Listener, register: Callable[..., None]
    ) -> None:
        register(lambda: None, "test.ok")
        threads.shutdown()
        outcome = run(threads, listener, "test.ok")
        assert outcome.state == "interrupted"
        assert outcome.error_message is not None
        assert "could not be started" in outcome.error_message
        assert threads.free == 2

    def test_a_listener_that_fails_frees_the_slot(
        self, threads: ThreadRunExecutor, listener: Listener, register: Callable[..., None]
    ) -> None:
        def fail(_event: Any) -> None:
            raise SystemExit

        register(lambda: None, "test.ok")
        threads._scheduler.add_listener(fail)
        run(threads, listener, "test.ok")
        wait_until(lambda: threads.free == 2)

    def test_a_run_that_is_asked_to_end_is_cancelled(
        self, threads: ThreadRunExecutor, listener: Listener, register: Callable[..., None]
    ) -> None:
        begun = threading.Event()

        def patient() -> None:
            begun.set()
            wait_until(lambda: current_run().cancelled)

        register(patient, "test.patient")
        made = claim("test.patient")
        threads.hand_over([made])
        assert begun.wait(PATIENCE)
        threads.cancel()
        assert listener.outcome(made.identity.id).state == "cancelled"

    def test_started_again_it_takes_runs_again(
        self, threads: ThreadRunExecutor, listener: Listener, register: Callable[..., None]
    ) -> None:
        def look() -> bool:
            return current_run().cancelled

        register(look, "test.look")
        threads.cancel()
        threads.shutdown()
        begin(threads, listener)
        assert run(threads, listener, "test.look").result == "false"

    def test_what_runs_say_is_kept_apart(
        self, threads: ThreadRunExecutor, listener: Listener, register: Callable[..., None]
    ) -> None:
        together = threading.Barrier(2)

        def talk(name: str) -> None:
            for number in range(50):
                together.wait(PATIENCE)
                print(name, number)  # noqa: T201

        register(talk, "test.talk")
        claims = [claim("test.talk", name=name) for name in "ab"]
        with capturing():
            threads.hand_over(claims)
            for made in claims:
                assert listener.outcome(made.identity.id).state == "succeeded"
        for made, name in zip(claims, "ab", strict=True):
            expected = [f"{name} {number}" for number in range(50)]
            assert listener.lines(made.identity.id) == expected


@pytest.fixture(scope="module")
def task_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("tasks") / "process_tasks.py"
    file.write_text(TASKS)
    return file


@pytest.fixture(scope="module")
def kept(task_file: Path) -> Iterator[tuple[ProcessRunExecutor, Listener]]:
    """One pool of one worker for all tests that leave it alive: starting one takes a second."""
    listener = Listener()
    settings = load_settings(data=task_file.parent, tasks=[str(task_file)])
    assert load_task_modules(settings.tasks) == []
    executor = ProcessRunExecutor(1, settings, listener)
    begin(executor, listener)
    yield executor, listener
    executor.shutdown(wait=True)


class TestProcesses:
    def test_a_run_happens_in_another_process(
        self, kept: tuple[ProcessRunExecutor, Listener]
    ) -> None:
        outcome = run(*kept, "file.add", a=2)
        assert (outcome.state, outcome.result) == ("succeeded", "3")
        pid = run(*kept, "file.talk").result
        assert pid is not None
        assert int(pid) != os.getpid()

    def test_a_result_that_cannot_be_pickled_arrives_as_text(
        self, kept: tuple[ProcessRunExecutor, Listener]
    ) -> None:
        outcome = run(*kept, "file.unpicklable")
        assert (outcome.state, outcome.result) == ("succeeded", "an unpicklable thing")

    def test_an_exception_that_cannot_be_unpickled_arrives_as_text(
        self, kept: tuple[ProcessRunExecutor, Listener]
    ) -> None:
        outcome = run(*kept, "file.two_arguments")
        assert outcome.state == "failed"
        assert outcome.error_type is not None
        assert outcome.error_type.endswith("TwoArguments")
        assert outcome.error_message == "first"
        assert outcome.traceback is not None
        assert "in two_arguments" in outcome.traceback
        assert run(*kept, "file.add", a=1).state == "succeeded"

    @pytest.mark.parametrize("name", ["SystemExit", "KeyboardInterrupt"])
    def test_nothing_a_task_raises_ends_its_worker(
        self, kept: tuple[ProcessRunExecutor, Listener], name: str
    ) -> None:
        before = run(*kept, "file.talk").result
        assert run(*kept, "file.base", name=name).state == "failed"
        assert run(*kept, "file.talk").result == before

    def test_lines_steps_and_progress_arrive(
        self, kept: tuple[ProcessRunExecutor, Listener]
    ) -> None:
        executor, listener = kept
        made = claim("file.talk", lines=2000)
        executor.hand_over([made])
        listener.outcome(made.identity.id)
        number = made.identity.id
        wait_until(lambda: len(listener.lines(number)) == 2001)
        assert listener.lines(number)[0] == "line 0"
        assert listener.lines(number)[-1] == "careful"
        others = [r for r in listener.records if r.run_id == number and not isinstance(r, LogLine)]
        assert [type(record) for record in others] == [ProgressChange, StepChange, StepChange]

    def test_parameters_that_no_longer_fit_fail_the_run(
        self, kept: tuple[ProcessRunExecutor, Listener]
    ) -> None:
        outcome = run(*kept, "file.add", a="x", c=1)
        assert outcome.state == "failed"
        assert run(*kept, "no.such.task").state == "failed"

    def test_ctrl_c_in_the_terminal_is_the_parents_business(
        self, kept: tuple[ProcessRunExecutor, Listener]
    ) -> None:
        pid = run(*kept, "file.talk").result
        assert pid is not None
        os.kill(int(pid), signal.SIGINT)
        assert run(*kept, "file.talk").result == pid

    @pytest.mark.parametrize("task", ["file.die", "file.leave"])
    def test_a_worker_that_dies_interrupts_its_run_and_is_replaced(
        self, kept: tuple[ProcessRunExecutor, Listener], task: str
    ) -> None:
        executor, listener = kept
        outcome = run(executor, listener, task)
        assert outcome.state == "interrupted"
        assert outcome.error_message is not None
        assert "worker process died" in outcome.error_message
        wait_until(lambda: executor.free == 1)
        assert run(executor, listener, "file.add", a=1).state == "succeeded"
        made = claim("file.talk")
        executor.hand_over([made])
        listener.outcome(made.identity.id)
        wait_until(lambda: len(listener.lines(made.identity.id)) == 4)

    def test_plain_apscheduler_jobs_are_refused(
        self, kept: tuple[ProcessRunExecutor, Listener]
    ) -> None:
        executor, _ = kept
        job = BackgroundScheduler().add_job(print)
        with pytest.raises(TypeError, match="not a job of the dashboard"):
            executor._do_submit_job(job, [datetime.now(UTC)])


class TestStoppingProcesses:
    def test_everything_said_has_arrived_and_no_process_is_left(
        self, task_file: Path, listener: Listener, tmp_path: Path
    ) -> None:
        settings = load_settings(data=tmp_path, tasks=[str(task_file)])
        executor = ProcessRunExecutor(1, settings, listener)
        begin(executor, listener)
        made = claim("file.talk", lines=3000)
        executor.hand_over([made])
        pid = int(listener.outcome(made.identity.id).result or 0)
        executor.shutdown(wait=False)
        assert len(listener.lines(made.identity.id)) == 3001
        wait_until(lambda: not psutil.pid_exists(pid))
        begin(executor, listener)
        assert run(executor, listener, "file.add", a=4).result == "5"
        begun = tmp_path / "begun"
        made = claim("file.sleep", begun=str(begun))
        executor.hand_over([made])
        wait_until(lambda: begun.exists() and begun.read_text())
        executor.cancel()
        assert listener.outcome(made.identity.id).state == "interrupted"
        executor.shutdown(wait=False)
        wait_until(lambda: not psutil.pid_exists(int(begun.read_text())))

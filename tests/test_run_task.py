from __future__ import annotations

import asyncio
import pickle
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dashboard import tasks
from dashboard.runcontext import (
    Outcome,
    Record,
    RunIdentity,
    current_run,
    run_task,
)
from dashboard.tasks import FinishJob, PauseJob, task
from tests.factories import PATIENCE
from tests.sinks import MIDNIGHT, Sink

if TYPE_CHECKING:
    from collections.abc import Callable

IDENTITY = RunIdentity(id=7, job_id="nightly", scheduled_at=MIDNIGHT, attempt=2)


class BrokenSink:
    def emit(self, record: Record) -> None:
        raise OSError(f"no way to keep {record}")


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture(autouse=True)
def no_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_registry", {})


def outcome_of(function: Callable[..., Any], sink: Any = None, **options: Any) -> Outcome:
    """Run a function as a task, with nothing lost when its outcome travels between processes."""
    tasks._registry.clear()
    task(name="it")(function)
    outcome = run_task("it", {}, IDENTITY, sink or Sink(), **options)
    again = pickle.loads(pickle.dumps(outcome))
    assert again == outcome
    return outcome


# -- how a run ends ----------------------------------------------------------------------------


def test_a_task_that_returns_has_succeeded() -> None:
    before = datetime.now(UTC)
    outcome = outcome_of(lambda: time.sleep(0.02))
    assert (outcome.run_id, outcome.state, outcome.result) == (7, "succeeded", None)
    assert outcome.error_type is outcome.error_message is outcome.traceback is None
    assert before <= outcome.started_at <= outcome.finished_at <= datetime.now(UTC)
    assert outcome.started_at.tzinfo is UTC
    assert outcome.duration is not None
    assert 0.02 <= outcome.duration < PATIENCE
    assert outcome.finished_at - outcome.started_at == timedelta(seconds=outcome.duration)


class Hostile:
    def __repr__(self) -> str:
        raise OSError("no repr")

    __str__ = __repr__


class Named(str):
    __slots__ = ()


LOOP: list[Any] = []
LOOP.append(LOOP)


RESULTS: dict[str, tuple[Any, str | None]] = {
    "nothing": (None, None),
    "text": ("text", "text"),
    "own kind of text": (Named("text"), "text"),
    "no text": ("", ""),
    "number": (5, "5"),
    "truth": (True, "true"),
    "nan": (float("nan"), "NaN"),
    "json": ({"rows": 5, "new": [1, "ä"]}, '{"rows": 5, "new": [1, "ä"]}'),
    "almost json": ([MIDNIGHT], '["2026-03-29 00:00:00+00:00"]'),
    "odd keys": ({(1, 2): 3}, "{(1, 2): 3}"),
    "circle": (LOOP, "[[...]]"),
    "object": (timedelta(1), "datetime.timedelta(days=1)"),
    "hostile": (Hostile(), "<Hostile: repr failed: OSError: no repr>"),
    "hostile within": ([Hostile()], '["<Hostile: str failed: OSError>"]'),
    "NUL": ("a\0b", "a\\x00b"),
    "long": ("x" * 20_000, "x" * 16_384 + "… (3,616 characters cut)"),
}


@pytest.mark.parametrize(("value", "text"), RESULTS.values(), ids=list(RESULTS))
def test_any_result_becomes_text(value: Any, text: str | None) -> None:
    outcome = outcome_of(lambda: value)
    assert (outcome.state, outcome.result) == ("succeeded", text)
    assert type(outcome.result) in {str, type(None)}


def test_a_huge_result_costs_no_more_than_what_is_kept() -> None:
    said = []

    class Row:
        def __str__(self) -> str:
            said.append("row")
            return "row"

    outcome = outcome_of(lambda: [Row()] * 3_000_000)
    assert outcome.result is not None
    assert outcome.result.startswith('["row", "row"')
    assert outcome.result.endswith("… (cut)")
    assert len(outcome.result) < 17_000
    assert len(said) < 17_000


def test_a_task_that_raises_has_failed() -> None:
    def inner() -> None:
        raise ValueError("bad value 5")

    def failing() -> None:
        try:
            inner()
        except ValueError as error:
            raise RuntimeError("cannot go on") from error

    outcome = outcome_of(failing)
    assert (outcome.state, outcome.error_type, outcome.error_message) == (
        ("failed", "RuntimeError", "cannot go on")
    )
    assert outcome.result is None
    trace = outcome.traceback
    assert trace is not None
    assert "ValueError: bad value 5" in trace
    assert "direct cause of the following exception" in trace
    assert trace.endswith("RuntimeError: cannot go on\n")
    assert 'raise RuntimeError("cannot go on") from error' in trace
    assert "dashboard/" not in trace, "the dashboard's own frames tell the reader nothing"


def test_the_traceback_of_a_coroutine_begins_in_it() -> None:
    async def failing() -> None:
        await asyncio.sleep(0)
        raise ValueError("late")

    trace = outcome_of(failing).traceback
    assert trace is not None
    assert trace.splitlines()[1].lstrip().startswith(f'File "{__file__}"')


class OwnBase(BaseException):
    pass


class HostileError(Exception):
    def __str__(self) -> str:
        raise KeyError("no text")


class Unpicklable(Exception):
    def __init__(self) -> None:
        super().__init__("has a lock")
        self.lock = threading.Lock()


def raising(error: BaseException) -> Callable[[], None]:
    def function() -> None:
        raise error

    return function


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (KeyboardInterrupt(), "KeyboardInterrupt", ""),
        (OwnBase("own"), f"{__name__}.OwnBase", "own"),
        (GeneratorExit(), "GeneratorExit", ""),
        (SystemExit(3), "SystemExit", "The task exited with code 3."),
        (SystemExit("no disk"), "SystemExit", "no disk"),
        (HostileError(), f"{__name__}.HostileError", "<HostileError: str failed: KeyError>"),
        (Unpicklable(), f"{__name__}.Unpicklable", "has a lock"),
        (ExceptionGroup("a", [OSError(), OSError()]), "ExceptionGroup", "a (2 sub-exceptions)"),
        (ValueError("a\0b\udc80"), "ValueError", "a\\x00b\\udc80"),
        (asyncio.CancelledError(), "asyncio.exceptions.CancelledError", ""),
        (MemoryError(), "MemoryError", ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_whatever_is_raised_the_run_ends_as_failed(
    error: BaseException, kind: str, message: str
) -> None:
    outcome = outcome_of(raising(error))
    assert (outcome.state, outcome.error_type, outcome.error_message) == ("failed", kind, message)
    assert outcome.traceback is not None
    assert kind in outcome.traceback
    assert outcome.fingerprint is not None
    assert len(outcome.fingerprint) == 16


@pytest.mark.parametrize("code", [None, 0])
def test_leaving_by_sys_exit_without_a_code_is_success(code: int | None) -> None:
    outcome = outcome_of(lambda: sys.exit(code))
    assert (outcome.state, outcome.error_type) == ("succeeded", None)


def test_endless_recursion_is_a_failure_like_any_other() -> None:
    def down(n: int) -> int:
        return up(n + 1)

    def up(n: int) -> int:
        return down(n + 1)

    outcome = outcome_of(lambda: down(0))
    assert outcome.error_type == "RecursionError"
    assert outcome.traceback is not None
    assert len(outcome.traceback) <= 64 * 1024 + 100
    assert outcome.traceback.startswith("Traceback")
    assert "characters cut)" in outcome.traceback
    assert "maximum recursion depth exceeded" in outcome.traceback.splitlines()[-1]


def test_an_unknown_task_fails_the_run() -> None:
    outcome = run_task("gone", {}, IDENTITY, Sink())
    assert (outcome.state, outcome.error_type) == ("failed", "dashboard.tasks.UnknownTask")
    assert outcome.error_message is not None
    assert outcome.error_message.startswith("There is no task “gone”.")


def test_parameters_that_do_not_fit_fail_the_run() -> None:
    def function(day: int) -> None: ...

    outcome = outcome_of(function)
    assert outcome.error_type == "dashboard.errors.Invalid"
    assert outcome.error_message == "parameters.day: This is required."


def test_a_task_can_pause_or_finish_its_job() -> None:
    paused = outcome_of(raising(PauseJob("disk is full")))
    assert (paused.state, paused.pause_reason, paused.finish_reason) == (
        ("succeeded", "disk is full", None)
    )
    finished = outcome_of(raising(FinishJob("all verified")))
    assert (finished.state, finished.pause_reason, finished.finish_reason) == (
        ("succeeded", None, "all verified")
    )
    assert paused.error_type is finished.error_type is None


def test_a_pause_because_of_an_error_is_a_failure_by_that_error() -> None:
    def connect() -> None:
        raise ConnectionError("refused")

    def failing() -> None:
        try:
            connect()
        except ConnectionError as error:
            raise PauseJob("the server is down") from error

    outcome = outcome_of(failing)
    assert (outcome.state, outcome.pause_reason) == ("failed", "the server is down")
    assert (outcome.error_type, outcome.error_message) == ("ConnectionError", "refused")
    assert outcome.traceback is not None
    assert 'raise ConnectionError("refused")' in outcome.traceback


def test_a_broken_sink_does_not_break_the_task() -> None:
    def talk() -> str:
        run = current_run()
        run.log("lost")
        run.progress(1)
        with run.step("lost"):
            return "done"

    outcome = outcome_of(talk, BrokenSink())
    assert (outcome.state, outcome.result) == ("succeeded", "done")


# -- cancelling --------------------------------------------------------------------------------


def test_a_task_that_notices_is_cancelled() -> None:
    event = threading.Event()
    started = threading.Event()

    def patient() -> str:
        started.set()
        while not current_run().cancelled:
            time.sleep(0.001)
        return "stopped in order"

    task(name="it")(patient)
    outcomes: list[Outcome] = []
    thread = threading.Thread(
        target=lambda: outcomes.append(run_task("it", {}, IDENTITY, Sink(), cancellation=event))
    )
    thread.start()
    started.wait()
    event.set()
    thread.join()
    assert [(one.state, one.result) for one in outcomes] == [("cancelled", "stopped in order")]


def test_a_task_that_raises_after_it_was_asked_to_stop_is_cancelled() -> None:
    def function() -> None:
        current_run().cancel()
        raise ConnectionAbortedError("closed under it")

    outcome = outcome_of(function)
    assert (outcome.state, outcome.error_type) == ("cancelled", "ConnectionAbortedError")


def test_a_task_that_never_looked_and_returned_has_succeeded() -> None:
    outcome = outcome_of(lambda: current_run().cancel())
    assert outcome.state == "succeeded"


# -- fingerprints ------------------------------------------------------------------------------


def fail_with(message: str) -> None:
    raise ValueError(message)


def fail_elsewhere(message: str) -> None:
    raise ValueError(message)


def fingerprint(message: str, function: Callable[[str], None] = fail_with) -> str | None:
    return outcome_of(lambda: function(message)).fingerprint


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("row 5 of 10", "row 17 of 23"),
        ("no user 'anna'", "no user 'bert'"),
        ('no user "anna"', 'no user "bert"'),
        ("object at 0x7f00", "object at 0x8a11"),
        ("id 123e4567-e89b-12d3-a456-426614174000", "id 00000000-e89b-12d3-a456-426614174000"),
        ("commit 3f2a9c1d00 is bad", "commit 99aaccee11 is bad"),
        ("took 1.5 s at 10:30:00", "took 22 s at 11:31"),
        ("cannot read /tmp/a-b/x.csv", "cannot read /var/lib/y.json"),
        (r"cannot read C:\tmp\x", r"cannot read D:\data\y.txt"),
        ("no answer of http://a.example/x?y=z", "no answer of https://b.example:80/"),
        ("mail to ann@a.example bounced", "mail to bob.b@b.example bounced"),
        ("key `a b` is missing", "key `c` is missing"),
        ("order A7K-9x is unknown", "order 1bb-C is unknown"),
        ("object deadbeef", "object cafebabefeed"),
        ("in 1.5e-05 s at 12:03:04,123", "in 7 s at 23:59:59,9"),
    ],
)
def test_the_same_error_with_other_values_has_the_same_fingerprint(one: str, other: str) -> None:
    assert fingerprint(one) == fingerprint(other)


def test_another_message_place_or_type_has_another_fingerprint() -> None:
    prints = {
        fingerprint("no such user"),
        fingerprint("no such group"),
        fingerprint("no such user", fail_elsewhere),
        outcome_of(raising(KeyError("no such user"))).fingerprint,
    }
    assert len(prints) == 4


def test_the_depth_of_a_recursion_does_not_change_the_fingerprint() -> None:
    def dive(depth: int) -> None:
        if depth:
            dive(depth - 1)
        raise ValueError("deep")

    assert outcome_of(lambda: dive(3)).fingerprint == outcome_of(lambda: dive(30)).fingerprint


def test_a_message_of_megabytes_is_fingerprinted_quickly() -> None:
    assert fingerprint("'" * 5_000_000)


# -- cost --------------------------------------------------------------------------------------


def test_a_trivial_task_costs_little() -> None:
    task(name="it")(lambda: None)
    sink = Sink()
    best = min(_seconds_for_a_thousand(sink) for _ in range(5))
    assert best < 0.2, "200 µs a run; it is some 20 µs on a quiet machine"


def _seconds_for_a_thousand(sink: Sink) -> float:
    start = time.thread_time()  # what this costs, not what others do meanwhile
    for _ in range(1000):
        run_task("it", {}, IDENTITY, sink)
    return time.thread_time() - start

from __future__ import annotations

import asyncio
import contextvars
import threading
from datetime import UTC
from typing import Any

import pytest

from dashboard.runcontext import (
    CurrentRun,
    Limits,
    LogDropped,
    LogLine,
    ProgressChange,
    Record,
    RunIdentity,
    StepChange,
    active_run,
    current_run,
    run_context,
)
from dashboard.tasks import FinishJob, PauseJob
from tests.sinks import MIDNIGHT, Sink

IDENTITY = RunIdentity(id=7, job_id="nightly", scheduled_at=MIDNIGHT, attempt=2)


class BrokenSink:
    def emit(self, record: Record) -> None:
        raise OSError(f"no way to keep {record}")


@pytest.fixture
def sink() -> Sink:
    return Sink()


# -- the current run ---------------------------------------------------------------------------


def test_there_is_no_current_run_outside_a_run() -> None:
    with pytest.raises(RuntimeError, match="only inside a task that the dashboard runs"):
        current_run()
    assert active_run() is None


def test_a_task_sees_its_run(sink: Sink) -> None:
    with run_context(IDENTITY, sink) as run:
        assert current_run() is run
        seen = (run.id, run.job_id, run.scheduled_at, run.attempt, run.settings, run.cancelled)
    assert seen == (7, "nightly", MIDNIGHT, 2, None, False)
    assert active_run() is None


def test_the_run_is_left_also_by_an_exception(sink: Sink) -> None:
    with pytest.raises(KeyError), run_context(IDENTITY, sink):
        raise KeyError
    assert active_run() is None


def test_threads_belong_to_a_run_when_started_in_its_context(sink: Sink) -> None:
    seen: list[CurrentRun | None] = []

    def look() -> None:
        seen.append(active_run())

    with run_context(IDENTITY, sink) as run:
        inside = threading.Thread(target=contextvars.copy_context().run, args=[look])
        outside = threading.Thread(target=look)
        for thread in (inside, outside):
            thread.start()
            thread.join()
    assert seen == [run, None]


def test_coroutines_and_their_threads_belong_to_the_run(sink: Sink) -> None:
    async def main() -> list[int]:
        return [
            *await asyncio.gather(asyncio.to_thread(lambda: current_run().id), inner()),
            current_run().id,
        ]

    async def inner() -> int:
        return current_run().id

    with run_context(IDENTITY, sink):
        assert asyncio.run(main()) == [7, 7, 7]


# -- log, steps, progress ----------------------------------------------------------------------


def test_a_task_writes_to_its_log(sink: Sink) -> None:
    with run_context(IDENTITY, sink) as run:
        run.log("begins")
        run.log(ValueError("odd"), level="warning")
    first, second = sink.of(LogLine)
    assert (first.run_id, first.seq, first.level, first.logger, first.text) == (
        (7, 1, "INFO", "task", "begins")
    )
    assert (second.seq, second.level, second.text) == (2, "WARNING", "odd")
    assert first.at.tzinfo is UTC


def test_steps_are_recorded_when_they_begin_and_when_they_end(sink: Sink) -> None:
    with run_context(IDENTITY, sink) as run:
        with run.step("outer"), run.step("inner"):
            assert [step.state for step in sink.of(StepChange)] == ["running", "running"]
        with pytest.raises(ValueError, match="no"), run.step("bad"):
            raise ValueError("no such account")
    changes = sink.of(StepChange)
    assert [(step.index, step.name, step.state, step.error) for step in changes] == [
        (1, "outer", "running", None),
        (2, "inner", "running", None),
        (2, "inner", "succeeded", None),
        (1, "outer", "succeeded", None),
        (3, "bad", "running", None),
        (3, "bad", "failed", "ValueError: no such account"),
    ]
    assert changes[0].finished_at is None
    assert changes[3].finished_at is not None
    assert changes[3].started_at == changes[0].started_at <= changes[3].finished_at


@pytest.mark.parametrize(
    ("request_", "state"), [(FinishJob("done"), "succeeded"), (PauseJob("wait"), "succeeded")]
)
def test_ending_on_purpose_inside_a_step_is_no_failure(
    sink: Sink, request_: Exception, state: str
) -> None:
    with (
        run_context(IDENTITY, sink) as run,
        pytest.raises(type(request_)),
        run.step("last"),
    ):
        raise request_
    assert sink.of(StepChange)[-1].state == state


def test_pausing_because_of_an_error_fails_the_step(sink: Sink) -> None:
    with run_context(IDENTITY, sink) as run, pytest.raises(PauseJob), run.step("last"):
        raise PauseJob("wait") from ValueError("why")
    assert sink.of(StepChange)[-1].state == "failed"


def test_steps_are_bounded_in_number_and_name(sink: Sink) -> None:
    with run_context(IDENTITY, sink, limits=Limits(steps=2)) as run:
        done = 0
        for _ in range(5):
            with run.step("x" * 1000):
                done += 1
    assert done == 5
    assert [step.index for step in sink.of(StepChange)] == [1, 1, 2, 2]
    assert len(sink.of(StepChange)[0].name) < 250


def test_the_first_and_the_last_progress_are_recorded_and_few_in_between(sink: Sink) -> None:
    with run_context(IDENTITY, sink) as run:
        for done in range(10_001):
            run.progress(done, 10_000, f"row {done}")
    changes = sink.of(ProgressChange)
    assert (changes[0].done, changes[0].total, changes[0].text) == (0, 10_000, "row 0")
    assert (changes[-1].done, changes[-1].text) == (10_000, "row 10000")
    assert len(changes) < 20


def test_a_later_progress_is_recorded_at_once_when_the_last_was_long_ago(sink: Sink) -> None:
    with run_context(IDENTITY, sink, limits=Limits(progress_seconds=0)) as run:
        run.progress(1)
        run.progress(2)
        assert [(change.done, change.total) for change in sink.of(ProgressChange)] == [
            (1, None),
            (2, None),
        ]
    assert len(sink.of(ProgressChange)) == 2


@pytest.mark.parametrize(
    ("done", "total", "error"),
    [(float("nan"), None, ValueError), (1, float("inf"), ValueError), ("1", None, TypeError)],
)
def test_progress_is_told_in_numbers(
    sink: Sink, done: Any, total: Any, error: type[Exception]
) -> None:
    with run_context(IDENTITY, sink) as run, pytest.raises(error):
        run.progress(done, total)
    assert sink.records == []


# -- limits of the log -------------------------------------------------------------------------


def test_a_long_line_is_cut_and_says_so(sink: Sink) -> None:
    with run_context(IDENTITY, sink) as run:
        run.log("x" * 10_000)
        run.log("ä" * 8192)
    first, second = sink.texts()
    assert first == "x" * 8192 + "… (1,808 characters cut)"
    assert second == "ä" * 4096 + "… (4,096 characters cut)"


def test_lines_beyond_the_limit_are_counted_and_reported_as_they_double(sink: Sink) -> None:
    with run_context(IDENTITY, sink) as run:
        for number in range(10_050):
            run.log(number)
    assert len(sink.texts()) == 10_000
    assert sink.records[-1] == LogDropped(run_id=7, count=50)
    assert [drop.count for drop in sink.of(LogDropped)] == [1, 2, 4, 8, 16, 32, 50]


def test_bytes_beyond_the_limit_are_counted_likewise(sink: Sink) -> None:
    with run_context(IDENTITY, sink) as run:
        for _ in range(300):
            run.log("ä" * 4096)
        run.log("short")
    assert len(sink.texts()) == 256
    assert sink.records[-1] == LogDropped(7, 45)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("a\0b", "a\\x00b"),
        ("bell \a", "bell \\x07"),
        ("lone \udc80 and \ud800", "lone \\udc80 and \\ud800"),
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07text", "red text"),
        ("tab\tand\nline\r\nend", "tab\tand\nline\nend"),
        ("no-break\xa0space, ünï ✓ 😀", "no-break\xa0space, ünï ✓ 😀"),
        ("c1 \x85\x9f", "c1 \\x85\\x9f"),
    ],
)
def test_every_text_is_made_fit_to_be_stored(sink: Sink, written: str, kept: str) -> None:
    with run_context(IDENTITY, sink) as run:
        run.log(written)
    assert sink.texts() == [kept]
    assert "\0" not in sink.texts()[0].encode().decode()


def test_a_sink_that_writes_to_the_log_itself_does_not_go_on_for_ever(sink: Sink) -> None:
    class Echo:
        def emit(self, record: Record) -> None:
            sink.emit(record)
            current_run().log("echo")

    with run_context(IDENTITY, Echo()) as run:
        run.log("once")
    assert sink.texts() == ["once"]

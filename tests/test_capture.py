# ruff: noqa: T201 - print is what is tested here
from __future__ import annotations

import asyncio
import contextvars
import io
import logging
import logging.config
import sys
import threading
import time
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from dashboard.capture import capturing, install_capture, uninstall_capture
from dashboard.runcontext import (
    Limits,
    LogDropped,
    active_run,
)
from tests.factories import PATIENCE
from tests.sinks import Sink
from tests.terminals import in_a_terminal, running


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def console() -> io.StringIO:
    """What would have reached the terminal, of both streams."""
    return io.StringIO()


# -- streams -----------------------------------------------------------------------------------


@in_a_terminal
def test_printed_lines_become_log_lines(sink: Sink, console: io.StringIO) -> None:
    with running(sink):
        print("one")
        print("two\nthree", end="")
        print(" and more")
        print()
        print("to stderr", file=sys.stderr)
        print("no end of line", end="")
        assert len(sink.lines()) == 5
    assert sink.told() == [
        ("INFO", "stdout", "one"),
        ("INFO", "stdout", "two"),
        ("INFO", "stdout", "three and more"),
        ("INFO", "stdout", ""),
        ("WARNING", "stderr", "to stderr"),
        ("INFO", "stdout", "no end of line"),
    ]
    assert [line.seq for line in sink.lines()] == [1, 2, 3, 4, 5, 6]
    assert console.getvalue() == ""


@in_a_terminal
def test_output_outside_a_run_passes_untouched(sink: Sink, console: io.StringIO) -> None:
    print("before")
    with running(sink):
        print("within")
    print("after", file=sys.stderr, flush=True)
    sys.stdout.writelines(["a", "b"])
    assert console.getvalue() == "before\nafter\nab"
    assert sink.texts() == ["within"]


@in_a_terminal
def test_the_streams_are_the_originals_in_everything_but_writing(
    monkeypatch: pytest.MonkeyPatch, sink: Sink
) -> None:
    uninstall_capture()
    monkeypatch.setattr(sys, "stdout", sys.__stdout__)
    original = sys.stdout
    with capturing():
        assert sys.stdout is not original
        assert sys.stdout.encoding == original.encoding
        assert sys.stdout.buffer is original.buffer
        assert sys.stdout.fileno() == original.fileno()
        assert sys.stdout.isatty() == original.isatty()
        with running(sink):
            assert not sys.stdout.isatty()
    assert sys.stdout is original


@in_a_terminal
def test_writing_something_else_than_text_is_the_tasks_error(sink: Sink) -> None:
    with running(sink), pytest.raises(TypeError, match="must be str, not bytes"):
        sys.stdout.write(b"bytes")  # type: ignore[arg-type]
    assert sink.records == []


@in_a_terminal
def test_write_returns_the_number_of_characters(sink: Sink) -> None:
    with running(sink):
        assert sys.stdout.write("four") == 4


@pytest.mark.parametrize(
    ("written", "lines"),
    [
        (["10 %\r20 %\r30 %\n"], ["30 %"]),
        (["\r10 %", "\r20 %", "\r30 %", "\n"], ["30 %"]),
        (["10 %\r", "20 %\r", "done\r\n"], ["done"]),
        (["windows\r\n", "line\r\n"], ["windows", "line"]),
        (["abc\r"], ["abc"]),
        (["abc", "\r", "\n"], ["abc"]),
        (["\r\r\r"], []),
        (["a\rb\nc\rd\n"], ["b", "d"]),
    ],
)
@in_a_terminal
def test_a_line_that_is_drawn_again_is_kept_once_in_its_last_state(
    sink: Sink, written: list[str], lines: list[str]
) -> None:
    with running(sink):
        for text in written:
            sys.stdout.write(text)
    assert sink.texts() == lines


@pytest.mark.parametrize("pieces", [[5_000_000], [1] * 200_000, [1000] * 5000])
@in_a_terminal
def test_a_huge_line_without_end_is_kept_small(sink: Sink, pieces: list[int]) -> None:
    start = time.perf_counter()
    with running(sink):
        for length in pieces:
            sys.stdout.write("x" * length)
    assert sink.texts() == ["x" * 8192 + f"… ({sum(pieces) - 8192:,} characters cut)"]
    assert time.perf_counter() - start < PATIENCE


@in_a_terminal
def test_millions_of_short_lines_at_once_are_counted_quickly(sink: Sink) -> None:
    start = time.perf_counter()
    with running(sink):
        sys.stdout.write("\n" * 5_000_000 + "rest")
    assert len(sink.lines()) == 10_000
    assert sink.records[-1] == LogDropped(1, 4_990_001)
    assert time.perf_counter() - start < PATIENCE


@in_a_terminal
def test_a_progress_bar_of_megabytes_is_kept_small(sink: Sink) -> None:
    with running(sink):
        sys.stdout.write("".join(f"\r{number}" for number in range(500_000)))
    assert sink.texts() == ["499999"]


@in_a_terminal
def test_text_that_cannot_be_encoded_is_captured(sink: Sink) -> None:
    with running(sink):
        print("lone \udc80, NUL \0, \x1b[1mbold\x1b[0m")
    assert sink.texts() == ["lone \\udc80, NUL \\x00, bold"]


# -- threads and coroutines --------------------------------------------------------------------


@in_a_terminal
def test_runs_in_threads_are_kept_apart(sink: Sink, console: io.StringIO) -> None:
    together = threading.Barrier(8)

    def talk(run_id: int) -> None:
        with running(sink, run_id):
            together.wait()
            for number in range(200):
                print("run", run_id, "line", number)
                logging.getLogger("talk").warning("%d/%d", run_id, number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(talk, range(1, 9)))
    for run_id in range(1, 9):
        assert sorted(sink.texts(run_id)) == sorted(
            [f"run {run_id} line {number}" for number in range(200)]
            + [f"{run_id}/{number}" for number in range(200)]
        )
        assert [line.seq for line in sink.lines(run_id)] == list(range(1, 401))
    assert console.getvalue() == ""


@in_a_terminal
def test_coroutines_and_their_threads_are_attributed(sink: Sink) -> None:
    async def say(text: str) -> None:
        for number in range(3):
            print(text, number)
            await asyncio.sleep(0)
        await asyncio.to_thread(print, text, "thread")

    async def main() -> None:
        await asyncio.gather(say("a"), say("b"))

    with running(sink):
        asyncio.run(main())
    assert sorted(sink.texts()) == [
        "a 0", "a 1", "a 2", "a thread", "b 0", "b 1", "b 2", "b thread",
    ]  # fmt: skip


@in_a_terminal
def test_two_runs_in_one_event_loop_are_kept_apart(sink: Sink) -> None:
    async def run(run_id: int) -> None:
        with running(sink, run_id):
            for _ in range(3):
                print("run", run_id)
                await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(run(1), run(2))

    asyncio.run(main())
    assert sink.texts(1) == ["run 1"] * 3
    assert sink.texts(2) == ["run 2"] * 3


@in_a_terminal
def test_threads_of_a_task_are_attributed_when_they_carry_its_context(
    sink: Sink, console: io.StringIO
) -> None:
    with running(sink):
        for thread in (
            threading.Thread(target=contextvars.copy_context().run, args=[print, "with"]),
            threading.Thread(target=print, args=["without"]),
        ):
            thread.start()
            thread.join()
    assert sink.texts() == ["with"]
    assert console.getvalue() == "without\n"


@in_a_terminal
def test_what_is_printed_after_the_run_ended_goes_to_the_console(
    sink: Sink, console: io.StringIO
) -> None:
    over = threading.Event()

    def straggler() -> None:
        over.wait()
        print("late")

    with running(sink):
        thread = threading.Thread(target=contextvars.copy_context().run, args=[straggler])
        thread.start()
    over.set()
    thread.join()
    assert sink.records == []
    assert console.getvalue() == "late\n"


# -- installing --------------------------------------------------------------------------------


@in_a_terminal
def test_installing_twice_changes_nothing() -> None:
    before = (sys.stdout, sys.stderr, logging.getLogRecordFactory(), warnings.showwarning)
    install_capture()
    assert (
        sys.stdout,
        sys.stderr,
        logging.getLogRecordFactory(),
        warnings.showwarning,
    ) == before


@in_a_terminal
def test_uninstalling_puts_everything_back_and_can_be_repeated(console: io.StringIO) -> None:
    uninstall_capture()
    uninstall_capture()
    assert sys.stdout is sys.stderr is console
    assert logging.getLogRecordFactory() is logging.LogRecord


@in_a_terminal
def test_a_stream_somebody_else_has_replaced_is_left_alone(sink: Sink) -> None:
    other = io.StringIO()
    sys.stdout = other
    with running(sink):
        print("theirs")
    uninstall_capture()
    assert sys.stdout is other
    assert other.getvalue() == "theirs\n"


@in_a_terminal
def test_a_program_without_streams_can_be_captured(
    monkeypatch: pytest.MonkeyPatch, sink: Sink
) -> None:
    uninstall_capture()
    monkeypatch.setattr(sys, "stdout", None)
    with capturing(), running(sink):
        print("nowhere")
        traceback.print_stack(file=sys.stderr)
    assert sys.stdout is None
    assert all(line.logger == "stderr" for line in sink.lines())


@in_a_terminal
def test_limits_hold_for_output_of_every_kind_together(sink: Sink) -> None:
    with running(sink, limits=Limits(lines=3)):
        print("one")
        logging.getLogger("task").warning("two")
        print("three\nfour")
        print("five", end="")
    assert sink.texts() == ["one", "two", "three"]
    assert sink.records[-1] == LogDropped(1, 2)
    assert active_run() is None

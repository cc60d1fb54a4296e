# ruff: noqa: T201 - print is what is tested here
from __future__ import annotations

import io
import logging
import logging.config
import pickle
import sys
import warnings
from typing import TYPE_CHECKING

import pytest

from dashboard.capture import capturing, uninstall_capture
from tests.sinks import Sink
from tests.terminals import in_a_terminal, running

if TYPE_CHECKING:
    from dashboard.runcontext import (
        Record,
    )


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def console() -> io.StringIO:
    """What would have reached the terminal, of both streams."""
    return io.StringIO()


# -- logging -----------------------------------------------------------------------------------


@in_a_terminal
def test_log_records_become_log_lines(sink: Sink) -> None:
    with running(sink):
        logging.getLogger("shop.orders").info("order %d of %s", 5, "anna")
        logging.getLogger("shop").error("broken")
        logging.warning("root")  # noqa: LOG015 - what many a task does
    assert sink.told() == [
        ("INFO", "shop.orders", "order 5 of anna"),
        ("ERROR", "shop", "broken"),
        ("WARNING", "root", "root"),
    ]


@in_a_terminal
def test_an_exception_is_logged_with_its_traceback(sink: Sink) -> None:
    with running(sink):
        try:
            raise ValueError("bad")  # noqa: TRY301
        except ValueError:
            logging.getLogger("shop").exception("could not")
    [line] = sink.lines()
    assert line.text.startswith("could not\nTraceback (most recent call last):\n")
    assert line.text.endswith("ValueError: bad")


@in_a_terminal
def test_the_stack_is_logged_when_asked_for(sink: Sink) -> None:
    with running(sink):
        logging.getLogger("shop").info("here", stack_info=True)
    assert "here\nStack (most recent call last):" in sink.texts()[0]


class Hostile:
    def __str__(self) -> str:
        raise OSError("no text")

    __repr__ = __str__


class HostileError(Exception):
    def __str__(self) -> str:
        raise OSError("no text")


@in_a_terminal
def test_a_bad_log_call_does_not_end_the_task(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    log = logging.getLogger("shop.bad")
    monkeypatch.setattr(log, "propagate", False)  # pytest's own handlers are strict
    with running(sink):
        log.info("%d items", "many")
        log.info("%s", Hostile())
        log.info(Hostile())
        log.info("too few %s %s", *[1])
        try:
            raise HostileError  # noqa: TRY301
        except HostileError:
            log.exception("odd")
    texts = sink.texts()
    assert texts[0].startswith("%d items ('many',) (cannot be formatted: TypeError")
    assert len(texts) == 5
    assert "odd" in texts[4]


@in_a_terminal
def test_a_record_written_to_the_console_is_not_captured_twice(
    sink: Sink, console: io.StringIO
) -> None:
    handler = logging.StreamHandler(sys.stderr)
    logger = logging.getLogger("shop.console")
    logger.addHandler(handler)
    try:
        with running(sink):
            logger.warning("once")
    finally:
        logger.removeHandler(handler)
    assert sink.texts() == ["once"]
    assert console.getvalue() == "once\n"


@in_a_terminal
def test_loggers_that_do_not_propagate_are_captured_too(
    sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger("shop.aloof")
    monkeypatch.setattr(logger, "propagate", False)
    with running(sink):
        logger.warning("heard")
    assert sink.texts() == ["heard"]


@in_a_terminal
def test_configuring_logging_later_keeps_the_capture(sink: Sink) -> None:
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, "loggers": {}})
    with running(sink):
        logging.getLogger("shop").warning("heard")
    assert sink.texts() == ["heard"]


@in_a_terminal
def test_an_unpickled_record_is_not_logged_again(sink: Sink) -> None:
    with running(sink):
        record = logging.makeLogRecord({"name": "far", "msg": "away"})
        assert pickle.loads(pickle.dumps(record)).msg == "away"
    assert sink.records == []


@in_a_terminal
def test_info_is_heard_where_logging_is_not_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    uninstall_capture()
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(logging.root, "level", logging.WARNING)
    with capturing():
        assert logging.root.level == logging.INFO
    assert logging.root.level == logging.WARNING
    logging.root.setLevel(logging.ERROR)
    with capturing():
        assert logging.root.level == logging.ERROR, "the host's choice stands"


@in_a_terminal
def test_a_sink_that_logs_and_prints_does_not_go_on_for_ever(sink: Sink) -> None:
    class Chatty:
        def emit(self, record: Record) -> None:
            sink.emit(record)
            print("kept", record)
            logging.getLogger("sink").warning("kept")
            warnings.warn("kept", stacklevel=1)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda *_arguments, **_keywords: None
        with running(Chatty()):
            print("one")
            logging.getLogger("task").warning("two")
    assert sink.texts() == ["one", "two"]


# -- warnings ----------------------------------------------------------------------------------


@in_a_terminal
def test_warnings_become_log_lines(sink: Sink) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        uninstall_capture()
        with capturing(), running(sink):
            warnings.warn("old way", DeprecationWarning, stacklevel=1)
    [line] = sink.lines()
    assert (line.level, line.logger) == ("WARNING", "py.warnings")
    assert line.text.startswith(f"DeprecationWarning: old way ({__file__}, line ")


@in_a_terminal
def test_warnings_outside_a_run_go_where_they_went(sink: Sink, console: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        uninstall_capture()
        shown: list[str] = []
        warnings.showwarning = lambda message, *_more: shown.append(str(message))
        with capturing():
            warnings.warn("for the console", stacklevel=1)
    assert shown == ["for the console"]
    assert sink.records == []
    assert console.getvalue() == ""

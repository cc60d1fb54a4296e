"""What a task prints, logs and warns about goes to its run's log; all else stays as it was.

Nothing is redirected per run: each write looks up the run of its own context, so that any number of
runs in threads and event loops are kept apart.
"""

from __future__ import annotations

import logging
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, cast

from dashboard.runcontext import active_run
from dashboard.texts import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_CONSOLE_WRITES_RECORD = logging.StreamHandler.emit.__code__
_FORMATTER = logging.Formatter()


class _RunStream:
    """Stands in for `sys.stdout` or `sys.stderr`; inside a run it writes to the run's log.

    Everything but writing is the original's. `sys.stdout.buffer` therefore bypasses the log, as do
    programs a task starts.
    """

    def __init__(self, name: str, original: TextIO) -> None:
        self._name = name
        self.original = original

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)

    def write(self, text: str) -> int:
        """Write to the log of the run this is called in, else to the original.

        A console handler of `logging` goes on to the console: the record is in the log already.
        """
        run = active_run()
        if run is None or sys._getframe(1).f_code is _CONSOLE_WRITES_RECORD:  # noqa: SLF001
            return self.original.write(text)
        if not isinstance(text, str):
            message = f"write() argument must be str, not {type(text).__name__}"
            raise TypeError(message)
        if not run.transcript.write(self._name, text):
            return self.original.write(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of the lines."""
        for line in lines:
            self.write(line)

    def isatty(self) -> bool:
        """Return False inside a run: progress bars and colours are for terminals."""
        return active_run() is None and self.original.isatty()


class _RecordFactory:
    """Makes log records as before, and copies those made inside a run into its log.

    A handler on the root logger would do the same, but makes a later `logging.basicConfig()` of the
    host do nothing, is removed by `dictConfig`, misses loggers that do not propagate, and silences
    the handler of last resort.
    """

    def __init__(self, original: Callable[..., logging.LogRecord]) -> None:
        self.original = original
        self.lowered_level = False

    def __call__(self, *arguments: Any, **keywords: Any) -> logging.LogRecord:
        record = self.original(*arguments, **keywords)
        run = active_run()
        if run is not None and record.name is not None:  # None: a record about to be unpickled
            run.transcript.add(record.levelname, text_of(record.name), _formatted(record))
        return record


def _formatted(record: logging.LogRecord) -> str:
    """Return the message with its exception; arguments that do not fit it are shown after it."""
    try:
        text = record.getMessage()
    except Exception as error:  # noqa: BLE001 - a bad log call must not end the task
        problem = f"{type(error).__name__}: {text_of(error)}"
        text = f"{text_of(record.msg)} {text_of(record.args)} (cannot be formatted: {problem})"
    try:
        if record.exc_info and record.exc_info[0] is not None:
            text = f"{text}\n{_FORMATTER.formatException(record.exc_info)}"
    except Exception as error:  # noqa: BLE001 - as above
        text = f"{text}\n(the exception cannot be shown: {type(error).__name__})"
    return f"{text}\n{record.stack_info}" if record.stack_info else text


class _ShowWarning:
    """Writes a warning raised inside a run to its log, any other where it went before."""

    def __init__(self, original: Callable[..., None]) -> None:
        self.original = original

    def __call__(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        *more: Any,
        **keywords: Any,
    ) -> None:
        run = active_run()
        text = f"{category.__name__}: {text_of(message)} ({filename}, line {lineno})"
        if run is None or not run.transcript.add("WARNING", "py.warnings", text):
            self.original(message, category, filename, lineno, *more, **keywords)


def install_capture() -> None:
    """Begin to capture the output of runs; a second call changes nothing.

    Where logging is not configured at all, its level becomes INFO: nobody else listens, and
    `logging.info()` in a task is meant to be seen.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, _RunStream):
            setattr(sys, name, cast("TextIO", _RunStream(name, stream)))
    if not isinstance(logging.getLogRecordFactory(), _RecordFactory):
        factory = _RecordFactory(logging.getLogRecordFactory())
        if not logging.root.handlers and logging.root.level == logging.WARNING:
            logging.root.setLevel(logging.INFO)
            factory.lowered_level = True
        logging.setLogRecordFactory(factory)
    if not isinstance(warnings.showwarning, _ShowWarning):
        warnings.showwarning = _ShowWarning(warnings.showwarning)


def uninstall_capture() -> None:
    """Put back what `install_capture` replaced, where nobody else has replaced it since."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, _RunStream):
            setattr(sys, name, stream.original)
    factory = logging.getLogRecordFactory()
    if isinstance(factory, _RecordFactory):
        logging.setLogRecordFactory(factory.original)
        if factory.lowered_level and logging.root.level == logging.INFO:
            logging.root.setLevel(logging.WARNING)
    if isinstance(warnings.showwarning, _ShowWarning):
        warnings.showwarning = warnings.showwarning.original


@contextmanager
def capturing() -> Iterator[None]:
    """Capture the output of runs while the block lasts."""
    install_capture()
    try:
        yield
    finally:
        uninstall_capture()

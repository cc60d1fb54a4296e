"""The log of one run: pieces of output become lines, within the run's limits."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dashboard.records import Limits, LogDropped, LogLine, RunSink, deliver
from dashboard.texts import encoded_length, fitted, storable

if TYPE_CHECKING:
    from collections.abc import Callable

LEVEL_OF_STREAM = {"stdout": "INFO", "stderr": "WARNING"}
LONGEST_LEVEL = 16
LONGEST_LOGGER = 191


class _UnfinishedLine:
    """A line whose end was not written yet; keeps `limit` characters, counts the rest."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._clear()

    def _clear(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._cut = 0
        self._returned = False

    def append(self, piece: str) -> None:
        """Add to the line as a terminal would: text after a carriage return replaces what was.

        So a progress bar that redraws itself becomes one line, its last state.
        """
        text = piece.rstrip("\r")
        ends_returned = len(text) < len(piece)
        start = text.rfind("\r") + 1
        if text and (start or self._returned):
            self._clear()
        room = self._limit - self._length
        kept = text[start : start + room]
        if kept:
            self._parts.append(kept)
            self._length += len(kept)
        self._cut += len(text) - start - len(kept)
        self._returned = ends_returned or (self._returned and not text)

    def take(self) -> tuple[str, int]:
        """Return the line and how many characters of it were cut, and begin the next."""
        line = ("".join(self._parts), self._cut)
        self._clear()
        return line

    def __bool__(self) -> bool:
        return self._length > 0


class Transcript:
    """Collects a run's lines from any number of threads, numbered in the order they are emitted."""

    def __init__(self, run_id: int, sink: RunSink, limits: Limits) -> None:
        self._run_id = run_id
        self._sink = sink
        self._limits = limits
        self._lock = threading.RLock()
        self._unfinished: dict[str, _UnfinishedLine] = {}
        self._lines = 0
        self._bytes = 0
        self._dropped = 0
        self._full = False
        self._busy = False
        self._closed = False

    def write(self, stream: str, text: str) -> bool:
        """Take output of a stream; return False when the run is over and takes no more."""
        return self._enter(lambda: self._write(stream, text))

    def add(self, level: str, logger: str, text: str) -> bool:
        """Take one whole entry, which may span lines; return False when the run is over."""
        return self._enter(lambda: self._put(level, logger, text))

    def close(self) -> None:
        """Emit what has no line end yet and how many lines were dropped; take nothing more."""
        with self._lock:
            if self._closed:
                return
            for stream, line in self._unfinished.items():
                if line:
                    self._put(LEVEL_OF_STREAM[stream], stream, *line.take())
            self._closed = True
            if self._dropped:
                deliver(self._sink, LogDropped(self._run_id, self._dropped))

    def _enter(self, action: Callable[[], None]) -> bool:
        """Act under the lock; what the sink prints meanwhile is left out, or it never ends."""
        with self._lock:
            if self._closed:
                return False
            if not self._busy:
                self._busy = True
                try:
                    action()
                finally:
                    self._busy = False
            return True

    def _write(self, stream: str, text: str) -> None:
        line = self._unfinished.get(stream)
        if line is None:
            line = self._unfinished[stream] = _UnfinishedLine(self._limits.line_bytes)
        level = LEVEL_OF_STREAM[stream]
        start = 0
        while (end := text.find("\n", start)) >= 0:
            if self._full:
                self._drop(text.count("\n", end))
                line.take()
                start = text.rfind("\n") + 1
                break
            line.append(text[start:end])
            self._put(level, stream, *line.take())
            start = end + 1
        line.append(text[start:])

    def _put(self, level: str, logger: str, text: str, cut: int = 0) -> None:
        text = fitted(text, self._limits.line_bytes, cut=cut)
        size = encoded_length(text)
        if self._lines >= self._limits.lines or self._bytes + size > self._limits.log_bytes:
            self._full = True
        if self._full:
            self._drop(1)
            return
        self._lines += 1
        self._bytes += size
        line = LogLine(
            self._run_id,
            self._lines,
            datetime.now(UTC),
            storable(level)[:LONGEST_LEVEL],
            storable(logger)[:LONGEST_LOGGER],
            text,
        )
        if not deliver(self._sink, line):
            self._dropped += 1

    def _drop(self, lines: int) -> None:
        """Count lines beyond the limits; told whenever their number doubles, and at the end.

        So the page of a run that goes on says it, and also a run that is cut off has.
        """
        before = self._dropped
        self._dropped += lines
        if self._dropped.bit_length() > before.bit_length():
            deliver(self._sink, LogDropped(self._run_id, self._dropped))

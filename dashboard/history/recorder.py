"""Writing history: whatever runs say and how they end goes through one queue and one writer.

Executors, tasks and listeners only put things into the queue, which never waits for the database;
the writer thread takes what has gathered and writes it in one transaction. A database that is
locked or away makes the queue grow, not the runs fail: the writer tries again until it succeeds.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from dashboard.history.writers import WRITERS, finish_runs
from dashboard.records import Outcome
from dashboard.storage.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dashboard.records import Record
    from dashboard.storage.db import Database

logger = logging.getLogger(__name__)

BATCH = 1000
"""Items written in one transaction: beyond some hundred, larger ones are no faster."""

LINGER = 0.02
"""Seconds that the writer waits for company before it writes."""

HOLD_BACK = 0.3
"""The most it waits while runs are late: it competes with the tick for the write lock."""

RETRY = 0.5
"""Seconds until the next try after the database refused."""

LOST_DETAILS = "What the run left could not be kept; the log of the dashboard says why."


class Recorder:
    """The queue and its writer thread; as a `RunSink` it takes what runs say while they run."""

    def __init__(self, database: Database, process: str) -> None:
        """Write to `database` for the runs that belong to `process`."""
        self._database = database
        self._process = process
        self._queue: deque[Record | Outcome] = deque()
        self._changed = threading.Condition()
        self._taken = 0  # items put into the queue since start
        self._written = 0  # of these, the ones that are committed
        self._stopping = False
        self._hurry = False
        self._thread: threading.Thread | None = None
        self._on_written: Callable[[], None] = lambda: None
        self._held_back = False
        self.trouble = Trouble(logger, "history cannot be written", over="history is written again")

    def when_written(self, callback: Callable[[], None]) -> None:
        """Call `callback` after each commit."""
        self._on_written = callback

    @property
    def backlog(self) -> int:
        """How many items wait to be written."""
        return self._taken - self._written

    def start(self) -> None:
        """Start the writer."""
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """Write what is left and end; False when that did not succeed within `timeout` seconds."""
        if self._thread is None:
            return True
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def emit(self, record: Record) -> None:
        """Take a log line, a step or progress of a run. Never waits, never raises."""
        self._put(record)

    def on_event(self, event: Any) -> None:
        """Take how a run ended: the listener of APScheduler's execution events.

        It only queues. A listener runs inside the scheduler's and the pools' threads, and one
        that calls the scheduler back can deadlock `shutdown`.
        """
        outcome = getattr(event, "outcome", None)
        if outcome is not None:
            self._put(outcome)

    def end(self, outcome: Outcome) -> None:
        """Take how a run ended from whoever executed it without APScheduler."""
        self._put(outcome)

    def hold_back(self, late: bool) -> None:  # noqa: FBT001 -- it is all there is to say
        """Say whether runs are late: then what has ended is written a moment later."""
        if self._held_back != late:
            with self._changed:
                self._held_back = late
                self._changed.notify_all()

    def flush(self, timeout: float = 10) -> bool:
        """Wait until everything queued so far is committed; False after `timeout` seconds."""
        with self._changed:
            goal = self._taken
            self._hurry = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._written >= goal, timeout)

    def _put(self, item: Record | Outcome) -> None:
        with self._changed:
            self._queue.append(item)
            self._taken += 1
            if len(self._queue) in {1, BATCH}:
                self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._stopping)
                if not self._queue:
                    return
                self._changed.wait_for(self._is_urgent, LINGER)
                self._changed.wait_for(lambda: not self._held_back or self._is_urgent(), HOLD_BACK)
                self._hurry = False
                batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            self._write_until_done(batch)
            with self._changed:
                self._written += len(batch)
                self._changed.notify_all()
            self._on_written()

    def _is_urgent(self) -> bool:
        return self._stopping or self._hurry or len(self._queue) >= BATCH

    def _write_until_done(self, batch: Sequence[Record | Outcome]) -> None:
        while True:
            try:
                self._write(batch)
            except Exception as error:  # the process would go on without its writer
                if _will_pass(error):
                    # Nothing is lost as long as we keep the batch.
                    self.trouble.note(error)
                    time.sleep(RETRY)
                    continue
                middle = len(batch) // 2
                if middle:
                    # One bad item must not take its neighbours along.
                    self._write_until_done(batch[:middle])
                    self._write_until_done(batch[middle:])
                    return
                logger.exception("an item of history cannot be kept: %r", batch[0])
                rest = _without_details(batch[0])
                if rest is None:
                    return
                batch = [rest]
            else:
                self.trouble.end()
                return

    def _write(self, batch: Sequence[Record | Outcome]) -> None:
        with self._database.write() as session:
            connection = session.connection()
            for kind, write in WRITERS.items():
                items = [item for item in batch if type(item) is kind]
                if items:
                    write(connection, items)
            outcomes = [item for item in batch if type(item) is Outcome]
            if outcomes:
                finish_runs(connection, outcomes, process=self._process)


def _will_pass(error: Exception) -> bool:
    """Say whether trying again can help: the database is locked, full, away or out of connections.

    Anything else is about the items themselves.
    """
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    return lost or isinstance(error, OperationalError | PoolTimeout)


def _without_details(item: Record | Outcome) -> Outcome | None:
    """Return an outcome with nothing in it that a database could refuse.

    Whatever a run said may be lost, but not that it ended: it would be `running` for ever.
    """
    if not isinstance(item, Outcome) or item.error_message == LOST_DETAILS:
        return None
    return Outcome(
        run_id=item.run_id,
        state=item.state,
        started_at=item.started_at,
        finished_at=item.finished_at,
        duration=item.duration,
        error_message=LOST_DETAILS,
        pause_reason=item.pause_reason and LOST_DETAILS,
        finish_reason=item.finish_reason and LOST_DETAILS,
    )

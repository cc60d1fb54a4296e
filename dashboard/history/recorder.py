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
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from dashboard.history.health import (
    ROWS_A_QUERY,
    FinishedRun,
    batches,
    count_finished,
    insert_for,
)
from dashboard.records import LogDropped, LogLine, Outcome, ProgressChange, StepChange
from dashboard.storage.models import Audit, Job, Run, RunLog, RunState, RunStep

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

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


_OF_RUN = update(Run).where(Run.id == bindparam("of_run"))
_OWN = (
    select(Run.id, Run.job_id, Run.scheduled_at)
    .where(
        Run.id.in_(bindparam("ids", expanding=True)),
        Run.state == RunState.RUNNING,
        Run.process == bindparam("in_process"),
    )
    .with_for_update()
)
_FINAL = (
    "state",
    "reason",
    "started_at",
    "finished_at",
    "duration",
    "result",
    "error_type",
    "error_message",
    "traceback",
    "fingerprint",
)
_END = _OF_RUN.values({name: bindparam(name) for name in _FINAL})


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
        self.hold_back = False
        """Set while runs wait for a free slot: what has ended can be written a moment later."""
        self.failing_since: datetime | None = None

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
            if len(self._queue) == 1:
                self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._stopping)
                if not self._queue:
                    return
                self._changed.wait_for(self._is_urgent, LINGER)
                self._changed.wait_for(lambda: not self.hold_back or self._is_urgent(), HOLD_BACK)
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
            except OperationalError as error:
                # Locked, full, or gone: nothing is lost as long as we keep the batch.
                if self.failing_since is None:
                    self.failing_since = datetime.now(UTC)
                    logger.warning("history cannot be written, trying again: %s", error.orig)
                time.sleep(RETRY)
            except (SQLAlchemyError, ValueError, TypeError):
                if len(batch) == 1:
                    logger.exception("one item of history cannot be kept: %r", batch[0])
                    return
                # One bad item must not take its neighbours along.
                for item in batch:
                    self._write_until_done([item])
                return
            else:
                if self.failing_since is not None:
                    logger.warning("history is written again")
                    self.failing_since = None
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


def finish_runs(connection: Connection, outcomes: Sequence[Outcome], *, process: str) -> None:
    """Write how runs ended, and what follows for their jobs.

    A run that somebody else has ended meanwhile (a new leader called it interrupted) keeps that
    end: only rows that still run in `process` are touched, so nothing is counted twice.
    """
    own: dict[int, Any] = {}
    for ids in batches([outcome.run_id for outcome in outcomes], ROWS_A_QUERY):
        found = connection.execute(_OWN, {"ids": ids, "in_process": process})
        own |= {row.id: row for row in found}
    ended = [outcome for outcome in outcomes if outcome.run_id in own]
    if not ended:
        return
    connection.execute(_END, [_final_values(outcome) for outcome in ended])
    count_finished(
        connection,
        [
            FinishedRun(
                run_id=outcome.run_id,
                job_id=own[outcome.run_id].job_id,
                state=RunState(outcome.state),
                scheduled_at=own[outcome.run_id].scheduled_at,
                finished_at=outcome.finished_at,
                duration=outcome.duration,
                error=_error_line(outcome),
            )
            for outcome in ended
        ],
    )
    for outcome in ended:
        if outcome.pause_reason is not None or outcome.finish_reason is not None:
            _obey(connection, own[outcome.run_id].job_id, outcome)


def _final_values(outcome: Outcome) -> dict[str, Any]:
    interrupted = outcome.state == "interrupted"
    return {
        "of_run": outcome.run_id,
        "state": RunState(outcome.state),
        "reason": outcome.error_message if interrupted else None,
        "started_at": outcome.started_at,
        "finished_at": outcome.finished_at,
        "duration": outcome.duration,
        "result": outcome.result,
        "error_type": outcome.error_type,
        "error_message": outcome.error_message,
        "traceback": outcome.traceback,
        "fingerprint": outcome.fingerprint,
    }


def _error_line(outcome: Outcome) -> str | None:
    if outcome.error_type is None:
        return outcome.error_message
    first = (outcome.error_message or "").strip().partition("\n")[0]
    return f"{outcome.error_type}: {first}"[:500] if first else outcome.error_type


def _obey(connection: Connection, job_id: str, outcome: Outcome) -> None:
    """Pause or finish a job because its task asked for it (PauseJob, FinishJob)."""
    now = outcome.finished_at
    reason: str | None
    if outcome.pause_reason is not None:
        action, reason = "job.pause", outcome.pause_reason
        values: dict[str, Any] = {
            "paused_at": now,
            "paused_by": "the task itself",
            "paused_reason": reason,
        }
    else:
        action, reason = "job.finish", outcome.finish_reason
        values = {"finished_reason": reason}
    changed = connection.execute(
        update(Job)
        .where(Job.id == job_id, Job.paused_at.is_(None))
        .values(next_run_time=None, version=Job.version + 1, updated_at=now, **values)
    )
    if changed.rowcount:
        connection.execute(
            insert(Audit).values(
                at=now,
                actor="task",
                action=action,
                target=job_id,
                outcome="done",
                detail={"reason": reason, "run": outcome.run_id},
            )
        )


def _write_lines(connection: Connection, lines: Sequence[LogLine]) -> None:
    statement = insert_for(connection.dialect.name, RunLog).on_conflict_do_nothing()
    connection.execute(
        statement,
        [
            {
                "run_id": line.run_id,
                "seq": line.seq,
                "at": line.at,
                "level": line.level[:16],
                "logger": line.logger[:191],
                "text": line.text,
            }
            for line in lines
        ],
    )


def _write_steps(connection: Connection, steps: Sequence[StepChange]) -> None:
    statement = insert_for(connection.dialect.name, RunStep)
    statement = statement.on_conflict_do_update(
        index_elements=["run_id", "index"],
        set_={name: statement.excluded[name] for name in ("state", "finished_at", "error")},
    )
    connection.execute(
        statement,
        [
            {
                "run_id": step.run_id,
                "index": step.index,
                "name": step.name,
                "state": RunState(step.state),
                "started_at": step.started_at,
                "finished_at": step.finished_at,
                "error": step.error,
            }
            for step in steps
        ],
    )


def _write_progress(connection: Connection, changes: Sequence[ProgressChange]) -> None:
    newest = {change.run_id: change for change in changes}
    connection.execute(
        _OF_RUN.values(progress=bindparam("progress")),
        [
            {
                "of_run": change.run_id,
                "progress": {"done": change.done, "total": change.total, "text": change.text},
            }
            for change in newest.values()
        ],
    )


def _write_dropped(connection: Connection, dropped: Sequence[LogDropped]) -> None:
    connection.execute(
        _OF_RUN.values(log_dropped=bindparam("log_dropped")),
        [{"of_run": drop.run_id, "log_dropped": drop.count} for drop in dropped],
    )


WRITERS: dict[type, Callable[[Connection, Any], None]] = {
    LogLine: _write_lines,
    StepChange: _write_steps,
    ProgressChange: _write_progress,
    LogDropped: _write_dropped,
}

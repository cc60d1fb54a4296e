"""What records and outcomes of runs become in the database, written in batches of one kind."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, select, update

from dashboard.history.consequences import (
    finish_job,
    pause_job,
    policies,
    queue_retries,
    stop_after,
)
from dashboard.history.health import FinishedRun, count_finished, error_line
from dashboard.history.inserts import ROWS_A_QUERY, batches, insert_for
from dashboard.records import LogDropped, LogLine, Outcome, ProgressChange, StepChange
from dashboard.storage.models import PROBLEMS, Run, RunLog, RunState, RunStep

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from sqlalchemy import Connection

_OF_RUN = update(Run).where(Run.id == bindparam("of_run"))
_OWN = (
    select(Run.id, Run.job_id, Run.scheduled_at, Run.attempt, Run.cancel_asked_by)
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
    connection.execute(
        _END, [_final_values(outcome, own[outcome.run_id].cancel_asked_by) for outcome in ended]
    )
    known = policies(connection, {run.job_id for run in own.values()})
    retried = queue_retries(
        connection,
        [own[outcome.run_id] for outcome in ended if _may_be_retried(outcome, own[outcome.run_id])],
        known,
        datetime.now(UTC),
    )
    finished = [_finished(outcome, own[outcome.run_id], retried) for outcome in ended]
    # Jobs are locked before their health: the tick does it in this order too.
    cancelled = stop_after(connection, finished, known)
    for outcome in ended:
        cancelled += _obey(connection, own[outcome.run_id].job_id, outcome)
    count_finished(connection, [*finished, *cancelled], known)


def _may_be_retried(outcome: Outcome, run: Any) -> bool:
    """Say whether another attempt makes sense: it failed, and nobody wanted it to end."""
    ended_on_purpose = outcome.pause_reason is not None or run.cancel_asked_by is not None
    return RunState(outcome.state) in PROBLEMS and not ended_on_purpose


def _finished(outcome: Outcome, run: Any, retried: Container[int]) -> FinishedRun:
    return FinishedRun(
        run_id=outcome.run_id,
        job_id=run.job_id,
        state=RunState(outcome.state),
        scheduled_at=run.scheduled_at,
        finished_at=outcome.finished_at,
        duration=outcome.duration,
        error=error_line(outcome.error_type, outcome.error_message),
        delay=_delay(run, outcome),
        fingerprint=outcome.fingerprint,
        retried=outcome.run_id in retried,
    )


def _delay(run: Any, outcome: Outcome) -> float | None:
    """Return how late a run began; a retry keeps the fire time of the attempt before it."""
    if run.attempt > 1:
        return None
    delay: float = (outcome.started_at - run.scheduled_at).total_seconds()
    return max(0.0, delay)


def _final_values(outcome: Outcome, cancel_asked_by: str | None) -> dict[str, Any]:
    return {
        "of_run": outcome.run_id,
        "state": RunState(outcome.state),
        "reason": _reason(outcome, cancel_asked_by),
        "started_at": outcome.started_at,
        "finished_at": outcome.finished_at,
        "duration": outcome.duration,
        "result": outcome.result,
        "error_type": outcome.error_type,
        "error_message": outcome.error_message,
        "traceback": outcome.traceback,
        "fingerprint": outcome.fingerprint,
    }


def _reason(outcome: Outcome, cancel_asked_by: str | None) -> str | None:
    if outcome.state == "interrupted":
        return outcome.error_message
    if outcome.state != "cancelled":
        return None
    if cancel_asked_by is None:
        return "It ended because the dashboard was stopped and asked it to."
    return f"Cancelled by {cancel_asked_by}."


def _obey(connection: Connection, job_id: str, outcome: Outcome) -> list[FinishedRun]:
    """Pause or finish a job because its task asked for it (PauseJob, FinishJob).

    Returns the runs that were cancelled with that.
    """
    run_id, now = outcome.run_id, outcome.finished_at
    if outcome.pause_reason is not None:
        pause_job(connection, job_id, outcome.pause_reason, run_id, now)
    elif outcome.finish_reason is not None:
        return finish_job(connection, job_id, outcome.finish_reason, run_id, now)
    return []


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

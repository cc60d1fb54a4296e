"""What a host's own scheduler tells of its runs, as rows.

Its executors know nothing of us: an event has no start time and no run id. A run is a row from the
moment its submission is heard of, and its duration is the time between the two events.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    EVENT_JOB_SUBMITTED,
)
from sqlalchemy import select, update

from dashboard.history.health import FinishedRun, count_finished
from dashboard.history.inserts import insert_for
from dashboard.history.writers import finish_runs
from dashboard.records import Limits, Outcome
from dashboard.storage.models import HOST, Origin, Run, RunState
from dashboard.texts import error_type, fingerprint, fitted, result_text, text_of, traceback_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from dashboard.scheduling.leader import Identity

ENDS = EVENT_JOB_EXECUTED | EVENT_JOB_ERROR | EVENT_JOB_MISSED
RUN_EVENTS = EVENT_JOB_SUBMITTED | EVENT_JOB_MAX_INSTANCES | ENDS
LIMITS = Limits()
WHY_NOT = {
    RunState.MISSED: "It could start only later than its misfire grace time allows.",
    RunState.SKIPPED: "The job was still busy, and it allows no more instances at a time"
    " (max instances).",
}


@dataclass(frozen=True, slots=True)
class Heard:
    """An event, and when it was heard."""

    event: Any
    at: datetime


@dataclass(frozen=True, slots=True)
class About:
    """What a run's row says of its job."""

    row_id: str
    name: str
    task: str
    parameters: Mapping[str, Any]


def write_event(
    connection: Connection, heard: Heard, about: About, identity: Identity, asked: int | None
) -> None:
    """Write what an event says; `asked` is the run that a person asked for and it belongs to.

    Events may come in any order and twice: a row that has ended stays as it is.
    """
    event, code = heard.event, heard.event.code
    if code == EVENT_JOB_SUBMITTED:
        for moment in event.scheduled_run_times:
            _insert(connection, about, moment, heard.at, identity, RunState.RUNNING)
    elif code == EVENT_JOB_MAX_INSTANCES:
        for moment in event.scheduled_run_times:
            _insert(connection, about, moment, heard.at, identity, RunState.SKIPPED)
    elif code == EVENT_JOB_MISSED:
        _miss(connection, heard, about, identity, asked)
    else:
        _finish(connection, heard, about, identity, asked)


def _miss(
    connection: Connection, heard: Heard, about: About, identity: Identity, asked: int | None
) -> None:
    """Write that a run is missed, whether its submission was heard of or not."""
    moment = heard.event.scheduled_run_time
    run_id = asked or _running(connection, about, moment, identity)
    if run_id is None:
        _insert(connection, about, moment, heard.at, identity, RunState.MISSED)
        return
    end_unstarted(connection, run_id, RunState.MISSED, WHY_NOT[RunState.MISSED], heard.at)


def end_unstarted(
    connection: Connection, run_id: int, state: RunState, reason: str, at: datetime
) -> None:
    """End a run that is running in the table, but was never called."""
    ended = connection.execute(
        update(Run)
        .where(Run.id == run_id, Run.state == RunState.RUNNING)
        .values(state=state, reason=reason, started_at=None, finished_at=at)
        .returning(Run.job_id, Run.scheduled_at)
    ).first()
    if ended is not None:
        run = FinishedRun(run_id, ended.job_id, state, ended.scheduled_at, at, None)
        count_finished(connection, [run])


def _finish(
    connection: Connection, heard: Heard, about: About, identity: Identity, asked: int | None
) -> None:
    event = heard.event
    run_id = asked
    if run_id is None:
        # The submission may be told later, or was made before we listened.
        moment = event.scheduled_run_time
        _insert(connection, about, moment, heard.at, identity, RunState.RUNNING)
        run_id = _running(connection, about, moment, identity)
    if run_id is None:
        return
    began = connection.scalar(select(Run.started_at).where(Run.id == run_id)) or heard.at
    duration = (heard.at - began).total_seconds()
    outcome = Outcome(
        run_id=run_id,
        started_at=began,
        finished_at=heard.at,
        duration=duration if duration > 0 else None,
        **_ending(event),
    )
    finish_runs(connection, [outcome], process=identity.process)


def _ending(event: Any) -> dict[str, Any]:
    if event.code == EVENT_JOB_EXECUTED:
        return {"state": "succeeded", "result": result_text(event.retval, LIMITS.result_bytes)}
    error = event.exception
    if not isinstance(error, BaseException):
        return {"state": "failed", "error_message": "It failed; its scheduler does not say why."}
    text = traceback_text(error, LIMITS.traceback_bytes)
    if error.__traceback__ is None and event.traceback:  # it came from another process
        last = "".join(traceback.format_exception_only(error))
        text = fitted(f"{text_of(event.traceback)}{last}", LIMITS.traceback_bytes)
    return {
        "state": "failed",
        "error_type": fitted(error_type(error), LIMITS.message_bytes),
        "error_message": fitted(text_of(error), LIMITS.message_bytes),
        "traceback": text,
        "fingerprint": fingerprint(error),
    }


def _running(
    connection: Connection, about: About, moment: datetime, identity: Identity
) -> int | None:
    return connection.scalar(
        select(Run.id).where(
            Run.job_id == about.row_id,
            Run.scheduled_at == moment.astimezone(UTC),
            Run.state == RunState.RUNNING,
            Run.process == identity.process,
        )
    )


def _insert(
    connection: Connection,
    about: About,
    moment: datetime,
    at: datetime,
    identity: Identity,
    state: RunState,
) -> None:
    """Write a run, unless its fire time has one already."""
    running = state is RunState.RUNNING
    values = {
        "job_id": about.row_id,
        "job_name": about.name,
        "task": about.task,
        "parameters": dict(about.parameters),
        "scheduled_at": moment.astimezone(UTC),
        "attempt": 1,
        "origin": Origin.SCHEDULE,
        "state": state,
        "reason": WHY_NOT.get(state),
        "coalesced": 0,
        "queued_at": at,
        "started_at": at if running else None,
        "finished_at": None if running else at,
        "executor": HOST,
        "host": identity.host,
        "process": identity.process if running else None,
        "log_dropped": 0,
    }
    written = connection.execute(
        insert_for(connection.dialect.name, Run)
        .values(values)
        .on_conflict_do_nothing(index_elements=["job_id", "scheduled_at", "attempt"])
        .returning(Run.id, Run.scheduled_at)
    ).first()
    if written is not None and not running:
        ended = FinishedRun(written.id, about.row_id, state, written.scheduled_at, at, None)
        count_finished(connection, [ended])

"""Runs on their way to Celery: the row stays the truth, the broker only carries its number.

The leader marks a queued row as sent, commits, and only then gives its number to the broker. A
worker takes the row by turning it from queued to running, which only one can. So a message that
comes twice, too late or not at all starts nothing twice and loses nothing.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, exists, func, literal, or_, select, text, update

from dashboard.history.inserts import ROWS_A_QUERY, batches
from dashboard.records import RunIdentity
from dashboard.scheduling.claims import is_too_late
from dashboard.scheduling.executors import Claim
from dashboard.scheduling.handover import miss
from dashboard.storage.models import SENT_RUN, Job, Origin, Process, ProcessKind, Run, RunState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from dashboard.scheduling.leader import Identity

AHEAD = 2
"""Runs that wait in the broker for each place of a worker, so that none waits for a tick."""

SEND_AGAIN = timedelta(seconds=60)
"""After so long without a taker a run is sent again, if the broker has lost it."""

_WORKERS = select(Process.executors, Process.places).where(Process.kind == ProcessKind.WORKER)
_ON_THEIR_WAY = select(Run.executor, func.count()).where(text(SENT_RUN)).group_by(Run.executor)
_NOT_SENT = (
    update(Run)
    .where(Run.id.in_(bindparam("ids", expanding=True)), text(SENT_RUN))
    .values(sent_at=None)
)
_NOT_TAKEN = (
    update(Run)
    .where(text(SENT_RUN), Run.sent_at < bindparam("before"))
    .values(sent_at=bindparam("now"))
    .returning(Run.id, Run.executor)
)
_SENT = (
    select(
        Run.id,
        Run.job_id,
        Run.task,
        Run.parameters,
        Run.scheduled_at,
        Run.attempt,
        Run.origin,
        Run.state,
        Job.misfire_grace_time,
        Job.timeout,
    )
    .outerjoin(Job, Job.id == Run.job_id)
    .where(
        Run.id == bindparam("run"),
        or_(
            text(SENT_RUN),
            and_(
                Run.state == RunState.RUNNING,
                Run.process == bindparam("me"),
                Run.started_at == bindparam("now"),
            ),
        ),
    )
    .with_for_update(of=Run)
)
_TAKE = (
    update(Run)
    .where(
        Run.id == bindparam("run"),
        text(SENT_RUN),
        exists(literal(1)).where(Process.process == bindparam("me")),
    )
    .values(
        state=RunState.RUNNING,
        started_at=bindparam("now"),
        host=bindparam("on_host"),
        process=bindparam("me"),
    )
)


class NotRegistered(Exception):
    """The worker's own row is not there: without it nobody would notice if the worker died."""


def room(connection: Connection, executors: Iterable[str]) -> dict[str, int]:
    """Return how many more runs the workers of each executor can be sent."""
    found = dict.fromkeys(executors, 0)
    for served, places in connection.execute(_WORKERS):
        for executor in found.keys() & set(served):
            found[executor] += AHEAD * places
    for executor, number in connection.execute(_ON_THEIR_WAY):
        if executor in found:
            found[executor] = max(0, found[executor] - number)
    return found


def send_again(connection: Connection, now: datetime) -> dict[str, list[int]]:
    """Return the runs that nobody has taken for too long, by executor, marked as sent anew."""
    overdue: dict[str, list[int]] = {}
    values = {"now": now, "before": now - SEND_AGAIN}
    for run_id, executor in connection.execute(_NOT_TAKEN, values):
        overdue.setdefault(executor, []).append(run_id)
    return overdue


def take_back(connection: Connection, run_ids: Sequence[int]) -> None:
    """Let runs that the broker did not accept be queued as before."""
    for ids in batches(run_ids, ROWS_A_QUERY):
        connection.execute(_NOT_SENT, {"ids": ids})


def take(connection: Connection, run_id: int, identity: Identity, now: datetime) -> Claim | None:
    """Make a run that was sent the running one of this worker; None if it is not to be run.

    It was taken before, cancelled, or comes too late. Asking again with the same `now` gives the
    same answer: a connection may be lost before or after the commit. Raises `NotRegistered`.
    """
    values = {"run": run_id, "now": now, "on_host": identity.host, "me": identity.process}
    run = connection.execute(_SENT, values).first()
    if run is None:
        return None
    if run.state is RunState.RUNNING:
        return _claim(run)
    if run.origin is Origin.SCHEDULE and is_too_late(run.scheduled_at, now, run.misfire_grace_time):
        miss(connection, [run], now)
        return None
    if connection.execute(_TAKE, values).rowcount != 1:
        raise NotRegistered
    return _claim(run)


def _claim(run: Row[Any]) -> Claim:
    return Claim(
        task=run.task,
        parameters=run.parameters,
        identity=RunIdentity(run.id, run.job_id, run.scheduled_at, run.attempt),
        timeout=run.timeout,
    )

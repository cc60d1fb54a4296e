"""The second half of a tick: queued rows become running, as many as can start at once.

A queued row belongs to nobody. Only what an executor has room for becomes `running` in the name of
this process, so a crash leaves at most that many runs in doubt.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime  # noqa: TC003 -- a dataclass field
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, case, or_, select, text, update

from dashboard.history.consequences import is_retry, policies, queue_retries, stop_after
from dashboard.history.health import FinishedRun, count_finished
from dashboard.history.inserts import ROWS_A_QUERY, batches
from dashboard.records import RunIdentity
from dashboard.scheduling.claims import is_too_late, too_late
from dashboard.scheduling.executors import Claim
from dashboard.settings import CELERY
from dashboard.storage.models import (
    ACTIVE_RUN,
    CANCEL_ASKED,
    HOST,
    QUEUED_RUN,
    Origin,
    Process,
    ProcessKind,
    Run,
    RunState,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Row

    from dashboard.scheduling.leader import Identity
    from dashboard.scheduling.picking import Picker

_START = (
    update(Run)
    .where(Run.id.in_(bindparam("ids", expanding=True)))
    .values(
        state=RunState.RUNNING,
        started_at=bindparam("now"),
        host=bindparam("on_host"),
        process=bindparam("in_process"),
    )
)
_GIVE_BACK = (
    update(Run)
    .where(
        Run.id.in_(bindparam("ids", expanding=True)),
        Run.state == RunState.RUNNING,
        Run.process == bindparam("in_process"),
        Run.cancel_asked_at.is_(None),
    )
    .values(state=RunState.QUEUED, started_at=None, host=None, process=None)
)
_CANCEL_ASKED = select(Run.id).where(text(CANCEL_ASKED), Run.process == bindparam("in_process"))
_SEND = (
    update(Run).where(Run.id.in_(bindparam("ids", expanding=True))).values(sent_at=bindparam("now"))
)
_OF_ENDED = (Run.id, Run.job_id, Run.scheduled_at, Run.state, Run.origin, Run.requested_by)
_ANY_QUEUED = select(Run.id).where(text(QUEUED_RUN), Run.sent_at.is_(None)).limit(1)


@dataclass
class HandOver:
    """Runs that are marked running, by executor, and runs that waited too long."""

    claims: dict[str, list[Claim]] = field(default_factory=dict)
    missed: list[tuple[str, datetime]] = field(default_factory=list)
    more: bool = False  # as many could begin as there were slots, so there are probably more
    unsearched: bool = False  # perhaps some can begin whose turn has not come yet

    @property
    def any(self) -> bool:
        """Whether a run was started or is missed."""
        return bool(self.missed or any(self.claims.values()))

    def add(self, claims: Mapping[str, Sequence[Claim]]) -> None:
        """Take claims of an earlier hand-over along."""
        for executor, batch in claims.items():
            self.claims.setdefault(executor, []).extend(batch)


def hand_over(
    connection: Connection,
    now: datetime,
    free: Mapping[str, int],
    identity: Identity,
    picker: Picker,
) -> HandOver:
    """Mark as many queued runs `running` as their executors have free slots.

    Those for Celery stay queued and are marked as sent: the worker that takes one will start it.
    """
    result = HandOver()
    starting: list[int] = []
    sending: list[int] = []
    late: list[Row[Any]] = []
    places = picker.places(connection)
    for executor, slots in free.items():
        if slots <= 0:
            continue
        runs, unsearched = picker.pick(connection, executor, slots, places)
        result.more = result.more or len(runs) == slots
        result.unsearched = result.unsearched or unsearched
        ready: list[Row[Any]] = []
        for run in runs:
            (late if _is_late(run, now) else ready).append(run)
        result.claims[executor] = [_claim(run) for run in ready]
        marked = sending if executor.startswith(CELERY) else starting
        marked += [run.id for run in ready]
    _start(connection, starting, now, identity)
    for ids in batches(sending, ROWS_A_QUERY):
        connection.execute(_SEND, {"ids": ids, "now": now})
    miss(connection, late, now)
    result.missed = [(run.job_id, run.scheduled_at) for run in late]
    return result


def _is_late(run: Row[Any], now: datetime) -> bool:
    late = is_too_late(run.scheduled_at, now, run.misfire_grace_time)
    return late and run.origin is Origin.SCHEDULE


def _claim(run: Row[Any]) -> Claim:
    identity = RunIdentity(
        id=run.id, job_id=run.job_id, scheduled_at=run.scheduled_at, attempt=run.attempt
    )
    return Claim(task=run.task, parameters=run.parameters, identity=identity, timeout=run.timeout)


def give_back(
    connection: Connection, claims: Sequence[Claim], identity: Identity, now: datetime
) -> None:
    """Put runs of this process that never began back into the queue; cancelled ones end."""
    run_ids = [claim.identity.id for claim in claims]
    for ids in batches(run_ids, ROWS_A_QUERY):
        connection.execute(_GIVE_BACK, {"ids": ids, "in_process": identity.process})
        rest = and_(Run.id.in_(ids), Run.process == identity.process)
        _interrupt(connection, rest, now, "It had not begun.")


def committed(
    connection: Connection, batches_of: Mapping[str, Sequence[Claim]], identity: Identity
) -> dict[str, list[Claim]]:
    """Return those of the claims that are `running` in this process, by executor.

    For a hand-over whose commit failed: the connection may have been lost before or after it.
    """
    ids = [claim.identity.id for batch in batches_of.values() for claim in batch]
    if not ids:
        return {}
    query = select(Run.id).where(
        Run.id.in_(ids), Run.state == RunState.RUNNING, Run.process == identity.process
    )
    found = set(connection.scalars(query))
    return {
        alias: [claim for claim in batch if claim.identity.id in found]
        for alias, batch in batches_of.items()
    }


def cancel_asked(connection: Connection, identity: Identity) -> list[int]:
    """Return the running runs of this process that somebody wants to end."""
    return list(connection.scalars(_CANCEL_ASKED, {"in_process": identity.process}))


def anything_queued(connection: Connection) -> bool:
    """Say whether a run waits for a slot, or for an instance of its job."""
    return connection.execute(_ANY_QUEUED).first() is not None


def _start(
    connection: Connection, run_ids: Sequence[int], now: datetime, identity: Identity
) -> None:
    for ids in batches(run_ids, ROWS_A_QUERY):
        connection.execute(
            _START,
            {"ids": ids, "now": now, "on_host": identity.host, "in_process": identity.process},
        )


def miss(connection: Connection, runs: Sequence[Row[Any]], now: datetime) -> None:
    """End queued runs that could not start within their misfire grace time."""
    for run in runs:
        reason = too_late(run.scheduled_at, now, run.misfire_grace_time)
        connection.execute(
            update(Run)
            .where(Run.id == run.id)
            .values(state=RunState.MISSED, reason=reason, finished_at=now)
        )
    count_finished(
        connection,
        [
            FinishedRun(run.id, run.job_id, RunState.MISSED, run.scheduled_at, now, None)
            for run in runs
        ],
    )


LOST = "The process that ran it died or was stopped."
_ALIVE = select(Process.process)
_WORKERS = _ALIVE.where(Process.kind == ProcessKind.WORKER)


def interrupt_orphans(connection: Connection, now: datetime, identity: Identity) -> int:
    """End the runs that other processes left running: called by a process that begins to lead.

    Workers go on whoever leads, and so do the hosts' own schedulers in processes that live: theirs
    end with `interrupt_lost` when they are lost.
    """
    others = and_(
        Run.process != identity.process,
        Run.process.not_in(_WORKERS),
        or_(Run.executor != HOST, Run.process.not_in(_ALIVE)),
    )
    return _interrupt(connection, others, now, LOST)


def interrupt_lost(connection: Connection, now: datetime) -> int:
    """End the runs of workers that are not there any more: called after lost ones are forgotten.

    Also those that a host's own scheduler had begun in a process that is not there any more.
    """
    hosts = and_(Run.executor == HOST, Run.process.not_in(_ALIVE))
    of_hosts = _interrupt(connection, hosts, now, LOST)
    theirs = and_(Run.executor.startswith(CELERY), Run.process.not_in(_WORKERS))
    reason = "The worker that ran it died or was cut off."
    return of_hosts + _interrupt(connection, theirs, now, reason)


def interrupt_killed(
    connection: Connection, run_ids: Sequence[int], now: datetime, identity: Identity
) -> None:
    """End runs of this process whose own children died."""
    theirs = and_(Run.id.in_(run_ids), Run.process == identity.process)
    reason = "Its worker process died. It may have been killed or crashed."
    _interrupt(connection, theirs, now, reason)


def interrupt_own(connection: Connection, now: datetime, identity: Identity) -> int:
    """End the runs that this process still has running: called when it stops."""
    reason = "The dashboard was stopped, and its grace period ended before the run did."
    return _interrupt(connection, Run.process == identity.process, now, reason)


def miss_unreachable(connection: Connection, now: datetime, executors: Collection[str]) -> None:
    """End what is queued for executors that there are no more: it would wait for ever."""
    stuck = connection.execute(
        update(Run)
        .where(
            text(ACTIVE_RUN),
            Run.state == RunState.QUEUED,
            Run.executor.not_in([*sorted(executors), HOST]),
        )
        .values(
            state=RunState.MISSED,
            reason="There is no executor “" + Run.executor + "” any more to run it.",
            finished_at=now,
        )
        .returning(*_OF_ENDED)
    ).all()
    count_finished(connection, _never_begun(stuck, now))


def _never_begun(runs: Iterable[Any], now: datetime) -> list[FinishedRun]:
    """Return runs that were queued and have ended; a retry among them leaves a failure."""
    return [
        FinishedRun(
            run.id, run.job_id, run.state, run.scheduled_at, now, None, gave_up=is_retry(run)
        )
        for run in sorted(runs)
    ]


def _interrupt(
    connection: Connection, whose: ColumnElement[bool], now: datetime, reason: str
) -> int:
    """Mark running runs as interrupted and count them.

    In one statement: a run that its own process ends at the same moment is counted once. One that
    somebody had cancelled already has got what it was to get.
    """
    cancelled = Run.cancel_asked_at.is_not(None)
    ended = connection.execute(
        update(Run)
        .where(text(ACTIVE_RUN), Run.state == RunState.RUNNING, whose)
        .values(
            state=case((cancelled, RunState.CANCELLED), else_=RunState.INTERRUPTED),
            reason=case(
                (cancelled, "Cancelled by " + Run.cancel_asked_by + ". " + reason), else_=reason
            ),
            finished_at=now,
        )
        .returning(Run.id, Run.job_id, Run.attempt, Run.scheduled_at, Run.state, Run.reason)
    ).all()
    known = policies(connection, {run.job_id for run in ended})
    failed = [run for run in ended if run.state is RunState.INTERRUPTED]
    retried = queue_retries(connection, failed, known, now)
    finished = [
        FinishedRun(
            run.id,
            run.job_id,
            run.state,
            run.scheduled_at,
            now,
            None,
            run.reason,
            retried=run.id in retried,
        )
        for run in sorted(ended)
    ]
    finished += stop_after(connection, finished, known)
    count_finished(connection, finished, known)
    return len(ended)

"""Whether the scheduler lives, read from the lease it renews."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 -- a dataclass field
from typing import TYPE_CHECKING

from sqlalchemy import func, select, text

from dashboard.scheduling.leader import SCHEDULER, database_now
from dashboard.storage.models import READY_RUN, Job, Lease, Run, RunState, SchedulerLife

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

# Built once and read past the ORM: every page and every poll asks this.
_STATUS = (
    select(
        Lease.holder,
        Lease.until,
        Lease.renewed_at,
        SchedulerLife.began_at,
        SchedulerLife.seen_at,
    )
    .select_from(Lease)
    .outerjoin(
        SchedulerLife,
        SchedulerLife.id == select(func.max(SchedulerLife.id)).correlate(None).scalar_subquery(),
    )
    .where(Lease.name == SCHEDULER)
)


@dataclass(frozen=True, slots=True)
class SchedulerStatus:
    """What is known of the scheduler at one moment."""

    state: str
    """`running` while somebody leads, else `stopped`; `standby` is told by `of_process`."""
    leader: str | None
    heartbeat_at: datetime | None
    heartbeat_age_seconds: float | None
    since: datetime | None
    """When the present leader began, or when the last one was last seen."""

    @property
    def leading(self) -> bool:
        """Whether it is the process that asked who leads."""
        return self.state == "running"

    @property
    def alive(self) -> bool:
        """Whether jobs are being started."""
        return self.state != "stopped"


@dataclass(frozen=True, slots=True)
class Work:
    """How much there is to do."""

    jobs: int
    queued: int
    running: int


def count_work(session: Session) -> Work:
    """Count jobs, and runs that go on or could begin: by index, only those that have not ended."""
    states = session.execute(
        select(Run.state, func.count()).where(text(READY_RUN)).group_by(Run.state)
    )
    active = {row[0]: row[1] for row in states}
    return Work(
        jobs=session.scalar(select(func.count(Job.id))) or 0,
        queued=active.get(RunState.QUEUED, 0),
        running=active.get(RunState.RUNNING, 0),
    )


def scheduler_status(session: Session, *, process: str | None = None) -> SchedulerStatus:
    """Tell how the scheduler is, as seen by `process`: `standby` when another one leads."""
    found = session.connection().execute(_STATUS).one()
    now = database_now(session)
    alive = bool(found.holder) and found.until > now
    seen = found.renewed_at if found.holder else found.seen_at
    state = "stopped"
    if alive:
        state = "running" if process in {None, found.holder} else "standby"
    return SchedulerStatus(
        state=state,
        leader=found.holder if alive else None,
        heartbeat_at=seen,
        heartbeat_age_seconds=max(0.0, (now - seen).total_seconds()) if seen else None,
        since=found.began_at if alive else found.seen_at,
    )

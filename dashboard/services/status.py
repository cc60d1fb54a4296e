"""Whether the scheduler lives, read from the lease it renews."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 -- a dataclass field
from typing import TYPE_CHECKING

from sqlalchemy import select

from dashboard.scheduling.leader import SCHEDULER, database_now
from dashboard.storage.models import Lease, SchedulerLife

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


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
    def alive(self) -> bool:
        """Whether jobs are being started."""
        return self.state != "stopped"


def scheduler_status(session: Session, *, process: str | None = None) -> SchedulerStatus:
    """Tell how the scheduler is, as seen by `process`: `standby` when another one leads."""
    lease = session.get_one(Lease, SCHEDULER)
    now = database_now(session)
    alive = bool(lease.holder) and lease.until > now
    life = session.scalars(select(SchedulerLife).order_by(SchedulerLife.id.desc()).limit(1)).first()
    seen = lease.renewed_at if lease.holder else (life.seen_at if life else None)
    state = "stopped"
    if alive:
        state = "running" if process in {None, lease.holder} else "standby"
    since = None
    if life is not None:
        since = life.began_at if alive else life.seen_at
    return SchedulerStatus(
        state=state,
        leader=lease.holder if alive else None,
        heartbeat_at=seen,
        heartbeat_age_seconds=max(0.0, (now - seen).total_seconds()) if seen else None,
        since=since,
    )

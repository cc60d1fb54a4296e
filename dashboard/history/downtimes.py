"""When no scheduler lived, and what that cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, select

from dashboard.storage.models import MOST_COALESCED, Run, RunState, SchedulerLife

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Select
    from sqlalchemy.orm import Session

DOWNTIME = timedelta(seconds=60)
"""A gap between two schedulers that counts as a downtime; a restart takes less."""

LIVES = 50
"""Schedulers looked back over."""

SHOWN = 3

COUNTED = MOST_COALESCED
"""The latest runs of a state that are looked at for those of a downtime; each may stand for more
fire times, counted up to the same number. So what is below it is exact."""

_TAKING_OVER = timedelta(minutes=5)
"""Within so long a new scheduler has ended what the one before left running."""


@dataclass(frozen=True, slots=True)
class Downtime:
    """A while in which no scheduler lived."""

    began_at: datetime  # the last sign of life before
    ended_at: datetime
    stopped: bool  # on purpose; else its process died or was cut off
    missed: int  # fire times that passed without a start; from COUNTED on at least so many
    interrupted: int  # runs that were cut off

    @property
    def seconds(self) -> float:
        """How long it was."""
        return (self.ended_at - self.began_at).total_seconds()

    @property
    def missed_more(self) -> bool:
        """Whether more may have been missed than were counted."""
        return self.missed >= COUNTED


def recent_downtimes(session: Session, since: datetime) -> list[Downtime]:
    """Return the latest downtimes that ended after `since`, the newest first, at most `SHOWN`."""
    gaps = [gap for gap in _gaps(session) if gap[1].began_at > since]
    return [_downtime(session, *gap) for gap in gaps[:SHOWN]]


def last_downtime_ended(session: Session) -> datetime | None:
    """Return when the latest known downtime ended."""
    return next((after.began_at for _, after in _gaps(session)), None)


def _gaps(session: Session) -> Iterator[tuple[SchedulerLife, SchedulerLife]]:
    """Yield the schedulers before and after each downtime, the newest first."""
    for after, before in pairwise(session.scalars(_LIVES)):
        if after.began_at - before.seen_at > DOWNTIME:
            yield before, after


def _downtime(session: Session, before: SchedulerLife, after: SchedulerLife) -> Downtime:
    times = {
        "began": before.seen_at,
        "ended": after.began_at,
        "taken_over": after.began_at + _TAKING_OVER,
    }
    return Downtime(
        began_at=before.seen_at,
        ended_at=after.began_at,
        stopped=before.ended == "stopped",
        missed=session.scalar(_MISSED, times) or 0,
        interrupted=session.scalar(_INTERRUPTED, times) or 0,
    )


def _latest(state: RunState) -> Select[datetime, datetime | None, datetime | None, int]:
    columns = Run.scheduled_at, Run.started_at, Run.finished_at, Run.coalesced
    return select(*columns).where(Run.state == state).order_by(Run.id.desc()).limit(COUNTED)


_LIVES = select(SchedulerLife).order_by(SchedulerLife.id.desc()).limit(LIVES)
_of_missed = _latest(RunState.MISSED).subquery()
_of_interrupted = _latest(RunState.INTERRUPTED).subquery()
_MISSED = select(func.sum(_of_missed.c.coalesced + 1)).where(
    _of_missed.c.scheduled_at >= bindparam("began"),
    _of_missed.c.scheduled_at < bindparam("ended"),
    _of_missed.c.finished_at >= bindparam("ended"),
)
_INTERRUPTED = select(func.count()).where(
    _of_interrupted.c.started_at <= bindparam("began"),
    _of_interrupted.c.finished_at >= bindparam("ended"),
    _of_interrupted.c.finished_at <= bindparam("taken_over"),
)

"""What the page Alerts asks: what is told of at present, and what has been sent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, select, text

from dashboard.storage.models import (
    OPEN_PROBLEM,
    UNSENT,
    AlertDelivery,
    AlertProblem,
    DeliveryState,
)

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

SHOWN = 50
"""Deliveries on a page, and open problems."""

COUNTED = 1000
"""Deliveries that are counted, at most."""

RECENT = timedelta(days=1)
"""How long ago a delivery may have failed to count as one of today's troubles."""


@dataclass(frozen=True, slots=True)
class AlertLog:
    """What is told of at present, and a page of what has been sent, the newest first."""

    problems: list[AlertProblem]
    deliveries: list[AlertDelivery]
    older: int | None
    """The delivery after which the next page begins."""


def read_log(session: Session, *, before: int | None = None) -> AlertLog:
    """Read the open problems and the deliveries older than the one numbered `before`."""
    problems = session.scalars(
        select(AlertProblem).where(text(OPEN_PROBLEM)).order_by(AlertProblem.id.desc()).limit(SHOWN)
    ).all()
    query = select(AlertDelivery).order_by(AlertDelivery.id.desc()).limit(SHOWN + 1)
    if before is not None:
        query = query.where(AlertDelivery.id < before)
    found = session.scalars(query).all()
    older = found[SHOWN - 1].id if len(found) > SHOWN else None
    return AlertLog(list(problems), list(found[:SHOWN]), older)


def count_deliveries(session: Session, now: datetime) -> dict[str, int]:
    """Count what waits, and what failed or is in doubt since yesterday, each up to `COUNTED`."""
    rows = session.connection()
    counts = {"waiting": rows.scalar(_UNSENT) or 0}
    for state in (DeliveryState.FAILED, DeliveryState.UNKNOWN):
        ended = {"state": state, "since": now - RECENT}
        counts[state.value] = rows.scalar(_ENDED_BADLY, ended) or 0
    return counts


_UNSENT = select(func.count()).select_from(
    select(AlertDelivery.id).where(text(UNSENT)).limit(COUNTED).subquery()
)
_ENDED_BADLY = select(func.count()).select_from(
    select(AlertDelivery.id)
    .where(AlertDelivery.state == bindparam("state"), AlertDelivery.ended_at >= bindparam("since"))
    .limit(COUNTED)
    .subquery()
)

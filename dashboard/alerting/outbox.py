"""The outbox: what has to be sent is a row before it is sent.

A delivery is `claimed` by one process, becomes `sending` in the moment before its first byte
leaves, and `sent` once the receiver has confirmed it. What a dead process had only claimed is sent
by another one. What it was sending has most probably arrived: it becomes `unknown`, is shown, and
is not sent again by itself. Times are the database's own: several processes send.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import CursorResult, and_, or_, select, text, update
from sqlalchemy.orm import aliased

from dashboard.scheduling.leader import database_now
from dashboard.storage.models import UNSENT, AlertDelivery, AlertEvent, DeliveryState

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from dashboard.storage.models import AlertRule

BACKOFF = (5, 15, 60, 300, 900, 1800, 3600, 3600, 7200, 14_400)
"""Seconds until the next attempt after each one that failed; then it is given up, after 9 hours."""

CLAIM = timedelta(seconds=60)
"""How long a process may take for one attempt; afterwards it is taken for dead."""

DIED = "The process that was sending it died; it may have arrived."

WAITING, CLAIMED, SENDING = DeliveryState.WAITING, DeliveryState.CLAIMED, DeliveryState.SENDING


@dataclass(frozen=True, slots=True)
class Parcel:
    """One delivery that this process has claimed."""

    id: int
    address: str  # sealed
    payload: dict[str, Any]
    attempts: int  # this one included


def add(
    session: Session,
    rule: AlertRule,
    event: AlertEvent,
    payload: dict[str, Any],
    *,
    now: datetime,
    problem_id: int | None = None,
) -> None:
    """Queue a message for every channel of `rule`, in the caller's transaction."""
    for channel in rule.channels:
        key = uuid.uuid4().hex
        session.add(
            AlertDelivery(
                key=key,
                rule_id=rule.id,
                problem_id=problem_id,
                event=event,
                channel=channel["shown"],
                address=channel["sealed"],
                payload={"id": key, **payload},
                state=WAITING,
                created_at=now,
                next_try_at=now,
            )
        )


def anything_due(session: Session) -> bool:
    """Say whether `claim` or `give_back` would find something."""
    now = database_now(session)
    due = (_is(WAITING) & (AlertDelivery.next_try_at <= now)) | (AlertDelivery.claimed_until <= now)
    query = select(AlertDelivery.id).where(text(UNSENT), due).limit(1)
    return session.scalar(query) is not None


def claim(session: Session, process: str) -> Parcel | None:
    """Take the delivery that is due first, for `process` alone; None when none is due.

    A later message of a problem waits for the earlier ones to the same channel: “recovered” must
    not come before what it is about. A message about many problems names none of them, so it waits
    for all of its rule, and they for it.
    """
    now = database_now(session)
    earlier = aliased(AlertDelivery, name="earlier")
    of_many = and_(
        earlier.rule_id == AlertDelivery.rule_id,
        or_(earlier.problem_id.is_(None), AlertDelivery.problem_id.is_(None)),
        earlier.event != AlertEvent.TEST,
        AlertDelivery.event != AlertEvent.TEST,
    )
    waits = (
        select(earlier.id)
        .where(
            or_(earlier.problem_id == AlertDelivery.problem_id, of_many),
            earlier.id < AlertDelivery.id,
            earlier.channel == AlertDelivery.channel,
            text(f"earlier.{UNSENT}"),  # letter by letter, as its small index has it
        )
        .exists()
    )
    query = (
        select(AlertDelivery)
        .where(text(UNSENT), _is(WAITING), AlertDelivery.next_try_at <= now, ~waits)
        .order_by(AlertDelivery.next_try_at, AlertDelivery.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    row = session.scalar(query)
    if row is None or row.address is None:
        return None
    row.state, row.process, row.claimed_until = CLAIMED, process, now + CLAIM
    row.attempts += 1
    return Parcel(row.id, row.address, row.payload, row.attempts)


def begin(session: Session, parcel: Parcel, process: str) -> bool:
    """Note that the first byte is about to leave; False when the claim has been lost."""
    return _change(session, parcel, process, (CLAIMED,), state=SENDING)


def succeed(session: Session, parcel: Parcel, process: str) -> None:
    """Note that the receiver has confirmed it, and forget the address with its secrets."""
    now = database_now(session)
    values = {"state": DeliveryState.SENT, "ended_at": now, "address": None, "error": None}
    _change(session, parcel, process, (SENDING,), **values)


def fail(
    session: Session, parcel: Parcel, process: str, error: str, *, for_good: bool = False
) -> bool:
    """Note that an attempt failed, and when the next one is; say whether it was the last."""
    now = database_now(session)
    last = for_good or parcel.attempts > len(BACKOFF)
    if last:
        end = {"state": DeliveryState.FAILED, "ended_at": now, "error": error}
        _change(session, parcel, process, (CLAIMED, SENDING), **end)
    else:
        later = now + timedelta(seconds=BACKOFF[parcel.attempts - 1])
        again = {"state": WAITING, "next_try_at": later, "error": error}
        _change(session, parcel, process, (CLAIMED, SENDING), **again)
    return last


def settle_lost(session: Session) -> int:
    """Deal with what dead processes left; return how many deliveries that were."""
    now = database_now(session)
    lost = (text(UNSENT), AlertDelivery.claimed_until <= now)
    unsent = update(AlertDelivery).where(*lost, _is(CLAIMED))
    dubious = update(AlertDelivery).where(*lost, _is(SENDING))
    nobody = {"process": None, "claimed_until": None}
    found = 0
    for statement in (
        unsent.values(state=WAITING, **nobody),
        dubious.values(state=DeliveryState.UNKNOWN, ended_at=now, error=DIED, **nobody),
    ):
        result = session.execute(statement.execution_options(synchronize_session=False))
        found += result.rowcount if isinstance(result, CursorResult) else 0
    return found


def _is(state: DeliveryState) -> ColumnElement[bool]:
    return AlertDelivery.state == state


def _change(
    session: Session,
    parcel: Parcel,
    process: str,
    states: tuple[DeliveryState, ...],
    **values: Any,
) -> bool:
    """Change a delivery as long as it is still claimed by `process`."""
    held = {} if values["state"] is SENDING else {"claimed_until": None}
    changed = session.execute(
        update(AlertDelivery)
        .where(
            AlertDelivery.id == parcel.id,
            AlertDelivery.process == process,
            AlertDelivery.state.in_(states),
        )
        .values(**values, **held)
        .execution_options(synchronize_session=False)
    )
    return isinstance(changed, CursorResult) and changed.rowcount == 1

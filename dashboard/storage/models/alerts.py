"""What people want to be told of, what is wrong by their rules, and what has been sent."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.storage.models.base import ID_LENGTH, Base, only_where
from dashboard.storage.models.words import AlertEvent, AlertKind, DeliveryState

UNSENT = "state IN ('waiting', 'claimed', 'sending')"
"""The deliveries that still have to be dealt with, for the small index over them."""

OPEN_PROBLEM = "closed_at IS NULL"


class AlertRule(Base):
    """When to tell whom. `channels` are `{"shown", "sealed"}`: see `alerting.channels`."""

    __tablename__ = "alert_rule"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(String(ID_LENGTH))
    on: Mapped[AlertKind]
    after: Mapped[int]  # failures in a row; for a rate, failures within the window
    rate: Mapped[float | None]  # share of runs that failed, above 0 and up to 1
    window_seconds: Mapped[float | None]
    scope: Mapped[dict[str, Any]]  # {"all": true} | {"tags": [...]} | {"jobs": [...]}
    channels: Mapped[list[dict[str, str]]]
    notify_recovery: Mapped[bool]
    remind_every_seconds: Mapped[float | None]
    settle_seconds: Mapped[float]  # a problem that comes back within this time is flapping
    template: Mapped[str] = mapped_column(
        Text, default=""
    )  # of messages; empty: a sentence of ours
    enabled: Mapped[bool]
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(ID_LENGTH))
    updated_at: Mapped[datetime]
    updated_by: Mapped[str] = mapped_column(String(ID_LENGTH))
    version: Mapped[int] = mapped_column(default=1)


class AlertProblem(Base):
    """One job that a rule has found something wrong with; `job_id` is empty for the scheduler.

    At most one of a rule and job is open, whoever looks: so each is told of once.
    """

    __tablename__ = "alert_problem"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    rule_id: Mapped[int]
    job_id: Mapped[str] = mapped_column(String(ID_LENGTH))
    job_name: Mapped[str] = mapped_column(String(ID_LENGTH))
    run_id: Mapped[int | None]
    problem: Mapped[str] = mapped_column(Text)
    since: Mapped[datetime]
    flapping: Mapped[bool] = mapped_column(default=False)
    opened_at: Mapped[datetime]
    told_at: Mapped[datetime]  # when it was last told of
    well_since: Mapped[datetime | None]  # nothing is wrong any more, but not yet for long enough
    closed_at: Mapped[datetime | None]

    __table_args__ = (
        Index(
            "ix_alert_problem_open", "rule_id", "job_id", unique=True, **only_where(OPEN_PROBLEM)
        ),
        Index("ix_alert_problem_job", "rule_id", "job_id", "id"),
        Index("ix_alert_problem_closed", "closed_at"),
    )


class AlertDelivery(Base):
    """One message to one channel: a row in the transaction that makes it due, then sent.

    `address` is that of the channel, sealed, forgotten once it was sent; `channel` is what people
    may see of it. `key` goes along with the message, so that a receiver can tell a repetition.
    """

    __tablename__ = "alert_delivery"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    key: Mapped[str] = mapped_column(String(32), unique=True)
    rule_id: Mapped[int]
    problem_id: Mapped[int | None]  # None for a test
    event: Mapped[AlertEvent]
    channel: Mapped[str] = mapped_column(Text)
    address: Mapped[str | None] = mapped_column(Text)
    payload: Mapped[dict[str, Any]]
    state: Mapped[DeliveryState]
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    next_try_at: Mapped[datetime]
    process: Mapped[str | None] = mapped_column(String(64))  # whoever sends it
    claimed_until: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(Text)  # of the last attempt

    __table_args__ = (
        Index("ix_alert_delivery_unsent", "next_try_at", **only_where(UNSENT)),
        Index("ix_alert_delivery_problem", "problem_id", "id"),
        Index("ix_alert_delivery_ended", "ended_at"),
    )

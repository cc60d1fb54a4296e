"""Runs and what they say.

`run` has no foreign key to `job`: history outlives jobs.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.storage.models.base import ID_LENGTH, Base, only_where
from dashboard.storage.models.words import (
    ACTIVE_RUN,
    CANCEL_ASKED,
    QUEUED_RUN,
    SENT_RUN,
    WAITING_RUN,
    Origin,
    RunState,
)

MOST_COALESCED = 1000
"""So many fire times that became one run are counted: a run with that many stands for at least so
many. After a week without a scheduler a job of every second has dropped 604,800."""


class Run(Base):
    """One firing of a job, written before its task is called.

    The unique key is what lets a fire time start at most once, whoever claims it.
    """

    __tablename__ = "run"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(String(ID_LENGTH))
    job_name: Mapped[str] = mapped_column(String(ID_LENGTH))
    task: Mapped[str] = mapped_column(String(ID_LENGTH))
    parameters: Mapped[dict[str, Any]]
    scheduled_at: Mapped[datetime]
    attempt: Mapped[int] = mapped_column(default=1)
    origin: Mapped[Origin]
    requested_by: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    state: Mapped[RunState]
    reason: Mapped[str | None] = mapped_column(Text)  # why missed, skipped, interrupted, cancelled
    coalesced: Mapped[int] = mapped_column(default=0)  # earlier fire times it stands for
    coalesced_since: Mapped[datetime | None]  # the first of them
    coalesced_times: Mapped[list[datetime] | None]  # each of them, as far as they are counted
    queued_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]  # queued, and given to the broker: a worker may take it
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    duration: Mapped[float | None]  # seconds, by a monotonic clock
    not_before: Mapped[datetime | None]  # a retry that waits for this moment; None = it is ready
    ready_at: Mapped[datetime | None]  # when that moment came; None = it was ready as it was queued
    executor: Mapped[str] = mapped_column(String(32))
    host: Mapped[str | None] = mapped_column(String(255))
    process: Mapped[str | None] = mapped_column(String(64))  # identity of the process that ran it
    error_type: Mapped[str | None] = mapped_column(Text)
    error_message: Mapped[str | None] = mapped_column(Text)
    traceback: Mapped[str | None] = mapped_column(Text)
    fingerprint: Mapped[str | None] = mapped_column(String(64))
    result: Mapped[str | None] = mapped_column(Text)
    progress: Mapped[dict[str, Any] | None]  # {"done", "total", "text"}
    log_dropped: Mapped[int] = mapped_column(default=0)  # lines beyond the limit of one run
    cancel_asked_at: Mapped[datetime | None]  # while it ran; its process acts on it
    cancel_asked_by: Mapped[str | None] = mapped_column(String(ID_LENGTH))

    __table_args__ = (
        UniqueConstraint("job_id", "scheduled_at", "attempt", name="uq_run_fire_time"),
        Index("ix_run_job", "job_id", "id"),
        Index("ix_run_state", "state", "id"),
        # Tiny whatever the history: what waits for each executor, what of it is
        # with Celery's broker, and what is active of each job. They begin with the state, or
        # SQLite without statistics would rather walk through all that is queued.
        Index("ix_run_queue", "state", "executor", "id", **only_where(QUEUED_RUN)),
        Index("ix_run_sent", "executor", "sent_at", **only_where(SENT_RUN)),
        Index("ix_run_waiting", "not_before", **only_where(WAITING_RUN)),
        Index("ix_run_active", "state", "job_id", "id", **only_where(ACTIVE_RUN)),
        Index("ix_run_cancel", "process", **only_where(CANCEL_ASKED)),
        Index("ix_run_fingerprint", "fingerprint", "id", **only_where("fingerprint IS NOT NULL")),
        # A number is never given again, also when the newest run was pruned: it is in links, in
        # messages of a broker and in the marks of pages.
        {"sqlite_autoincrement": True},
    )


class RunLog(Base):
    """One line that a run printed or logged."""

    __tablename__ = "run_log"

    run_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    level: Mapped[str] = mapped_column(String(16))
    logger: Mapped[str] = mapped_column(String(ID_LENGTH))
    text: Mapped[str] = mapped_column(Text)


class RunStep(Base):
    """One named step of a run."""

    __tablename__ = "run_step"

    run_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(Text)
    state: Mapped[RunState]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(Text)

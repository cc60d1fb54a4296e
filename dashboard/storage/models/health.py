"""What is counted while runs end, so that no page has to."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.storage.models.base import ID_LENGTH, Base, only_where
from dashboard.storage.models.words import RunState

ALL_JOBS = ""
"""The job id of the rows of `run_stats` that count every job; no job can have it."""


class JobHealth(Base):
    """How one job has been doing, kept by the same transactions that write its runs.

    `recent` holds the newest finished runs, oldest first, as `[run id, state, seconds or None,
    scheduled_at as ISO text]`, so that a page of jobs needs no look into `run`.
    """

    __tablename__ = "job_health"

    job_id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    last_run_id: Mapped[int | None]
    last_state: Mapped[RunState | None]
    last_finished_at: Mapped[datetime | None] = mapped_column(index=True)
    last_success_at: Mapped[datetime | None]
    last_error: Mapped[str | None] = mapped_column(Text)
    failing_since: Mapped[datetime | None]
    consecutive_failures: Mapped[int] = mapped_column(default=0)
    recent: Mapped[list[Any]]
    usual_duration: Mapped[float | None]  # median seconds of the recent successes
    long_duration: Mapped[float | None]  # 95th percentile of the same

    __table_args__ = (
        Index("ix_job_health_failing", "failing_since", **only_where("failing_since IS NOT NULL")),
    )


class RunStats(Base):
    """Counts of one job in one hour, and under `ALL_JOBS` of all jobs together."""

    __tablename__ = "run_stats"

    job_id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True, index=True)
    succeeded: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    missed: Mapped[int] = mapped_column(default=0)
    skipped: Mapped[int] = mapped_column(default=0)
    interrupted: Mapped[int] = mapped_column(default=0)
    cancelled: Mapped[int] = mapped_column(default=0)
    seconds: Mapped[float] = mapped_column(default=0.0)  # sum of durations

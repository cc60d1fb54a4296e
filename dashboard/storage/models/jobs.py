"""The table of jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.storage.models.base import ID_LENGTH, Base, only_where

RETRY_WAIT = 60
"""Seconds before the first retry, unless the job says otherwise."""


class Job(Base):
    """A task, its parameters and a trigger.

    `next_run_time` is None for a job that is paused or finished. Whether it is paused is said by
    `paused_at` alone.
    """

    __tablename__ = "job"

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    name: Mapped[str] = mapped_column(String(ID_LENGTH))
    task: Mapped[str] = mapped_column(String(ID_LENGTH), index=True)
    parameters: Mapped[dict[str, Any]]
    trigger: Mapped[dict[str, Any]]
    timezone: Mapped[str] = mapped_column(String(64))
    executor: Mapped[str] = mapped_column(String(32))
    coalesce: Mapped[bool]
    max_instances: Mapped[int]
    misfire_grace_time: Mapped[int | None]  # seconds; None = never too late
    slow_after: Mapped[float | None]  # seconds from which a run is unusually long; None = by habit
    timeout: Mapped[float | None]  # seconds a run may take; None = no limit
    retries: Mapped[int] = mapped_column(default=0)  # attempts after the first
    retry_wait: Mapped[int] = mapped_column(default=RETRY_WAIT)  # seconds before the first of them
    max_runs: Mapped[int | None]  # scheduled runs after which it is finished
    runs_counted: Mapped[int] = mapped_column(default=0)  # towards max_runs
    stop_on_success: Mapped[bool] = mapped_column(default=False)
    stop_on_failure: Mapped[bool] = mapped_column(default=False)
    end_at: Mapped[datetime | None]  # the last moment at which it may fire
    next_run_time: Mapped[datetime | None]
    paused_at: Mapped[datetime | None]
    paused_by: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    paused_reason: Mapped[str | None] = mapped_column(Text)
    resume_at: Mapped[datetime | None]  # when a paused job resumes by itself; None = never
    broken_reason: Mapped[str | None] = mapped_column(Text)
    finished_reason: Mapped[str | None] = mapped_column(Text)
    tags: Mapped[list[str]]
    notes: Mapped[str] = mapped_column(Text, default="")
    owner: Mapped[str] = mapped_column(String(ID_LENGTH), default="")
    runbook: Mapped[str] = mapped_column(Text, default="")  # an address to open in a browser
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(ID_LENGTH))
    updated_at: Mapped[datetime]
    updated_by: Mapped[str] = mapped_column(String(ID_LENGTH))
    version: Mapped[int] = mapped_column(default=1)

    __table_args__ = (
        Index("ix_job_name", "name", "id"),
        # Partial, for a query planner without statistics would rather take "paused_at IS NULL",
        # which is nearly every job, than the few that are due.
        Index(
            "ix_job_due",
            "next_run_time",
            **only_where("paused_at IS NULL AND broken_reason IS NULL"),
        ),
        Index("ix_job_paused", "paused_at", **only_where("paused_at IS NOT NULL")),
        Index("ix_job_resume", "resume_at", **only_where("resume_at IS NOT NULL")),
        Index("ix_job_broken", "name", "id", **only_where("broken_reason IS NOT NULL")),
    )

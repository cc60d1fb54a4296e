"""What is counted while runs end, so that no page has to."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.storage.models.base import ID_LENGTH, Base, only_where
from dashboard.storage.models.words import MISSED_LAST, RunState, Silence

ALL_JOBS = ""
"""The job id of the rows of `run_stats` that count every job; no job can have it."""

EVER = datetime(1970, 1, 1, tzinfo=UTC)
"""The hour of the row of `ALL_JOBS` that counts since the beginning and is never pruned: counters
that people's monitoring reads must not fall."""

DURATION_BOUNDS = (
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
    *(60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 21_600.0, 86_400.0),
)  # fmt: skip
"""Seconds up to which the buckets of durations reach; one more holds what took longer. Fixed for
good: what has been counted cannot be sorted anew."""

DURATION_COLUMNS = tuple(f"took_{number:02}" for number in range(len(DURATION_BOUNDS) + 1))
"""The columns of `run_stats` that are these buckets."""

_COUNT = BigInteger().with_variant(Integer, "sqlite")


class JobHealth(Base):
    """How one job has been doing, kept by the same transactions that write its runs.

    `recent` holds the newest finished runs, oldest first, as `[run id, state, seconds or None,
    scheduled_at as ISO text]`, so that a page of jobs needs no look into `run`.

    The columns of the last failure are about the last run that failed or was interrupted, while
    `last_run_id` may be one that was missed since. `failure_kind` tells one failure from another:
    the fingerprint of its error, or its state where there is none.
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
    failure_run_id: Mapped[int | None]
    failure_state: Mapped[RunState | None]
    failure_kind: Mapped[str | None] = mapped_column(String(64))
    silence: Mapped[Silence | None]
    silenced_at: Mapped[datetime | None]
    silenced_by: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    silenced_until: Mapped[datetime | None]  # None = until the job recovers
    silence_reason: Mapped[str | None] = mapped_column(Text)
    silenced_failure: Mapped[str | None] = mapped_column(String(64))  # `failure_kind` at the time
    recent: Mapped[list[Any]]
    usual_duration: Mapped[float | None]  # median seconds of the recent successes
    long_duration: Mapped[float | None]  # 95th percentile of the same

    __table_args__ = (
        Index("ix_job_health_failing", "failing_since", **only_where("failing_since IS NOT NULL")),
        Index("ix_job_health_missed", "last_finished_at", **only_where(MISSED_LAST)),
        Index("ix_job_health_silence", "silenced_at", **only_where("silence IS NOT NULL")),
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
    started: Mapped[int] = mapped_column(default=0)  # runs whose delay is known
    delay: Mapped[float] = mapped_column(default=0.0)  # seconds, their sum


for _name in DURATION_COLUMNS:  # alike, so not one by one: how many runs took so long
    setattr(RunStats, _name, mapped_column(_COUNT, nullable=False, default=0))

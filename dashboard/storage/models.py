"""The tables, typed. Times are aware UTC in Python whatever the database keeps.

`run` has no foreign key to `job`: history outlives jobs.
"""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Enum,
    Float,
    Index,
    Integer,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

ID_LENGTH = 191
"""Job ids as in APScheduler's own SQLAlchemy job store."""

ALL_JOBS = ""
"""The job id of the rows of `run_stats` that count every job; no job can have it."""


class RunState(enum.StrEnum):
    """Where a run stands. The first two are active, all others final."""

    QUEUED = "queued"  # claimed or asked for, belongs to nobody yet
    RUNNING = "running"  # handed to a process, which will say how it ended
    SUCCEEDED = "succeeded"  # the task returned
    FAILED = "failed"  # the task raised
    MISSED = "missed"  # could not start within its misfire grace time
    SKIPPED = "skipped"  # came due while max_instances were queued or running
    INTERRUPTED = "interrupted"  # its process died or was stopped while it ran
    CANCELLED = "cancelled"  # a person stopped it


ACTIVE = (RunState.QUEUED, RunState.RUNNING)
ACTIVE_RUN = "state IN ('queued', 'running')"
"""The same as SQL. Queries that name it letter by letter can use the small index over such rows."""

MAY_FIRE = "paused_at IS NULL AND broken_reason IS NULL"

QUEUED_RUN = "state = 'queued'"
"""Likewise, for the index over the queue of each executor."""

PROBLEMS = (RunState.FAILED, RunState.INTERRUPTED)
"""The final states that make a job unhealthy."""


class Origin(enum.StrEnum):
    """Why there is a run."""

    SCHEDULE = "schedule"
    MANUAL = "manual"
    RETRY = "retry"
    BACKFILL = "backfill"


class JobState(enum.StrEnum):
    """What a job is doing. Derived from its row and its active runs, never stored."""

    SCHEDULED = "scheduled"
    PAUSED = "paused"
    RUNNING = "running"
    BROKEN = "broken"  # cannot be run as it stands; kept until repaired
    FINISHED = "finished"  # has no further fire time


class Health(enum.StrEnum):
    """How a job has been doing."""

    HEALTHY = "healthy"
    FAILING = "failing"  # its last run failed or was interrupted
    OVERDUE = "overdue"  # should have run by now and has not
    UNKNOWN = "unknown"  # has not run yet


class Role(enum.StrEnum):
    """What a person may do; each role includes the ones before it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, other: Role) -> bool:
        """Say whether this role may do what `other` may do."""
        order = list(Role)
        return order.index(self) >= order.index(other)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime; a naive one is refused, for nobody knows which moment it means."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the database UTC; SQLite keeps no offset."""
        if value is None:
            return None
        if value.tzinfo is None:
            message = f"naive datetime {value!r}"
            raise ValueError(message)
        moment = value.astimezone(UTC)
        return moment if dialect.name == "postgresql" else moment.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Mark what comes back as UTC."""
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _words(kind: type[enum.StrEnum]) -> Enum:
    """Keep an enum as its words in a plain text column: readable, and no type to migrate."""
    return Enum(
        kind,
        native_enum=False,
        create_constraint=False,
        length=16,
        values_callable=lambda members: [member.value for member in members],
    )


def _only_where(condition: str) -> dict[str, Any]:
    """Make an index partial, on every database that can."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


class Base(DeclarativeBase):
    """The base of all tables."""

    type_annotation_map = {  # noqa: RUF012 -- SQLAlchemy's own way to say it
        datetime: UtcDateTime,
        RunState: _words(RunState),
        Origin: _words(Origin),
        Role: _words(Role),
        dict[str, Any]: JSON,
        list[str]: JSON,
        list[Any]: JSON,
        # SQLite numbers rows by itself only in a column called exactly INTEGER.
        int: BigInteger().with_variant(Integer, "sqlite"),
        float: Float,
    }


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
    next_run_time: Mapped[datetime | None]
    paused_at: Mapped[datetime | None]
    paused_by: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    paused_reason: Mapped[str | None] = mapped_column(Text)
    broken_reason: Mapped[str | None] = mapped_column(Text)
    finished_reason: Mapped[str | None] = mapped_column(Text)
    tags: Mapped[list[str]]
    notes: Mapped[str] = mapped_column(Text, default="")
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
            **_only_where("paused_at IS NULL AND broken_reason IS NULL"),
        ),
        Index("ix_job_paused", "paused_at", **_only_where("paused_at IS NOT NULL")),
        Index("ix_job_broken", "id", **_only_where("broken_reason IS NOT NULL")),
    )


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
    coalesced: Mapped[int] = mapped_column(default=0)  # earlier fire times this run stands for
    queued_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    duration: Mapped[float | None]  # seconds, by a monotonic clock
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

    __table_args__ = (
        UniqueConstraint("job_id", "scheduled_at", "attempt", name="uq_run_fire_time"),
        Index("ix_run_job", "job_id", "id"),
        Index("ix_run_state", "state", "id"),
        # Tiny whatever the history: what waits for each executor, and what is active of each job.
        Index("ix_run_queue", "executor", "id", **_only_where(QUEUED_RUN)),
        Index("ix_run_active", "job_id", "state", **_only_where(ACTIVE_RUN)),
        Index("ix_run_fingerprint", "fingerprint", "id", **_only_where("fingerprint IS NOT NULL")),
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
        Index("ix_job_health_failing", "failing_since", **_only_where("failing_since IS NOT NULL")),
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


class Audit(Base):
    """One thing somebody did or tried to do."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(ID_LENGTH))
    address: Mapped[str | None] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(64))
    target: Mapped[str] = mapped_column(String(ID_LENGTH))
    outcome: Mapped[str] = mapped_column(String(16))  # done, refused, failed
    detail: Mapped[dict[str, Any]]

    __table_args__ = (
        Index("ix_audit_target", "target", "id"),
        Index("ix_audit_action", "action", "id"),
    )


class User(Base):
    """A person who may sign in."""

    __tablename__ = "user"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(String(ID_LENGTH), unique=True)
    password_hash: Mapped[str] = mapped_column(Text)
    role: Mapped[Role]
    active: Mapped[bool] = mapped_column(default=True)
    epoch: Mapped[int] = mapped_column(default=1)  # raised to end all sessions of this person
    created_at: Mapped[datetime]


class Lease(Base):
    """Who leads. One row; whoever holds it before `until` may start runs, nobody else."""

    __tablename__ = "lease"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    holder: Mapped[str] = mapped_column(String(64))
    machine: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int]
    pid_started: Mapped[float]  # the process's start time: a pid alone may be reused
    renewed_at: Mapped[datetime]
    until: Mapped[datetime]


class SchedulerLife(Base):
    """One stretch in which a process led; the gaps between rows are downtime."""

    __tablename__ = "scheduler_life"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    process: Mapped[str] = mapped_column(String(64))
    host: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int]
    version: Mapped[str] = mapped_column(String(32))
    began_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    ended: Mapped[str | None] = mapped_column(String(16))  # stopped, lost; None while it lives


class Revision(Base):
    """One row whose number rises with every change that a page could show."""

    __tablename__ = "revision"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int]

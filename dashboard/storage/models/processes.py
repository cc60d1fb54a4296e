"""Which processes live, which one leads, and what has changed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.storage.models.base import Base
from dashboard.storage.models.words import ProcessKind


class Lease(Base):
    """Who leads. One row; whoever holds it may start runs, nobody else."""

    __tablename__ = "lease"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    holder: Mapped[str] = mapped_column(String(64))
    machine: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int]
    pid_started: Mapped[float]  # when the process began: a pid alone may be reused
    renewed_at: Mapped[datetime]
    until: Mapped[datetime]


class Process(Base):
    """One process that takes part, for as long as it lives: a dashboard or a Celery worker.

    It moves `until` on by itself. The leader removes the row of one that stopped doing so, and ends
    the runs that it had.
    """

    __tablename__ = "process"

    process: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[ProcessKind]
    host: Mapped[str] = mapped_column(String(255))
    machine: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int]
    pid_started: Mapped[float]
    version: Mapped[str] = mapped_column(String(32))
    executors: Mapped[list[str]]  # of a worker: those whose queues it serves
    places: Mapped[int]  # of a worker: how many runs at once
    problem: Mapped[str | None] = mapped_column(Text)  # what it cannot reach at present
    began_at: Mapped[datetime]
    seen_at: Mapped[datetime]
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

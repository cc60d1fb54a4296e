"""Errors that are the same error, counted together while the runs that met them end."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.storage.models.base import ID_LENGTH, Base
from dashboard.storage.models.words import ErrorMark


class ErrorGroup(Base):
    """All runs that ended with one fingerprint, and what somebody decided about them.

    A mark ends by itself: when it does, `mark` is emptied and `regressed_at` says when; who had
    decided what stays to be shown.
    """

    __tablename__ = "error_group"

    fingerprint: Mapped[str] = mapped_column(String(64), primary_key=True)
    error: Mapped[str] = mapped_column(Text)  # one line, as the last run had it
    first_seen_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    count: Mapped[int]
    jobs: Mapped[int]  # that ever met it
    last_run_id: Mapped[int]
    last_job_id: Mapped[str] = mapped_column(String(ID_LENGTH))
    mark: Mapped[ErrorMark | None]
    marked_at: Mapped[datetime | None]
    marked_by: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    mark_reason: Mapped[str | None] = mapped_column(Text)
    until_at: Mapped[datetime | None]
    until_count: Mapped[int | None]  # of all its runs, those before the mark included
    until_rate: Mapped[int | None]  # runs within one hour of the clock
    regressed_at: Mapped[datetime | None]

    __table_args__ = (
        Index("ix_error_group_last", "last_seen_at", "fingerprint"),
        Index("ix_error_group_first", "first_seen_at", "fingerprint"),
        Index("ix_error_group_count", "count", "fingerprint"),
    )


class ErrorHour(Base):
    """How many runs ended with an error in one hour."""

    __tablename__ = "error_hour"

    fingerprint: Mapped[str] = mapped_column(String(64), primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True, index=True)
    count: Mapped[int]


class ErrorJob(Base):
    """A job that met an error."""

    __tablename__ = "error_job"

    fingerprint: Mapped[str] = mapped_column(String(64), primary_key=True)
    job_id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    count: Mapped[int]
    last_seen_at: Mapped[datetime]
    last_run_id: Mapped[int]

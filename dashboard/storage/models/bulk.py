"""What people do to many jobs at once."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.storage.models.base import ID_LENGTH, Base


class Bulk(Base):
    """One action on many jobs: first a preview that names them, then a list that is worked off.

    `position` moves on in the transactions that do the work, so that each job is acted on once,
    whoever goes on after a crash or a second click.
    """

    __tablename__ = "bulk"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(ID_LENGTH))
    action: Mapped[str] = mapped_column(String(16))
    search: Mapped[str | None] = mapped_column(Text)  # what found them; None when picked one by one
    targets: Mapped[list[str]]  # ids of jobs
    left_out: Mapped[list[Any]]  # [why, how many, some of their names]
    started_at: Mapped[datetime | None]
    reason: Mapped[str | None] = mapped_column(Text)  # why they are paused
    until: Mapped[datetime | None]  # when they resume by themselves
    tag: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    position: Mapped[int] = mapped_column(default=0)  # so many targets have been dealt with
    refused: Mapped[int] = mapped_column(default=0)  # targets that were not acted on after all
    why_refused: Mapped[list[Any]]  # [id, why] of some of them

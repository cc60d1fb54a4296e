"""Who may sign in, and who did what."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.storage.models.base import ID_LENGTH, Base
from dashboard.storage.models.words import Role


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

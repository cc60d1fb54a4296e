"""Who may sign in, who is signed in, and who did what."""

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
    request_id: Mapped[str | None] = mapped_column(String(64))  # as in the server's log

    __table_args__ = (
        Index("ix_audit_target", "target", "id"),
        Index("ix_audit_action", "action", "id"),
        Index("ix_audit_actor", "actor", "id"),
        Index("ix_audit_outcome", "outcome", "id"),
        Index("ix_audit_at", "at"),
    )


class User(Base):
    """A person who may sign in."""

    __tablename__ = "user"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(String(ID_LENGTH), unique=True)
    password_hash: Mapped[str] = mapped_column(Text)  # empty: signs in elsewhere only
    role: Mapped[Role]
    tags: Mapped[list[str]] = mapped_column(default=list)  # of the jobs it is for; none: of all
    active: Mapped[bool] = mapped_column(default=True)
    timezone: Mapped[str] = mapped_column(String(64), default="")  # empty: the browser's
    theme: Mapped[str] = mapped_column(String(8), default="auto")  # light, dark, auto
    created_at: Mapped[datetime]


class SignIn(Base):
    """One browser in which a person is signed in; deleted, that browser is signed out."""

    __tablename__ = "sign_in"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    user_id: Mapped[int] = mapped_column(index=True)
    began_at: Mapped[datetime]
    seen_at: Mapped[datetime]  # to within minutes
    until: Mapped[datetime] = mapped_column(index=True)  # ends then whatever happens
    remembered: Mapped[bool]  # does not end by idling
    address: Mapped[str | None] = mapped_column(String(64))
    user_agent: Mapped[str] = mapped_column(String(255))


class SignInFailure(Base):
    """One failed sign-in of the last minutes; they are counted to stop guessing."""

    __tablename__ = "sign_in_failure"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(index=True)
    account: Mapped[str] = mapped_column(String(64))  # a hash: people type passwords there, too
    address: Mapped[str] = mapped_column(String(64))

    __table_args__ = (Index("ix_sign_in_failure_address", "address", "account"),)

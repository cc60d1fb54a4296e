"""Programs that may use the API, and what they were answered."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.storage.models.base import ID_LENGTH, Base, only_where
from dashboard.storage.models.words import Role


class ApiToken(Base):
    """One program's key. Kept is a hash of it: a copy of the database lets nobody in."""

    __tablename__ = "api_token"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(String(ID_LENGTH))
    hash: Mapped[str] = mapped_column(String(64), unique=True)  # SHA-256, hexadecimal
    role: Mapped[Role]
    tags: Mapped[list[str]] = mapped_column(default=list)  # of the jobs it is for; none: of all
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(ID_LENGTH))
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]  # to the minute
    revoked_at: Mapped[datetime | None]
    revoked_by: Mapped[str | None] = mapped_column(String(ID_LENGTH))

    __table_args__ = (
        # The audit log knows a token by its name, so no two that work have the same.
        Index("uq_api_token_name", "name", unique=True, **only_where("revoked_at IS NULL")),
    )


ANSWER_KEPT = timedelta(hours=24)
"""So long a program may send a request again."""


class KeptAnswer(Base):
    """The answer to a request that carried an Idempotency-Key, for whoever sends it again.

    It is written by the transaction that did what was asked, so there is never one without the
    other.
    """

    __tablename__ = "kept_answer"

    token_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    request: Mapped[str] = mapped_column(String(64))  # SHA-256 of method, address and body
    at: Mapped[datetime] = mapped_column(index=True)
    status: Mapped[int]
    location: Mapped[str | None] = mapped_column(Text)
    body: Mapped[str] = mapped_column(Text)

"""What people keep of lists they look at again and again."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.storage.models.base import ID_LENGTH, Base


class SavedView(Base):
    """A search, filter or order of a list, kept by one person under a name."""

    __tablename__ = "saved_view"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    owner: Mapped[str] = mapped_column(String(ID_LENGTH))
    screen: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(ID_LENGTH))
    query: Mapped[str] = mapped_column(Text)  # as in the list's address, without the question mark
    created_at: Mapped[datetime]

    __table_args__ = (UniqueConstraint("owner", "screen", "name", name="uq_saved_view_name"),)

"""Writing many rows: in pieces that a statement can take, and on top of what exists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.dialects import postgresql, sqlite

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dashboard.storage.models import Base

T = TypeVar("T")

ROWS_A_QUERY = 500
"""Ids in one IN list: databases limit the parameters of a statement."""


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Cut `items` into pieces of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def insert_for(dialect_name: str, table: type[Base]) -> Any:
    """Return the dialect's INSERT for `table`, the one that knows ON CONFLICT."""
    dialect = postgresql if dialect_name == "postgresql" else sqlite
    return dialect.insert(table)

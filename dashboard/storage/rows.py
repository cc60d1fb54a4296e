"""Whole rows as JSON and back: what is kept of something that is removed, so that it can return.

Columns are taken as they are, whatever they are: one that is added later is kept without anybody
thinking of it here.
"""

from __future__ import annotations

import enum
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Enum

from dashboard.storage.models import UtcDateTime

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from sqlalchemy.types import TypeEngine

    from dashboard.storage.models import Base


def row_as_json(row: Base, *, without: Container[str] = ()) -> dict[str, Any]:
    """Return all columns of a row, but those named."""
    names = [column.key for column in row.__table__.columns if column.key not in without]
    return {name: _as_json(getattr(row, name)) for name in names}


def values_from_json(kind: type[Base], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a row of `kind` is made of; keys that are no column (any more) are left out."""
    columns = [column for column in kind.__table__.columns if column.key in data]
    return {column.key: _value(column.type, data[column.key]) for column in columns}


def _as_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return value.value if isinstance(value, enum.Enum) else value


def _value(kind: TypeEngine[Any], value: Any) -> Any:
    if value is None:
        return None
    if isinstance(kind, UtcDateTime):
        return datetime.fromisoformat(value)
    if isinstance(kind, Enum) and kind.enum_class is not None:
        return kind.enum_class(value)
    return value

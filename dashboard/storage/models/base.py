"""What all tables share: the base class and the types of columns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Enum,
    Float,
    Integer,
    TypeDecorator,
    text,
)
from sqlalchemy.orm import DeclarativeBase

from dashboard.storage.models.words import (
    AlertEvent,
    AlertKind,
    DeliveryState,
    ErrorMark,
    Origin,
    ProcessKind,
    Role,
    RunState,
    Silence,
)

if TYPE_CHECKING:
    import enum
    from collections.abc import Callable

ID_LENGTH = 191
"""Job ids as in APScheduler's own SQLAlchemy job store."""

LARGEST_ID = 2**63 - 1
"""What a database can compare a number with; an address may hold any."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime; a naive one is refused, for nobody knows which moment it means."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the database UTC; SQLite keeps no offset."""
        if value is None:
            return None
        moment = _in_utc(value)
        return moment if dialect.name == "postgresql" else moment.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Mark what comes back as UTC."""
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    # SQLite keeps text. SQLAlchemy would read and write it in two steps; a tick and a page convert
    # hundreds of moments, so it is done in one.

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any] | None:
        """Return what turns a value into what the driver takes."""
        return _to_text if dialect.name == "sqlite" else super().bind_processor(dialect)

    def result_processor(self, dialect: Dialect, coltype: Any) -> Callable[[Any], Any] | None:
        """Return what turns the driver's value into ours."""
        return _of_text if dialect.name == "sqlite" else super().result_processor(dialect, coltype)


def _in_utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        message = f"naive datetime {value!r}"
        raise ValueError(message)
    return value.astimezone(UTC)


def _to_text(value: datetime | None) -> str | None:
    return None if value is None else _in_utc(value).isoformat(" ", "microseconds")[:-6]


def _of_text(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value + "+00:00")


class Moments(TypeDecorator[list[datetime]]):
    """Ascending moments, kept small: the first, then `[seconds to the next, how often in a row]`.

    A thousand fire times of a regular trigger take some forty characters.
    """

    impl = JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(
        self, value: list[datetime] | None, dialect: Dialect
    ) -> list[Any] | None:
        """Write the gaps."""
        del dialect
        if not value:
            return None
        gaps = groupby((later - earlier).total_seconds() for earlier, later in pairwise(value))
        return [_in_utc(value[0]).isoformat(), *([gap, len([*same])] for gap, same in gaps)]

    def process_result_value(
        self, value: list[Any] | None, dialect: Dialect
    ) -> list[datetime] | None:
        """Go along the gaps."""
        del dialect
        if value is None:
            return None
        moments = [datetime.fromisoformat(value[0])]
        for gap, often in value[1:]:
            moments += [moments[-1] + timedelta(seconds=gap) * n for n in range(1, often + 1)]
        return moments


def words_of(kind: type[enum.StrEnum]) -> Enum:
    """Keep an enum as its words in a plain text column: readable, and no type to migrate."""
    return Enum(
        kind,
        native_enum=False,
        create_constraint=False,
        length=16,
        values_callable=lambda members: [member.value for member in members],
    )


def only_where(condition: str) -> dict[str, Any]:
    """Make an index partial, on every database that can."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


class Base(DeclarativeBase):
    """The base of all tables."""

    type_annotation_map = {  # noqa: RUF012 -- SQLAlchemy's own way to say it
        datetime: UtcDateTime,
        list[datetime]: Moments,
        RunState: words_of(RunState),
        Origin: words_of(Origin),
        ProcessKind: words_of(ProcessKind),
        Role: words_of(Role),
        Silence: words_of(Silence),
        AlertKind: words_of(AlertKind),
        AlertEvent: words_of(AlertEvent),
        DeliveryState: words_of(DeliveryState),
        ErrorMark: words_of(ErrorMark),
        dict[str, Any]: JSON,
        list[str]: JSON,
        list[Any]: JSON,
        list[dict[str, str]]: JSON,
        # SQLite numbers rows by itself only in a column called exactly INTEGER.
        int: BigInteger().with_variant(Integer, "sqlite"),
        float: Float,
    }

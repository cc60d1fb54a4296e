"""Points in time as rows of lists write them, all of a page's from one clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, overload

from dashboard.web.filters import absolute, iso, relative
from dashboard.web.zones import display_zone

if TYPE_CHECKING:
    from datetime import tzinfo


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time, in all the ways a row writes it."""

    iso: str
    relative: str
    absolute: str


@dataclass(frozen=True, slots=True)
class Clock:
    """The present, and the zone in which pages show times."""

    now: datetime
    zone: tzinfo

    @classmethod
    def read(cls) -> Clock:
        """Return the clock of this request."""
        return cls(datetime.now(UTC), display_zone())

    def ago(self, moment: datetime | None) -> str:
        """Say how long ago a moment was, or how soon it will be."""
        return relative(moment, self.now)


@overload
def write(moment: datetime, ago: str, zone: tzinfo) -> Moment: ...


@overload
def write(moment: datetime | None, ago: str, zone: tzinfo) -> Moment | None: ...


def write(moment: datetime | None, ago: str, zone: tzinfo) -> Moment | None:
    """Write a moment out that is `ago` from now; None stays None."""
    return None if moment is None else Moment(iso(moment), ago, absolute(moment, zone))

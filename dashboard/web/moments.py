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

    @overload
    def write(self, moment: datetime) -> Moment: ...

    @overload
    def write(self, moment: datetime | None) -> Moment | None: ...

    def write(self, moment: datetime | None) -> Moment | None:
        """Write a moment out; None stays None."""
        if moment is None:
            return None
        return Moment(iso(moment), relative(moment, self.now), absolute(moment, self.zone))

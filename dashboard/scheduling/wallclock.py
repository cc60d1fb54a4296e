"""Wall-clock time in a zone: where it is skipped, where it repeats, and which moment it means.

A *wall time* is a naive `datetime`, read off a clock on the wall of that zone. A *moment* is an
aware `datetime` in UTC.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

SHORTEST_PERIOD = timedelta(days=7)
TICK = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)

_ZONE_NAME = re.compile(r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,2}")
_LATEST_YEAR = 9998


@dataclass(frozen=True, slots=True)
class Change:
    """A moment at which a zone's clocks are put forward or back."""

    at: datetime
    before: timedelta
    after: timedelta

    @property
    def forward(self) -> bool:
        """True where wall times are skipped, False where they repeat."""
        return self.after > self.before

    @property
    def old_reading(self) -> datetime:
        """What the clocks would have shown at that moment, had they not been changed."""
        return (self.at + self.before).replace(tzinfo=None)

    @property
    def new_reading(self) -> datetime:
        """What the clocks show at that moment."""
        return (self.at + self.after).replace(tzinfo=None)

    @property
    def stretch(self) -> tuple[datetime, datetime]:
        """The wall times that are skipped or repeated: from the first, up to the second."""
        if self.forward:
            return self.old_reading, self.new_reading
        return self.new_reading, self.old_reading


def zone_named(name: str) -> ZoneInfo:
    """Return the zone with that IANA name; raises `ValueError` with a message for people."""
    try:
        if _ZONE_NAME.fullmatch(name):
            return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        pass  # ZoneInfo's three ways of saying unknown: no such file, not such a file, a folder
    raise ValueError("is not a known time zone; use a name such as Europe/Berlin or UTC")


@lru_cache(maxsize=1024)
def changes(zone: tzinfo, year: int) -> tuple[Change, ...]:
    """List the changes of a zone's clocks in one (UTC) year, oldest first.

    Python tells no transitions, so they are searched: week by week, then by halving. Two changes
    that cancel each other out within a week would be overlooked; no zone has such.
    """
    found = []
    low = datetime(year, 1, 1, tzinfo=UTC) - SECOND
    end = datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)
    while low < end:
        high = min(low + SHORTEST_PERIOD, end)
        while _offset(zone, low) != _offset(zone, high):
            change = _halve(zone, low, high)
            found.append(change)
            low = change.at
        low = high
    return tuple(found)


def _offset(zone: tzinfo, moment: datetime) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta(0)


def _halve(zone: tzinfo, low: datetime, high: datetime) -> Change:
    """Find the change between two moments with different offsets, to the second."""
    before, after = _offset(zone, low), _offset(zone, high)
    while high - low > SECOND:
        middle = low + timedelta(seconds=(high - low) // SECOND // 2)
        if _offset(zone, middle) == before:
            low = middle
        else:
            high, after = middle, _offset(zone, middle)
    return Change(high, before, after)


def changes_between(zone: tzinfo, start: datetime, end: datetime) -> list[Change]:
    """List the changes after `start`, up to and including `end`."""
    last = min(end.year, _LATEST_YEAR)
    return [
        change
        for year in range(start.year, last + 1)
        for change in changes(zone, year)
        if start < change.at <= end
    ]


def change_over(zone: tzinfo, wall: datetime) -> Change | None:
    """Return the change that skips or repeats this wall time, None for an ordinary one."""
    near = wall.replace(tzinfo=UTC)
    for change in changes_between(zone, near - 2 * DAY, near + 2 * DAY):
        first, end = change.stretch
        if first <= wall < end:
            return change
    return None


def moment_of(zone: tzinfo, wall: datetime) -> datetime:
    """Return the moment of a wall time.

    One that is skipped means the first moment after the gap; one that happens twice, the first
    time. So the order of wall times is the order of their moments. Raises `OverflowError` at the
    end of the calendar.
    """
    first = wall.replace(tzinfo=zone).utcoffset()
    second = wall.replace(tzinfo=zone, fold=1).utcoffset()
    if first is None or second is None:
        raise ValueError(f"{zone} does not know its offset")
    if first < second:
        change = change_over(zone, wall)
        if change is not None:
            return change.at
    return (wall - first).replace(tzinfo=UTC)


def earliest_wall(zone: tzinfo, moment: datetime) -> datetime:
    """Return the first wall time whose `moment_of` is not before this moment.

    Right after a gap that is the beginning of the gap; inside the second pass of a repeated hour
    it is the end of that hour.
    """
    just_before = (moment - TICK).astimezone(zone)
    reading = just_before.replace(tzinfo=None, fold=0)
    if just_before.fold:
        change = change_over(zone, reading)
        if change is not None:
            return change.old_reading
    return reading + TICK


def reading_of(zone: tzinfo, moment: datetime) -> datetime:
    """Return what the clocks of the zone show at a moment; the two passes of an hour look alike."""
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)

"""Cron: which days and times match, and when their wall times come about in a zone."""

from __future__ import annotations

from bisect import bisect_left
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from dashboard.scheduling.cronfields import LAST
from dashboard.scheduling.firetimes import FireTimes
from dashboard.scheduling.wallclock import (
    DAY,
    SECOND,
    changes_between,
    earliest_wall,
    moment_of,
    reading_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import tzinfo

    from dashboard.scheduling.cronfields import CronField

# Leap years and weekdays together repeat within 40 years, whatever century lies between: what does
# not match within 100 years never does. Of given years, that many are looked at.
SEARCH_YEARS = 100
_LONG_SEARCH = 12  # months
_WEEK = 7
_NEAR = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class CronPattern:
    """The eight fields of a cron trigger, or a crontab line brought into them.

    `either`: day of month *or* day of week, as crontab has it when both are restricted.
    """

    fields: Mapping[str, CronField]
    either: bool = False
    crontab: str | None = None

    @property
    def elapsed(self) -> bool:
        """True when the hours are `*` or `*/n`: elapsed time counts through clock changes."""
        return self.fields["hour"].starred


def _common(patterns: Sequence[CronPattern], name: str) -> frozenset[int]:
    """Return the values that a field has in all of the patterns."""
    return frozenset.intersection(*(pattern.fields[name].values for pattern in patterns))


class MatchingDays:
    """The dates that match the date fields of all patterns, month by month as sets of bits."""

    def __init__(self, patterns: Sequence[CronPattern]) -> None:
        self._patterns = patterns
        self._years: list[int] | None = None
        if not all(pattern.fields["year"].every for pattern in patterns):
            self._years = sorted(_common(patterns, "year"))
        self._weeks: frozenset[int] | None = None
        if not all(pattern.fields["week"].every for pattern in patterns):
            self._weeks = _common(patterns, "week")
        self._months = sorted(_common(patterns, "month"))
        self._shapes: dict[tuple[int, int], int] = {}
        self._gap: tuple[date, date | None] | None = None

    def in_month(self, year: int, month: int) -> int:
        """Return the days that match as bits: bit 1 for the 1st."""
        shape = monthrange(year, month)
        days = self._shapes.get(shape)
        if days is None:
            days = -1
            for pattern in self._patterns:
                days &= _days_in_shape(pattern, *shape)
            self._shapes[shape] = days
        if self._weeks is not None:
            days = sum(
                1 << day
                for day in _bits(days)
                if date(year, month, day).isocalendar().week in self._weeks
            )
        return days

    def first_from(self, floor: date) -> date | None:
        """Return the first matching date not before `floor`, looking 100 years ahead.

        The last long search is remembered, so that a rare date is not sought again and again.
        """
        gap = self._gap
        if gap is not None and gap[0] <= floor and (gap[1] is None or floor <= gap[1]):
            return gap[1]
        found, searched = None, 0
        for searched, (year, month) in enumerate(self._months_from(floor)):
            days = self.in_month(year, month)
            if searched == 0 and (year, month) == (floor.year, floor.month):
                days = days >> floor.day << floor.day
            if days:
                found = date(year, month, (days & -days).bit_length() - 1)
                break
        if searched > _LONG_SEARCH or found is None:
            self._gap = (floor, found)
        return found

    def _months_from(self, floor: date) -> Iterator[tuple[int, int]]:
        """Yield the months that can match, from that of `floor` on."""
        years: Iterable[int]
        if self._years is None:
            years = range(floor.year, min(floor.year + SEARCH_YEARS, date.max.year) + 1)
        else:
            first = bisect_left(self._years, floor.year)
            years = self._years[first : first + SEARCH_YEARS + 1]
        for year in years:
            for month in self._months:
                if year > floor.year or month >= floor.month:
                    yield year, month


def _days_in_shape(pattern: CronPattern, first_weekday: int, length: int) -> int:
    """Return the days that match in any month of that length that begins on that weekday."""
    day, weekdays = pattern.fields["day"], pattern.fields["day_of_week"].values
    by_date = {number for number in day.values if number <= length}
    for position in day.positions:
        if position.weekday is None:
            by_date.add(length)
            continue
        hits = range((position.weekday - first_weekday) % _WEEK + 1, length + 1, _WEEK)
        if position.nth == LAST:
            by_date.add(hits[-1])
        else:
            by_date.update(hits[position.nth - 1 : position.nth])
    by_weekday = {
        number
        for number in range(1, length + 1)
        if (first_weekday + number - 1) % _WEEK in weekdays
    }
    matching = by_date | by_weekday if pattern.either else by_date & by_weekday
    return sum(1 << number for number in matching)


def _bits(days: int) -> Iterator[int]:
    while days:
        lowest = days & -days
        yield lowest.bit_length() - 1
        days ^= lowest


class MatchingTimes:
    """The times of day that match the hour, minute and second of all patterns."""

    def __init__(self, patterns: Sequence[CronPattern]) -> None:
        self._hours, self._minutes, self._seconds = (
            sorted(_common(patterns, name)) for name in ("hour", "minute", "second")
        )
        self.first: tuple[int, int, int] | None = None
        if self._hours and self._minutes and self._seconds:
            self.first = (self._hours[0], self._minutes[0], self._seconds[0])

    def first_from(self, hour: int, minute: int, second: int) -> tuple[int, int, int] | None:
        """Return the first matching time not before this one, None if that is another day."""
        h = bisect_left(self._hours, hour)
        if h < len(self._hours) and self._hours[h] == hour:
            m = bisect_left(self._minutes, minute)
            if m < len(self._minutes) and self._minutes[m] == minute:
                s = bisect_left(self._seconds, second)
                if s < len(self._seconds):
                    return hour, minute, self._seconds[s]
                m += 1
            if m < len(self._minutes):
                return hour, self._minutes[m], self._seconds[0]
            h += 1
        if h < len(self._hours):
            return self._hours[h], self._minutes[0], self._seconds[0]
        return None


class Cron(FireTimes):
    """Fires at the wall times that match a pattern, or several patterns at once.

    With fixed hours every matching wall time fires once: a skipped one at the first moment after
    the gap, a repeated one the first time only. With the hours `*` or `*/n` every moment fires at
    which the clocks show a matching time, so such a job goes on through both passes of an hour.
    """

    __slots__ = ("_days", "_times", "elapsed", "end_date", "patterns", "start_date")

    def __init__(
        self,
        *patterns: CronPattern,
        timezone: tzinfo,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> None:
        self.patterns = patterns
        self.elapsed = all(pattern.elapsed for pattern in patterns)
        self.timezone = timezone
        self.start_date = None if start_date is None else start_date.astimezone(UTC)
        self.end_date = None if end_date is None else end_date.astimezone(UTC)
        self._days = MatchingDays(patterns)
        self._times = MatchingTimes(patterns)

    def at_or_after(self, moment: datetime) -> datetime | None:
        """Find the next matching wall time and the moment it stands for."""
        if self.start_date is not None and moment < self.start_date:
            moment = self.start_date
        try:
            found = self._elapsed(moment) if self.elapsed else self._fixed(moment)
        except OverflowError:  # within a day of the end of the calendar
            return None
        if found is None or (self.end_date is not None and found > self.end_date):
            return None
        return found

    def next_wall(self, wall: datetime) -> datetime | None:
        """Return the first matching wall time that is not before `wall`."""
        if wall.microsecond:
            wall = wall.replace(microsecond=0) + SECOND
        first = self._times.first
        if first is None:
            return None
        today = wall.date()
        day = self._days.first_from(today)
        if day == today:
            time = self._times.first_from(wall.hour, wall.minute, wall.second)
            if time is not None:
                return datetime(day.year, day.month, day.day, *time)  # noqa: DTZ001 - a wall time
            day = self._days.first_from(today + DAY)
        if day is None:
            return None
        return datetime(day.year, day.month, day.day, *first)  # noqa: DTZ001 - a wall time

    def _fixed(self, moment: datetime) -> datetime | None:
        wall = self.next_wall(earliest_wall(self.timezone, moment))
        return None if wall is None else moment_of(self.timezone, wall)

    def _elapsed(self, moment: datetime) -> datetime | None:
        """Walk from one clock change to the next; between them, offsets are constant.

        Of a long way only both ends matter: what the clocks show in between lies between them.
        """
        while True:
            wall = reading_of(self.timezone, moment)
            match = self.next_wall(wall)
            if match is None:
                return None
            offset = wall.replace(tzinfo=UTC) - moment
            found = (match - offset).replace(tzinfo=UTC)
            ahead = changes_between(self.timezone, moment, min(found, moment + _NEAR))
            if ahead:
                moment = ahead[0].at
            elif found - moment > _NEAR:
                moment = moment_of(self.timezone, match - DAY)
            else:
                return found

"""Triggers that count from a start: once, every so many seconds, every so many days or months."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from dashboard.scheduling.firetimes import FireTimes
from dashboard.scheduling.wallclock import DAY, SECOND, earliest_wall, moment_of

if TYPE_CHECKING:
    from datetime import tzinfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

ANCHORED = "anchored"
"""In a trigger's JSON: its `start_date` was made up when the job was saved, nobody gave it."""
_MONTHS = 12


class Once(FireTimes):
    """Fires at one moment. `asked` is the wall time it was given as, if it was."""

    __slots__ = ("asked", "run_date")

    def __init__(self, run_date: datetime, *, timezone: tzinfo, asked: datetime | None) -> None:
        self.run_date = run_date.astimezone(UTC)
        self.timezone = timezone
        self.asked = asked

    def at_or_after(self, moment: datetime) -> datetime | None:
        """Return the moment unless it is over."""
        return self.run_date if self.run_date >= moment else None

    def next_wall(self, wall: datetime) -> datetime | None:
        """Return the wall time it was given as, unless that is before `wall`."""
        return self.asked if self.asked is not None and self.asked >= wall else None


class Interval(FireTimes):
    """Fires every so much elapsed time from a start on; clock changes do not touch it.

    Without a start it counts from 1970-01-01 UTC, so even an interval that nobody has anchored yet
    gives the same answer whenever it is asked.
    """

    __slots__ = ("end_date", "interval", "start_date")

    def __init__(
        self,
        interval: timedelta,
        *,
        timezone: tzinfo,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> None:
        self.interval = interval
        self.timezone = timezone
        self.start_date = None if start_date is None else start_date.astimezone(UTC)
        self.end_date = None if end_date is None else end_date.astimezone(UTC)

    @property
    def ends_before_it_starts(self) -> bool:
        """True when it can never fire."""
        return bool(self.start_date and self.end_date and self.end_date < self.start_date)

    def at_or_after(self, moment: datetime) -> datetime | None:
        """Count the intervals since the start, rounded up."""
        start = self.start_date or EPOCH
        found = start
        if moment > start:
            try:
                found = start - (start - moment) // self.interval * self.interval
            except OverflowError:  # beyond the year 9999
                return None
        if self.end_date is not None and found > self.end_date:
            return None
        return found

    def anchored(self, now: datetime) -> Interval:
        """Start one interval from now, on a whole second: cron times are, and may be combined."""
        if self.start_date is not None:
            return self
        start = now + self.interval
        if start.microsecond:
            start = start.replace(microsecond=0) + SECOND
        started = Interval(
            self.interval, timezone=self.timezone, start_date=start, end_date=self.end_date
        )
        made_up = start.astimezone(self.timezone).isoformat()
        started.form = self.form | {"start_date": made_up, ANCHORED: True}
        return started

    def last_at_or_before(self, moment: datetime, *, since: datetime) -> datetime | None:
        """Count the intervals since the start, rounded down."""
        if self.end_date is not None:
            moment = min(moment, self.end_date)
        start = self.start_date or EPOCH
        if moment < start:
            return None
        found = start + (moment - start) // self.interval * self.interval
        return found if found >= since else None


@dataclass(frozen=True, slots=True)
class Stride:
    """From one date of a calendar interval to the next: first the months, then the days."""

    months: int
    days: int

    def from_date(self, day: date) -> date | None:
        """Return the next date; None at the end of the calendar.

        As in APScheduler, the months are added until the day of the month exists: a month after
        31 January is 31 March.
        """
        moved: date | None = day
        if self.months:
            moved = _months_later(day, self.months, self.months)
        try:
            return None if moved is None else moved + self.days * DAY
        except OverflowError:
            return None

    def first_from(self, start: date, floor: date) -> date | None:
        """Return the first date of the row beginning at `start` that is not before `floor`."""
        if floor <= start:
            return start
        if not self.months:
            try:
                return start - (start - floor).days // self.days * self.days * DAY
            except OverflowError:
                return None
        if not self.days:
            apart = (floor.year - start.year) * _MONTHS + floor.month - start.month
            found = _months_later(start, apart // self.months * self.months, self.months)
            if found is not None and found < floor:
                found = self.from_date(found)
            return found
        here: date | None = start
        while here is not None and here < floor:
            here = self.from_date(here)
        return here


def _months_later(day: date, months: int, step: int) -> date | None:
    """Add months, and further steps of months until the day exists; None beyond year 9999."""
    while True:
        year, month = divmod(day.year * _MONTHS + day.month - 1 + months, _MONTHS)
        if year > date.max.year:
            return None
        try:
            return day.replace(year=year, month=month + 1)
        except ValueError:
            months += step


class CalendarInterval(FireTimes):
    """Fires at the same wall time every so many years, months, weeks and days.

    A wall time that is skipped means the first moment after the gap, one that happens twice the
    first of them, as for cron. (The stock trigger leaves out the whole day.)
    """

    __slots__ = ("_checkpoint", "end_date", "start_date", "stride", "time")

    def __init__(
        self,
        stride: Stride,
        *,
        at: time,
        timezone: tzinfo,
        start_date: date | None = None,
        end_date: date | None = None,
    ) -> None:
        self.stride = stride
        self.time = at
        self.timezone = timezone
        self.start_date = start_date
        self.end_date = end_date
        self._checkpoint = start_date or EPOCH.date()

    @property
    def ends_before_it_starts(self) -> bool:
        """True when it can never fire."""
        return bool(self.start_date and self.end_date and self.end_date < self.start_date)

    def at_or_after(self, moment: datetime) -> datetime | None:
        """Find the day, then place its wall time in the zone."""
        try:
            wall = self.next_wall(earliest_wall(self.timezone, moment))
            return None if wall is None else moment_of(self.timezone, wall)
        except OverflowError:  # within a day of the end of the calendar
            return None

    def anchored(self, now: datetime) -> CalendarInterval:
        """Start today."""
        if self.start_date is not None:
            return self
        today = now.astimezone(self.timezone).date()
        started = CalendarInterval(
            self.stride,
            at=self.time,
            timezone=self.timezone,
            start_date=today,
            end_date=self.end_date,
        )
        started.form = self.form | {"start_date": today.isoformat(), ANCHORED: True}
        return started

    def next_wall(self, wall: datetime) -> datetime | None:
        """Return the first of its wall times that is not before `wall`."""
        floor = wall.date() if self.time >= wall.time() else wall.date() + DAY
        start = self._checkpoint
        if floor < start:
            start = self.start_date or EPOCH.date()
        day = self.stride.first_from(start, floor)
        if day is None or (self.end_date is not None and day > self.end_date):
            return None
        self._checkpoint = day  # a row of months and days can only be walked; go on from here
        return datetime.combine(day, self.time)

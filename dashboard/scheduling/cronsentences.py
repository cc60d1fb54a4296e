"""Cron patterns in plain English."""

from __future__ import annotations

from calendar import day_name, month_name
from typing import TYPE_CHECKING

from dashboard.scheduling.cronfields import LAST

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from dashboard.scheduling.cron import CronPattern
    from dashboard.scheduling.cronfields import CronField, Position

_MOST_TIMES = 6
_MOST_PARTS = 8
_SHORTEST_RUN = 3
_ORDINALS = {1: "1st", 2: "2nd", 3: "3rd", 21: "21st", 22: "22nd", 23: "23rd"}
_WORKING_DAYS, _WEEKEND, _ALL_DAYS = set(range(5)), {5, 6}, set(range(7))


def cron_sentence(pattern: CronPattern) -> str:
    """Say when a cron pattern matches: first the time of day, then the days."""
    fields = pattern.fields
    days, months = _days(pattern), _months(fields)
    times = _clock_times(fields)
    time = _repetition(fields)
    if times:
        time = f"{'At' if days else 'Every day at'} {listed(times)}"
    return " ".join(part for part in (time, days, months) if part)


def _repetition(fields: Mapping[str, CronField]) -> str:
    """Say how often it fires in a day, where the times are too many to be told."""
    hours, minutes, seconds = fields["hour"], fields["minute"], fields["second"]
    if seconds.values != {0}:
        return _repeated("second", seconds) + _within_minutes(seconds, minutes, hours)
    if len(minutes.values) == 1:
        return _hourly(hours, min(minutes.values))
    return _repeated("minute", minutes) + _within_hours(hours, sparse=not _even(minutes))


def _hourly(hours: CronField, minute: int) -> str:
    """Say in which hours something happens once each."""
    at_minute = f" at minute {minute}" if minute else ""
    if hours.every:
        return f"Every hour{at_minute}"
    if _divides(hours, 24):
        return f"Every {hours.spans[0].step} hours{at_minute}"
    first, last = min(hours.values), max(hours.values)
    if last - first + 1 == len(hours.values):
        return f"Every hour from {first:02}:{minute:02} to {last:02}:{minute:02}"
    return f"At minute {minute} of {_counted('hour', hours.values)}"


def _clock_times(fields: Mapping[str, CronField]) -> list[str]:
    """List the times of day if they are few and no plain repetition."""
    hours = fields["hour"]
    count = len(hours.values) * len(fields["minute"].values) * len(fields["second"].values)
    if count > _MOST_TIMES or hours.every or _divides(hours, 24):
        return []
    with_seconds = fields["second"].values != {0}
    return [
        f"{hour:02}:{minute:02}:{second:02}" if with_seconds else f"{hour:02}:{minute:02}"
        for hour in sorted(fields["hour"].values)
        for minute in sorted(fields["minute"].values)
        for second in sorted(fields["second"].values)
    ]


def _repeated(unit: str, field: CronField) -> str:
    """Say how often something happens within a minute or an hour: `Every 5 minutes`."""
    if _even(field):
        step = field.spans[0].step
        return f"Every {unit}" if step == 1 else f"Every {step} {unit}s"
    return f"At {_counted(unit, field.values)}"


def _even(field: CronField) -> bool:
    """Tell whether something happens at equal intervals of seconds or minutes."""
    return field.every or _divides(field, 60)


def _within_minutes(seconds: CronField, minutes: CronField, hours: CronField) -> str:
    if minutes.every:
        of_minute = "" if _even(seconds) else " of every minute"
        return of_minute + _within_hours(hours, sparse=False)
    return f" of {_counted('minute', minutes.values)}{_within_hours(hours, sparse=True)}"


def _within_hours(hours: CronField, *, sparse: bool) -> str:
    if hours.every:
        return " of every hour" if sparse else ""
    first, last = min(hours.values), max(hours.values)
    if last - first + 1 == len(hours.values) and not sparse:
        return f" between {first:02}:00 and {last:02}:59"
    if _divides(hours, 24):
        return f" of every {_ordinal(hours.spans[0].step)} hour"
    return f" of {_counted('hour', hours.values)}"


def _days(pattern: CronPattern) -> str:
    day, weekdays = pattern.fields["day"], pattern.fields["day_of_week"].values
    by_date, by_weekday = _days_of_month(day), _weekdays(weekdays)
    if by_date and by_weekday:
        if pattern.either:
            return f"on {by_date} and on {by_weekday}"
        return f"on {by_weekday} that fall on {by_date}"
    return f"on {by_date or by_weekday}" if by_date or by_weekday else ""


def _days_of_month(day: CronField) -> str:
    if day.every:
        return ""
    if day.starred:
        return f"every {_ordinal(day.spans[0].step)} day of the month (from day 1)"
    parts = [f"the {_position(position)}" for position in day.positions]
    if day.values:
        parts.insert(0, _counted("day", day.values))
    return f"{listed(parts)} of the month"


def _position(position: Position) -> str:
    nth = "last" if position.nth == LAST else _ordinal(position.nth)
    return f"{nth} {'day' if position.weekday is None else day_name[position.weekday]}"


def _weekdays(values: Collection[int]) -> str:
    chosen = set(values)
    if chosen == _ALL_DAYS:
        return ""
    if chosen == _WORKING_DAYS:
        return "weekdays (Mon-Fri)"
    if chosen == _WEEKEND:
        return "weekends (Sat-Sun)"
    return listed([f"{day_name[weekday]}s" for weekday in sorted(chosen)])


def _months(fields: Mapping[str, CronField]) -> str:
    """Say in which weeks, months and years."""
    week, month, year = fields["week"], fields["month"], fields["year"]
    parts = []
    if not week.every:
        parts.append(f"in ISO {_counted('week', week.values)}")
    if not month.every:
        names = [_month_run(*run) for run in _runs(month.values)]
        parts.append(f"in {listed(names)}")
    if not year.every:
        if year.starred:
            parts.append(f"in every {_ordinal(year.spans[0].step)} year from {min(year.values)} on")
        else:
            parts.append(f"in {_numbers(year.values)}")
    return " ".join(parts)


def _month_run(first: int, last: int) -> str:
    if first == last:
        return month_name[first]
    return f"{month_name[first]}-{month_name[last]}"


def _divides(field: CronField, whole: int) -> bool:
    """Tell whether this is `*/n` with steps that are equally long throughout."""
    return field.starred and field.spans[0].step > 1 and whole % field.spans[0].step == 0


def _counted(unit: str, values: Collection[int]) -> str:
    """Write `minute 5` or `minutes 5 and 10`."""
    return f"{unit}{'s' if len(values) > 1 else ''} {_numbers(values)}"


def _numbers(values: Collection[int]) -> str:
    return listed([f"{a}-{b}" if a != b else str(a) for a, b in _runs(values)])


def _runs(values: Collection[int]) -> list[tuple[int, int]]:
    """Fold three or more numbers in a row into a range."""
    runs: list[tuple[int, int]] = []
    for value in sorted(values):
        if runs and runs[-1][1] == value - 1:
            runs[-1] = (runs[-1][0], value)
        else:
            runs.append((value, value))
    folded: list[tuple[int, int]] = []
    for first, last in runs:
        if last - first + 1 >= _SHORTEST_RUN:
            folded.append((first, last))
        else:
            folded.extend((value, value) for value in range(first, last + 1))
    return folded


def _ordinal(number: int) -> str:
    return _ORDINALS.get(number, f"{number}th")


def listed(parts: Sequence[str]) -> str:
    """Join words as English does; of a long list only the beginning is told."""
    if len(parts) > _MOST_PARTS:
        return f"{', '.join(parts[:_MOST_PARTS])} and {len(parts) - _MOST_PARTS} more"
    if len(parts) < 2:  # noqa: PLR2004 - nothing to join
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"

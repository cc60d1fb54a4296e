"""Triggers in words: a plain English sentence for people, a short form for tables."""

from __future__ import annotations

from datetime import timedelta
from functools import singledispatch
from typing import TYPE_CHECKING, Any

from dashboard.scheduling.combining import AllOf, AnyOf
from dashboard.scheduling.cron import Cron
from dashboard.scheduling.cronsentences import cron_sentence, listed
from dashboard.scheduling.repeats import CalendarInterval, Interval, Once
from dashboard.storage.models import HOST

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, tzinfo

    from dashboard.scheduling.combining import Combination
    from dashboard.scheduling.firetimes import FireTimes

_SHORT_UNITS = {
    "years": "y",
    "months": "mo",
    "weeks": "w",
    "days": "d",
    "hours": "h",
    "minutes": "m",
    "seconds": "s",
}
_INTERVAL_UNITS = {
    "week": timedelta(weeks=1),
    "day": timedelta(days=1),
    "hour": timedelta(hours=1),
    "minute": timedelta(minutes=1),
    "second": timedelta(seconds=1),
}
_DAY = timedelta(days=1)
_LATE_DAY = 28
_MOST_PARTS = 8


def abbreviate(data: Mapping[str, Any]) -> str:
    """Write a trigger's normal form in one short line: `interval 5m`, `cron 0 9 * * 1-5`."""
    kind = data["type"]
    if kind == HOST:
        return str(data["text"])
    if kind in {"and", "or"}:
        return f"{kind}({', '.join(abbreviate(child) for child in data['triggers'])})"
    if kind == "date":
        return f"date {data['run_date']}"
    if kind == "cron":
        fields = [f"{name}={data[name]}" for name in _CRON_FIELDS if name in data]
        return f"cron {data.get('crontab') or ' '.join(fields)}"
    amounts = [f"{data[unit]}{short}" for unit, short in _SHORT_UNITS.items() if unit in data]
    if kind == "calendarinterval":
        amounts.append(":".join(f"{data.get(unit, 0):02}" for unit in ("hour", "minute", "second")))
    return f"{kind} {' '.join(amounts)}"


_CRON_FIELDS = ("year", "month", "day", "week", "day_of_week", "hour", "minute", "second")


@singledispatch
def describe(trigger: FireTimes) -> str:
    """Say in plain English when a trigger fires."""
    raise TypeError(f"no words for {type(trigger).__name__}")


@describe.register
def _(trigger: Once) -> str:
    return f"Once, on {_local(trigger.run_date, trigger.timezone).replace(' ', ' at ')}"


@describe.register
def _(trigger: Interval) -> str:
    rest, amounts = trigger.interval, []
    for unit, length in _INTERVAL_UNITS.items():
        if unit == "week" and rest % length:
            continue  # 10 days are ten days, not a week and three days
        count, rest = divmod(rest, length)
        if count:
            amounts.append((count, unit))
    sentence = f"Every {_amounts(amounts)}"
    if not trigger.interval % _DAY and str(trigger.timezone) != "UTC":
        # The clocks may change meanwhile, and then it runs at another time of day.
        sentence += f", counted as {trigger.interval // timedelta(hours=1)} hours"
    return sentence + _until(trigger.end_date, trigger.timezone)


@describe.register
def _(trigger: CalendarInterval) -> str:
    years, months = divmod(trigger.stride.months, 12)
    weeks, days = divmod(trigger.stride.days, 7)
    if days:
        weeks, days = 0, trigger.stride.days
    amounts = [(years, "year"), (months, "month"), (weeks, "week"), (days, "day")]
    sentence = f"Every {_amounts([amount for amount in amounts if amount[0]])}"
    start, skips = trigger.start_date, ""
    if start is not None and trigger.stride.months and not trigger.stride.days:
        sentence += f" on {start:%-d %B}" if not months else f" on day {start.day}"
        if start.day > _LATE_DAY:
            skips = " (left out where that day does not exist)"
    elif start is not None and weeks and not trigger.stride.months:
        sentence += f" on {start:%A}"
    time = trigger.time.isoformat() if trigger.time.second else f"{trigger.time:%H:%M}"
    sentence += f" at {time}{skips}"
    return sentence + (f", until {trigger.end_date}" if trigger.end_date else "")


@describe.register
def _(trigger: Cron) -> str:
    sentence = "; ".join(cron_sentence(pattern) for pattern in trigger.patterns)
    if trigger.start_date is not None:
        sentence += f", from {_local(trigger.start_date, trigger.timezone)}"
    return sentence + _until(trigger.end_date, trigger.timezone)


@describe.register
def _(trigger: AllOf) -> str:
    return f"Only when all of these agree: {_parts(trigger)}"


@describe.register
def _(trigger: AnyOf) -> str:
    return f"Any of these: {_parts(trigger)}"


def _parts(combination: Combination) -> str:
    parts = []
    for trigger in combination.triggers[:_MOST_PARTS]:
        sentence = describe(trigger)
        sentence = sentence[0].lower() + sentence[1:]
        if trigger.timezone != combination.timezone:
            sentence += f" ({trigger.timezone})"
        parts.append(f"({sentence})" if isinstance(trigger, AllOf | AnyOf) else sentence)
    if len(combination.triggers) > _MOST_PARTS:
        parts.append(f"and {len(combination.triggers) - _MOST_PARTS} more")
    return "; ".join(parts)


def _amounts(amounts: list[tuple[int, str]]) -> str:
    """Write `5 minutes`, `hour`, `1 hour and 30 minutes`."""
    if len(amounts) == 1 and amounts[0][0] == 1:
        return amounts[0][1]
    return listed([f"{count:,} {unit}{'s' if count > 1 else ''}" for count, unit in amounts])


def _until(end: datetime | None, zone: tzinfo) -> str:
    return "" if end is None else f", until {_local(end, zone)}"


def _local(moment: datetime, zone: tzinfo) -> str:
    local = moment.astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M:%S}" if local.second else f"{local:%Y-%m-%d %H:%M}"

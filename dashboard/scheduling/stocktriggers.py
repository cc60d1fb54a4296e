"""APScheduler's own triggers, written in the dashboard's JSON form."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.combining import AndTrigger, OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import tzinfo

    from apscheduler.triggers.base import BaseTrigger

Form = dict[str, Any]


def form_of(trigger: BaseTrigger) -> Form:
    """Write a stock trigger down; raises `ValueError` for one that is not understood."""
    for kind, write in _WRITERS.items():
        if type(trigger) is kind:
            return {name: value for name, value in write(trigger).items() if value is not None}
    raise ValueError(f"a trigger of the class {type(trigger).__name__} has no JSON form")


def zone_name(zone: tzinfo) -> str:
    """Return a zone's IANA name; raises `ValueError` for one that has none."""
    if zone is UTC:
        return "UTC"
    name = getattr(zone, "key", None)
    if not isinstance(name, str):
        raise ValueError(f"the time zone {zone} has no IANA name")
    return name


def _interval(trigger: IntervalTrigger) -> Form:
    length: timedelta = trigger.interval
    if length % timedelta(seconds=1):
        raise ValueError(f"an interval of {length} is no whole number of seconds")
    minutes, seconds = divmod(length // timedelta(seconds=1), 60)
    hours, minutes = divmod(minutes, 60)
    units = {"hours": hours, "minutes": minutes, "seconds": seconds}
    return {"type": "interval", **units, **_range(trigger), **_zone(trigger)}


def _cron(trigger: CronTrigger) -> Form:
    fields = {field.name: str(field) for field in trigger.fields if not field.is_default}
    return {"type": "cron", **fields, **_range(trigger), **_zone(trigger)}


def _date(trigger: DateTrigger) -> Form:
    zone = zone_name(trigger.run_date.tzinfo)
    return {"type": "date", "run_date": trigger.run_date.isoformat(), "timezone": zone}


def _calendar_interval(trigger: CalendarIntervalTrigger) -> Form:
    state = trigger.__getstate__()
    counts = dict(zip(("years", "months", "weeks", "days"), state["interval"], strict=True))
    clock = dict(zip(("hour", "minute", "second"), state["time"], strict=True))
    return {"type": "calendarinterval", **counts, **clock, **_range(trigger), **_zone(trigger)}


def _and(trigger: AndTrigger) -> Form:
    return _combination("and", trigger)


def _or(trigger: OrTrigger) -> Form:
    return _combination("or", trigger)


def _combination(kind: str, trigger: AndTrigger | OrTrigger) -> Form:
    parts = [form_of(part) for part in trigger.triggers]
    return {"type": kind, "triggers": parts, "jitter": trigger.jitter}


def _range(trigger: IntervalTrigger | CronTrigger | CalendarIntervalTrigger) -> Form:
    dates = {"start_date": trigger.start_date, "end_date": trigger.end_date}
    return {name: date.isoformat() for name, date in dates.items() if date is not None}


def _zone(trigger: IntervalTrigger | CronTrigger | CalendarIntervalTrigger) -> Form:
    return {"timezone": zone_name(trigger.timezone), "jitter": trigger.jitter}


_WRITERS: dict[type[BaseTrigger], Callable[[Any], Form]] = {
    AndTrigger: _and,
    CalendarIntervalTrigger: _calendar_interval,
    CronTrigger: _cron,
    DateTrigger: _date,
    IntervalTrigger: _interval,
    OrTrigger: _or,
}

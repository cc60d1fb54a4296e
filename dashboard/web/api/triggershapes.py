"""Triggers as programs send them: which fields each kind has, and of which type.

What the fields may hold is checked where triggers are read (`scheduling.kinds`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, WithJsonSchema
from pydantic.functional_validators import AfterValidator

from dashboard.scheduling.kinds import MOST_TRIGGERS
from dashboard.web.api.shapes import Asked

Whole = Annotated[int | None, Field(ge=0)]
Zone = Annotated[str | None, Field(description="IANA name; without it the dashboard's own zone.")]
Moment = Annotated[
    str | None,
    Field(description="Date, or date and time; without an offset in the zone of the trigger."),
]
Anchored = Annotated[
    bool | None, Field(description="The start was made up when the trigger was saved.")
]


def _number_or_text(value: JsonValue) -> JsonValue:
    """Accept 5 as well as "5" and "*/5", and nothing else."""
    if value is None or isinstance(value, str) or type(value) is int:
        return value
    raise ValueError("Must be a whole number, or text such as */5.")


CronField = Annotated[
    Any,
    AfterValidator(_number_or_text),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]}),
]


class IntervalTrigger(Asked):
    """Every so often, counted from a start."""

    type: Literal["interval"]
    weeks: Whole = None
    days: Whole = None
    hours: Whole = None
    minutes: Whole = None
    seconds: Whole = None
    start_date: Moment = None
    end_date: Moment = None
    timezone: Zone = None
    jitter: Whole = None
    anchored: Anchored = None


class CronTrigger(Asked):
    """At times of the clock: APScheduler's fields, or a crontab line with its Unix meaning."""

    type: Literal["cron"]
    crontab: Annotated[str | None, Field(description="Five fields, or @daily and its like.")] = None
    year: CronField = None
    month: CronField = None
    day: CronField = None
    week: CronField = None
    day_of_week: CronField = None
    hour: CronField = None
    minute: CronField = None
    second: CronField = None
    start_date: Moment = None
    end_date: Moment = None
    timezone: Zone = None
    jitter: Whole = None


class DateTrigger(Asked):
    """Once."""

    type: Literal["date"]
    run_date: str
    timezone: Zone = None


class CalendarIntervalTrigger(Asked):
    """Every so many days, weeks, months or years, at a time of day."""

    type: Literal["calendarinterval"]
    years: Whole = None
    months: Whole = None
    weeks: Whole = None
    days: Whole = None
    hour: Whole = None
    minute: Whole = None
    second: Whole = None
    start_date: Annotated[str | None, Field(description="A date.")] = None
    end_date: Annotated[str | None, Field(description="A date.")] = None
    timezone: Zone = None
    jitter: Whole = None
    anchored: Anchored = None


class AndTrigger(Asked):
    """When all of several triggers fire at the same moment."""

    type: Literal["and"]
    triggers: Annotated[list[Trigger], Field(min_length=1, max_length=MOST_TRIGGERS)]
    timezone: Zone = None
    jitter: Whole = None


class OrTrigger(Asked):
    """Whenever any of several triggers fires."""

    type: Literal["or"]
    triggers: Annotated[list[Trigger], Field(min_length=1, max_length=MOST_TRIGGERS)]
    timezone: Zone = None
    jitter: Whole = None


Trigger = Annotated[
    IntervalTrigger | CronTrigger | DateTrigger | CalendarIntervalTrigger | AndTrigger | OrTrigger,
    Field(discriminator="type"),
]

AndTrigger.model_rebuild()
OrTrigger.model_rebuild()

"""The fields of the job form: what each is called, how it is asked for, and what it brings about.

A field's name is its path in the JSON of a job: `name`, `parameters.day`. The fields of a trigger
are named here without what leads to it: `hour`, not `trigger.hour`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

AS_JSON = "json"
"""The kind of a trigger that the fields of no other kind can say."""

UNITS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86_400, "weeks": 604_800}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the form: the name of its text, and how it is asked for."""

    name: str
    label: str
    kind: str = "text"
    help: str = ""
    placeholder: str = ""
    default: str = ""
    """What it shows while nobody has typed anything."""
    choices: tuple[tuple[str, str], ...] = ()
    required: bool = False
    secret: bool = False
    """Whether what stands in it is never put into a page."""

    @property
    def dom_id(self) -> str:
        """The id of its element."""
        return self.name.replace(".", "-")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of trigger: the fields that make it what it is, and those that frame it."""

    label: str
    explanation: str
    fields: tuple[Field, ...] = ()
    frame: tuple[Field, ...] = ()


ZONE = Field("timezone", "Time zone", "zone", "Whose clocks count.")
_START = Field("start_date", "Start", "moment", "Does not fire before this moment.")
_END = Field("end_date", "End", "moment", "Does not fire after this moment.")
JITTER = Field(
    "jitter",
    "Jitter",
    "integer",
    "Each run starts up to this many seconds later, at random, so that many jobs do not start at"
    " one moment.",
)
_FRAME = (ZONE, _START, _END, JITTER)

KINDS: Mapping[str, Kind] = {
    "interval": Kind(
        "Interval",
        "Every so much time, counted from its start. Clock changes do not touch it.",
        (
            Field("every", "Every", "integer", default="1", required=True),
            Field(
                "unit",
                "Unit",
                "select",
                default="hours",
                choices=tuple((unit, unit) for unit in UNITS),
            ),
        ),
        _FRAME,
    ),
    "cron": Kind(
        "Cron",
        "Whenever calendar and clock match every field. Empty means any; only the fields finer than"
        " the finest one given mean their first value: hour 6 alone is 06:00:00.",
        (
            Field("second", "Second", placeholder="0"),
            Field("minute", "Minute", placeholder="*/15"),
            Field("hour", "Hour", placeholder="9-17"),
            Field("day", "Day", placeholder="1, last fri"),
            Field("day_of_week", "Day of week", placeholder="mon-fri"),
            Field("month", "Month", placeholder="jan, 4-6"),
            Field("week", "Week", placeholder="1-53"),
            Field("year", "Year", placeholder="*"),
        ),
        _FRAME,
    ),
    "crontab": Kind(
        "Crontab",
        "A line as in a Unix crontab, with its meaning: minute, hour, day of the month, month, day"
        " of the week; or @hourly, @daily, @weekly, @monthly, @yearly.",
        (Field("crontab", "Crontab", "code", placeholder="30 6 * * mon-fri", required=True),),
        _FRAME,
    ),
    "date": Kind(
        "Date",
        "Once, at one moment.",
        (
            Field(
                "run_date",
                "Run at",
                "moment",
                "By the clocks of the time zone, or with an offset such as +02:00.",
                required=True,
            ),
        ),
        (ZONE,),
    ),
    "calendarinterval": Kind(
        "Calendar interval",
        "Every so many days, weeks, months or years, always at the same time of day, counted from"
        " the day of its start.",
        (
            Field("years", "Years", "integer"),
            Field("months", "Months", "integer"),
            Field("weeks", "Weeks", "integer"),
            Field("days", "Days", "integer", default="1"),
            Field("at", "Time of day", "time", default="00:00"),
        ),
        (
            ZONE,
            Field("start_date", "Start", "date", "The day it counts from. Empty: today."),
            Field("end_date", "End", "date", "Does not fire after this day."),
            JITTER,
        ),
    ),
    "and": Kind(
        "All of",
        "At the moments that all of these triggers have in common.",
        frame=(ZONE, JITTER),
    ),
    "or": Kind(
        "Any of",
        "Whenever one of these triggers fires; at a moment that several share, once.",
        frame=(ZONE, JITTER),
    ),
    AS_JSON: Kind(
        "As JSON",
        "There are no fields for this trigger; it can be changed as JSON.",
        (Field("json", "JSON", "json", required=True),),
    ),
}
COMBINATIONS = frozenset({"and", "or"})
SIMPLE = tuple(kind for kind in KINDS if kind not in COMBINATIONS | {AS_JSON})
NO_KIND = Kind("", "Choose what decides when the job runs.")

NAME = Field("name", "Name", help="Empty: the name of the task.")
JOB_ID = Field(
    "id",
    "Job id",
    help="How addresses, scripts and the log know the job; it cannot be changed later."
    " Empty: made from the name.",
)
TAGS = Field("tags", "Tags", help="Words to find it by, with spaces or commas between them.")
NOTES = Field(
    "notes",
    "Notes",
    "textarea",
    "What somebody should know who is woken up because of it.",
)
OWNER = Field("owner", "Owner", help="Whom to ask about it: a person, a team, a channel.")
RUNBOOK = Field(
    "runbook",
    "Runbook",
    "code",
    "The address of the page that says what to do when it fails.",
    placeholder="https://",
)
ABOUT = (TAGS, OWNER, RUNBOOK, NOTES)

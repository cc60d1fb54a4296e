"""The kinds of trigger: each read from its JSON form, checked, and written down in normal form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

from dashboard.errors import Invalid
from dashboard.scheduling.answers import Answers, complaint
from dashboard.scheduling.combining import AllOf, AnyOf
from dashboard.scheduling.cron import Cron, CronPattern
from dashboard.scheduling.cronfields import MINIMUMS, CronField, implied, parse
from dashboard.scheduling.crontab import parse_crontab
from dashboard.scheduling.repeats import ANCHORED, CalendarInterval, Interval, Once, Stride

if TYPE_CHECKING:
    from collections.abc import Callable
    from zoneinfo import ZoneInfo

    from dashboard.scheduling.firetimes import FireTimes

LONGEST_INTERVAL = timedelta(days=36_525)
LONGEST_JITTER = 86_400
DEEPEST = 5
MOST_TRIGGERS = 20

INTERVAL_UNITS = {
    "weeks": timedelta(weeks=1),
    "days": timedelta(days=1),
    "hours": timedelta(hours=1),
    "minutes": timedelta(minutes=1),
    "seconds": timedelta(seconds=1),
}
CALENDAR_UNITS = {"years": 100, "months": 1_200, "weeks": 5_217, "days": 36_525}
CLOCK = {"hour": 23, "minute": 59, "second": 59}
_MONTHS, _WEEK = 12, 7


@dataclass(frozen=True, slots=True)
class Parts:
    """One trigger that has been read: its normal form, its fire times and its zone."""

    data: dict[str, Any]
    trigger: FireTimes
    timezone: str


@dataclass(slots=True)
class Room:
    """How many triggers a combination may still hold, and how deep it may still nest."""

    triggers: int = MOST_TRIGGERS
    depth: int = DEEPEST


def read(data: object, field: str, default_zone: str, room: Room) -> Parts:
    """Read a trigger of any kind; raises `Invalid` with the paths of all fields at fault."""
    if not isinstance(data, Mapping):
        raise Invalid([complaint(field, "must be a trigger: an object with a “type”")])
    kind = data.get("type")
    reader = _KINDS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise Invalid([complaint(f"{field}.type", f"must be one of {', '.join(_KINDS)}")])
    room.triggers -= 1
    if room.triggers < 0:
        raise Invalid([complaint(field, f"holds too many triggers: at most {MOST_TRIGGERS}")])
    answers = Answers(data, field)
    answers.get("type")
    parts = reader(answers, default_zone, room)
    parts.trigger.form = parts.data
    return parts


def _interval(answers: Answers, default_zone: str, _room: Room) -> Parts:
    name, zone, zone_given = answers.zone("timezone", default_zone)
    counts = {
        unit: answers.whole(unit, 0, LONGEST_INTERVAL // length)
        for unit, length in INTERVAL_UNITS.items()
    }
    total = sum((INTERVAL_UNITS[unit] * count for unit, count in counts.items()), timedelta())
    start, end = _range(answers, zone)
    anchored = answers.flag(ANCHORED)
    if not total and not answers.errors:
        answers.wrong("", "needs an interval of at least 1 second")
    if total > LONGEST_INTERVAL:
        answers.wrong("", "is an interval of more than 100 years")
    jitter = answers.whole("jitter", 0, LONGEST_JITTER)
    answers.finish("an interval trigger")
    data = {"type": "interval", **{unit: count for unit, count in counts.items() if count}}
    data |= _common(start, end, name if zone_given else None, jitter) | _anchor(start, anchored)
    return Parts(data, Interval(total, timezone=zone, start_date=start, end_date=end), name)


def _cron(answers: Answers, default_zone: str, _room: Room) -> Parts:
    name, zone, zone_given = answers.zone("timezone", default_zone)
    line = answers.text("crontab")
    texts = {field: answers.text(field) for field in MINIMUMS}
    given = [field for field, text in texts.items() if text is not None]
    pattern = _fields(answers, texts) if line is None else _crontab(answers, line, given)
    start, end = _range(answers, zone)
    jitter = answers.whole("jitter", 0, LONGEST_JITTER)
    answers.finish("a cron trigger")
    data: dict[str, Any] = {"type": "cron"}
    if pattern.crontab is not None:
        data["crontab"] = pattern.crontab
    else:
        data |= {field: pattern.fields[field].text for field in given}
    data |= _common(start, end, name if zone_given else None, jitter)
    return Parts(data, Cron(pattern, timezone=zone, start_date=start, end_date=end), name)


def _crontab(answers: Answers, line: str, given: list[str]) -> CronPattern:
    for field in given:
        answers.wrong(field, "cannot be combined with a crontab line; leave one of them out")
    try:
        return parse_crontab(line)
    except ValueError as error:
        answers.wrong("crontab", str(error))
        return parse_crontab("@daily")


def _fields(answers: Answers, texts: Mapping[str, str | None]) -> CronPattern:
    """Read APScheduler's fields.

    As there, what is not given means every value to the left of the last field given, and the
    smallest value to the right of it.
    """
    given = [name for name, text in texts.items() if text is not None]
    if not given and not answers.errors:
        answers.wrong("", "needs at least one field; for every second give second = *")
    names = list(texts)
    last = names.index(given[-1]) if given else -1
    fields: dict[str, CronField] = {}
    for position, (name, text) in enumerate(texts.items()):
        fields[name] = implied(name, every=position < last)
        if text is not None:
            try:
                fields[name] = parse(name, text)
            except ValueError as error:
                answers.wrong(name, str(error))
    return CronPattern(fields)


def _date(answers: Answers, default_zone: str, _room: Room) -> Parts:
    name, zone, zone_given = answers.zone("timezone", default_zone)
    given = answers.wall_or_moment("run_date")
    run_date = answers.moment("run_date", zone) if given is not None else None
    if answers.get("run_date") is None:
        answers.wrong("run_date", "is needed: when shall it run?")
    answers.finish("a date trigger")
    if run_date is None or given is None:
        raise Invalid(answers.errors)
    data: dict[str, Any] = {"type": "date", "run_date": run_date.isoformat()}
    data |= _common(None, None, name if zone_given else None, 0)
    asked = given if given.tzinfo is None else None
    return Parts(data, Once(run_date, timezone=zone, asked=asked), name)


def _calendar_interval(answers: Answers, default_zone: str, _room: Room) -> Parts:
    name, zone, zone_given = answers.zone("timezone", default_zone)
    counts = {unit: answers.whole(unit, 0, most) for unit, most in CALENDAR_UNITS.items()}
    clock = {unit: answers.whole(unit, 0, most) for unit, most in CLOCK.items()}
    start, end = answers.day("start_date"), answers.day("end_date")
    anchored = answers.flag(ANCHORED)
    if start and end and end < start:
        answers.wrong("end_date", "lies before the start date")
    stride = Stride(
        counts["years"] * _MONTHS + counts["months"], counts["weeks"] * _WEEK + counts["days"]
    )
    if not (stride.months or stride.days or answers.errors):
        answers.wrong("", "needs an interval of at least 1 day")
    jitter = answers.whole("jitter", 0, LONGEST_JITTER)
    answers.finish("a calendar interval trigger")
    data: dict[str, Any] = {"type": "calendarinterval"}
    data |= {unit: count for unit, count in (counts | clock).items() if count}
    data |= _common(start, end, name if zone_given else None, jitter) | _anchor(start, anchored)
    at = time(clock["hour"], clock["minute"], clock["second"])
    trigger = CalendarInterval(stride, at=at, timezone=zone, start_date=start, end_date=end)
    return Parts(data, trigger, name)


def _combination(
    kind: str, combined: Callable[[list[FireTimes], tzinfo], FireTimes]
) -> Callable[[Answers, str, Room], Parts]:
    """Return the reader of `and` or `or`."""

    def read_combination(answers: Answers, default_zone: str, room: Room) -> Parts:
        name, own_zone, zone_given = answers.zone("timezone", default_zone)
        zone: tzinfo = own_zone
        children = _children(answers, name, room)
        jitter = answers.whole("jitter", 0, LONGEST_JITTER)
        answers.finish(f"an “{kind}” trigger")
        zones = {child.timezone for child in children}
        if len(zones) == 1 and not zone_given:
            name, zone = children[0].timezone, children[0].trigger.timezone
        data: dict[str, Any] = {"type": kind, "triggers": [child.data for child in children]}
        data |= _common(None, None, name if zone_given else None, jitter)
        return Parts(data, combined([child.trigger for child in children], zone), name)

    return read_combination


def _children(answers: Answers, zone: str, room: Room) -> list[Parts]:
    given = answers.get("triggers")
    if not isinstance(given, list | tuple) or not given:
        answers.wrong("triggers", "must be a list of at least one trigger")
        return []
    if len(given) > MOST_TRIGGERS:
        answers.wrong("triggers", f"holds too many triggers: at most {MOST_TRIGGERS}")
        return []
    if room.depth == 0:
        answers.wrong("triggers", f"are nested too deep: at most {DEEPEST} levels")
        return []
    children = []
    room.depth -= 1
    for number, item in enumerate(given):
        path = answers.path(f"triggers.{number}")
        try:
            child = read(item, path, zone, room)
        except Invalid as invalid:
            answers.errors.extend(invalid.errors)
            continue
        if "jitter" in child.data:
            message = "belongs to the combination as a whole, not to one of its triggers"
            answers.errors.append(complaint(f"{path}.jitter", message))
        children.append(child)
    room.depth += 1
    return children


def _range(answers: Answers, zone: ZoneInfo) -> tuple[datetime | None, datetime | None]:
    """Read from when to when a trigger fires."""
    start, end = answers.moment("start_date", zone), answers.moment("end_date", zone)
    if start is not None and end is not None and end < start:
        answers.wrong("end_date", "lies before the start date")
    return start, end


def _anchor(start: date | None, anchored: bool) -> dict[str, Any]:  # noqa: FBT001 -- as read
    return {ANCHORED: True} if anchored and start is not None else {}


def _common(
    start: date | None, end: date | None, timezone: str | None, jitter: int
) -> dict[str, Any]:
    """Write down what most kinds have, leaving out what was not given."""
    common: dict[str, Any] = {}
    if start is not None:
        common["start_date"] = start.isoformat()
    if end is not None:
        common["end_date"] = end.isoformat()
    if timezone is not None:
        common["timezone"] = timezone
    if jitter:
        common["jitter"] = jitter
    return common


_KINDS: dict[str, Callable[[Answers, str, Room], Parts]] = {
    "interval": _interval,
    "cron": _cron,
    "date": _date,
    "calendarinterval": _calendar_interval,
    "and": _combination("and", AllOf),
    "or": _combination("or", AnyOf),
}

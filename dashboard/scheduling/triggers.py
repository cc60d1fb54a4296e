"""When a job fires: the JSON form of a trigger, checked and brought to life."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast
from zoneinfo import ZoneInfo

from dashboard.errors import Invalid
from dashboard.scheduling import sentences
from dashboard.scheduling.answers import complaint
from dashboard.scheduling.faults import contradictions, fault
from dashboard.scheduling.firetimes import Effort, FireTimes
from dashboard.scheduling.hosttriggers import HostTrigger
from dashboard.scheduling.kinds import Room, read
from dashboard.scheduling.repeats import ANCHORED
from dashboard.scheduling.stocktriggers import form_of, zone_name
from dashboard.storage.models import HOST

if TYPE_CHECKING:
    from apscheduler.triggers.base import BaseTrigger


@dataclass(frozen=True)
class Schedule:
    """A trigger as it is kept (`data`) and as it works (`trigger`).

    `data` is the normal form: only what was given, numbers as numbers, times as RFC 3339 with
    offset; loading it again gives the same. `timezone` is the zone in force, whether `data` names
    it or it was the default. Jitter is in no fire time here: the scheduler adds it.
    """

    data: dict[str, Any]
    trigger: FireTimes
    timezone: str

    @property
    def jitter(self) -> int | None:
        """The seconds that a run may be put off by chance, if any."""
        jitter: int | None = self.data.get("jitter")
        return jitter

    @property
    def sentence(self) -> str:
        """The trigger in plain English."""
        return sentences.describe(self.trigger)

    @property
    def raw(self) -> str:
        """The trigger in short technical form, for tables."""
        return sentences.abbreviate(self.data)

    def at_or_after(self, moment: datetime) -> datetime | None:
        """Return the first fire time not before a moment, in UTC; None if there is no further."""
        return self.trigger.at_or_after(moment.astimezone(UTC))

    def last_at_or_before(self, moment: datetime, *, since: datetime) -> datetime | None:
        """Return the newest fire time from `since` to `moment`, however many lie between."""
        return self.trigger.last_at_or_before(moment.astimezone(UTC), since=since.astimezone(UTC))


def load(data: Mapping[str, Any], *, timezone: str = "UTC", field: str = "trigger") -> Schedule:
    """Read a trigger from JSON or from a form's strings; `timezone` counts where it names none.

    Raises `Invalid` with a complaint for every field at fault, under paths such as `trigger.hour`
    or `trigger.triggers.0.minute`.
    """
    parts = read(data, field, timezone, Room())
    return Schedule(parts.data, parts.trigger, parts.timezone)


def kept(data: object, *, timezone: str) -> Schedule:
    """Read the trigger of a row: one of ours, or one of a host's own scheduler.

    Raises `Invalid` for one that cannot be read.
    """
    if isinstance(data, Mapping) and data.get("type") == HOST and "fire_times" in data:
        return Schedule(dict(data), HostTrigger(data, ZoneInfo(timezone)), timezone)
    return load(cast("Mapping[str, Any]", data), timezone=timezone)  # it complains


def from_trigger(trigger: BaseTrigger) -> Schedule:
    """Take over a trigger that code gave to APScheduler: one of ours, or a stock one of any kind.

    A stock trigger becomes the same kind of ours, with our handling of clock changes. Raises
    `ValueError` for one that has no JSON form.
    """
    if isinstance(trigger, FireTimes):
        return Schedule(trigger.form, trigger, zone_name(trigger.timezone))
    try:
        return load(form_of(trigger))
    except Invalid as invalid:
        raise ValueError(f"the dashboard cannot keep {trigger!r}: {invalid}") from invalid


def anchored(schedule: Schedule, now: datetime) -> Schedule:
    """Give what counts from a start the start that APScheduler would give it at this moment.

    Otherwise an interval would begin anew at every restart. Intervals start one interval from now,
    on a whole second; calendar intervals today.
    """
    trigger = schedule.trigger.anchored(now)
    if trigger is schedule.trigger:
        return schedule
    return Schedule(trigger.form, trigger, schedule.timezone)


def unanchored(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a trigger's JSON without the starts that `anchored` made up: what a person gave."""
    kept = {name: value for name, value in data.items() if name != ANCHORED}
    if data.get(ANCHORED) is True:
        kept.pop("start_date", None)
    if isinstance(kept.get("triggers"), list):
        kept["triggers"] = [
            unanchored(part) if isinstance(part, Mapping) else part for part in kept["triggers"]
        ]
    return kept


def says_the_same(
    data: Mapping[str, Any], stored: object, *, timezone: str, stored_timezone: str
) -> bool:
    """Say whether `data` is the trigger that is `stored`, however a person wrote it.

    Each is read in the zone in force where it names none; starts that were made up do not count.
    Raises `Invalid` if `data` is no trigger.
    """
    given = load(unanchored(data), timezone=timezone)
    if not isinstance(stored, Mapping):
        return False
    try:
        known = load(unanchored(stored), timezone=stored_timezone)
    except Invalid:
        return False
    return given.data == known.data or (
        given.timezone == known.timezone
        and _with_zones(given.data, given.timezone) == _with_zones(known.data, known.timezone)
    )


def _with_zones(data: Mapping[str, Any], timezone: str) -> dict[str, Any]:
    """Return a trigger's JSON with its zone said by each part that fires, and there alone."""
    zone = data.get("timezone", timezone)
    if "triggers" not in data:
        return {**data, "timezone": zone}
    plain = {name: value for name, value in data.items() if name != "timezone"}
    return plain | {"triggers": [_with_zones(part, zone) for part in data["triggers"]]}


def require_future(schedule: Schedule, now: datetime, field: str = "trigger") -> datetime:
    """Return the first fire time from now on.

    Raises `Invalid`, naming the field at fault, if there is none: such a job would never run.
    """
    now, effort = now.astimezone(UTC), Effort()
    trigger = anchored(schedule, now).trigger
    faults = list(contradictions(trigger))
    found = next(trigger.upcoming(now, effort), None)
    if found is None and not faults:
        faults = [fault(trigger, now, effort)]
    if faults or found is None:
        raise Invalid(complaint(f"{field}.{name}" if name else field, why) for name, why in faults)
    return found

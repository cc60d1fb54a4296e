"""What a trigger will do: a sentence, the next fire times, and what a person should know."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import TYPE_CHECKING

from dashboard.scheduling.combining import AllOf, AnyOf, Combination
from dashboard.scheduling.cron import Cron
from dashboard.scheduling.faults import fault
from dashboard.scheduling.firetimes import Effort
from dashboard.scheduling.repeats import CalendarInterval, Once
from dashboard.scheduling.triggers import anchored
from dashboard.scheduling.wallclock import changes_between, moment_of, zone_named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dashboard.scheduling.cron import CronPattern
    from dashboard.scheduling.firetimes import FireTimes
    from dashboard.scheduling.triggers import Schedule
    from dashboard.scheduling.wallclock import Change

MOST_TIMES = 100
MOST_WARNINGS = 10
LOOK_AHEAD = timedelta(days=731)
CROWD = 10
"""So many other jobs at one moment are worth a warning."""

_LOOKED_AT = 11  # fire times, for the gaps between them
_EFFORT = 3000  # evaluations
_OFTEN = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class TriggerWarning:
    """Something about a trigger that its author may not expect.

    `at` is a moment or, for clock changes, the local time concerned.
    """

    code: str
    message: str
    at: datetime | str | None = None


@dataclass(frozen=True, slots=True)
class Preview:
    """The near future of a trigger; `exhausted` when there are no more fire times than these.

    Fewer than asked for, yet not exhausted: it takes too long to search for more.
    """

    sentence: str
    fire_times: list[datetime]
    warnings: list[TriggerWarning]
    exhausted: bool


def preview(
    schedule: Schedule,
    *,
    count: int = 10,
    after: datetime,
    usual_duration: float | None = None,
    others: Callable[[datetime], int] | None = None,
) -> Preview:
    """Look ahead from `after`, listing `count` fire times (100 at most) in the schedule's zone.

    `usual_duration` is what the task usually takes, in seconds; `others` tells how many other jobs
    fire at a moment.
    """
    schedule = anchored(schedule, after)
    count = min(count, MOST_TIMES)
    after = after.astimezone(UTC)
    effort = Effort(_EFFORT)
    found = list(islice(schedule.trigger.upcoming(after, effort), max(count, _LOOKED_AT)))
    zone = zone_named(schedule.timezone)
    fire_times = [moment.astimezone(zone) for moment in found[:count]]
    warnings = [
        *_never(schedule, found, after, effort),
        *_frequency(found, usual_duration),
        *_day_and_weekday(schedule.trigger),
        *_clock_warnings(schedule.trigger, after),
        *(_crowd(fire_times, others) if others is not None else ()),
    ]
    return Preview(
        schedule.sentence, fire_times, warnings, exhausted=len(found) < count and not effort.spent
    )


def _never(
    schedule: Schedule, found: Sequence[datetime], after: datetime, effort: Effort
) -> Iterator[TriggerWarning]:
    if not found:
        _, message = fault(schedule.trigger, after, effort)
        yield TriggerWarning("never_fires", f"It will never run: {message}.")


def _frequency(found: Sequence[datetime], usual_duration: float | None) -> Iterator[TriggerWarning]:
    """Warn when it fires every second, or before a run usually is over."""
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(found)]
    if not gaps:
        return
    seconds = min(gaps)
    if usual_duration is not None and seconds < usual_duration:
        message = (
            f"It fires again after {_duration(seconds)}, but this task usually takes"
            f" {_duration(usual_duration)}: runs will overlap or be skipped."
        )
        yield TriggerWarning("very_frequent", message)
    elif max(gaps) <= _OFTEN:
        message = "It fires every second. Check that the second is not left open by mistake."
        yield TriggerWarning("very_frequent", message)


def _duration(seconds: float) -> str:
    """Write `1 second`, `12.5 seconds`, `2 minutes`, `1:05:00 hours`."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.3g} second{'' if seconds == 1 else 's'}"
    minutes, rest = divmod(round(seconds), 60)
    if rest == 0 and minutes < 60:  # noqa: PLR2004 - an hour
        return f"{minutes} minute{'' if minutes == 1 else 's'}"
    return f"{timedelta(seconds=round(seconds))} hours"


def _day_and_weekday(trigger: FireTimes) -> Iterator[TriggerWarning]:
    """Say how a day and a day of week go together: fields and crontab lines differ in it."""
    crons = [leaf for leaf in _leaves(trigger) if isinstance(leaf, Cron)]
    patterns = [pattern for cron in crons for pattern in cron.patterns]
    if any(map(_restricts_days_twice, patterns)):
        message = (
            "Both a day and a day of week are given: it fires only on days that match both."
            " To fire on either, use a crontab line or “Any of”."
        )
        yield TriggerWarning("day_and_weekday", message)
    if any(pattern.either for pattern in patterns):
        message = (
            "Both a day and a day of week are given: like any crontab, it fires on days that match"
            " either. To fire only on days that match both, use Cron instead."
        )
        yield TriggerWarning("day_and_weekday", message)


def _restricts_days_twice(pattern: CronPattern) -> bool:
    day, weekday = pattern.fields["day"], pattern.fields["day_of_week"]
    return pattern.crontab is None and not (day.every or weekday.every)


def _crowd(
    fire_times: Sequence[datetime], others: Callable[[datetime], int]
) -> Iterator[TriggerWarning]:
    """Warn of the busiest of the fire times."""
    busiest = max(((others(moment), moment) for moment in fire_times), default=None)
    if busiest is not None and busiest[0] >= CROWD:
        jobs, moment = busiest
        message = f"{jobs} other jobs fire at the same moment, {moment:%Y-%m-%d %H:%M:%S %Z}."
        yield TriggerWarning("busy_moment", message, moment)


def _leaves(trigger: FireTimes) -> Iterator[FireTimes]:
    """Yield the triggers that a combination is made of."""
    if isinstance(trigger, Combination):
        for part in trigger.parts:
            yield from _leaves(part)
    else:
        yield trigger


def _clock_warnings(trigger: FireTimes, after: datetime) -> list[TriggerWarning]:
    """Warn of clock changes in the next two years, one warning for a date.

    Only the wall times that a change skips or repeats are looked at, not all fire times.
    """
    warnings: dict[tuple[str, str], TriggerWarning] = {}
    for leaf in _leaves(trigger):
        if isinstance(leaf, Cron | CalendarInterval | Once):
            for change in changes_between(leaf.timezone, after, after + LOOK_AHEAD):
                warning = _clock_warning(trigger, leaf, change)
                if warning is not None:
                    key = (warning.code, str(warning.at)[:10])
                    warnings.setdefault(key, warning)
    ordered = sorted(warnings.values(), key=lambda warning: str(warning.at))
    return [
        warning
        for code in ("dst_skipped", "dst_repeated")
        for warning in [one for one in ordered if one.code == code][:MOST_WARNINGS]
    ]


def _clock_warning(
    trigger: FireTimes, leaf: Cron | CalendarInterval | Once, change: Change
) -> TriggerWarning | None:
    """Tell how one clock change touches one part of a trigger, if it does."""
    first, end = change.stretch
    wall = leaf.next_wall(first)
    if wall is None or wall >= end:
        return None
    if isinstance(leaf, Cron) and leaf.elapsed:
        return _elapsed_warning(trigger, leaf, change, wall)
    if not trigger.fires_at(moment_of(leaf.timezone, wall)):
        return None
    effect = f"at {change.new_reading:%H:%M} instead" if change.forward else "the first time only"
    return _clock_message(leaf, change, wall, f"it runs {effect}")


def _elapsed_warning(
    trigger: FireTimes, leaf: Cron, change: Change, wall: datetime
) -> TriggerWarning | None:
    """Warn of hours such as `*/3`; with `*` it goes on hour by hour, and nothing is amiss."""
    if all(pattern.fields["hour"].every for pattern in leaf.patterns):
        return None
    if not change.forward:
        fires = trigger.fires_at(moment_of(leaf.timezone, wall))
        return _clock_message(leaf, change, wall, "it runs both times") if fires else None
    active = (leaf.start_date or change.at) <= change.at <= (leaf.end_date or change.at)
    if active and leaf in _alternatives(trigger):
        return _clock_message(leaf, change, wall, "there is no run for it")
    return None


def _alternatives(trigger: FireTimes) -> tuple[FireTimes, ...]:
    """Return the triggers each of which fires by itself."""
    if isinstance(trigger, AnyOf) or (isinstance(trigger, AllOf) and len(trigger.parts) == 1):
        return trigger.parts
    return (trigger,)


def _clock_message(leaf: FireTimes, change: Change, wall: datetime, effect: str) -> TriggerWarning:
    old, new = change.old_reading, change.new_reading
    clocks = f"On {old:%Y-%m-%d} the clocks of {leaf.timezone} go from {old:%H:%M} to {new:%H:%M}"
    code, what = "dst_repeated", "comes twice"
    if change.forward:
        code, what = "dst_skipped", "does not exist"
    return TriggerWarning(code, f"{clocks}: {wall:%H:%M} {what}, and {effect}.", wall.isoformat())

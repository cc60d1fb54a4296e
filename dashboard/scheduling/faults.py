"""Why a trigger has no fire time ahead, and which of its fields is at fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboard.scheduling.combining import HORIZON_YEARS, AllOf, AnyOf, Combination
from dashboard.scheduling.cron import SEARCH_YEARS, Cron
from dashboard.scheduling.repeats import CalendarInterval, Interval, Once
from dashboard.scheduling.wallclock import reading_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from dashboard.scheduling.firetimes import Effort, FireTimes

_ENDS_TOO_EARLY = "the end date lies before the first time it would fire"


def fault(trigger: FireTimes, now: datetime, effort: Effort) -> tuple[str, str]:
    """Return the path of the field at fault ("" for the trigger as a whole) and the reason.

    Only for a trigger in which a search with this effort found no fire time from `now` on.
    """
    if isinstance(trigger, Once):
        local = trigger.run_date.astimezone(trigger.timezone)
        return "run_date", f"the run date is past: {local:%Y-%m-%d %H:%M:%S} ({trigger.timezone})"
    if isinstance(trigger, AllOf):
        return _never_together(trigger, now, effort)
    if isinstance(trigger, AnyOf):
        return "triggers", "none of these triggers fires again"
    if isinstance(trigger, Cron) and trigger.next_wall(_start(trigger, now)) is None:
        return _mismatch(trigger, now)
    return "end_date", _ENDS_TOO_EARLY


def _start(trigger: Cron, now: datetime) -> datetime:
    return reading_of(trigger.timezone, max(now, trigger.start_date or now))


def _mismatch(trigger: Cron, now: datetime) -> tuple[str, str]:
    """Blame a field of a cron trigger that matches no day."""
    pattern = trigger.patterns[0]
    if pattern.crontab is not None:
        return "crontab", f"no day matches: there is no fire time within {SEARCH_YEARS} years"
    if max(pattern.fields["year"].values) < now.year:
        return "year", "the year is past"
    given = [name for name in ("day", "week", "day_of_week") if pattern.fields[name].given]
    blamed = given[0] if given else ""
    return blamed, f"no day matches: there is no fire time within {SEARCH_YEARS} years"


def _never_together(trigger: AllOf, now: datetime, effort: Effort) -> tuple[str, str]:
    """Say of triggers that have to agree how far they were followed."""
    for number, part in enumerate(trigger.triggers):
        if not isinstance(part, Combination) and part.at_or_after(now) is None:
            name, message = fault(part, now, effort)
            return f"triggers.{number}.{name}".removesuffix("."), message
    if effort.reached is not None:
        until = f"{effort.reached:%Y-%m-%d %H:%M} UTC"
        return "triggers", (
            f"these triggers do not fire together before {until};"
            " what comes later takes too long to search for"
        )
    return "triggers", (
        f"these triggers do not fire together within {HORIZON_YEARS} years,"
        " or one of them ends before they do"
    )


def contradictions(trigger: FireTimes, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the parts of an anchored trigger that end before they start.

    The rest of a combination may fire for years; but such a part is a mistake, and its form would
    be refused when it is read again.
    """
    if isinstance(trigger, Combination):
        for number, part in enumerate(trigger.triggers):
            yield from contradictions(part, f"{path}triggers.{number}.")
    elif isinstance(trigger, Interval | CalendarInterval) and trigger.ends_before_it_starts:
        yield f"{path}end_date", _ENDS_TOO_EARLY

"""Triggers made of triggers: when all of them fire, or any."""

from __future__ import annotations

from datetime import UTC, datetime
from heapq import merge
from typing import TYPE_CHECKING, Self

from dashboard.scheduling.cron import Cron
from dashboard.scheduling.firetimes import EVALUATIONS, Effort, FireTimes
from dashboard.scheduling.wallclock import DAY, TICK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import tzinfo

HORIZON_YEARS = 100
_HORIZON = HORIZON_YEARS * 365 * DAY
_LATEST_HORIZON = datetime(9899, 1, 1, tzinfo=UTC)


class Combination(FireTimes):
    """Several triggers as one: `triggers` as they were given, `parts` as they are searched."""

    __slots__ = ("parts", "triggers")

    def __init__(self, triggers: Sequence[FireTimes], timezone: tzinfo) -> None:
        self.triggers = tuple(triggers)
        self.parts = tuple(_flat(self.triggers, type(self)))
        self.timezone = timezone

    def anchored(self, now: datetime) -> Self:
        """Anchor the triggers in it."""
        triggers = tuple(trigger.anchored(now) for trigger in self.triggers)
        if triggers == self.triggers:
            return self
        started = type(self)(triggers, self.timezone)
        started.form = self.form | {"triggers": [trigger.form for trigger in triggers]}
        return started


def _flat(triggers: Iterable[FireTimes], kind: type[Combination]) -> Iterator[FireTimes]:
    """Yield the triggers, and in place of combinations of the same kind what they hold."""
    for trigger in triggers:
        if isinstance(trigger, kind):
            yield from _flat(trigger.triggers, kind)
        else:
            yield trigger


class AllOf(Combination):
    """Fires at the moments that all of its triggers have in common.

    The stock trigger searches for ever when they have none. This one gives up after a limited
    effort, or 100 years. Cron triggers of one zone are compared by their wall times, as one: that
    is exact, and two times inside an hour that is skipped do not meet at its end.
    """

    __slots__ = ("evaluations",)

    def __init__(self, triggers: Sequence[FireTimes], timezone: tzinfo) -> None:
        super().__init__(triggers, timezone)
        self.evaluations = EVALUATIONS
        crons: dict[tzinfo, list[Cron]] = {}
        for part in self.parts:
            if isinstance(part, Cron):
                crons.setdefault(part.timezone, []).append(part)
        others = [part for part in self.parts if not isinstance(part, Cron)]
        self.parts = (*map(_together, crons.values()), *others)

    def at_or_after(self, moment: datetime) -> datetime | None:
        """Search with an effort of its own; None may mean that the search was given up."""
        return self.seek(moment, Effort(self.evaluations))

    def fires_at(self, moment: datetime) -> bool:
        """Ask all of them."""
        return all(part.fires_at(moment) for part in self.parts)

    def seek(self, moment: datetime, effort: Effort) -> datetime | None:
        """Go from each part's next fire time to the next one's until all agree."""
        here, agreed = moment, 0
        horizon: datetime | None = None
        while agreed < len(self.parts):
            for part in self.parts:
                found = part.seek(here, effort) if effort.spend() else None
                if found is None or effort.spent:
                    return None
                agreed = agreed + 1 if found == here else 1
                here = found
                if agreed == len(self.parts):
                    break
            effort.reached = here
            horizon = horizon or min(here, _LATEST_HORIZON) + _HORIZON
            if here > horizon:
                return None
        return here

    def upcoming(self, moment: datetime, effort: Effort) -> Iterator[datetime]:
        """Search for each fire time as `at_or_after` does, as long as the effort allows."""
        while True:
            search = Effort(self.evaluations)
            found = self.seek(moment, search)
            effort.reached = search.reached if search.spent else None
            if found is None or not effort.spend(search.used):
                return
            yield found
            moment = found + TICK


def _together(crons: list[Cron]) -> Cron:
    """Make one cron trigger of several in the same zone."""
    starts = [cron.start_date for cron in crons if cron.start_date is not None]
    ends = [cron.end_date for cron in crons if cron.end_date is not None]
    return Cron(
        *(pattern for cron in crons for pattern in cron.patterns),
        timezone=crons[0].timezone,
        start_date=max(starts, default=None),
        end_date=min(ends, default=None),
    )


class AnyOf(Combination):
    """Fires whenever one of its triggers does; at a moment they share, once.

    Parts that have to search get equal shares of the effort, so that one that never finds anything
    does not keep the others from being found.
    """

    __slots__ = ()

    def __init__(self, triggers: Sequence[FireTimes], timezone: tzinfo) -> None:
        super().__init__(triggers, timezone)
        searching = [part for part in self.parts if isinstance(part, AllOf)]
        for part in searching:
            part.evaluations = EVALUATIONS // len(searching)

    def at_or_after(self, moment: datetime) -> datetime | None:
        """Take the earliest of their next fire times."""
        return _earliest(part.at_or_after(moment) for part in self.parts)

    def fires_at(self, moment: datetime) -> bool:
        """Ask whether any of them does."""
        return any(part.fires_at(moment) for part in self.parts)

    def seek(self, moment: datetime, effort: Effort) -> datetime | None:
        """Do the same as part of a search."""
        return _earliest(part.seek(moment, effort) for part in self.parts)

    def upcoming(self, moment: datetime, effort: Effort) -> Iterator[datetime]:
        """Merge their fire times; once one part is not followed further, neither are the others."""
        newest = None
        for found in merge(*(part.upcoming(moment, effort) for part in self.parts)):
            if effort.spent:
                return
            if found != newest:
                yield found
            newest = found

    def last_at_or_before(self, moment: datetime, *, since: datetime) -> datetime | None:
        """Take the newest of theirs."""
        found = (part.last_at_or_before(moment, since=since) for part in self.parts)
        return max((time for time in found if time is not None), default=None)


def _earliest(moments: Iterable[datetime | None]) -> datetime | None:
    return min((moment for moment in moments if moment is not None), default=None)

"""What every trigger of the dashboard is: a fixed set of moments, asked for the next one.

APScheduler's own triggers compute a fire time from the previous one. Ours only ever ask "which is
the first at or after this moment?". So nothing depends on what was asked before, the past can be
searched as cheaply as the future, and a restart changes nothing.
"""

from __future__ import annotations

from abc import abstractmethod
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from apscheduler.triggers.base import BaseTrigger

from dashboard.scheduling.wallclock import TICK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo


EVALUATIONS = 2000
"""What a search may cost; that many take some 20 ms."""


class Effort:
    """How many more evaluations a search may cost; counted, so that an answer is repeatable.

    `reached` is how far the last search came.
    """

    __slots__ = ("left", "reached", "used")

    def __init__(self, evaluations: int = EVALUATIONS) -> None:
        self.left = evaluations
        self.used = 0
        self.reached: datetime | None = None

    def spend(self, evaluations: int = 1) -> bool:
        """Pay; False when there is not enough left."""
        self.left -= evaluations
        self.used += evaluations
        return self.left >= 0

    @property
    def spent(self) -> bool:
        """True once a search was given up."""
        return self.left < 0


class FireTimes(BaseTrigger):
    """A trigger of the dashboard. Jitter is not its business: the scheduler adds it.

    `form` is the JSON form it was read from.
    """

    __slots__ = ("form", "timezone")

    form: dict[str, Any]
    timezone: tzinfo

    @abstractmethod
    def at_or_after(self, moment: datetime) -> datetime | None:
        """Return the first fire time not before a moment (both aware UTC); None after the last."""

    def anchored(self, now: datetime) -> Self:  # noqa: ARG002 - most have no use for it
        """Return itself, or with a start if it counts from one and was given none."""
        return self

    def seek(self, moment: datetime, effort: Effort) -> datetime | None:  # noqa: ARG002
        """Do as `at_or_after`, within an effort shared with other searches."""
        return self.at_or_after(moment)

    def fires_at(self, moment: datetime) -> bool:
        """Tell whether this moment is a fire time."""
        return self.at_or_after(moment) == moment

    def upcoming(self, moment: datetime, effort: Effort) -> Iterator[datetime]:  # noqa: ARG002
        """Yield the fire times from a moment on, until they or the effort end."""
        found = self.at_or_after(moment)
        while found is not None:
            yield found
            found = self.at_or_after(found + TICK)

    def last_at_or_before(self, moment: datetime, *, since: datetime) -> datetime | None:
        """Return the newest fire time from `since` to `moment`, by halving what lies between.

        After a week of downtime a job that runs every second has missed 604,800 fire times; this
        asks for some 40 of them.
        """
        effort = Effort()
        newest = self.seek(since, effort)
        if newest is None or newest > moment:
            return None
        high = moment
        while newest < high:
            # The next one often is the first to come, and then the search is over.
            following = self.seek(newest + TICK, effort)
            if following is None or following > high:
                return newest
            newest = following
            while newest < high:
                middle = newest + max(TICK, (high - newest) // 2)
                found = self.seek(middle, effort)
                if found is not None and found <= high:
                    newest = found
                    break
                high = middle - TICK
        return newest

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        """Answer APScheduler: the one after the previous, else the first from now on."""
        after = now if previous_fire_time is None else previous_fire_time.astimezone(UTC) + TICK
        found = self.at_or_after(after.astimezone(UTC))
        return None if found is None else found.astimezone(self.timezone)

"""Triggers of jobs that belong to a host's own scheduler, as far as the dashboard can tell.

They keep their own behaviour, so nothing is computed here: a row holds how they read, and the next
fire times as they were when the row was written. No form and no program can ask for one.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from dashboard.scheduling.firetimes import FireTimes
from dashboard.scheduling.sentences import describe

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo


class HostTrigger(FireTimes):
    """A trigger that knows the fire times it was told, and no others."""

    __slots__ = ("moments",)

    def __init__(self, form: Mapping[str, Any], zone: tzinfo) -> None:
        """Take a trigger from a row: `{"type", "text", "sentence", "fire_times"}`."""
        self.form = dict(form)
        self.timezone = zone
        self.moments = [datetime.fromisoformat(moment) for moment in form["fire_times"]]

    def at_or_after(self, moment: datetime) -> datetime | None:
        """Return the first known fire time not before a moment."""
        return next((known for known in self.moments if known >= moment), None)


@describe.register
def _(trigger: HostTrigger) -> str:
    return str(trigger.form["sentence"])

"""A clock that was set: noticed, because it decides when jobs fire."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta

logger = logging.getLogger(__name__)

JUMP = 2.0
"""Seconds by which the clock may go wrong between two looks; NTP moves it far more gently."""


class ClockWatch:
    """Compares the time of day with the monotonic clock, which nobody can set."""

    def __init__(self) -> None:
        """Take the clock for right as it is now."""
        self._offset = _offset()
        self._back_at: datetime | None = None  # when the time is again what it had been

    def look(self) -> None:
        """Note whether the clock was set since the last look."""
        offset = _offset()
        jumped, self._offset = offset - self._offset, offset
        if jumped > JUMP:
            logger.warning(
                "the clock went on by %.0f s at once, or this machine slept; jobs are late", jumped
            )
        elif jumped < -JUMP:
            self._back_at = datetime.now(UTC) - timedelta(seconds=jumped)
            logger.warning("%s", self.problem)

    @property
    def problem(self) -> str | None:
        """What keeps jobs from firing, if anything does."""
        if self._back_at is None or datetime.now(UTC) >= self._back_at:
            return None
        return (
            f"The clock of this machine was set back. What has fired does not fire again, so jobs"
            f" wait until {self._back_at:%Y-%m-%d %H:%M:%S} UTC by the new time."
        )


def _offset() -> float:
    return time.time() - time.monotonic()

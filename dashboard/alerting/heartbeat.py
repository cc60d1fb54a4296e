"""The dead man's switch: a request to an address for as long as the scheduler really works.

Whoever waits for it (healthchecks.io and its like) notices when it stays away: when the machine,
the process or the scheduler is gone, nobody here is left to tell of it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from dashboard.alerting import post
from dashboard.alerting.post import Undelivered

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

NOT_YET = 1.0
"""Seconds until it is looked again whether the scheduler works."""


class Heartbeat:
    """Asks for `address` every `seconds` while `works` says so."""

    def __init__(self, address: str, seconds: float, works: Callable[[], bool]) -> None:
        self._address = address
        self._seconds = seconds
        self._works = works
        self._failing = False

    def beat(self) -> float:
        """Make the request, if the scheduler works, and return the seconds until the next."""
        if not self._works():
            return NOT_YET
        try:
            post.request("GET", self._address)
        except Undelivered as problem:
            if not self._failing:
                logger.warning("the dead man's switch cannot be reached: %s", problem)
            self._failing = True
        else:
            self._failing = False
        return self._seconds

"""How often a program may ask: a bucket of permits for each token, filled up as time goes by.

The buckets are this process's own. With several processes behind one address a token may ask so
often of each; the limit is there to bound what one runaway script costs, not to sell requests.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_MINUTE = 60.0


class Buckets:
    """One bucket for each holder; a full one allows a minute's requests at once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._filled: dict[str, tuple[float, float]] = {}  # holder: permits, and when

    def take(self, holder: str, per_minute: int) -> float:
        """Take one permit. Returns 0, or the seconds until there is one."""
        with self._lock:
            now = self._clock()
            permits, then = self._filled.get(holder, (float(per_minute), now))
            permits = min(permits + (now - then) * per_minute / _MINUTE, float(per_minute))
            taken = permits >= 1
            self._filled[holder] = (permits - 1 if taken else permits, now)
        return 0.0 if taken else (1 - permits) * _MINUTE / per_minute

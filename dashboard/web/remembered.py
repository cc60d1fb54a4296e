"""A value that many requests ask for, computed anew when something has changed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

SECONDS = 1.0
"""So long a value is good although nothing has changed: what is wrong may become so by time."""


class Remembered(Generic[T]):
    """One value of a database, good for one of its revisions, shared by all requests."""

    def __init__(self) -> None:
        self._known: tuple[int, float, T] | None = None

    def read(self, revision: int, compute: Callable[[], T]) -> T:
        """Return the value at a revision; two that miss it at once may both compute it."""
        known = self._known
        now = time.monotonic()
        if known is None or known[0] != revision or now - known[1] >= SECONDS:
            self._known = known = (revision, now, compute())
        return known[2]

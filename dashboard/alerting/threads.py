"""A thread that does the same again and again, and that nothing but `stop` ends."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from dashboard.storage.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

RETRY = 2.0
"""Seconds until the next round after one that failed."""


class Worker:
    """Calls `work`, which returns the seconds until it wants to be called again."""

    def __init__(self, name: str, work: Callable[[], float]) -> None:
        self.name = name
        self._work = work
        self._awake = threading.Event()
        self._stopping = False
        self._trouble = Trouble(logger, f"{name} fails", over=f"{name} works again")
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Have the next round at once."""
        self._awake.set()

    def ask_to_stop(self) -> None:
        """Let the present round be the last."""
        self._stopping = True
        self._awake.set()

    def join(self, timeout: float) -> bool:
        """Wait for its end; False when it has not come within `timeout` seconds."""
        if self._thread is None:
            return True
        self._thread.join(max(0.0, timeout))
        return not self._thread.is_alive()

    def _run(self) -> None:
        wait = 0.0
        while not self._stopping:
            self._awake.wait(wait)
            self._awake.clear()
            if not self._stopping:
                wait = self._round()

    def _round(self) -> float:
        try:
            wait = self._work()
        except Exception as error:  # noqa: BLE001 -- the thread must live on whatever happens
            self._trouble.note(error)
            return RETRY
        self._trouble.end()
        return wait

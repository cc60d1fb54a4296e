"""The threads that look, send and beat, of one process."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from dashboard.alerting.heartbeat import Heartbeat
from dashboard.alerting.sender import Sender
from dashboard.alerting.threads import Worker
from dashboard.alerting.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session

    from dashboard.services.status import SchedulerStatus
    from dashboard.settings import Settings
    from dashboard.storage.db import Database

SENDERS = 4
"""Messages under way at once: a channel that hangs must not keep the others waiting."""

HELPERS = 5.0
"""Seconds between two looks of the senders but one, where the first finds what is due."""


class Alerting:
    """Everything about alerts that runs beside the scheduler of a process."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        process: str,
        *,
        status: Callable[[Session], SchedulerStatus],
        works: Callable[[], bool],
    ) -> None:
        """Prepare; `works` says whether the scheduler of this process leads and does its work."""
        sender = Sender(database, process, settings.vault)
        self._senders = [
            Worker(f"alerts-{number}", partial(sender.send_one, 1.0 if number == 1 else HELPERS))
            for number in range(1, SENDERS + 1)
        ]
        watcher = Watcher(database, status, public_url=settings.public_url, tell=self.send)
        self._workers = [Worker("alert-rules", watcher.look), *self._senders]
        if settings.deadman_url is not None:
            address = settings.deadman_url.get_secret_value()
            heartbeat = Heartbeat(address, settings.deadman_seconds, works)
            self._workers.append(Worker("dead-mans-switch", heartbeat.beat))

    def start(self) -> None:
        """Begin to look and to send."""
        for worker in self._workers:
            worker.start()

    def send(self) -> None:
        """Send at once what has just been put into the outbox."""
        for sender in self._senders:
            sender.wake()

    def stop(self, timeout: float) -> bool:
        """Begin nothing more, and wait for what is under way; False when that takes too long."""
        deadline = time.monotonic() + timeout
        for worker in self._workers:
            worker.ask_to_stop()
        left = [worker for worker in self._workers if not worker.join(deadline - time.monotonic())]
        return not left

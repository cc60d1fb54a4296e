"""Celery's workers as the leader sees them: what they can take, and which of them are lost."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from dashboard.scheduling import handover, presence, sending
from dashboard.scheduling.broker import CeleryExecutor, Sender
from dashboard.storage.db import raise_revision

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

    from dashboard.scheduling.leader import Identity
    from dashboard.settings import Settings
    from dashboard.storage.db import Database

logger = logging.getLogger(__name__)

FETCH = 0.02
"""Seconds until workers are looked at again for which runs wait; doubled while they take none."""


class Workforce:
    """The workers of all queues; without Celery there are none, and nothing is done."""

    def __init__(
        self, database: Database, identity: Identity, settings: Settings, *, look: float
    ) -> None:
        """Watch over the workers every `look` seconds, once this process leads."""
        self.queues = settings.celery_executors
        self._sender = Sender(settings, database)
        self._watch = presence.Watch(identity)
        self._look = look
        self._look_at = 0.0
        self._fetch = FETCH
        self.waited_for = False
        """Whether runs wait for a place of a worker, as far as is known."""

    @property
    def problem(self) -> str | None:
        """What keeps runs from being sent, if anything does."""
        return self._sender.problem

    def executors(self) -> dict[str, CeleryExecutor]:
        """Return an executor for each queue."""
        return {queue: CeleryExecutor(queue, self._sender) for queue in self.queues}

    def room(self, connection: Connection) -> dict[str, int]:
        """Return how many runs can be sent to the workers of each queue."""
        if not self.queues or self.problem is not None:
            return {}
        return sending.room(connection, self.queues)

    def note(self, handed: handover.HandOver, *, backlog: bool) -> None:
        """Note what a tick sent and whether it left anything queued."""
        self.waited_for = backlog and bool(self.queues)
        if any(handed.claims.get(queue) for queue in self.queues):
            self._fetch = FETCH

    def next_look(self, longest: float) -> float:
        """Return the seconds until workers may have room again: soon at first, then less often."""
        if not self.waited_for:
            return longest
        wait, self._fetch = self._fetch, self._fetch * 2
        return min(longest, wait)

    @property
    def is_due(self) -> bool:
        """Whether it is time to `look_after` the workers."""
        return time.monotonic() >= self._look_at

    def look_after(self, session: Session, now: datetime) -> None:
        """End the runs of lost workers, and send again what nobody has taken."""
        self._look_at = time.monotonic() + self._look
        presence.forget(session, self._watch.lost(session))
        connection = session.connection()
        if interrupted := handover.interrupt_lost(connection, now):
            logger.warning("%d runs were interrupted: their processes are lost", interrupted)
            raise_revision(session)
        if self.queues and self.problem is None:
            for executor, run_ids in sending.send_again(connection, now).items():
                self._sender.put_again(executor, run_ids)

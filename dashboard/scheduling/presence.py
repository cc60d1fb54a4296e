"""Which processes live: each keeps a row that it moves on, and the leader looks whether they move.

Whether one is lost is told by the looker's own monotonic clock, not by comparing times: neither a
clock that jumps nor a database that was away for everybody makes a living process look dead.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError

from dashboard.history.inserts import insert_for
from dashboard.scheduling.leader import database_now, is_gone
from dashboard.storage.models import Process, ProcessKind
from dashboard.storage.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

    from dashboard.scheduling.leader import Identity
    from dashboard.storage.db import Database

logger = logging.getLogger(__name__)

BEATS = 4
"""Heartbeats within the time after which a process counts as lost."""


class Presence:
    """The row of this process, and the thread that keeps it alive."""

    def __init__(
        self,
        database: Database,
        identity: Identity,
        kind: ProcessKind,
        *,
        seconds: float,
        version: str,
        executors: Sequence[str] = (),
        places: int = 0,
    ) -> None:
        """Describe a process that counts as lost `seconds` after its last sign of life."""
        self._database = database
        self._identity = identity
        self._length = timedelta(seconds=seconds)
        self._facts = {
            "kind": kind,
            "host": identity.host,
            "machine": identity.machine,
            "pid": identity.pid,
            "pid_started": identity.pid_started,
            "version": version,
            "executors": list(executors),
            "places": places,
        }
        self._problem: Callable[[], str | None] = lambda: None
        self._told: str | None = None
        self._began_at: datetime | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._trouble = Trouble(
            logger, "the sign of life cannot be written", over="the sign of life is written again"
        )

    def tell(self, problem: Callable[[], str | None]) -> None:
        """Ask `problem` at each heartbeat what keeps this process from its work."""
        self._problem = problem

    def start(self) -> None:
        """Begin to show that this process lives; a second call changes nothing."""
        alive = self._thread is not None and self._thread.is_alive()
        if alive and not self._stopping.is_set():
            return
        self._stopping = threading.Event()  # whoever was too slow to end has one of its own
        self._thread = threading.Thread(
            target=self._work, args=(self._stopping,), name="presence", daemon=True
        )
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Take the row away; whoever cannot within `timeout` seconds is found to be lost."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def beat(self) -> None:
        """Say once that this process lives, and let nobody who hangs hold the others up."""
        if ended := self._database.end_hanging():
            logger.warning("%d transactions in which nothing happened any more were ended", ended)
        problem = self._problem()
        news = self._began_at is None or problem != self._told
        with self._database.write(touch=news) as session:
            now = database_now(session)
            began_at = self._began_at or now
            moving = {"seen_at": now, "until": now + self._length, "problem": problem}
            row = insert_for(session.get_bind().dialect.name, Process).values(
                process=self._identity.process, began_at=began_at, **self._facts, **moving
            )
            session.execute(row.on_conflict_do_update(index_elements=["process"], set_=moving))
        self._began_at, self._told = began_at, problem

    def _work(self, stopping: threading.Event) -> None:
        pause = self._length.total_seconds() / BEATS
        while not stopping.is_set():
            self._try(self.beat)
            stopping.wait(pause)
        self._try(self._leave)

    def _leave(self) -> None:
        with self._database.write() as session:
            session.execute(delete(Process).where(Process.process == self._identity.process))

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except SQLAlchemyError as error:
            self._trouble.note(error)
        else:
            self._trouble.end()


class Watch:
    """What the leader knows of the other processes' signs of life."""

    def __init__(self, identity: Identity) -> None:
        """Begin to watch in the name of the process `identity`."""
        self._identity = identity
        self._signs: dict[str, tuple[datetime, float]] = {}
        self._last_look = float("-inf")

    def lost(self, session: Session) -> list[str]:
        """Return the processes that have shown no sign of life for too long.

        Only what was watched all the time counts: after a pause of our own everybody gets the whole
        time again.
        """
        now = time.monotonic()
        rows = session.scalars(select(Process).order_by(Process.process)).all()
        before, self._signs = self._signs, {}
        lost = []
        for row in rows:
            allowed = (row.until - row.seen_at).total_seconds()
            seen_at, since = before.get(row.process, (None, now))
            if seen_at != row.seen_at or now - self._last_look > allowed / 2:
                since = now
            self._signs[row.process] = (row.seen_at, since)
            if now - since > allowed or is_gone(row, self._identity):
                lost.append(row.process)
        self._last_look = now
        return lost


def forget(session: Session, processes: Sequence[str]) -> None:
    """Remove the rows of lost processes; one that lives after all writes a new one."""
    session.execute(delete(Process).where(Process.process.in_(processes)))

"""On PostgreSQL, the leader hears at once what people did in other processes.

Without it, and with other databases, it sees that within a second, when it looks by itself.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from dashboard.storage.db import CHANNEL

if TYPE_CHECKING:
    from collections.abc import Callable

    from dashboard.storage.db import Database

logger = logging.getLogger(__name__)

RETRY = 5.0
"""Seconds until it listens again after the connection was lost."""

WAIT = 1.0
"""Seconds after which it looks whether it should end."""


class Listener:
    """A thread with a connection of its own that calls `wake` for each announcement."""

    def __init__(self, database: Database, wake: Callable[[], None]) -> None:
        """Prepare to listen to `database`, if it can be listened to."""
        self._database = database
        self._wake = wake
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begin to listen."""
        self._stopping.clear()
        if self._database.engine.driver == "psycopg":
            threading.Thread(target=self._work, name="listener", daemon=True).start()

    def stop(self) -> None:
        """Listen no more."""
        self._stopping.set()

    def _work(self) -> None:
        dbapi: Any = self._database.engine.dialect.dbapi
        while not self._stopping.is_set():
            try:
                self._listen()
            except (SQLAlchemyError, dbapi.Error) as error:
                logger.debug("listening ended, and begins again soon: %s", error)
                self._stopping.wait(RETRY)

    def _listen(self) -> None:
        with self._database.engine.connect() as connection:
            raw: Any = connection.connection.driver_connection
            try:
                raw.autocommit = True
                raw.execute(f"LISTEN {CHANNEL}")
                self._wake()  # for what was announced before
                while not self._stopping.is_set():
                    for _ in raw.notifies(timeout=WAIT, stop_after=1):
                        self._wake()
            finally:
                connection.invalidate()  # nobody else wants one that listens

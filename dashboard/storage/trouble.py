"""What does not work for a while: said once in the log, and kept for people to see."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from dashboard.texts import fitted

if TYPE_CHECKING:
    import logging

LONGEST = 500
"""Bytes of a reason that are shown."""


class Trouble:
    """One thing that some thread does again and again, and whether it fails at present."""

    def __init__(self, logger: logging.Logger, what: str, *, over: str) -> None:
        """Say in `logger` `what` goes wrong when it begins, and when it is `over`."""
        self._logger = logger
        self._what = what
        self._over = over
        self._reason = ""
        self.since: datetime | None = None

    @property
    def problem(self) -> str | None:
        """What goes wrong, and why, as a sentence; None while nothing does."""
        if self.since is None:
            return None
        return f"{self._what[0].upper()}{self._what[1:]}: {self._reason}."

    def note(self, error: Exception) -> None:
        """Note that it failed; only when it has worked before, this is logged."""
        expected = isinstance(error, SQLAlchemyError)
        said = str(getattr(error, "orig", None) or error) if expected else repr(error)
        # What a fault of ours says is for the log, and so is what a database adds: it holds values.
        first_line = said.strip().partition("\n")[0].rstrip(".")
        self._reason = fitted(first_line, LONGEST) if expected else "the log says why"
        if self.since is None:
            self.since = datetime.now(UTC)
            trace = None if expected else error
            self._logger.error("%s, trying again: %s", self._what, said, exc_info=trace)

    def end(self) -> None:
        """Note that it worked."""
        if self.since is not None:
            self._logger.warning("%s", self._over)
            self.since = None

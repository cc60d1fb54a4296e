"""What a view may reach: settings, database, load problems, and a nudge for the scheduler."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, cast

from flask import current_app

from dashboard.services import audit
from dashboard.web.rate import Buckets
from dashboard.web.remembered import Remembered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy.orm import Session

    from dashboard.settings import Settings
    from dashboard.storage.db import Database
    from dashboard.tasks import LoadProblem

EXTENSION = "dashboard"

Granted: TypeAlias = "str | tuple[str, str | None] | tuple[str, str | None, Sequence[str]] | None"
"""Who a host app says is signed in: a user name, or a name and a role, or besides the tags of the
jobs that the role is for; None for nobody."""


@dataclass(frozen=True)
class DashboardState:
    """The parts of one dashboard that its pages use; made by `dashboard.app`."""

    settings: Settings
    database: Database
    wake: Callable[[], None]
    """Make the scheduler look at once; called after a write was committed."""
    process: str = ""
    """The identity of this process, which tells whether it is the one that leads."""
    recorder_backlog: Callable[[], int] = field(default=lambda: 0)
    """How many items of history this process has yet to write."""
    problem: Callable[[], str | None] = field(default=lambda: None)
    """What keeps this process from its work; where nothing can be written, only it knows."""
    load_problems: tuple[LoadProblem, ...] = field(default=())
    """Task modules that could not be imported at start."""
    problems: Remembered[int] = field(default_factory=Remembered)
    """How many problems of jobs are open."""
    buckets: Buckets = field(default_factory=Buckets)
    """How often each token has asked lately."""
    user: Callable[[], Granted] | None = None
    """Says who is signed in to the host app; then nobody signs in here."""
    sign_in_url: str | None = None
    """Where people sign in to the host app."""

    @contextmanager
    def change(self) -> Iterator[Session]:
        """Open the one transaction of a request that changes something.

        What is refused is undone and noted in the audit log; what is done wakes the scheduler.
        """
        with audit.transaction(self.database) as session:
            yield session
        self.wake()


def dashboard_state() -> DashboardState:
    """Return the dashboard of the running application."""
    return cast("DashboardState", current_app.extensions[EXTENSION])

"""Looking every second whether anything is wrong by the rules.

The leader looks at everything, in small transactions beside its ticks. The others only look
whether there is a leader.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from dashboard.alerting.conditions import Look, scheduler_stopped
from dashboard.alerting.problems import Telling, changes, open_problems
from dashboard.history.inserts import batches
from dashboard.storage.models import AlertKind, AlertRule

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session

    from dashboard.services.status import SchedulerStatus
    from dashboard.storage.db import Database

    Write = Callable[[Session, Telling], None]

LOOK = 1.0
"""Seconds between two looks."""

NEW_LEADER = 3.0
"""Seconds a new leader has to deal with what is due before anything is called overdue."""

CHANGES_AT_ONCE = 200
"""Problems changed in one transaction: a few milliseconds."""

_RULES = select(AlertRule).where(AlertRule.enabled).order_by(AlertRule.id)


class Watcher:
    """One process's look at what is wrong; `tell` is called when there is something to send."""

    def __init__(
        self,
        database: Database,
        status: Callable[[Session], SchedulerStatus],
        *,
        public_url: str,
        tell: Callable[[], None],
    ) -> None:
        self._database = database
        self._status = status
        self._public_url = public_url
        self._tell = tell

    def look(self, now: datetime | None = None) -> float:
        """Look once, write what follows, and return the seconds until the next look."""
        for telling, wanted in self._read(now or datetime.now(UTC)):
            for some in batches(wanted, CHANGES_AT_ONCE):
                with self._database.write() as session:
                    for change in some:
                        change(session, telling)
                    telling.post(session)
                self._tell()
        return LOOK

    def _read(self, now: datetime) -> list[tuple[Telling, list[Write]]]:
        """Return what each rule wants written."""
        found = []
        with self._database.read() as session:
            rules = session.scalars(_RULES).all()
            if not rules:
                return []
            status = self._status(session)
            leading = status.leading and _settled_in(status, now)
            look = Look(session, now)
            for rule in rules:
                telling = Telling(rule, now, self._public_url)
                if leading:
                    findings = look.findings(rule)
                elif not status.alive and rule.on is AlertKind.SCHEDULER_DOWN:
                    findings = scheduler_stopped(rule, status)
                else:
                    continue
                known = open_problems(session, rule)
                # Whether it is over is for the next leader to say.
                known = known if leading else {job: known[job] for job in findings if job in known}
                found.append((telling, list(changes(findings, known, telling))))
        return [(telling, wanted) for telling, wanted in found if wanted]


def _settled_in(status: SchedulerStatus, now: datetime) -> bool:
    return status.since is None or (now - status.since).total_seconds() >= NEW_LEADER

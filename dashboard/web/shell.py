"""What every page shows around its content: navigation, the scheduler's pulse, problems."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from flask import g, request, url_for

from dashboard.history.problems import count_problems
from dashboard.services.status import scheduler_status
from dashboard.storage.db import read_revision
from dashboard.web.access import may
from dashboard.web.state import dashboard_state

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from dashboard.services.status import SchedulerStatus


@dataclass(frozen=True)
class Shell:
    """The state of the whole, as one request sees it."""

    status: SchedulerStatus
    problem: str | None  # what keeps this process from its work
    problems: int
    load_problems: int

    @property
    def badge(self) -> str:
        """The number of problems as it fits on a badge; empty for none."""
        return ("99+" if self.problems > 99 else str(self.problems)) if self.problems else ""  # noqa: PLR2004


@dataclass(frozen=True)
class Place:
    """One entry of the navigation."""

    name: str
    icon: str
    url: str
    current: bool
    key: str  # that leads there after `g`


_KEYS = {"Audit": "u", "Tokens": "k"}
"""Keys of places whose first letter is another's."""

_PLACES = (
    ("Now", "heartbeat", "now.show", ("now",)),
    ("Jobs", "calendar-time", "jobs.index", ("jobs", "job", "editor", "exchange", "bulk")),
    ("Runs", "history", "runs.index", ("runs", "run")),
    ("Errors", "bug", "errors.index", ("errors",)),
    ("Timeline", "timeline", "timeline.show", ("timeline",)),
    ("Alerts", "bell", "alerts.index", ("alerts",)),
    ("Audit", "list-details", "audit.index", ("audit",)),
    ("System", "server", "system.show", ("system",)),
)

_ADMINS_PLACES = (
    ("People", "users", "people.index", ("people",)),
    ("Tokens", "key", "tokens.index", ("tokens",)),
)


def navigation() -> tuple[Place, ...]:
    """Return the links of the navigation, the present screen marked."""
    screen = (request.blueprint or "").rpartition(".")[2]
    return _navigation(
        url_for("dashboard.now.show"), screen, _PLACES + (_ADMINS_PLACES * may("admin"))
    )


@lru_cache(maxsize=64)
def _navigation(
    home: str,  # noqa: ARG001 -- where this dashboard lies: a process may have several
    screen: str,
    places: tuple[tuple[str, str, str, tuple[str, ...]], ...],
) -> tuple[Place, ...]:
    return tuple(
        Place(
            name,
            icon,
            url_for(f"dashboard.{endpoint}"),
            screen in screens,
            _KEYS.get(name, name[0].lower()),
        )
        for name, icon, endpoint, screens in places
    )


def scheduler_now(session: Session) -> SchedulerStatus:
    """Return how the scheduler is, read once a request."""
    if "dashboard_status" not in g:
        process = dashboard_state().process or None
        g.dashboard_status = scheduler_status(session, process=process)
    status: SchedulerStatus = g.dashboard_status
    return status


def shell_of(session: Session) -> Shell:
    """Return the state of the whole, read once a request."""
    if "dashboard_shell" not in g:
        status, known = scheduler_now(session), dashboard_state()
        problems = known.problems.read(read_revision(session), partial(count_problems, session))
        g.dashboard_shell = Shell(
            status=status,
            problem=known.problem(),
            problems=problems + (0 if status.alive else 1),
            load_problems=len(known.load_problems),
        )
    state: Shell = g.dashboard_shell
    return state


def shell() -> Shell:
    """Return the state of the whole for a template."""
    if "dashboard_shell" in g:
        state: Shell = g.dashboard_shell
        return state
    with dashboard_state().database.read() as session:
        return shell_of(session)


def theme() -> str:
    """Return the person's choice: `light`, `dark`, or `auto` as the system has it.

    The browser's own is for pages that do not know who asks; nobody is looked up for this.
    """
    visit = g.get("dashboard_visit")
    if visit is not None:
        chosen: str = visit.person.theme
        return chosen
    choice = request.cookies.get("theme", "auto")
    return choice if choice in {"light", "dark"} else "auto"

"""What runs this dashboard: the scheduler and its past, executors, database, versions, tasks."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from flask import Blueprint

from dashboard.history.busytags import busy_tags
from dashboard.history.sizes import next_pruning, table_sizes
from dashboard.history.system import Load, places_of_workers, read_system
from dashboard.settings import PROCESSES, THREADS
from dashboard.storage.models import Role
from dashboard.tasks import all_tasks
from dashboard.web.access import role
from dashboard.web.rendering import live_etag, not_modified, render, wants_partial
from dashboard.web.state import dashboard_state

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flask import Response
    from sqlalchemy.orm import Session

    from dashboard.history.system import Member
    from dashboard.settings import Settings

blueprint = Blueprint("system", __name__)

PACKAGES = {
    "apscheduler-dashboard": "Dashboard",
    "APScheduler": "APScheduler",
    "Flask": "Flask",
    "SQLAlchemy": "SQLAlchemy",
}


@blueprint.get("/system")
@role(Role.VIEWER)
def show() -> Response:
    """Show the page, or its live part."""
    state = dashboard_state()
    with state.database.read() as session:
        etag = live_etag(session)
        if answer := not_modified(etag):
            return answer
        facts = read_system(session)
        tags = busy_tags(session.connection()) if state.settings.tag_limits else {}
        kept = {} if wants_partial() else _kept(session, state.settings)
    settings = state.settings
    return render(
        "system/index.html",
        partial="system/_live.html",
        etag=etag,
        facts=facts,
        settings=settings,
        process=state.process,
        load_problems=state.load_problems,
        executors={
            name: (places, facts.loads.get(name, Load()))
            for name, places in executor_places(settings, facts.members).items()
        },
        tags={tag: (tags[tag], most) for tag, most in sorted(settings.tag_limits.items())},
        versions=versions(),
        tasks=all_tasks(),
        **kept,
    )


def _kept(session: Session, settings: Settings) -> dict[str, Any]:
    """Read how much is kept: what does not change by the second, and is not polled."""
    days = settings.retention_days
    return {
        "sizes": table_sizes(session),
        "pruning": next_pruning(session, datetime.now(UTC), retention_days=days),
    }


@blueprint.get("/system/pulse")
@role(Role.VIEWER)
def pulse() -> Response:
    """Answer the header's poll: whether the scheduler is alive, and how many problems there are."""
    with dashboard_state().database.read() as session:
        etag = live_etag(session)
        if answer := not_modified(etag):
            return answer
    return render("_pulse_update.html", partial="_pulse_update.html", etag=etag)


def executor_places(settings: Settings, members: Iterable[Member]) -> dict[str, int]:
    """Return how many runs each executor can run at once: those of Celery, what workers can."""
    local = {THREADS: settings.threads, PROCESSES: settings.processes}
    return local | dict.fromkeys(settings.celery_executors, 0) | places_of_workers(members)


def versions() -> dict[str, str]:
    """Return the versions of what takes part."""
    found = {}
    for package, name in PACKAGES.items():
        try:
            found[name] = version(package)
        except PackageNotFoundError:
            found[name] = "not installed as a package"
    return found | {"Python": platform.python_version()}

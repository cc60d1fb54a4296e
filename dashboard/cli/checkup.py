"""`doctor`: whether a dashboard has what it needs, and what to do where it has not."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from dashboard.cli.common import answer, settings_of, storage_options, tasks_option
from dashboard.errors import DashboardError
from dashboard.history.joblist import matching_ids
from dashboard.history.jobsearch import JobSearch
from dashboard.scheduling.leader import database_now
from dashboard.scheduling.workers import import_tasks
from dashboard.services.status import scheduler_status
from dashboard.storage import migrate
from dashboard.storage.db import Database
from dashboard.storage.models import JobState
from dashboard.tasks import all_tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dashboard.settings import Settings

EXTRAS = {"psycopg": "PostgreSQL", "celery": "runs on other machines", "apprise": "alert channels"}
LITTLE_SPACE = 1024**3
NO_SPACE = 100 * 1024**2
SKEW_SECONDS = 2.0
_NAMED = 5


class Verdict(StrEnum):
    """How a check turned out."""

    GOOD = "good"
    WARNING = "warning"
    """It works, but somebody should look."""
    PROBLEM = "problem"
    """It does not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    check: str
    verdict: Verdict
    message: str


@click.command()
@tasks_option
@storage_options
def doctor(*, as_json: bool, **options: Any) -> None:
    """Check what a dashboard needs, changing nothing; a problem exits with 1."""
    settings = settings_of(**options)
    found = list(examine(settings))
    sound = all(finding.verdict is not Verdict.PROBLEM for finding in found)
    marks = {Verdict.GOOD: "ok      ", Verdict.WARNING: "WARNING ", Verdict.PROBLEM: "PROBLEM "}
    lines = [f"{marks[each.verdict]} {each.check}: {each.message}" for each in found]
    answer(as_json, "\n".join(lines), {"sound": sound, "checks": [asdict(each) for each in found]})
    if not sound:
        sys.exit(1)


def examine(settings: Settings) -> Iterator[Finding]:
    """Check the folder, the tasks and the database of `settings`."""
    yield from _data_folder(settings.data)
    yield from _tasks(settings)
    yield from _extras()
    yield from _database(settings)


def _good(check: str, message: str) -> Finding:
    return Finding(check, Verdict.GOOD, message)


def _warning(check: str, message: str) -> Finding:
    return Finding(check, Verdict.WARNING, message)


def _problem(check: str, message: str) -> Finding:
    return Finding(check, Verdict.PROBLEM, message)


def _data_folder(folder: Path) -> Iterator[Finding]:
    if not folder.is_dir():
        yield _problem("data folder", f"{folder} is not there; `run` makes it at its first start.")
        return
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield _problem("data folder", f"{folder} cannot be written to by this account.")
        return
    yield _good("data folder", str(folder.resolve()))
    yield from _privacy(folder)
    free = shutil.disk_usage(folder).free
    message = f"{free / 1024**3:,.1f} GiB are free."
    if free < NO_SPACE:
        yield _problem("disk space", message)
    else:
        yield (_warning if free < LITTLE_SPACE else _good)("disk space", message)


def _privacy(folder: Path) -> Iterator[Finding]:
    """See that nobody else can read the key that signs sessions, or the database."""
    names = ("secret_key", "dashboard.sqlite")
    open_to_others = [
        path
        for path in (folder / name for name in names)
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    folder_open = bool(stat.S_IMODE(folder.stat().st_mode) & 0o077)
    key_open = folder / "secret_key" in open_to_others
    if key_open or (folder_open and open_to_others):
        shown = ", ".join(str(path) for path in open_to_others)
        advice = f"chmod 700 {folder}; chmod 600 {shown}"
        yield _warning("permissions", f"Other accounts may read {shown}. Do: {advice}")
    else:
        yield _good("permissions", "Nobody else reads the key and the database.")


def _tasks(settings: Settings) -> Iterator[Finding]:
    problems = import_tasks(settings)
    for each in problems:
        yield _problem(
            "tasks", f"{each.source} cannot be loaded: {each.error_type}: {each.message}"
        )
    if not problems:
        modules = f" from {', '.join(settings.tasks)} and" if settings.tasks else ""
        yield _good("tasks", f"{len(all_tasks())} tasks{modules} that are shipped.")


def _extras() -> Iterator[Finding]:
    found = [name for name in EXTRAS if importlib.util.find_spec(name)]
    missing = [f"{name} ({what})" for name, what in EXTRAS.items() if name not in found]
    has = ", ".join(found) or "none"
    lacks = f"; not installed: {', '.join(missing)}" if missing else ""
    yield _good("extras", f"{has}{lacks}.")


def _database(settings: Settings) -> Iterator[Finding]:
    url = make_url(settings.database_url)
    shown = url.render_as_string(hide_password=True)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        yield _problem("database", f"{url.database} is not there; `run` or `db upgrade` makes it.")
        return
    database = None
    try:
        database = Database(settings.database_url)
        found = migrate.differences(database)
    except (DashboardError, SQLAlchemyError) as error:
        yield _problem("database", f"{shown} cannot be used: {str(error).splitlines()[0]}")
    else:
        yield _good("database", shown)
        if found:
            yield _problem("schema", "It is not that of this version; `db upgrade` brings it up.")
        else:
            yield _good("schema", "It is that of this version.")
            yield from _scheduling(database)
    finally:
        if database is not None:
            database.close()


def _scheduling(database: Database) -> Iterator[Finding]:
    checks: tuple[Callable[[Database], Finding], ...] = (_scheduler, _clock, _broken_jobs)
    for check in checks:
        yield check(database)


def _scheduler(database: Database) -> Finding:
    with database.read() as session:
        status = scheduler_status(session)
    if status.alive:
        age = f"{status.heartbeat_age_seconds or 0:.1f} s"
        return _good("scheduler", f"{status.leader} leads; its heartbeat is {age} old.")
    since = "" if status.since is None else f" since {status.since:%Y-%m-%d %H:%M:%S} UTC"
    return _warning("scheduler", f"None is running{since}; no job is started.")


def _clock(database: Database) -> Finding:
    """Compare this machine's clock with the database's, by which leaders are told apart."""
    with database.read() as session:
        began = time.monotonic()
        there, here = database_now(session), datetime.now(UTC)
        asking = time.monotonic() - began
    skew = abs((there - here).total_seconds())
    if skew > SKEW_SECONDS + asking:
        return _warning("clock", f"It differs from the database's by {skew:.1f} s. Synchronise it.")
    return _good("clock", "It agrees with the database's.")


def _broken_jobs(database: Database) -> Finding:
    with database.read() as session:
        broken = matching_ids(session, JobSearch(states=(JobState.BROKEN,)))
    if not broken:
        return _good("jobs", "None is broken.")
    more = f" and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
    return _warning("jobs", f"Broken: {', '.join(broken[:_NAMED])}{more}. `job show` says why.")

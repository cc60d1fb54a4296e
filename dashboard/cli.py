"""The command line: `apscheduler-dashboard run`, and what one needs when there is no browser."""

from __future__ import annotations

import getpass
import json
import logging
import sys
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from sqlalchemy.exc import SQLAlchemyError

from dashboard.errors import DashboardError, Invalid
from dashboard.history import retention
from dashboard.runtime import open_database
from dashboard.services import accounts, audit
from dashboard.services.audit import Actor
from dashboard.settings import PREFIX, load_settings
from dashboard.storage import migrate
from dashboard.storage.db import Database
from dashboard.storage.models import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dashboard.settings import Settings


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Run and look after an operations dashboard for scheduled Python jobs."""


@cli.command()
@click.option("--host", help="Address to listen on (127.0.0.1).")
@click.option("--port", type=int, help="Port to listen on; 0 takes any free one (8000).")
@click.option("--data", type=click.Path(path_type=Path), help="Data folder (instance).")
@click.option("--database", help="Database URL (an SQLite file in the data folder).")
@click.option("--tasks", multiple=True, help="Module or .py file that registers tasks; repeatable.")
@click.option("--demo", is_flag=True, default=None, help="Add sample jobs and a week of history.")
@click.option("--timezone", help="Time zone of jobs that name none (UTC).")
@click.option("--shutdown-grace", type=float, help="Seconds that runs get to end at stop (30).")
def run(**options: Any) -> None:
    """Run the dashboard until Ctrl-C or SIGTERM."""
    from dashboard.server import serve  # noqa: PLC0415 -- other commands need no server

    options["tasks"] = options["tasks"] or None
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
    settings = _settings(**options)
    try:
        raise SystemExit(serve(settings))
    except OSError as error:
        _fail(f"cannot start: {error}")


@cli.group()
def user() -> None:
    """Look after the people who may sign in."""


def _storage_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say which dashboard is meant, and how to answer."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Answer in JSON."),
        click.option("--database", help="Database URL (an SQLite file in the data folder)."),
        click.option("--data", type=click.Path(path_type=Path), help="Data folder (instance)."),
    ):
        command = option(command)
    return command


_password_option = click.option(
    "--password-stdin", is_flag=True, help="Read the password from one line of standard input."
)


@user.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice([role.value for role in Role]), default="viewer")
@_password_option
@_storage_options
def add(name: str, role: str, *, password_stdin: bool, as_json: bool, **options: Any) -> None:
    """Add a person."""
    with _opened(**options) as database, audit.transaction(database) as session:
        accounts.add_user(session, name, _password(password_stdin), Role(role), actor=_actor())
    _answer(as_json, f"Added {name} ({role}).", {"name": name, "role": role})


@user.command("password")
@click.argument("name")
@_password_option
@_storage_options
def password(name: str, *, password_stdin: bool, as_json: bool, **options: Any) -> None:
    """Give a person a new password; it also lets in again who was locked out."""
    with _opened(**options) as database, audit.transaction(database) as session:
        accounts.set_password(session, name, _password(password_stdin), actor=_actor())
    _answer(as_json, f"{name} has a new password.", {"name": name})


@user.command("disable")
@click.argument("name")
@_storage_options
def disable(name: str, *, as_json: bool, **options: Any) -> None:
    """Keep a person out, and end their sessions."""
    with _opened(**options) as database, audit.transaction(database) as session:
        accounts.disable_user(session, name, actor=_actor())
    _answer(as_json, f"{name} can no longer sign in.", {"name": name, "active": False})


@user.command("list")
@_storage_options
def list_(*, as_json: bool, **options: Any) -> None:
    """List everybody."""
    with _opened(**options) as database, database.read() as session:
        people = [
            {"name": person.name, "role": person.role.value, "active": person.active}
            for person in accounts.list_users(session)
        ]
    lines = [
        f"{person['name']}\t{person['role']}" + ("" if person["active"] else "\tdisabled")
        for person in people
    ]
    _answer(as_json, "\n".join(lines), people)


@cli.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@_storage_options
def prune(*, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Delete runs older than the retention setting, keeping the newest of each job."""
    settings = _settings(**options)
    with _opened(**options) as database:
        report = retention.prune(
            database,
            retention_days=settings.retention_days,
            keep_runs=settings.keep_runs,
            dry_run=dry_run,
        )
    verb = "Would delete" if dry_run else "Deleted"
    _answer(as_json, f"{verb} {report.runs:,} runs of {report.jobs:,} jobs.", asdict(report))


@cli.group()
def db() -> None:
    """Look after the database schema."""


@db.command("upgrade")
@_storage_options
def db_upgrade(*, as_json: bool, **options: Any) -> None:
    """Bring the database to the schema of this version."""
    with _opened(**options):
        pass
    _answer(as_json, "The database has the schema of this version.", {"upgraded": True})


@db.command("check")
@_storage_options
def db_check(*, as_json: bool, **options: Any) -> None:
    """Compare the database with the schema of this version, changing nothing."""
    settings = _settings(**options)
    database = Database(settings.database_url)
    found = [str(difference) for difference in migrate.differences(database)]
    database.close()
    text = "\n".join(found) or "The database has the schema of this version."
    _answer(as_json, text, {"differences": found})
    if found:
        sys.exit(1)


def main(arguments: list[str] | None = None) -> None:
    """Run a command: exits with 0 on success, 1 on failure, 2 on wrong usage."""
    try:
        cli.main(arguments, prog_name="apscheduler-dashboard")
    except DashboardError as error:
        _fail(str(error))
    except (OSError, SQLAlchemyError) as error:
        _fail(f"the database cannot be used: {error}")


@contextmanager
def _opened(**options: Any) -> Iterator[Database]:
    """Open the database of the options for one command."""
    database = open_database(_settings(**options))
    try:
        yield database
    finally:
        database.close()


def _actor() -> Actor:
    """Whoever may run commands on this machine may do everything."""
    return Actor(f"{getpass.getuser()} (command line)"[:191], Role.ADMIN)


def _password(from_stdin: bool) -> str:  # noqa: FBT001 -- a flag is what it is
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    answer: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return answer


def _answer(as_json: bool, text: str, value: object) -> None:  # noqa: FBT001 -- likewise
    click.echo(json.dumps(value) if as_json else text)


def _settings(**options: Any) -> Settings:
    try:
        return load_settings(**options)
    except Invalid as error:
        for problem in error.errors:
            name = problem.field.partition(".")[0]
            option, variable = "--" + name.replace("_", "-"), PREFIX + name.upper()
            click.echo(f"Error: {option} ({variable}): {problem.message}", err=True)
        sys.exit(2)


def _fail(message: str) -> Any:
    click.echo(f"Error: {message}", err=True)
    sys.exit(1)

"""What all commands share: which dashboard is meant, how to answer, how to fail."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from dashboard.errors import Invalid
from dashboard.runtime import open_database
from dashboard.scheduling.workers import import_tasks
from dashboard.services.audit import Actor
from dashboard.services.crontabs import account_name
from dashboard.settings import PREFIX, Settings, load_settings
from dashboard.storage.models import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from dashboard.storage.db import Database


def storage_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say which dashboard is meant, and how to answer."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Answer in JSON."),
        click.option("--database", help="Database URL (an SQLite file in the data folder)."),
        click.option("--data", type=click.Path(path_type=Path), help="Data folder (instance)."),
    ):
        command = option(command)
    return command


tasks_option = click.option(
    "--tasks", multiple=True, help="Module or .py file that registers tasks; repeatable."
)


def with_tasks(settings: Settings) -> None:
    """Load the tasks that jobs may have; a module that cannot be loaded is warned about."""
    for problem in import_tasks(settings):
        click.echo(
            f"Warning: the tasks of {problem.source} could not be loaded: {problem.message}",
            err=True,
        )


def settings_of(**options: Any) -> Settings:
    """Return the settings of a command; ends with 2 and a line for each that is wrong.

    In a host app they are the host's, unless options say otherwise.
    """
    options["tasks"] = options.get("tasks") or None
    context = click.get_current_context(silent=True)
    host = None if context is None else context.find_object(Settings)
    if host is not None:
        given = {name: value for name, value in options.items() if value is not None}
        options = {name: getattr(host, name) for name in host.model_fields_set} | given
    try:
        return load_settings(**options)
    except Invalid as error:
        for problem in error.errors:
            name = problem.field.partition(".")[0]
            option, variable = "--" + name.replace("_", "-"), PREFIX + name.upper()
            click.echo(f"Error: {option} ({variable}): {problem.message}", err=True)
        sys.exit(2)


@contextmanager
def opened(**options: Any) -> Iterator[Database]:
    """Open the database of the options for one command."""
    database = open_database(settings_of(**options))
    try:
        yield database
    finally:
        database.close()


def command_actor() -> Actor:
    """Whoever may run commands on this machine may do everything."""
    return Actor(f"{account_name()} (command line)"[:191], Role.ADMIN)


def answer(as_json: bool, text: str, value: object) -> None:  # noqa: FBT001 -- a flag is what it is
    """Print `value` as JSON, or `text` for people."""
    click.echo(json.dumps(value, default=str) if as_json else text)


def moment(value: datetime | None) -> str:
    """Write a moment for a table, in UTC."""
    return "" if value is None else f"{value:%Y-%m-%d %H:%M:%S} UTC"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align rows for a terminal, under headings; for a pipe, separate them by tabs alone.

    What could steer a terminal is left out of the texts.
    """
    cells = [[_harmless(text) for text in row] for row in rows]
    if not sys.stdout.isatty():
        return "\n".join("\t".join(row) for row in cells)
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    lines = [headings, *cells]
    return "\n".join(
        "  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _harmless(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)


def fail(message: str) -> NoReturn:
    """End with 1 and a line that says why."""
    click.echo(f"Error: {message}", err=True)
    sys.exit(1)

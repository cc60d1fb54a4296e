"""`user`: the people who may sign in."""

from __future__ import annotations

import sys
from typing import Any

import click

from dashboard.cli.common import answer, command_actor, opened, storage_options
from dashboard.services import accounts, audit
from dashboard.storage.models import Role

_password_option = click.option(
    "--password-stdin", is_flag=True, help="Read the password from one line of standard input."
)


_tags_option = click.option(
    "--tag", "tags", multiple=True, help="Only for jobs with this tag; repeatable."
)


@click.group()
def user() -> None:
    """Look after the people who may sign in."""


@user.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice([role.value for role in Role]), default="viewer")
@_tags_option
@_password_option
@storage_options
def add(
    name: str,
    role: str,
    *,
    tags: tuple[str, ...],
    password_stdin: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Add a person."""
    typed = _password(password_stdin)  # asked for before the database is opened, and locked
    with opened(**options) as database, audit.transaction(database) as session:
        accounts.add_user(session, name, typed, Role(role), tags=tags, actor=command_actor())
    answer(as_json, f"Added {name} ({role}).", {"name": name, "role": role, "tags": list(tags)})


@user.command("password")
@click.argument("name")
@_password_option
@storage_options
def password(name: str, *, password_stdin: bool, as_json: bool, **options: Any) -> None:
    """Give a person a new password; it also lets in again who was locked out."""
    typed = _password(password_stdin)
    with opened(**options) as database, audit.transaction(database) as session:
        accounts.set_password(session, name, typed, actor=command_actor())
    answer(as_json, f"{name} has a new password.", {"name": name})


@user.command("disable")
@click.argument("name")
@storage_options
def disable(name: str, *, as_json: bool, **options: Any) -> None:
    """Keep a person out, and end their sessions."""
    with opened(**options) as database, audit.transaction(database) as session:
        accounts.disable_user(session, name, actor=command_actor())
    answer(as_json, f"{name} can no longer sign in.", {"name": name, "active": False})


@user.command("enable")
@click.argument("name")
@storage_options
def enable(name: str, *, as_json: bool, **options: Any) -> None:
    """Let a person sign in again, with the password they had."""
    with opened(**options) as database, audit.transaction(database) as session:
        accounts.enable_user(session, name, actor=command_actor())
    answer(as_json, f"{name} may sign in again.", {"name": name, "active": True})


@user.command("role")
@click.argument("name")
@click.argument("role", type=click.Choice([role.value for role in Role]))
@_tags_option
@click.option("--all-jobs", is_flag=True, help="For every job; without either nothing changes.")
@storage_options
def change_role(
    name: str,
    role: str,
    *,
    tags: tuple[str, ...],
    all_jobs: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Let a person do more, or less, from their next request on."""
    limits = tags if tags or all_jobs else None
    with opened(**options) as database, audit.transaction(database) as session:
        accounts.change_role(session, name, Role(role), tags=limits, actor=command_actor())
    answer(as_json, f"{name} is {role} from now on.", {"name": name, "role": role})


@user.command("list")
@storage_options
def list_(*, as_json: bool, **options: Any) -> None:
    """List everybody."""
    with opened(**options) as database, database.read() as session:
        people = [
            {
                "name": person.name,
                "role": person.role.value,
                "tags": person.tags,
                "active": person.active,
            }
            for person in accounts.list_users(session)
        ]
    lines = [
        f"{person['name']}\t{' '.join([str(person['role']), *person['tags']])}"  # type: ignore[misc]
        + ("" if person["active"] else "\tdisabled")
        for person in people
    ]
    answer(as_json, "\n".join(lines), people)


def _password(from_stdin: bool) -> str:  # noqa: FBT001 -- a flag is what it is
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return typed

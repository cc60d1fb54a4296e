"""`token`: the programs that may use the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dashboard.cli.common import answer, command_actor, opened, storage_options
from dashboard.services import audit, tokens
from dashboard.storage.models import Role

if TYPE_CHECKING:
    from datetime import datetime

    from dashboard.storage.models import ApiToken


@click.group()
def token() -> None:
    """Look after the programs that may use the API."""


@token.command("add")
@click.option("--name", required=True, help="What will use it.")
@click.option("--role", type=click.Choice([role.value for role in Role]), required=True)
@click.option("--days", type=int, help="Days until it works no longer (no end).")
@click.option("--tag", "tags", multiple=True, help="Only for jobs with this tag; repeatable.")
@storage_options
def add(
    name: str,
    role: str,
    days: int | None,
    *,
    tags: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Make a token and print it, this once."""
    with opened(**options) as database, audit.transaction(database) as session:
        made, key = tokens.add_token(
            session, name, Role(role), days=days, tags=tags, actor=command_actor()
        )
    told = {"id": made.id, "name": made.name, "role": made.role.value, "tags": made.tags}
    told["token"] = key
    answer(as_json, key, told)


@token.command("list")
@storage_options
def list_(*, as_json: bool, **options: Any) -> None:
    """List the tokens; never what they are."""
    with opened(**options) as database, database.read() as session:
        told = [_told(each) for each in tokens.list_tokens(session)]
    lines = [
        "\t".join((str(each["id"]), each["name"], each["role"], *_remarks(each))) for each in told
    ]
    answer(as_json, "\n".join(lines), told)


@token.command("revoke")
@click.argument("token_id", metavar="ID", type=int)
@storage_options
def revoke(token_id: int, *, as_json: bool, **options: Any) -> None:
    """Let a token work no longer."""
    with opened(**options) as database, audit.transaction(database) as session:
        gone = tokens.revoke_token(session, token_id, actor=command_actor())
    answer(as_json, f"“{gone.name}” works no longer.", _told(gone))


def _told(token: ApiToken) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "role": token.role.value,
        "tags": token.tags,
        "created_at": _moment(token.created_at),
        "created_by": token.created_by,
        "expires_at": _moment(token.expires_at),
        "last_used_at": _moment(token.last_used_at),
        "revoked_at": _moment(token.revoked_at),
    }


def _remarks(told: dict[str, Any]) -> list[str]:
    """Return what a line says besides the token's name and role."""
    if told["revoked_at"]:
        return [f"revoked {told['revoked_at']}"]
    return [f"expires {told['expires_at']}"] if told["expires_at"] else []


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")

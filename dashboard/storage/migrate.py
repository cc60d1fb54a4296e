"""Bring a database to the schema this version needs.

All steps of an upgrade are one transaction: a crash in the middle leaves the old schema whole.
Processes that start together wait for each other, and the second finds nothing left to do.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from dashboard.errors import DashboardError
from dashboard.storage.db import Database
from dashboard.storage.models import Base

if TYPE_CHECKING:
    from sqlalchemy import Connection

ADVISORY_LOCK = 0x61707364  # "apsd": any number that nothing else on the server uses


class SchemaTooNew(DashboardError):
    """The database was written by a newer version, whose tables this one does not know."""

    status = 503
    title = "Database too new"


def upgrade(database: Database) -> None:
    """Create or update all tables.

    Raises `SchemaTooNew` when the database has revisions this version does not know.
    """
    with database.write(touch=False) as session:
        connection = session.connection()
        if not database.is_sqlite:
            # There is nobody yet to be kept waiting: a slow machine may take its time.
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            connection.execute(text(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})"))
        present = _present_revision(connection)
        config = _config(connection)
        scripts = ScriptDirectory.from_config(config)
        known = {script.revision for script in scripts.walk_revisions()}
        if present is not None and present not in known:
            message = (
                f"The database has schema {present}, which this version does not know."
                " Start the newer version of the dashboard, or restore a backup."
            )
            raise SchemaTooNew(message)
        if present != scripts.get_current_head():
            command.upgrade(config, "head")


def differences(database: Database) -> list[object]:
    """Compare the migrated tables with the models; empty when they agree."""
    with database.read() as session:
        context = MigrationContext.configure(
            session.connection(), opts={"compare_type": True, "compare_server_default": False}
        )
        return list(compare_metadata(context, Base.metadata))


def _present_revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _check() -> int:
    """Migrate an empty database and compare it with the models."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'check.sqlite'}")
        upgrade(database)
        found = differences(database)
        database.close()
    for difference in found:
        print("models and migrations differ:", difference, file=sys.stderr)
    return 1 if found else 0


def main(arguments: list[str]) -> int:
    """Run `check`, `upgrade URL` or `draft MESSAGE` (a new migration from the models)."""
    match arguments:
        case ["check"]:
            return _check()
        case ["upgrade", url]:
            upgrade(Database(url))
            return 0
        case ["draft", message]:
            with tempfile.TemporaryDirectory() as folder:
                database = Database(f"sqlite:///{Path(folder) / 'draft.sqlite'}")
                upgrade(database)
                with database.write(touch=False) as session:
                    command.revision(_config(session.connection()), message, autogenerate=True)
            return 0
        case _:
            print("usage: python -m dashboard.storage.migrate check | upgrade URL | draft MESSAGE")
            return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

"""`prune`, `backup` and `db`: what keeps the database small, safe and current."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from dashboard.cli.common import answer, fail, opened, settings_of, storage_options
from dashboard.history import retention
from dashboard.samples.backup import BackupFailed, sqlite_file, write_backup
from dashboard.storage import migrate
from dashboard.storage.db import Database


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@storage_options
def prune(*, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Delete runs older than the retention setting, keeping the newest of each job.

    The audit log is kept longer, as its own setting says.
    """
    settings = settings_of(**options)
    with opened(**options) as database:
        report = retention.prune(
            database,
            retention_days=settings.retention_days,
            keep_runs=settings.keep_runs,
            audit_days=settings.audit_days,
            dry_run=dry_run,
        )
    verb = "Would delete" if dry_run else "Deleted"
    entries = f" and {report.audit:,} entries of the audit log" if report.audit else ""
    told = f"{verb} {report.runs:,} runs of {report.jobs:,} jobs{entries}."
    answer(as_json, told, asdict(report))


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@storage_options
def backup(file: Path, *, as_json: bool, **options: Any) -> None:
    """Copy the SQLite database to FILE while it is in use; FILE is replaced only by a whole copy.

    PostgreSQL is backed up with its own pg_dump. The secret key is not in the
    database: keep it apart; without it secret parameters have to be entered again.
    """
    try:
        source = sqlite_file(settings_of(**options).database_url)
        if not file.absolute().parent.is_dir():
            fail(f"{file.absolute().parent} is no folder")
        if file.exists() and source.exists() and file.samefile(source):
            fail("this is the database itself; name another file")
        write_backup(source, file.absolute())
    except BackupFailed as error:
        fail(str(error))
    size = file.stat().st_size
    answer(as_json, f"Wrote {size:,} bytes to {file}.", {"file": str(file), "bytes": size})


@click.group()
def db() -> None:
    """Look after the database schema."""


@db.command("upgrade")
@storage_options
def db_upgrade(*, as_json: bool, **options: Any) -> None:
    """Bring the database to the schema of this version."""
    with opened(**options):
        pass
    answer(as_json, "The database has the schema of this version.", {"upgraded": True})


@db.command("check")
@storage_options
def db_check(*, as_json: bool, **options: Any) -> None:
    """Compare the database with the schema of this version, changing nothing."""
    database = Database(settings_of(**options).database_url)
    found = [str(difference) for difference in migrate.differences(database)]
    database.close()
    text = "\n".join(found) or "The database has the schema of this version."
    answer(as_json, text, {"differences": found})
    if found:
        sys.exit(1)

"""A task that backs up the dashboard's own database while it is in use."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field
from sqlalchemy import URL, make_url

from dashboard.runcontext import current_run
from dashboard.samples.places import current_settings, folder_in_data, keep_newest
from dashboard.tasks import task

if TYPE_CHECKING:
    from collections.abc import Callable

PAGES_A_STEP = 1000
_DAY = 86_400


class BackupFailed(Exception):
    """There is no new backup; older ones are untouched."""


@task(name="dashboard.backup")
def backup(
    keep: Annotated[int, Field(description="Backups to keep.", ge=1, le=1000)] = 7,
    name: Annotated[
        str, Field(description="Begins the file names.", pattern=r"^\w[\w-]*$", max_length=50)
    ] = "dashboard",
) -> dict[str, Any]:
    """Copy the dashboard's SQLite database into the folder `backups` of its data folder.

    The copy shows one moment and is checked before it gets its name; only then are older ones
    removed. PostgreSQL is backed up with its own `pg_dump`.
    """
    run = current_run()
    source = sqlite_file(current_settings().database_url)
    folder = folder_in_data("backups")
    target = folder / f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}.sqlite"
    with run.step("Copy"):
        write_backup(source, target, lambda done, total: run.progress(done, total, "pages copied"))
    with run.step("Remove older backups"):
        removed = keep_newest(folder, f"{name}-{'[0-9]' * 8}-{'[0-9]' * 6}.sqlite", keep)
        _remove_unfinished(folder)
    size = target.stat().st_size
    run.log(f"{target.name}: {size:,} bytes; removed: {', '.join(removed) or 'none'}")
    return {"file": str(target), "bytes": size, "removed": removed}


def sqlite_file(database_url: str) -> Path:
    """Return the file of an SQLite URL; raises `BackupFailed` for any other database."""
    url = make_url(database_url)
    if url.get_backend_name() != "sqlite":
        kind = url.get_backend_name()
        shown = URL.create(kind, url.username, None, url.host, url.port, url.database)
        raise BackupFailed(
            f"The dashboard can copy SQLite only, and this is {kind}. Use its own tools, for"
            f" example: pg_dump --format=custom --file=dashboard.dump {shown}"
        )
    return Path(url.database or "").resolve()


def write_backup(
    source: Path, target: Path, progress: Callable[[int, int], None] | None = None
) -> None:
    """Copy an SQLite database that may be in use to a new file, mode 600, and check the copy.

    The target appears whole or not at all. Raises `BackupFailed` and `OSError`.
    """
    draft = target.with_name(f".{target.name}.{os.getpid()}.part")
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        _copy(source, draft, progress)
        draft.replace(target)
    except sqlite3.Error as error:
        raise BackupFailed(f"{source} cannot be copied: {error}.") from error
    finally:
        for leftover in (draft, Path(f"{draft}-journal"), Path(f"{draft}-wal")):
            leftover.unlink(missing_ok=True)


def _copy(source: Path, draft: Path, progress: Callable[[int, int], None] | None) -> None:
    with (
        closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as original,
        closing(sqlite3.connect(draft)) as copy,
    ):
        # Reading one moment throughout: without it SQLite begins anew after every write.
        original.execute("BEGIN")
        original.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        original.backup(
            copy,
            pages=PAGES_A_STEP,
            progress=lambda _status, left, total: progress and progress(total - left, total),
        )
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, nothing beside it
        found = copy.execute("PRAGMA integrity_check(3)").fetchall()
        if found != [("ok",)]:
            raise BackupFailed(f"The copy is damaged: {'; '.join(str(row[0]) for row in found)}.")


def _remove_unfinished(folder: Path) -> None:
    """Remove what a process that died while copying has left; today's may still be at work."""
    for path in folder.glob(".*.part"):
        if time.time() - path.stat().st_mtime > _DAY:
            path.unlink(missing_ok=True)

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from dashboard.runcontext import ProgressChange
from dashboard.samples.backup import BackupFailed, sqlite_file, write_backup
from dashboard.settings import load_settings
from tests.rows import make_job, make_run
from tests.sinks import Sink, run

if TYPE_CHECKING:
    from pathlib import Path

    from dashboard.settings import Settings
    from dashboard.storage.db import Database


def rows(path: Path, table: str = "t") -> int:
    with closing(sqlite3.connect(path)) as connection:
        count: int = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    return count


def make_file(path: Path, count: int) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (a)")
        connection.executemany("INSERT INTO t VALUES (?)", [("x" * 500,)] * count)
        connection.commit()
    return path


def test_the_database_is_copied_while_it_is_open(
    settings: Settings, database: Database, sink: Sink
) -> None:
    with database.write() as session:
        session.add_all([make_job(), make_run(1), make_run(2)])
    outcome = run("dashboard.backup", settings=settings, sink=sink)
    assert outcome.state == "succeeded"
    [copy] = (settings.data / "backups").iterdir()
    assert rows(copy, "run") == 2
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert copy.name.startswith(f"dashboard-{datetime.now(UTC):%Y%m}")
    assert sink.steps() == [("Copy", "succeeded"), ("Remove older backups", "succeeded")]
    [*_, last] = sink.of(ProgressChange)
    assert last.done == last.total


@pytest.mark.usefixtures("database")
def test_only_the_newest_backups_of_that_name_are_kept(settings: Settings) -> None:
    folder = settings.data / "backups"
    folder.mkdir()
    for name in ("dashboard-20200101-000000.sqlite", "dashboard-20210101-000000.sqlite"):
        (folder / name).touch()
    others = {"dashboard-old.sqlite", "other-20200101-000000.sqlite", "notes.txt"}
    for name in others:
        (folder / name).touch()
    stale, fresh = folder / ".dashboard-x.sqlite.1.part", folder / ".dashboard-y.sqlite.2.part"
    stale.touch()
    os.utime(stale, (0, 0))
    fresh.touch()
    outcome = run("dashboard.backup", {"keep": 2}, settings=settings)
    assert outcome.result is not None
    assert '"removed": ["dashboard-20200101-000000.sqlite"]' in outcome.result
    names = {path.name for path in folder.iterdir()} - others
    assert "dashboard-20210101-000000.sqlite" in names
    assert fresh.name in names
    assert stale.name not in names
    assert len(names) == 3
    assert others <= {path.name for path in folder.iterdir()}


def test_a_copy_shows_one_moment_and_ends_while_others_write(tmp_path: Path) -> None:
    source = make_file(tmp_path / "busy.sqlite", 20_000)
    stop = threading.Event()
    first_step = threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(source, timeout=30)) as connection:
            while not stop.is_set():
                connection.execute("INSERT INTO t VALUES ('more')")
                connection.commit()
                first_step.set()

    thread = threading.Thread(target=write)
    steps: list[int] = []

    def progress(done: int, _total: int) -> None:
        if not steps:
            thread.start()
        first_step.wait()
        steps.append(done)

    try:
        write_backup(source, tmp_path / "copy.sqlite", progress)
    finally:
        stop.set()
        thread.join()
    assert len(steps) > 2
    assert steps == sorted(steps), "it must not begin anew after every write"
    assert rows(tmp_path / "copy.sqlite") == 20_000
    assert rows(source) > 20_000
    assert {path.name for path in tmp_path.iterdir() if "copy" in path.name} == {"copy.sqlite"}


def test_a_failed_copy_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "none.sqlite").write_bytes(b"not a database" * 1000)
    with pytest.raises(
        BackupFailed, match=r"none\.sqlite cannot be copied: file is not a database"
    ):
        write_backup(tmp_path / "none.sqlite", tmp_path / "copy.sqlite")
    with pytest.raises(BackupFailed, match="unable to open"):
        write_backup(tmp_path / "gone.sqlite", tmp_path / "copy.sqlite")
    assert [path.name for path in tmp_path.iterdir()] == ["none.sqlite"]


def test_a_database_that_is_no_file_is_refused_with_advice(tmp_path: Path) -> None:
    settings = load_settings(data=tmp_path, database="postgresql://ann:secret@db.example/ops")
    outcome = run("dashboard.backup", settings=settings)
    assert outcome.state == "failed"
    assert outcome.error_message is not None
    assert "pg_dump --format=custom" in outcome.error_message
    assert "postgresql://ann@db.example/ops" in outcome.error_message
    assert "secret" not in outcome.error_message
    assert sqlite_file(f"sqlite:///{tmp_path}/x.sqlite") == tmp_path / "x.sqlite"


def test_without_a_dashboard_there_is_nothing_to_back_up() -> None:
    outcome = run("dashboard.backup")
    assert outcome.error_message == "This task works only in a dashboard: it needs its settings."

from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from alembic import command
from sqlalchemy import inspect, select, text

from dashboard.storage.db import Database, read_revision
from dashboard.storage.migrate import SchemaTooNew, differences, upgrade
from dashboard.storage.models import Base, Job, Lease
from tests.factories import psycopg_url
from tests.rows import make_job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.factories import Core


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without a table."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'empty.sqlite'}"
    else:
        url = psycopg_url(request.getfixturevalue("bare_postgresql_url"))
    database = Database(url)
    yield database
    database.close()


def tables(database: Database) -> set[str]:
    return set(inspect(database.engine).get_table_names())


def test_an_empty_database_gets_all_tables_and_their_first_rows(empty: Database) -> None:
    upgrade(empty)
    assert tables(empty) == set(Base.metadata.tables) | {"alembic_version"}
    with empty.read() as session:
        assert read_revision(session) == 0
        assert [lease.holder for lease in session.scalars(select(Lease))] == [""]


def test_models_and_migrations_agree(empty: Database) -> None:
    upgrade(empty)
    assert differences(empty) == []


def test_a_second_upgrade_changes_nothing(empty: Database) -> None:
    upgrade(empty)
    with empty.write() as session:
        session.add(make_job("kept"))
    upgrade(empty)
    with empty.read() as session:
        assert session.get(Job, "kept") is not None


def test_a_newer_database_is_refused_and_left_alone(empty: Database) -> None:
    upgrade(empty)
    with empty.write(touch=False) as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaTooNew, match="9999"):
        upgrade(empty)
    with empty.read() as session:
        assert session.scalar(text("SELECT version_num FROM alembic_version")) == "9999"


def test_an_older_process_goes_on_while_a_release_adds_to_the_schema(
    any_core: Core, register: Callable[..., None]
) -> None:
    """As the next release will: columns with a default, an index, a table."""
    register(lambda: None, "test.quick")
    any_core.add("test.quick", id="a")
    before = any_core.run_now("a")
    any_core.tick()
    any_core.settle()
    with any_core.database.write(touch=False) as session:
        for table in sorted(tables(any_core.database)):
            session.execute(
                text(f'ALTER TABLE "{table}" ADD COLUMN added INTEGER DEFAULT 7 NOT NULL')
            )
        session.execute(text("CREATE INDEX added ON run (added)"))
        session.execute(text("CREATE TABLE added_table (id INTEGER PRIMARY KEY)"))
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    after = any_core.run_now("a")
    any_core.tick()
    any_core.settle()
    any_core.change("a", notes="changed")
    assert [any_core.run(run_id).state.value for run_id in (before, after)] == ["succeeded"] * 2
    assert any_core.job("a").notes == "changed"


@pytest.mark.parametrize("empty", ["postgresql"], indirect=True)
def test_an_upgrade_may_take_its_time(empty: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other transactions are ended when nothing happens in them for a while."""
    limits: list[Any] = []

    def note(config: Any, *_: Any) -> None:
        show = text("SHOW idle_in_transaction_session_timeout")
        limits.append(config.attributes["connection"].scalar(show))

    monkeypatch.setattr(command, "upgrade", note)
    upgrade(empty)
    assert limits == ["0"]


def test_an_upgrade_that_fails_leaves_nothing_behind(
    empty: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is one transaction, although SQLite's driver by itself commits before a CREATE TABLE."""
    original = command.upgrade

    def fail_at_the_end(*arguments: Any) -> None:
        original(*arguments)
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(command, "upgrade", fail_at_the_end)
        with pytest.raises(ZeroDivisionError):
            upgrade(empty)
    assert tables(empty) == set()
    upgrade(empty)
    assert "run" in tables(empty)


def test_processes_that_start_together_wait_for_each_other(empty: Database) -> None:
    problems: list[BaseException] = []
    together = threading.Barrier(4)

    def start() -> None:
        database = Database(empty.engine.url.render_as_string(hide_password=False))
        try:
            together.wait()
            upgrade(database)
        except BaseException as error:  # noqa: BLE001
            problems.append(error)
        finally:
            database.close()

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    with empty.read() as session:
        assert len(session.scalars(select(Lease)).all()) == 1


def migrate_program(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "dashboard.storage.migrate", *arguments]
    return subprocess.run(program, capture_output=True, text=True, check=False)


def test_the_program_checks_and_upgrades(tmp_path: Path) -> None:
    assert migrate_program("check").returncode == 0
    url = f"sqlite:///{tmp_path / 'made.sqlite'}"
    assert migrate_program("upgrade", url).returncode == 0
    database = Database(url)
    assert "job" in tables(database)
    database.close()
    wrong = migrate_program("sideways")
    assert wrong.returncode == 2
    assert "usage" in wrong.stdout

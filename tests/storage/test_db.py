from __future__ import annotations

import sqlite3
import threading
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, select, text, update
from sqlalchemy.exc import DBAPIError, OperationalError, StatementError

from dashboard.errors import Invalid
from dashboard.runtime import open_database
from dashboard.settings import load_settings
from dashboard.storage import db
from dashboard.storage.db import Database, raise_revision, read_revision
from dashboard.storage.models import Job, Lease, Revision
from tests.factories import PATIENCE, wait_until
from tests.rows import EPOCH, make_job

if TYPE_CHECKING:
    from pathlib import Path


def sqlite_file(database: Database) -> str:
    assert database.engine.url.database is not None
    return database.engine.url.database


def revision(database: Database) -> int:
    with database.read() as session:
        return read_revision(session)


class TestTransactions:
    def test_write_commits_at_the_end_of_the_block(self, database: Database) -> None:
        with database.write() as session:
            session.add(make_job("a"))
        with database.read() as session:
            assert session.get(Job, "a") is not None

    def test_an_exception_undoes_the_whole_block(self, database: Database) -> None:
        before = revision(database)
        with pytest.raises(ZeroDivisionError), database.write() as session:  # noqa: PT012
            session.add(make_job("a"))
            session.flush()
            raise ZeroDivisionError
        with database.read() as session:
            assert session.get(Job, "a") is None
        assert revision(database) == before

    def test_read_changes_nothing(self, database: Database) -> None:
        with database.read() as session:
            session.execute(update(Revision).values(number=77))
        assert revision(database) != 77

    def test_a_reader_sees_only_what_is_committed(self, database: Database) -> None:
        with database.write() as writing:
            writing.add(make_job("a"))
            writing.flush()
            with database.read() as reading:
                assert reading.get(Job, "a") is None

    def test_rows_stay_readable_after_the_session(self, database: Database) -> None:
        with database.write() as session:
            job = make_job("a")
            session.add(job)
        assert job.name == "a"


class TestRevision:
    def test_rises_with_each_write(self, database: Database) -> None:
        before = revision(database)
        for _ in range(3):
            with database.write():
                pass
        assert revision(database) == before + 3

    def test_stays_for_what_no_page_shows(self, database: Database) -> None:
        before = revision(database)
        with database.write(touch=False) as session:
            session.execute(update(Lease).values(pid=1))
        assert revision(database) == before

    def test_is_zero_before_there_is_any(self, database: Database) -> None:
        with database.write(touch=False) as session:
            session.execute(text("DELETE FROM revision"))
        assert revision(database) == 0


class TestManyThreads:
    def test_no_write_is_lost(self, database: Database) -> None:
        problems: list[BaseException] = []

        def work() -> None:
            try:
                for _ in range(25):
                    with database.write():
                        pass
            except BaseException as error:  # noqa: BLE001
                problems.append(error)

        before = revision(database)
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert problems == []
        assert revision(database) == before + 200

    def test_read_then_write_in_one_transaction_does_not_collide(self, database: Database) -> None:
        """On SQLite a transaction that began by reading could not upgrade while another writes.

        Each thread has an engine of its own, as processes do.
        """
        with database.write(touch=False) as session:
            session.add(make_job("counter", max_instances=1))

        def work() -> None:
            own = Database(database.url)
            for _ in range(20):
                with own.write(touch=False) as session:
                    job = session.scalars(select(Job).with_for_update()).one()
                    job.max_instances += 1
            own.close()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with database.read() as session:
            assert session.get_one(Job, "counter").max_instances == 81


class TestSqlite:
    @pytest.fixture
    def database(self, tmp_path: Path) -> Database:
        return Database(f"sqlite:///{tmp_path / 'x.sqlite'}")

    def test_readers_go_on_while_somebody_writes(self, database: Database) -> None:
        with database.write(touch=False) as session:
            session.execute(text("CREATE TABLE t (x INTEGER)"))
        with database.write(touch=False) as session:
            session.execute(text("INSERT INTO t VALUES (1)"))
            with database.read() as reading:
                assert reading.execute(text("SELECT count(*) FROM t")).scalar_one() == 0
        database.close()

    def test_another_process_with_the_lock_is_waited_for(self, database: Database) -> None:
        with database.write(touch=False) as session:
            session.execute(text("CREATE TABLE t (x INTEGER)"))
        other = sqlite3.connect(
            sqlite_file(database), isolation_level=None, check_same_thread=False
        )
        other.execute("BEGIN IMMEDIATE")
        waiting = threading.Event()
        done = threading.Event()

        def write() -> None:
            waiting.set()
            with database.write(touch=False) as session:
                session.execute(text("INSERT INTO t VALUES (1)"))
            done.set()

        thread = threading.Thread(target=write)
        thread.start()
        assert waiting.wait(PATIENCE)
        assert not done.wait(0.2)
        other.execute("COMMIT")
        assert done.wait(PATIENCE)
        thread.join()
        other.close()
        database.close()

    def test_a_lock_held_too_long_is_an_error_of_sqlalchemy(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also for a connection that has to be opened first: who retries knows one exception."""
        monkeypatch.setattr(db, "BUSY_SECONDS", 0.05)
        database = Database(f"sqlite:///{tmp_path / 'x.sqlite'}")
        other = sqlite3.connect(sqlite_file(database), isolation_level=None)
        other.execute("CREATE TABLE t (x)")
        other.execute("BEGIN EXCLUSIVE")
        for _ in range(2):
            with pytest.raises(OperationalError, match="locked"), database.write():
                pass  # pragma: no cover
        other.execute("COMMIT")
        with database.write(touch=False) as session:
            session.execute(text("INSERT INTO t VALUES (1)"))
        other.close()
        database.close()


class TestUrls:
    @pytest.mark.parametrize(
        ("url", "message"),
        [
            ("not a url", "not a database URL"),
            ("", "not a database URL"),
            ("sqlite://", "name a file"),
            ("sqlite:///:memory:", "name a file"),
            ("nosuchdatabase://host/x", "driver"),
            ("postgresql+nosuchdriver://host/x", "driver"),
        ],
    )
    def test_a_useless_url_is_refused_in_words(self, url: str, message: str) -> None:
        with pytest.raises(Invalid, match=message) as caught:
            Database(url)
        assert caught.value.errors[0].field == "database"

    def test_nothing_is_opened_before_it_is_needed(self, tmp_path: Path) -> None:
        Database(f"sqlite:///{tmp_path / 'x.sqlite'}").close()
        assert not (tmp_path / "x.sqlite").exists()


class TestTimes:
    def test_a_naive_time_is_refused(self, database: Database) -> None:
        with pytest.raises(StatementError, match="naive"), database.write() as session:
            session.add(make_job("a", created_at=datetime(2027, 1, 1)))  # noqa: DTZ001

    def test_any_offset_comes_back_as_utc(self, database: Database) -> None:
        moment = datetime(2027, 3, 28, 3, 30, 0, 123456, tzinfo=timezone(timedelta(hours=5.5)))
        with database.write() as session:
            session.add(make_job("a", next_run_time=moment))
        with database.read() as session:
            found = session.get_one(Job, "a").next_run_time
        assert found == moment
        assert found is not None
        assert found.tzinfo is UTC

    def test_none_stays_none(self, database: Database) -> None:
        with database.write() as session:
            session.add(make_job("a", next_run_time=None))
        with database.read() as session:
            assert session.get_one(Job, "a").next_run_time is None

    def test_comparing_counts_moments_not_texts(self, database: Database) -> None:
        with database.write() as session:
            session.add(make_job("a", next_run_time=EPOCH))
        later = (EPOCH + timedelta(microseconds=1)).astimezone(timezone(timedelta(hours=-11)))
        with database.read() as session:
            assert session.scalar(select(Job.id).where(Job.next_run_time < later)) == "a"
            assert session.scalar(select(Job.id).where(Job.next_run_time >= later)) is None


def test_closing_returns_all_connections(database: Database) -> None:
    with database.read() as session:
        session.execute(text("SELECT 1"))
    database.close()
    pool = database.engine.pool
    wait_until(lambda: "Connections in pool: 0" in pool.status())


def test_the_file_of_a_database_is_its_owners(tmp_path: Path) -> None:
    database = open_database(load_settings(data=tmp_path / "data"))
    with database.write() as session:
        session.execute(text("SELECT 1"))
    modes = {file.name: file.stat().st_mode & 0o777 for file in (tmp_path / "data").iterdir()}
    database.close()
    assert modes["dashboard.sqlite"] == 0o600
    assert set(modes.values()) == {0o600}


def test_a_batch_that_hangs_is_ended_by_others(postgresql_url: str, tmp_path: Path) -> None:
    """PostgreSQL's own limit does not notice it: see `end_hanging`."""
    settings = load_settings(data=tmp_path, database=postgresql_url)
    frozen, other = open_database(settings), Database(settings.database_url, hanging=0.1)
    stranger = create_engine(f"{settings.database_url}?application_name=psql")
    with frozen.write() as session:
        session.add(make_job("a"))
    with stranger.begin() as theirs, pytest.raises(DBAPIError), frozen.write() as hanging:  # noqa: PT012 -- its end raises
        theirs.execute(text("UPDATE lease SET pid = 1"))
        change = text("UPDATE job SET name = :name")
        hanging.execute(change, [{"name": name} for name in "bcd"])
        assert wait_until(other.end_hanging) == 1
    wait_until(lambda: other.end_hanging() == 0)  # the server may still be about to end it
    with other.read() as session:
        assert session.get_one(Job, "a").name == "a"
    stranger.dispose()
    frozen.close()
    other.close()


def test_a_transaction_that_hangs_keeps_nobody_for_long(
    postgresql_url: str, tmp_path: Path
) -> None:
    """As one does whose process is frozen in the middle of it."""
    settings = load_settings(data=tmp_path, database=postgresql_url)
    database = open_database(settings)
    impatient = Database(settings.database_url, hanging=1)
    with pytest.raises(DBAPIError), impatient.write() as hanging:  # noqa: PT012 -- its end raises
        raise_revision(hanging)
        with database.write() as other:
            raise_revision(other)  # waits for the row that the other one has
        hanging.execute(text("SELECT 1"))
    with database.read() as session:
        assert read_revision(session) == 2  # its own, and that of touching
    impatient.close()
    database.close()

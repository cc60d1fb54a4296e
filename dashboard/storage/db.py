"""The database: engine, sessions and what SQLite needs to be used by many threads.

Two kinds of transaction, and no others: `read()` and `write()`. On SQLite a write transaction
takes the write lock at its start (BEGIN IMMEDIATE): one that began by reading could not upgrade
while another writes and would fail at once with "database is locked".
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event, make_url, select, text, update
from sqlalchemy.exc import ArgumentError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from dashboard.errors import Invalid
from dashboard.storage.models import Revision

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine import ExceptionContext

_READ_REVISION = select(Revision.number)
_RAISE_REVISION = update(Revision).where(Revision.id == 1).values(number=Revision.number + 1)

AWAY = (OperationalError, InterfaceError, PoolTimeout)
"""What is raised while the database is away, locked, full or read-only: nothing was changed."""

PATIENCE = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""PostgreSQL's own words for how long, in seconds, a silent server is waited for (the last: ms)."""

APPLICATION = "apscheduler-dashboard"
"""How PostgreSQL knows our connections, unless the URL says otherwise."""

CHANNEL = "dashboard_wake"
_ANNOUNCE = text(f"NOTIFY {CHANNEL}")

HANGING = 5.0
"""Seconds, at most, after which PostgreSQL ends a write transaction in which nothing happens: a
process frozen in the middle of one would keep its locks, and so everybody else, for as long."""

_HANGING = text(
    """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND usename = current_user
    AND application_name = current_setting('application_name')
    AND backend_xid IS NOT NULL AND wait_event = 'ClientRead'
    AND state_change < clock_timestamp() - make_interval(secs => :seconds)
    """
)

BUSY_SECONDS = 15
"""How long a transaction waits for another process's lock before it gives up."""

SWITCH_AGAIN = 0.02
"""Seconds until a new file is tried again that somebody else is just switching to WAL."""


class Database:
    """One database, for any number of threads."""

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 48,
        hanging: float = HANGING,
        gate: AbstractContextManager[Any] | None = None,
    ) -> None:
        """Prepare an engine for `url`; nothing is opened yet.

        `gate` is held during each write transaction, by whoever must know when there is none.
        Raises `Invalid` for a URL that names no usable database.
        """
        self.url = url
        self._hanging = hanging
        self.engine = _make_engine(url, pool_size)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self._write_engine = self.engine.execution_options(dashboard_write=True)
        # SQLite's own waiting polls and is unfair; threads of one process queue here instead.
        self._writer: AbstractContextManager[Any] = gate or (
            threading.Lock() if self.is_sqlite else nullcontext()
        )

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a session that sees one moment of the database and changes nothing."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self, *, touch: bool = True) -> Iterator[Session]:
        """Open one transaction, committed at the end of the block, undone by an exception.

        `touch` raises the revision, which makes live pages look again; only changes that no page
        shows (heartbeats) go without.
        """
        with self._writer, Session(self._write_engine, expire_on_commit=False) as session:
            if session.get_bind().dialect.name == "postgresql":
                limit = (
                    f"SET LOCAL idle_in_transaction_session_timeout = {self._hanging * 1000:.0f}"
                )
                session.connection().exec_driver_sql(limit)
            yield session
            session.flush()  # last of all the revision: everybody's transactions meet at its row
            if touch:
                raise_revision(session)
            session.commit()

    def end_hanging(self) -> int:
        """End what hangs in a write transaction, in whichever process; return how many that were.

        PostgreSQL's own limit, which `write` sets, is not enough: it stops its clock for a message
        that asks for nothing but to send what is there, and psycopg ends each batch with one.
        """
        if self.is_sqlite:
            return 0
        with self._writer, self.engine.connect() as connection:  # no process is forked meanwhile
            return len(connection.execute(_HANGING, {"seconds": self._hanging}).all())

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def create_sqlite_file(url: str) -> None:
    """Make the file of an SQLite database that does not exist yet, for its owner only.

    SQLite gives the files beside it (-wal, -shm) the same mode. Raises `OSError`.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        return  # `Database` says what is wrong with it
    if parsed.get_backend_name() != "sqlite" or parsed.database in {None, "", ":memory:"}:
        return
    with suppress(FileExistsError):
        os.close(os.open(str(parsed.database), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def raise_revision(session: Session) -> None:
    """Tell live pages that something changed, as part of the change's own transaction."""
    session.connection().execute(_RAISE_REVISION)


def announce(session: Session) -> None:
    """Wake the scheduler, whichever process it is in, once this transaction is committed.

    For what people do, not for every write: PostgreSQL commits such transactions one by one. On
    other databases schedulers look by themselves.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.connection().execute(_ANNOUNCE)


def read_revision(session: Session) -> int:
    """Return the number that rises with every visible change."""
    return session.connection().scalar(_READ_REVISION) or 0


def _make_engine(url: str, pool_size: int) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise Invalid.one(
            "database", "This is not a database URL as SQLAlchemy reads it."
        ) from error
    if parsed.get_backend_name() == "sqlite" and parsed.database in {None, "", ":memory:"}:
        raise Invalid.one(
            "database", "An in-memory SQLite database forgets everything; name a file."
        )
    options: dict[str, Any] = {"pool_size": pool_size, "max_overflow": 0, "pool_pre_ping": True}
    if parsed.get_backend_name() == "sqlite":
        options["connect_args"] = {"timeout": BUSY_SECONDS, "check_same_thread": False}
        options["pool_pre_ping"] = False
    elif parsed.drivername == "postgresql+psycopg":
        wanted = {"application_name": APPLICATION} | PATIENCE
        options["connect_args"] = {k: v for k, v in wanted.items() if k not in parsed.query}
    try:
        engine = create_engine(parsed, **options)
    except (ArgumentError, ImportError) as error:
        message = f"The database driver of this URL cannot be used: {error}"
        raise Invalid.one("database", message) from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        event.listen(engine, "handle_error", _open_anew)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Set a new SQLite connection up for concurrent use.

    WAL lets readers go on while one writes. synchronous=NORMAL loses nothing when the process
    dies; only a power cut can undo the last moments, and never corrupts (sqlite.org/pragma.html).
    """
    connection.isolation_level = None  # transactions begin where we say, not where sqlite3 guesses
    cursor = connection.cursor()
    _switch_to_wal(cursor)
    for pragma in (
        "synchronous=NORMAL",
        "foreign_keys=ON",
        "cache_size=-16000",
        "temp_store=MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _switch_to_wal(cursor: Any) -> None:
    """Let readers go on while one writes; a new file is switched once, for good.

    SQLite does not wait for a lock then, as it does everywhere else: processes that start together
    on a new file would find it locked.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(SWITCH_AGAIN)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get("dashboard_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _open_anew(context: ExceptionContext) -> None:
    """Give up connections that were opened while the disk was read-only: they stay so for ever."""
    code = getattr(context.original_exception, "sqlite_errorcode", 0)
    if code & 0xFF == sqlite3.SQLITE_READONLY:
        context.is_disconnect = True

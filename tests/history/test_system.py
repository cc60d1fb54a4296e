from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from dashboard.history.system import LIVES, Load, SystemFacts, read_system
from dashboard.storage.models import RunState, SchedulerLife
from tests.rows import make_run

if TYPE_CHECKING:
    from dashboard.storage.db import Database

NOW = datetime.now(UTC)
MINUTE = timedelta(minutes=1)


def read(database: Database) -> SystemFacts:
    with database.read() as session:
        return read_system(session)


def add(database: Database, *rows: Any) -> None:
    with database.write() as session:
        session.add_all(rows)


def life(began: datetime, seen: datetime) -> SchedulerLife:
    return SchedulerLife(process="p", host="h", pid=1, version="1", began_at=began, seen_at=seen)


def test_an_empty_database(database: Database) -> None:
    facts = read(database)
    assert (facts.lives, facts.loads, facts.oldest_queued) == ([], {}, None)
    assert facts.database.kind in {"SQLite", "PostgreSQL"}
    assert facts.database.version[0].isdigit()
    assert facts.database.size
    assert facts.database.newest_run == 0


def test_the_gaps_between_lives_are_downtime(database: Database) -> None:
    add(database, life(NOW - 9 * MINUTE, NOW - 6 * MINUTE))
    add(database, life(NOW - 4 * MINUTE, NOW))
    found = read(database).lives
    assert [one.down_before for one in found] == [120, None]
    add(database, *(life(NOW + n * MINUTE, NOW + n * MINUTE) for n in range(LIVES)))
    found = read(database).lives
    assert len(found) == LIVES
    assert None not in [one.down_before for one in found]


def test_what_executors_have_to_do(database: Database) -> None:
    add(
        database,
        make_run(1, state=RunState.RUNNING),
        make_run(2, state=RunState.QUEUED, queued_at=NOW - MINUTE),
        make_run(3, state=RunState.QUEUED, queued_at=NOW),
        make_run(4, state=RunState.RUNNING, executor="processes"),
        make_run(5),
    )
    facts = read(database)
    assert facts.loads == {"threads": Load(1, 2), "processes": Load(1, 0)}
    assert facts.oldest_queued == NOW - MINUTE
    assert facts.database.newest_run == 5


def test_the_password_of_the_database_stays_secret(database: Database) -> None:
    url = database.engine.url
    if url.password:
        assert url.password not in read(database).database.address

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from dashboard.history.downtimes import COUNTED, Downtime, recent_downtimes
from dashboard.storage.models import RunState, SchedulerLife
from tests.rows import make_run

if TYPE_CHECKING:
    from dashboard.storage.db import Database

NOW = datetime.now(UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def life(began: datetime, seen: datetime, ended: str | None = None) -> SchedulerLife:
    return SchedulerLife(
        process="p", host="h", pid=1, version="1", began_at=began, seen_at=seen, ended=ended
    )


def read(database: Database, *rows: object) -> list[Downtime]:
    with database.write() as session:
        session.add_all(rows)
    with database.read() as session:
        return recent_downtimes(session, NOW - 24 * HOUR)


def test_a_restart_is_no_downtime_and_hides_none(database: Database) -> None:
    found = read(
        database,
        life(NOW - 9 * HOUR, NOW - 5 * HOUR, "lost"),
        life(NOW - 4 * HOUR, NOW - 3 * HOUR, "stopped"),
        life(NOW - 3 * HOUR + MINUTE / 2, NOW),
    )
    assert [(each.began_at, each.ended_at, each.stopped) for each in found] == [
        (NOW - 5 * HOUR, NOW - 4 * HOUR, False)
    ]
    assert found[0].seconds == 3600


def test_what_was_missed_and_cut_off_belongs_to_it(database: Database) -> None:
    down, up = NOW - 5 * HOUR, NOW - 4 * HOUR
    missed = {"state": RunState.MISSED, "finished_at": up + MINUTE / 60}
    cut_off = {"state": RunState.INTERRUPTED, "started_at": down - MINUTE}
    found = read(
        database,
        life(NOW - 9 * HOUR, down, "lost"),
        life(up, NOW),
        make_run(1, "a", scheduled_at=down + MINUTE, **missed),
        make_run(2, "b", scheduled_at=up - MINUTE, coalesced=3, **missed),
        make_run(3, "c", scheduled_at=down - MINUTE, state=RunState.MISSED, finished_at=down),
        make_run(4, "d", scheduled_at=up + HOUR, state=RunState.MISSED, finished_at=up + HOUR),
        make_run(5, "e", finished_at=up, **cut_off),
        make_run(6, "f", finished_at=up + HOUR, **cut_off),
    )
    assert [(each.missed, each.missed_more, each.interrupted) for each in found] == [(5, False, 1)]


@pytest.mark.parametrize(("dropped", "more"), [(COUNTED - 2, False), (COUNTED, True)])
def test_where_counting_ended_more_may_have_been_missed(
    database: Database, dropped: int, more: bool
) -> None:
    up = NOW - HOUR
    missed = make_run(
        1, scheduled_at=up - MINUTE, state=RunState.MISSED, finished_at=up, coalesced=dropped
    )
    lives = life(up - 9 * HOUR, up - 2 * HOUR), life(up, NOW)
    [found] = read(database, *lives, missed)
    assert (found.missed, found.missed_more) == (dropped + 1, more)


@pytest.mark.parametrize(("hours", "told"), [(23, True), (25, False)])
def test_only_the_last_day_is_told(database: Database, hours: int, told: bool) -> None:
    up = NOW - hours * HOUR
    assert bool(read(database, life(up - 9 * HOUR, up - 2 * HOUR), life(up, NOW))) is told


def test_none_at_all(database: Database) -> None:
    assert read(database) == []
    assert read(database, life(NOW - HOUR, NOW)) == []

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from dashboard.scheduling import presence
from dashboard.scheduling.leader import Identity
from dashboard.scheduling.presence import Presence, Watch
from dashboard.storage.db import read_revision
from dashboard.storage.models import Process, ProcessKind
from tests.factories import PATIENCE, wait_until

if TYPE_CHECKING:
    from dashboard.storage.db import Database

ME = Identity(process="me:1:a", host="me", machine="my machine", pid=1, pid_started=0.0)
OTHER = Identity(process="it:2:b", host="it", machine="its machine", pid=2, pid_started=0.0)
SECONDS = 10.0


def make_presence(
    database: Database, identity: Identity = OTHER, seconds: float = SECONDS
) -> Presence:
    kind = ProcessKind.WORKER
    return Presence(
        database, identity, kind, seconds=seconds, version="1", executors=["celery"], places=3
    )


def rows(database: Database) -> list[Process]:
    with database.read() as session:
        return list(session.scalars(select(Process)))


class Clock:
    """The looker's monotonic clock, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(presence, "time", clock)
    return clock


def look(database: Database, watch: Watch) -> list[str]:
    with database.read() as session:
        return watch.lost(session)


def test_a_process_shows_that_it_lives_and_leaves(database: Database) -> None:
    here = make_presence(database, seconds=1)
    here.tell(lambda: "no broker")
    here.start()
    [row] = wait_until(lambda: rows(database))
    assert (row.kind, row.executors, row.places, row.problem) == (
        ProcessKind.WORKER,
        ["celery"],
        3,
        "no broker",
    )
    assert (row.until - row.seen_at).total_seconds() == 1
    wait_until(lambda: rows(database)[0].seen_at > row.seen_at)
    assert rows(database)[0].began_at == row.began_at
    here.stop(PATIENCE)
    assert rows(database) == []


def test_who_is_started_again_before_it_has_left_goes_on(database: Database) -> None:
    gate = threading.Event()
    here = make_presence(database, seconds=1)
    here.tell(lambda: "slow" if gate.wait(PATIENCE) else None)
    here.start()
    here.stop(0)
    here.start()
    gate.set()
    [first] = wait_until(lambda: rows(database))
    wait_until(lambda: [row for row in rows(database) if row.seen_at > first.seen_at])
    here.stop(PATIENCE)
    wait_until(lambda: not rows(database))


def test_only_news_make_pages_look_again(database: Database) -> None:
    problem: list[str | None] = [None]
    here = make_presence(database)
    here.tell(lambda: problem[0])

    def beat() -> bool:
        with database.read() as session:
            before = read_revision(session)
        here.beat()
        with database.read() as session:
            return read_revision(session) > before

    assert beat()
    assert not beat()
    problem[0] = "no broker"
    assert beat()
    assert not beat()


def test_who_stops_moving_is_lost(database: Database, clock: Clock) -> None:
    here, watch = make_presence(database), Watch(ME)
    here.beat()
    for _ in range(5):
        assert look(database, watch) == []
        clock.now += 2
        here.beat()
    for _ in range(3):
        assert look(database, watch) == []
        clock.now += 4
    assert look(database, watch) == [OTHER.process]


def test_after_a_pause_of_the_looker_everybody_gets_the_whole_time_again(
    database: Database, clock: Clock
) -> None:
    here, watch = make_presence(database), Watch(ME)
    here.beat()
    assert look(database, watch) == []
    clock.now += 3600
    for _ in range(3):
        assert look(database, watch) == []
        clock.now += 4
    assert look(database, watch) == [OTHER.process]


def test_a_dead_process_of_this_machine_is_lost_at_once(database: Database) -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    dead = dataclasses.replace(OTHER, machine=ME.machine, pid=child.pid)
    make_presence(database, dead).beat()
    assert look(database, Watch(ME)) == [dead.process]


def test_a_lost_process_that_lives_after_all_comes_back(database: Database) -> None:
    here = make_presence(database)
    here.beat()
    with database.write() as session:
        presence.forget(session, [OTHER.process])
    assert rows(database) == []
    here.beat()
    assert [row.process for row in rows(database)] == [OTHER.process]

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import psutil
import pytest
from sqlalchemy import select, update

from dashboard.scheduling import leader
from dashboard.scheduling.leader import Identity, Leadership, database_now, start_of
from dashboard.storage.models import Lease, SchedulerLife

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dashboard.storage.db import Database

ME = Identity(process="me:1:a", host="me", machine="my machine", pid=1, pid_started=0.0)
OTHER = Identity(process="it:2:b", host="it", machine="its machine", pid=2, pid_started=0.0)


def leadership(identity: Identity = ME, seconds: float = 10) -> Leadership:
    return Leadership(identity, seconds=seconds, version="1.0")


def hold(database: Database, leadership: Leadership) -> bool:
    with database.write() as session:
        return leadership.hold(session)


def release(database: Database, leadership: Leadership) -> None:
    with database.write() as session:
        leadership.release(session)


def is_due(database: Database, leadership: Leadership) -> bool:
    with database.read() as session:
        return leadership.is_due(session)


def lease(database: Database) -> Lease:
    with database.read() as session:
        return session.get_one(Lease, "scheduler")


def lives(database: Database) -> list[SchedulerLife]:
    with database.read() as session:
        return list(session.scalars(select(SchedulerLife).order_by(SchedulerLife.id)))


class Clock:
    """The monotonic clock of the process, moved by hand."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(leader, "time", clock)
    return clock


def watch(database: Database, clock: Clock, standby: Leadership, seconds: float) -> bool:
    """Let time pass while somebody looks every second; say whether it would take the lease."""
    end = clock.now + seconds
    due = is_due(database, standby)
    while clock.now < end:
        clock.now = min(end, clock.now + 1)
        due = is_due(database, standby)
    return due


def set_clock(database: Database, seconds: float) -> None:
    """Make the times in the lease so much older, as if the database's clock had jumped."""
    with database.write() as session:
        shift = timedelta(seconds=seconds)
        found = session.get_one(Lease, "scheduler")
        session.execute(
            update(Lease).values(renewed_at=found.renewed_at - shift, until=found.until - shift)
        )


class TestOneAtATime:
    def test_the_first_takes_it_and_the_second_stands_by(self, database: Database) -> None:
        first, second = leadership(), leadership(OTHER)
        assert hold(database, first)
        assert not hold(database, second)
        assert (first.leading, second.leading) == (True, False)
        assert lease(database).holder == ME.process

    def test_the_holder_keeps_it_as_long_as_it_renews(
        self, database: Database, clock: Clock
    ) -> None:
        first, second = leadership(), leadership(OTHER)
        for _ in range(5):
            assert hold(database, first)
            assert not watch(database, clock, second, 9)
            assert not hold(database, second)
        assert len(lives(database)) == 1

    def test_the_second_takes_over_when_it_was_not_renewed(
        self, database: Database, clock: Clock
    ) -> None:
        first, second = leadership(), leadership(OTHER)
        hold(database, first)
        assert watch(database, clock, second, 10.1)
        assert hold(database, second)
        assert not hold(database, first)
        assert not first.leading

    def test_who_has_just_started_takes_one_of_long_ago_at_once(self, database: Database) -> None:
        hold(database, leadership())
        set_clock(database, 11)
        second = leadership(OTHER)
        assert is_due(database, second)
        assert hold(database, second)

    def test_one_that_comes_back_finds_out_before_it_does_anything(
        self, database: Database, clock: Clock
    ) -> None:
        """Also while it believes that its lease has time left: its machine slept, not the other."""
        first, second = leadership(), leadership(OTHER)
        hold(database, first)
        slept_at = clock.now
        assert watch(database, clock, second, 10.1)
        assert hold(database, second)
        clock.now = slept_at
        assert not hold(database, first)

    def test_one_that_did_not_notice_that_another_led_meanwhile_takes_over_anew(
        self, database: Database, clock: Clock
    ) -> None:
        first, second = leadership(), leadership(OTHER)
        assert hold(database, first)
        assert first.took_over
        assert hold(database, first)
        assert not first.took_over
        watch(database, clock, second, 11)
        assert hold(database, second)  # it starts runs, and dies
        watch(database, clock, first, 11)
        assert hold(database, first)
        assert first.took_over
        assert [life.process for life in lives(database)] == ["me:1:a", "it:2:b", "me:1:a"]

    def test_after_a_clean_stop_nobody_waits(self, database: Database) -> None:
        first, second = leadership(), leadership(OTHER)
        hold(database, first)
        release(database, first)
        assert not first.leading
        assert lease(database).holder == ""
        assert hold(database, second)

    def test_a_standby_that_stops_takes_nothing_away(self, database: Database) -> None:
        first, second = leadership(), leadership(OTHER)
        hold(database, first)
        hold(database, second)
        release(database, second)
        assert lease(database).holder == ME.process
        assert hold(database, first)

    def test_an_unrenewed_lease_that_nobody_took_is_still_mine(
        self, database: Database, clock: Clock
    ) -> None:
        first = leadership()
        hold(database, first)
        clock.now += 100
        assert hold(database, first)
        assert len(lives(database)) == 1

    def test_of_two_that_find_it_free_one_gets_it(self, database: Database) -> None:
        first, second = leadership(), leadership(OTHER)
        assert is_due(database, first)
        assert is_due(database, second)
        assert [hold(database, one) for one in (first, second)] == [True, False]


class TestClocks:
    @pytest.mark.parametrize("jump", [3600, -3600])
    def test_a_leader_that_lives_keeps_it_when_the_clock_jumps(
        self, database: Database, clock: Clock, jump: float
    ) -> None:
        first, second = leadership(), leadership(OTHER)
        hold(database, first)
        assert not is_due(database, second)
        set_clock(database, jump)
        assert not is_due(database, second)
        assert not hold(database, second)
        assert hold(database, first)
        assert not watch(database, clock, second, 4)
        assert hold(database, first)
        times = lease(database)
        with database.read() as session:
            assert timedelta(0) <= database_now(session) - times.renewed_at < timedelta(minutes=1)

    def test_one_that_is_lost_is_replaced_although_the_clock_was_set_back(
        self, database: Database, clock: Clock
    ) -> None:
        second = leadership(OTHER)
        hold(database, leadership())
        set_clock(database, -3600)
        assert not watch(database, clock, second, 9)
        assert watch(database, clock, second, 1.1)
        assert hold(database, second)

    def test_after_a_pause_of_the_watcher_the_leader_gets_the_whole_time_again(
        self, database: Database, clock: Clock
    ) -> None:
        """Both may have been stopped together, or the database was away for both."""
        second = leadership(OTHER)
        hold(database, leadership())
        assert not watch(database, clock, second, 8)
        clock.now += 60
        assert not is_due(database, second)
        assert not watch(database, clock, second, 9)
        assert watch(database, clock, second, 1.1)


class TestIsDue:
    def test_never_writes(self, database: Database) -> None:
        before = lease(database).until
        assert is_due(database, leadership())
        assert lease(database).until == before

    def test_a_leader_renews_well_before_the_end(self, database: Database, clock: Clock) -> None:
        first = leadership()
        hold(database, first)
        assert not is_due(database, first)
        clock.now += 4
        assert is_due(database, first)


@contextmanager
def process() -> Iterator[Identity]:
    """Another process of this machine, and what the lease says of it."""
    program = "import sys; sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
    here = Identity.of_this_process()
    try:
        yield dataclasses.replace(
            here,
            process=f"other:{child.pid}",
            pid=child.pid,
            pid_started=start_of(child.pid),
        )
    finally:
        child.kill()
        child.communicate()


class TestSameMachine:
    def test_a_living_holder_is_left_alone(self, database: Database) -> None:
        here = leadership(Identity.of_this_process())
        with process() as other:
            hold(database, leadership(other))
            assert not is_due(database, here)
            assert not hold(database, here)

    @pytest.mark.skipif(not psutil.LINUX, reason="elsewhere a start is known by the clock alone")
    def test_a_living_one_is_left_alone_when_the_clock_is_set(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The kernel's own idea of when the machine was started moves with the clock."""
        here = leadership(Identity.of_this_process())
        with process() as other:
            hold(database, leadership(other))
            for name in ("psutil.boot_time", "psutil._pslinux.boot_time"):
                monkeypatch.setattr(name, lambda: 1_000_000_000.0)
            assert not is_due(database, here)
            assert Identity.of_this_process().machine == other.machine

    def test_a_living_one_is_left_alone_by_who_starts_when_the_clock_is_set_forward(
        self, database: Database, clock: Clock
    ) -> None:
        """Only once it was watched is it known to be lost, as when it is frozen."""
        here = leadership(Identity.of_this_process())
        with process() as other:
            hold(database, leadership(other))
            set_clock(database, 3600)
            assert not is_due(database, here)
            assert not hold(database, here)
            assert not watch(database, clock, here, 9)
            assert watch(database, clock, here, 1.1)
            assert hold(database, here)

    def test_a_dead_holder_need_not_be_waited_for(self, database: Database) -> None:
        here = leadership(Identity.of_this_process(), seconds=3600)
        with process() as other:
            hold(database, leadership(other, seconds=3600))
        assert is_due(database, here)
        assert hold(database, here)

    def test_a_dead_holder_that_nobody_has_reaped_is_dead(self, database: Database) -> None:
        here = leadership(Identity.of_this_process(), seconds=3600)
        with process() as other:
            hold(database, leadership(other, seconds=3600))
            os.kill(other.pid, 9)
            os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
            assert psutil.Process(other.pid).status() == psutil.STATUS_ZOMBIE
            assert hold(database, here)

    def test_another_process_with_its_number_does_not_pass_for_it(self, database: Database) -> None:
        with process() as other:
            reused = dataclasses.replace(other, pid_started=other.pid_started - 100)
            hold(database, leadership(reused, seconds=3600))
            assert hold(database, leadership(Identity.of_this_process()))

    def test_nothing_is_known_of_processes_of_another_machine(self, database: Database) -> None:
        with process() as other:
            away = dataclasses.replace(other, machine="elsewhere")
            hold(database, leadership(away))
        assert not hold(database, leadership(Identity.of_this_process()))

    def test_identities_differ_between_starts_in_one_process(self) -> None:
        first, second = Identity.of_this_process(), Identity.of_this_process()
        assert first.process != second.process
        assert first.machine == second.machine
        assert first.pid == os.getpid()


class TestLives:
    def test_a_life_begins_is_seen_and_ends(self, database: Database) -> None:
        first = leadership()
        hold(database, first)
        [life] = lives(database)
        assert (life.process, life.host, life.pid, life.version) == (ME.process, "me", 1, "1.0")
        assert life.ended is None
        release(database, first)
        [life] = lives(database)
        assert life.ended == "stopped"
        assert life.seen_at >= life.began_at

    def test_the_gap_after_a_crash_can_be_seen(self, database: Database) -> None:
        hold(database, leadership())
        set_clock(database, 11)
        hold(database, leadership(OTHER))
        lost, living = lives(database)
        assert (lost.ended, living.ended) == ("lost", None)
        assert lost.process == ME.process


class TestUndoneTransactions:
    def test_what_was_undone_is_forgotten(self, database: Database) -> None:
        """Else the next tick would not take over, and orphaned runs stay `running` for ever."""
        first = leadership()
        with pytest.raises(ZeroDivisionError), database.write() as session:  # noqa: PT012
            assert first.hold(session)
            raise ZeroDivisionError
        first.undo()
        assert not first.leading
        assert lease(database).holder == ""
        assert hold(database, first)
        assert len(lives(database)) == 1

    def test_a_leader_stays_what_it_was(self, database: Database) -> None:
        first = leadership()
        hold(database, first)
        with pytest.raises(ZeroDivisionError), database.write() as session:  # noqa: PT012
            first.hold(session)
            raise ZeroDivisionError
        first.undo()
        assert first.leading
        assert hold(database, first)
        assert len(lives(database)) == 1

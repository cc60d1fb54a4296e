"""The tick's transaction at chosen moments: `now` is whatever the test says."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Text, cast, func, select, update

from dashboard.scheduling import claims, duetimes, handover
from dashboard.scheduling.jobstore import ScheduleCache
from dashboard.scheduling.leader import Identity
from dashboard.scheduling.picking import Picker
from dashboard.storage.models import (
    MOST_COALESCED,
    Job,
    JobHealth,
    Origin,
    Run,
    RunState,
    RunStats,
)
from tests.factories import empty, new_run
from tests.rows import EPOCH, make_job

if TYPE_CHECKING:
    from dashboard.storage.db import Database

SECOND = timedelta(seconds=1)
EVERY_SECOND = {"type": "interval", "seconds": 1, "start_date": EPOCH.isoformat()}
IDENTITY = Identity(process="me:1:a", host="me", machine="me", pid=1, pid_started=0.0)
OTHER = Identity(process="other:2:b", host="other", machine="other", pid=2, pid_started=0.0)


@dataclass
class Desk:
    """Claims and hand-overs at moments counted in seconds from `EPOCH`."""

    database: Database
    schedules: ScheduleCache = field(default_factory=ScheduleCache)
    picker: Picker = field(default_factory=Picker)

    def add(self, job_id: str = "a", first: float = 0, **values: Any) -> None:
        values = {"trigger": EVERY_SECOND, "next_run_time": EPOCH + first * SECOND} | values
        with self.database.write() as session:
            session.add(make_job(job_id, **values))

    def add_run(self, job_id: str = "a", second: int = 0, **values: Any) -> int:
        with self.database.write() as session:
            run = new_run(job_id, second, **values)
            session.add(run)
            session.flush()
            return run.id

    def claim(self, second: float, **knowledge: Any) -> claims.Due:
        with self.database.write() as session:
            moment = EPOCH + second * SECOND
            return claims.claim_due(session.connection(), moment, self.schedules.of, **knowledge)

    def hand_over(
        self, second: float, slots: int = 10, identity: Identity = IDENTITY, **free: int
    ) -> handover.HandOver:
        free = free or {"threads": slots}
        with self.database.write() as session:
            now = EPOCH + second * SECOND
            return handover.hand_over(session.connection(), now, free, identity, self.picker)

    def end(self, run_id: int, state: RunState = RunState.SUCCEEDED) -> None:
        self.set_run(run_id, state=state)

    def set_run(self, run_id: int, **values: Any) -> None:
        with self.database.write() as session:
            session.execute(update(Run).where(Run.id == run_id).values(**values))

    def set_job(self, job_id: str = "a", **values: Any) -> None:
        with self.database.write() as session:
            session.execute(update(Job).where(Job.id == job_id).values(**values))

    def job(self, job_id: str = "a") -> Job:
        with self.database.read() as session:
            return session.get_one(Job, job_id)

    def next_second(self, job_id: str = "a") -> float | None:
        moment = self.job(job_id).next_run_time
        return None if moment is None else (moment - EPOCH) / SECOND

    def runs(self, job_id: str | None = None) -> list[Run]:
        query = select(Run).order_by(Run.scheduled_at, Run.attempt, Run.job_id)
        if job_id is not None:
            query = query.where(Run.job_id == job_id)
        with self.database.read() as session:
            return list(session.scalars(query))

    def states(self, job_id: str | None = None) -> dict[float, str]:
        """Map the second of each fire time to the state of its run."""
        return {(run.scheduled_at - EPOCH) / SECOND: run.state.value for run in self.runs(job_id)}

    def health(self, job_id: str = "a") -> JobHealth | None:
        with self.database.read() as session:
            return session.get(JobHealth, job_id)


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database)


def started(result: handover.HandOver) -> list[int]:
    return [claim.identity.id for batch in result.claims.values() for claim in batch]


class TestClaiming:
    def test_a_due_job_gets_a_queued_run_and_moves_on(self, desk: Desk) -> None:
        desk.add(name="A", parameters={"n": 1}, executor="processes")
        due = desk.claim(0)
        [run] = desk.runs()
        assert (run.job_id, run.job_name, run.task) == ("a", "A", "reports.daily")
        assert (run.parameters, run.executor) == ({"n": 1}, "processes")
        assert (run.state, run.origin, run.attempt) == (RunState.QUEUED, Origin.SCHEDULE, 1)
        assert (run.scheduled_at, run.queued_at) == (EPOCH, EPOCH)
        assert (run.started_at, run.finished_at, run.process) == (None, None, None)
        assert desk.next_second() == 1
        assert due.queued == [("a", EPOCH)]
        assert not due.more

    def test_nothing_is_claimed_before_its_time(self, desk: Desk) -> None:
        desk.add(first=5)
        assert desk.claim(4.999999) == claims.Due()
        assert desk.runs() == []
        assert desk.next_second() == 5

    @pytest.mark.parametrize(
        "values", [{"paused_at": EPOCH}, {"broken_reason": "gone"}, {"next_run_time": None}]
    )
    def test_paused_broken_and_finished_jobs_do_not_fire(
        self, desk: Desk, values: dict[str, Any]
    ) -> None:
        desk.add(**values)
        assert desk.claim(100) == claims.Due()
        assert desk.runs() == []

    def test_the_last_fire_time_finishes_the_job_and_keeps_it(self, desk: Desk) -> None:
        desk.add(trigger={"type": "date", "run_date": EPOCH.isoformat()})
        desk.claim(0)
        assert desk.states() == {0: "queued"}
        assert desk.next_second() is None
        assert desk.job().finished_reason

    def test_the_most_urgent_come_first_and_the_rest_with_the_next_tick(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(claims, "_DUE", claims._DUE.limit(3))
        monkeypatch.setattr(claims, "DUE_A_TICK", 3)
        for number in range(5):
            desk.add(f"j{number}", first=-number)
        first = desk.claim(0.5)
        assert first.more
        assert sorted({job_id for job_id, _ in first.queued}) == ["j2", "j3", "j4"]
        assert not desk.claim(0.5).more
        assert {run.job_id for run in desk.runs()} == {f"j{number}" for number in range(5)}

    def test_many_due_at_one_moment_move_on_each_to_its_own_next(self, desk: Desk) -> None:
        once = {"type": "date", "run_date": EPOCH.isoformat()}
        for number in range(claims.TOGETHER):
            desk.add(f"every{number}")
            desk.add(f"once{number}", trigger=once)
        desk.add("slow", trigger={**EVERY_SECOND, "seconds": 5})
        desk.add("last", max_runs=1)
        desk.claim(0)
        assert len(desk.runs()) == 2 * claims.TOGETHER + 2
        for number in range(claims.TOGETHER):
            assert desk.next_second(f"every{number}") == 1
            assert desk.job(f"every{number}").finished_reason is None
            assert desk.next_second(f"once{number}") is None
            assert "no further fire time" in str(desk.job(f"once{number}").finished_reason)
        assert (desk.next_second("slow"), desk.next_second("last")) == (5, None)
        assert "one scheduled run" in str(desk.job("last").finished_reason)

    def test_what_is_claimed_twice_is_one_run(self, desk: Desk) -> None:
        """As when the clock jumps back, or a crash had come between two transactions."""
        desk.add()
        desk.claim(0)
        desk.set_job(next_run_time=EPOCH)
        desk.claim(0)
        assert desk.states() == {0: "queued"}
        assert desk.next_second() == 1

    def test_a_clock_that_jumps_back_claims_nothing_twice(self, desk: Desk) -> None:
        desk.add(coalesce=False, misfire_grace_time=None)
        for second in range(10):
            desk.claim(second)
        ids = {run.id: run.scheduled_at for run in desk.runs()}
        desk.set_job(next_run_time=EPOCH + 3 * SECOND)
        desk.claim(7)
        desk.claim(8)
        assert {run.id: run.scheduled_at for run in desk.runs()} == ids

    def test_a_clock_that_jumps_back_counts_nothing_twice(self, desk: Desk) -> None:
        desk.add(misfire_grace_time=1, coalesce=False)
        desk.claim(5)
        before = desk.states()
        desk.set_job(next_run_time=EPOCH)
        due = desk.claim(5)
        assert due.missed == []
        assert desk.states() == before
        with desk.database.read() as session:
            counted = session.scalar(select(RunStats.missed).where(RunStats.job_id == "a"))
        assert counted == list(before.values()).count("missed")


class TestCoalescing:
    def test_on_one_run_stands_for_all_that_passed(self, desk: Desk) -> None:
        desk.add(coalesce=True)
        desk.claim(10.5)
        [run] = desk.runs()
        assert run.scheduled_at == EPOCH + 10 * SECOND
        assert (run.coalesced, run.coalesced_since) == (10, EPOCH)
        assert run.coalesced_times == [EPOCH + second * SECOND for second in range(10)]
        assert desk.next_second() == 11

    def test_off_every_fire_time_is_a_run(self, desk: Desk) -> None:
        desk.add(coalesce=False)
        desk.claim(10.5)
        assert desk.states() == dict.fromkeys(range(11), "queued")
        assert {(run.coalesced, run.coalesced_times) for run in desk.runs()} == {(0, None)}
        assert desk.next_second() == 11

    def test_off_a_long_row_takes_several_ticks(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(duetimes, "FIRE_TIMES_A_TICK", 4)
        desk.add(coalesce=False)
        ticks = 1
        while desk.claim(10.5).more:
            ticks += 1
        assert ticks == 3
        assert list(desk.states()) == list(range(11))

    def test_on_a_week_of_seconds_costs_little(self, desk: Desk) -> None:
        desk.add(coalesce=True, misfire_grace_time=None)
        week = 7 * 86_400
        desk.claim(week)
        [run] = desk.runs()
        assert run.scheduled_at == EPOCH + week * SECOND
        assert run.coalesced == MOST_COALESCED
        assert run.coalesced_times == [EPOCH + second * SECOND for second in range(MOST_COALESCED)]
        with desk.database.read() as session:
            kept = session.scalar(select(cast(Run.coalesced_times, Text)))
        assert len(kept or "") < 100

    def test_what_was_dropped_is_told_as_it_was_when_the_trigger_is_changed(
        self, desk: Desk
    ) -> None:
        workdays = {"type": "cron", "crontab": "0 9,17 * * 1-5"}
        desk.add(trigger=workdays, coalesce=True, first=5 * 3600)  # Monday, 17:00
        desk.claim(7 * 86_400)
        desk.set_job(trigger=EVERY_SECOND)
        [run] = desk.runs()
        told = [*(run.coalesced_times or []), run.scheduled_at]
        days = [(1, 17), *((day, hour) for day in (2, 3, 4, 5) for hour in (9, 17)), (8, 9)]
        assert told == [EPOCH.replace(day=day, hour=hour) for day, hour in days]

    @pytest.mark.parametrize("coalesce", [True, False])
    def test_many_jobs_with_long_rows_take_several_ticks(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch, coalesce: bool
    ) -> None:
        monkeypatch.setattr(duetimes, "FIRE_TIMES_A_TICK", 10)
        for number in range(5):
            desk.add(f"j{number}", coalesce=coalesce, first=-number / 10)
        taken = []
        more = True
        while more:
            more = desk.claim(4.5).more
            taken.append({run.job_id for run in desk.runs()})
        assert [len(jobs) for jobs in taken] == [2, 4, 5]
        for number in range(5):
            runs = desk.runs(f"j{number}")
            assert sum(run.coalesced + 1 for run in runs) == 5 + (number > 0)

    def test_on_the_newest_counts_for_misfire_grace(self, desk: Desk) -> None:
        desk.add(coalesce=True, misfire_grace_time=1)
        desk.claim(100.5)
        assert desk.states() == {100: "queued"}


class TestMisfireGrace:
    @pytest.mark.parametrize(
        ("late", "grace", "state"),
        [
            (60, 60, "queued"),
            (60.001, 60, "missed"),
            (1_000_000, None, "queued"),
            (0, 1, "queued"),
            (1.5, 1, "missed"),
        ],
    )
    def test_too_late_is_missed(
        self, desk: Desk, late: float, grace: int | None, state: str
    ) -> None:
        hourly = {"type": "date", "run_date": EPOCH.isoformat()}
        desk.add(trigger=hourly, misfire_grace_time=grace)
        due = desk.claim(late)
        assert list(desk.states().values()) == [state]
        assert bool(due.missed) is (state == "missed")

    def test_a_missed_run_says_why_and_has_ended(self, desk: Desk) -> None:
        desk.add(trigger={"type": "date", "run_date": EPOCH.isoformat()}, misfire_grace_time=60)
        due = desk.claim(3661)
        [run] = desk.runs()
        assert run.reason == "It could start only 3,661 s late; its misfire grace time is 60 s."
        assert run.finished_at == EPOCH + 3661 * SECOND
        assert run.started_at is None
        assert due.missed == [("a", EPOCH)]
        health = desk.health()
        assert health is not None
        assert health.last_state is RunState.MISSED
        assert health.consecutive_failures == 0

    def test_a_queued_run_that_waited_too_long_is_missed_not_started(self, desk: Desk) -> None:
        desk.add(misfire_grace_time=60)
        desk.claim(0)
        assert started(desk.hand_over(0, slots=0)) == []
        result = desk.hand_over(61)
        assert started(result) == []
        assert result.missed == [("a", EPOCH)]
        [run] = desk.runs()
        assert (run.state, run.finished_at) == (RunState.MISSED, EPOCH + 61 * SECOND)
        assert run.reason is not None
        assert "61 s late" in run.reason

    @pytest.mark.parametrize("origin", [Origin.MANUAL, Origin.RETRY, Origin.BACKFILL])
    def test_what_a_person_asked_for_is_never_too_late(self, desk: Desk, origin: Origin) -> None:
        desk.add(misfire_grace_time=1, next_run_time=None)
        run_id = desk.add_run(state=RunState.QUEUED, origin=origin)
        assert started(desk.hand_over(86_400)) == [run_id]


class TestMaxInstances:
    @pytest.mark.parametrize("busy", [RunState.QUEUED, RunState.RUNNING])
    def test_a_fire_time_of_a_busy_job_is_skipped(self, desk: Desk, busy: RunState) -> None:
        desk.add(first=5)
        desk.add_run(state=busy)
        due = desk.claim(5)
        run = desk.runs()[-1]
        assert run.state is RunState.SKIPPED
        assert run.reason is not None
        assert "one instance" in run.reason
        assert run.finished_at == EPOCH + 5 * SECOND
        assert due.skipped == [("a", EPOCH + 5 * SECOND)]
        assert desk.next_second() == 6

    def test_a_run_that_ended_counts_as_ended_before_its_row_says_so(self, desk: Desk) -> None:
        desk.add(first=5)
        desk.add_run(state=RunState.RUNNING, process="me")
        due = desk.claim(5, process="me", in_flight=[])
        assert (due.skipped, len(due.queued)) == ([], 1)

    def test_a_run_in_flight_or_elsewhere_keeps_its_job_busy(self, desk: Desk) -> None:
        desk.add("a", first=5)
        desk.add("b", first=5)
        mine = desk.add_run("a", state=RunState.RUNNING, process="me")
        desk.add_run("b", state=RunState.RUNNING, process="another")
        due = desk.claim(5, process="me", in_flight=[mine])
        assert sorted(job_id for job_id, _ in due.skipped) == ["a", "b"]

    def test_more_instances_are_allowed_if_so_set(self, desk: Desk) -> None:
        desk.add(max_instances=3)
        for second in range(5):
            desk.claim(second)
            desk.hand_over(second)
        assert list(desk.states().values()) == ["running"] * 3 + ["skipped"] * 2

    def test_of_a_backlog_only_so_many_start_at_once(self, desk: Desk) -> None:
        desk.add(coalesce=False, max_instances=2, misfire_grace_time=None)
        desk.claim(5.5)
        assert len(started(desk.hand_over(6))) == 2
        assert started(desk.hand_over(6)) == []
        running = [run.id for run in desk.runs() if run.state is RunState.RUNNING]
        desk.end(running[0])
        assert len(started(desk.hand_over(6))) == 1

    def test_runs_of_other_processes_count(self, desk: Desk) -> None:
        desk.add(first=5)
        there = desk.add_run(second=1, state=RunState.RUNNING, process="elsewhere")
        waiting = desk.add_run(second=2, state=RunState.QUEUED, origin=Origin.MANUAL)
        assert started(desk.hand_over(5)) == []
        desk.end(there)
        assert started(desk.hand_over(5)) == [waiting]

    def test_a_backlog_of_one_job_does_not_hold_up_the_others(self, desk: Desk) -> None:
        desk.add("greedy", coalesce=False, misfire_grace_time=None)
        desk.add("late", first=50)
        desk.claim(49)
        desk.claim(50)
        first = desk.hand_over(50, slots=5)
        second = desk.hand_over(50, slots=4)
        names = {run.id: run.job_id for run in desk.runs()}
        assert {names[run_id] for run_id in started(first) + started(second)} == {"greedy", "late"}


class TestHandOver:
    def test_only_as_many_as_there_are_free_slots(self, desk: Desk) -> None:
        for number in range(5):
            desk.add(f"j{number}")
        desk.claim(0)
        result = desk.hand_over(0, slots=3)
        assert len(started(result)) == 3
        states = [run.state for run in desk.runs()]
        assert (states.count(RunState.RUNNING), states.count(RunState.QUEUED)) == (3, 2)

    @pytest.mark.parametrize("slots", [0, -1])
    def test_a_full_executor_takes_nothing(self, desk: Desk, slots: int) -> None:
        desk.add()
        desk.claim(0)
        assert started(desk.hand_over(0, slots=slots)) == []
        assert desk.states() == {0: "queued"}

    def test_the_oldest_come_first(self, desk: Desk) -> None:
        for number in range(3):
            desk.add(f"j{number}", first=number)
        for second in range(3):
            desk.claim(second)
        names = {run.id: run.job_id for run in desk.runs()}
        order = [names[run_id] for n in range(3) for run_id in started(desk.hand_over(n + 3, 1))]
        assert order == ["j0", "j1", "j2"]

    def test_each_executor_gets_its_own(self, desk: Desk) -> None:
        desk.add("t", executor="threads")
        desk.add("p", executor="processes")
        desk.claim(0)
        result = desk.hand_over(0, threads=5, processes=0)
        assert {claim.identity.job_id for claim in result.claims["threads"]} == {"t"}
        result = desk.hand_over(0, threads=5, processes=5)
        assert {claim.identity.job_id for claim in result.claims["processes"]} == {"p"}

    def test_a_started_run_belongs_to_this_process(self, desk: Desk) -> None:
        desk.add(parameters={"n": [1, {"x": None}]})
        desk.claim(0)
        [claim] = desk.hand_over(2).claims["threads"]
        [run] = desk.runs()
        assert (run.state, run.process, run.host) == (RunState.RUNNING, IDENTITY.process, "me")
        assert run.started_at == EPOCH + 2 * SECOND
        assert (claim.task, claim.parameters) == ("reports.daily", {"n": [1, {"x": None}]})
        identity = claim.identity
        assert (identity.id, identity.job_id, identity.attempt) == (run.id, "a", 1)
        assert identity.scheduled_at == EPOCH

    def test_a_run_is_handed_over_once(self, desk: Desk) -> None:
        desk.add()
        desk.claim(0)
        assert len(started(desk.hand_over(0))) == 1
        assert started(desk.hand_over(0, identity=OTHER)) == []

    def test_a_paused_job_still_runs_what_was_asked_for(self, desk: Desk) -> None:
        desk.add(paused_at=EPOCH, next_run_time=None)
        run_id = desk.add_run(state=RunState.QUEUED, origin=Origin.MANUAL)
        assert started(desk.hand_over(1)) == [run_id]

    def test_hundreds_at_once_fit_the_limits_of_a_statement(self, desk: Desk) -> None:
        with desk.database.write() as session:
            session.add(make_job("a", max_instances=5000, next_run_time=None))
            session.add_all(
                new_run("a", n, state=RunState.QUEUED, origin=Origin.MANUAL) for n in range(1, 1201)
            )
        assert len(started(desk.hand_over(0, slots=1200))) == 1200


class TestJitter:
    def test_puts_runs_off_by_chance_and_loses_none(self, desk: Desk) -> None:
        trigger = EVERY_SECOND | {"seconds": 100, "jitter": 50}
        desk.add(trigger=trigger, misfire_grace_time=None)
        for _ in range(20):
            desk.set_job(next_run_time=desk.job().next_run_time)
            moment = desk.next_second()
            assert moment is not None
            assert desk.claim(moment).queued
            desk.set_run(desk.runs()[-1].id, state=RunState.SUCCEEDED)
        seconds = list(desk.states())
        assert [second // 100 for second in seconds] == list(range(20))
        assert any(second % 100 for second in seconds)
        assert all(second % 100 <= 50 for second in seconds)


class TestOrphans:
    def test_runs_of_others_are_interrupted_own_and_queued_ones_are_not(self, desk: Desk) -> None:
        with desk.database.write() as session:
            session.add(make_job("nightly"))
        desk.add_run("nightly", 1, state=RunState.RUNNING, process="dead")
        desk.add_run("nightly", 2, state=RunState.RUNNING, process=IDENTITY.process)
        desk.add_run("nightly", 3, state=RunState.QUEUED)
        desk.add_run("nightly", 4, state=RunState.SUCCEEDED, process="dead")
        with desk.database.write() as session:
            assert (
                handover.interrupt_orphans(session.connection(), EPOCH + 99 * SECOND, IDENTITY) == 1
            )
        states = [run.state.value for run in desk.runs()]
        assert states == ["interrupted", "running", "queued", "succeeded"]
        run = desk.runs()[0]
        assert run.reason is not None
        assert run.finished_at == EPOCH + 99 * SECOND
        health = desk.health("nightly")
        assert health is not None
        assert (health.consecutive_failures, health.last_state) == (1, RunState.INTERRUPTED)

    def test_hundreds_at_once(self, desk: Desk) -> None:
        with desk.database.write() as session:
            session.add_all(make_job(f"j{n}") for n in range(7))
            session.add_all(
                new_run(f"j{n % 7}", n, state=RunState.RUNNING, process="dead")
                for n in range(1, 1101)
            )
        with desk.database.write() as session:
            assert handover.interrupt_orphans(session.connection(), EPOCH, IDENTITY) == 1100
        assert {run.state for run in desk.runs()} == {RunState.INTERRUPTED}
        with desk.database.read() as session:
            assert session.scalar(select(func.sum(JobHealth.consecutive_failures))) == 1100


UNREADABLE: list[Any] = [
    {},
    [],
    "every day",
    None,
    7,
    {"type": "nonsense"},
    {"type": ["interval"]},
    {"type": "interval", "seconds": -1},
    {"type": "interval", "seconds": "1e400"},
    {"type": "interval", "seconds": 10**400},
    {"type": "cron", "second": {"a": 1}},
    {"type": "cron", "second": "*", "timezone": "Nowhere/Land"},
    {"type": "cron", "second": "*", "timezone": "../../etc/passwd"},
    {"type": "date", "run_date": "0001-01-01T00:00:00+23:59"},
    {"type": "date", "run_date": []},
    {"type": "and", "triggers": "x"},
    {"type": "or", "triggers": [None]},
    {"type": "calendarinterval", "days": 1, "start_date": "9999-99-99"},
]


class TestUnreadableTriggers:
    @pytest.mark.parametrize("trigger", UNREADABLE, ids=range(len(UNREADABLE)))
    def test_the_job_is_kept_as_broken_and_holds_up_nobody(self, desk: Desk, trigger: Any) -> None:
        desk.add("bad", trigger=trigger)
        desk.add("good")
        desk.claim(0)
        assert desk.states("good") == {0: "queued"}
        assert desk.states("bad") == {}
        assert desk.job("bad").broken_reason
        assert desk.claim(0.5) == claims.Due()

    def test_an_unknown_zone_in_the_row_breaks_only_that_job(self, desk: Desk) -> None:
        desk.add("bad", timezone="Nowhere/Land")
        desk.add("good")
        desk.claim(0)
        assert desk.states("good") == {0: "queued"}
        assert desk.job("bad").broken_reason

    @pytest.mark.parametrize("error", [OverflowError, RecursionError, KeyError, ZeroDivisionError])
    def test_a_trigger_that_fails_breaks_only_its_job(
        self, desk: Desk, error: type[Exception]
    ) -> None:
        class Failing:
            def __getattr__(self, name: str) -> Any:
                raise error(name)

        def schedule_of(trigger: str, timezone: str) -> Any:
            failing = "Europe/Berlin" in timezone
            return Failing() if failing else desk.schedules.of(trigger, timezone)

        desk.add("bad", first=-1, timezone="Europe/Berlin")
        desk.add("good")
        with desk.database.write() as session:
            claims.claim_due(session.connection(), EPOCH, schedule_of)
        assert desk.states("good") == {0: "queued"}
        assert desk.job("bad").broken_reason
        assert desk.states("bad") == {}


@hypothesis_settings(max_examples=30)
@given(
    steps=st.lists(st.integers(0, 7000), min_size=1, max_size=12),
    coalesce=st.booleans(),
    instances=st.integers(1, 3),
    grace=st.sampled_from([None, 1, 3]),
    data=st.data(),
)
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_whatever_happens_every_fire_time_is_one_row_or_counted_in_one(
    desk: Desk,
    steps: list[int],
    coalesce: bool,
    instances: int,
    grace: int | None,
    data: st.DataObject,
) -> None:
    """Ticks at any distance, slots and ends by chance: rows and coalesced counts add up."""
    empty(desk.database)
    desk.add(coalesce=coalesce, max_instances=instances, misfire_grace_time=grace)
    now = 0.0
    for elapsed in accumulate(steps):
        now = elapsed / 1000
        while desk.claim(now).more:
            pass
        desk.hand_over(now, slots=data.draw(st.integers(0, 3)))
        running = [run.id for run in desk.runs() if run.state is RunState.RUNNING]
        assert len(running) <= instances
        for run_id in running:
            if data.draw(st.booleans()):
                desk.end(run_id)
        runs = desk.runs()
        dropped = [moment for run in runs for moment in run.coalesced_times or []]
        fired = sorted([*(run.scheduled_at for run in runs), *dropped])
        assert fired == [EPOCH + second * SECOND for second in range(int(now) + 1)]
        assert sum(run.coalesced for run in runs) == len(dropped)
        assert desk.next_second() == int(now) + 1
    seconds = list(desk.states())
    assert len(set(seconds)) == len(seconds)
    assert all(later > earlier for earlier, later in pairwise(seconds))

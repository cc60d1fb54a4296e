"""Whose runs begin next when more wait than there are places."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from sqlalchemy import insert, update

from dashboard.history.system import read_loads
from dashboard.scheduling import picking
from dashboard.scheduling.picking import Picker
from dashboard.storage.models import Origin, Run, RunState
from tests.factories import new_run
from tests.rows import EPOCH, make_job

if TYPE_CHECKING:
    from collections.abc import Callable

    from dashboard.storage.db import Database
    from tests.factories import Core

MANY = 100_000


@dataclass
class Queue:
    """Queued runs, and what a picker takes of them; what was taken runs until `end_all`."""

    database: Database
    picker: Picker = field(default_factory=Picker)
    added: int = 0
    unsearched: bool = False

    def add_job(self, job_id: str, **values: Any) -> None:
        with self.database.write() as session:
            session.add(make_job(job_id, **({"max_instances": 1000} | values)))

    def add_runs(self, job_id: str, count: int = 1, **values: Any) -> None:
        values = {"state": RunState.QUEUED, "executor": "threads"} | values
        with self.database.write() as session:
            session.add_all(new_run(job_id, self.added + n, **values) for n in range(count))
        self.added += count

    def take(self, slots: int, executor: str = "threads") -> list[str]:
        """Let runs begin, and return whose they are."""
        with self.database.write() as session:
            connection = session.connection()
            places = self.picker.places(connection)
            runs, self.unsearched = self.picker.pick(connection, executor, slots, places)
            ids = [run.id for run in runs]
            session.execute(update(Run).where(Run.id.in_(ids)).values(state=RunState.RUNNING))
        return [run.job_id for run in runs]

    def end_all(self) -> None:
        with self.database.write() as session:
            running = update(Run).where(Run.state == RunState.RUNNING)
            session.execute(running.values(state=RunState.SUCCEEDED))


@pytest.fixture
def queue(database: Database) -> Queue:
    return Queue(database)


def test_the_oldest_begin_first(queue: Queue) -> None:
    for job_id in "cab":
        queue.add_job(job_id)
        queue.add_runs(job_id)
    assert queue.take(2) == ["c", "a"]
    assert queue.take(2) == ["b"]
    assert queue.take(2) == []


def test_a_job_with_many_runs_gets_what_the_others_leave(queue: Queue) -> None:
    for job_id in ("flood", "a", "z"):
        queue.add_job(job_id)
    queue.add_runs("flood", 50)
    queue.add_runs("a", 3)
    queue.add_runs("z", 3)
    for _ in range(3):
        assert Counter(queue.take(6)) == {"a": 1, "z": 1, "flood": 4}
    assert queue.take(6) == ["flood"] * 6


def test_with_one_place_jobs_take_turns(queue: Queue) -> None:
    for job_id in ("flood", "a", "z"):
        queue.add_job(job_id)
    queue.add_runs("flood", 50)
    queue.add_runs("a", 20)
    queue.add_runs("z", 20)
    begun = Counter(queue.take(1)[0] for _ in range(40))
    assert min(begun["a"], begun["z"], begun["flood"]) >= 10


def test_two_jobs_with_many_runs_share_the_places(queue: Queue) -> None:
    for job_id in ("first", "second"):
        queue.add_job(job_id)
        queue.add_runs(job_id, 100)
    begun = Counter(job_id for _ in range(10) for job_id in queue.take(2))
    assert min(begun["first"], begun["second"]) >= 5


def test_runs_that_may_not_begin_yet_keep_no_others(queue: Queue) -> None:
    queue.add_job("busy", max_instances=1)
    queue.add_runs("busy", 50)
    queue.add_job("a")
    queue.add_runs("a")
    assert sorted(queue.take(5)) == ["a", "busy"]
    assert queue.take(5) == []
    queue.add_runs("a", 2)
    assert [*queue.take(5), *queue.take(5)] == ["a", "a"]
    queue.end_all()
    assert queue.take(5) == ["busy"]


def test_queues_do_not_wait_for_each_other(queue: Queue) -> None:
    queue.add_job("flood")
    queue.add_job("a", executor="processes")
    queue.add_runs("flood", 50)
    queue.add_runs("a", 20, executor="processes")
    assert queue.take(2, "processes") == ["a", "a"]
    assert queue.take(2) == ["flood", "flood"]


def test_of_very_many_jobs_some_are_looked_at_each_time(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picking, "TURNS", 5)
    queue.picker = Picker({"heavy": 1})
    for number in range(23):
        queue.add_job(f"heavy-{number:02}", tags=["heavy"])
        queue.add_runs(f"heavy-{number:02}")
    queue.add_job("light")
    queue.add_runs("light")
    assert queue.take(3) == ["heavy-00"]
    assert queue.unsearched
    looks = 0
    while not (found := queue.take(3)):
        looks += 1
        assert queue.unsearched
    assert found == ["light"]
    assert looks <= 4
    for _ in range(5):  # nothing is left that may begin: that is found out, and then left alone
        assert queue.take(3) == []
        looks += queue.unsearched
    assert not all(queue.take(3) or queue.unsearched for _ in range(6))


class TestTagLimits:
    def test_so_many_runs_of_a_tag_are_under_way_at_once(self, queue: Queue) -> None:
        queue.picker = Picker({"billing": 2, "heavy": 1})
        queue.add_job("a", tags=["billing"])
        queue.add_job("b", tags=["billing", "heavy", "nightly"])
        queue.add_job("c", tags=["heavy"])
        queue.add_job("d", tags=["nightly"])
        for job_id in "abcd":
            queue.add_runs(job_id, 3)
        assert Counter(queue.take(12)) == {"a": 1, "b": 1, "d": 3}
        assert queue.take(12) == []
        queue.end_all()
        assert Counter(queue.take(12)) == {"a": 1, "b": 1}

    def test_it_counts_over_all_executors_and_what_workers_were_sent(self, queue: Queue) -> None:
        queue.picker = Picker({"billing": 2})
        for job_id, executor in (("a", "threads"), ("b", "processes"), ("c", "celery")):
            queue.add_job(job_id, tags=["billing"], executor=executor)
            queue.add_runs(job_id, executor=executor)
        with queue.database.write() as session:
            sent = update(Run).where(Run.executor == "celery")
            session.execute(sent.values(sent_at=Run.queued_at))
        assert queue.take(5) == ["a"]
        assert queue.take(5, "processes") == []
        queue.end_all()
        assert queue.take(5, "processes") == ["b"]

    def test_within_one_tick_too(self, queue: Queue) -> None:
        queue.picker = Picker({"billing": 1})
        for job_id, executor in (("a", "threads"), ("b", "processes")):
            queue.add_job(job_id, tags=["billing"], executor=executor)
            queue.add_runs(job_id, executor=executor)
        with queue.database.write() as session:
            places = queue.picker.places(session.connection())
            found = [
                run.job_id
                for executor in ("threads", "processes")
                for run in queue.picker.pick(session.connection(), executor, 3, places).runs
            ]
        assert found == ["a"]


@pytest.mark.timeout(180)
def test_100_000_queued_runs_of_one_job_hold_nobody_up(
    any_core: Core, register: Callable[..., None]
) -> None:
    register(lambda: None, "test.quick")
    any_core.add("test.quick", id="flood", max_instances=1)
    any_core.add("test.quick", id="other", max_instances=9)
    queue_many(any_core.database)
    process, before = psutil.Process(), psutil.Process().memory_info().rss
    seconds = []
    for max_instances in (1, MANY):
        any_core.change("flood", max_instances=max_instances)
        run_id = any_core.run_now("other")
        while any_core.run(run_id).state is RunState.QUEUED:
            began = time.thread_time()  # of work, not of waiting for a busy machine
            any_core.runtime.scheduler._tick()
            seconds.append(time.thread_time() - began)
            assert len(seconds) < 20
    assert max(seconds) < 1
    assert process.memory_info().rss - before < 100 << 20
    with any_core.database.read() as session:
        loads, oldest = read_loads(session)
    assert loads["threads"].queued >= 1000
    assert oldest is not None
    assert EPOCH <= oldest < EPOCH + timedelta(minutes=1)


def queue_many(database: Database) -> None:
    """Queue runs of one job as if they had been asked for one by one, second by second."""
    run: dict[str, Any] = {
        "job_id": "flood",
        "job_name": "flood",
        "task": "test.quick",
        "parameters": {},
        "origin": Origin.MANUAL,
        "state": RunState.QUEUED,
        "executor": "threads",
    }
    with database.write() as session:
        for first in range(0, MANY, 10_000):
            moments = (EPOCH + timedelta(seconds=first + n) for n in range(10_000))
            rows = [run | {"scheduled_at": each, "queued_at": each} for each in moments]
            session.execute(insert(Run), rows)

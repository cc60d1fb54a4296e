"""kill -9 at any moment: no run is lost, none runs twice, and none stays `running`."""

from __future__ import annotations

import random
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psutil
import pytest

from dashboard.scheduling.executors import AHEAD
from dashboard.storage.models import RunState
from tests.factories import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.dashboards import Place, Process

SECOND = timedelta(seconds=1)
THREADS = 8


@pytest.mark.parametrize(("kind", "rounds"), [("sqlite", 3), ("postgresql", 1)])
def test_random_kills_lose_nothing_and_run_nothing_twice(
    request: pytest.FixtureRequest,
    make_place: Callable[..., Place],
    kind: str,
    rounds: int,
) -> None:
    url = request.getfixturevalue("postgresql_url") if kind == "postgresql" else ""
    seed = random.randrange(10**6)
    print("seed", seed)  # noqa: T201 -- shown when the test fails
    chance = random.Random(seed)
    place = make_place(database=url, threads=THREADS)
    now = datetime.now(UTC).replace(microsecond=0)
    for number in range(5):
        place.add_job(
            f"every-second-{number}",
            trigger={"type": "interval", "seconds": 1, "start_date": now.isoformat()},
            next_run_time=now,
            coalesce=False,
            misfire_grace_time=None,
            parameters={"seconds": 0.01},
        )
    place.add_job("asked")
    for turn in range(rounds):
        place.ask("asked", first=turn * 1000, count=300, parameters={"seconds": 0.02})
        dashboard = _start(place)
        time.sleep(chance.uniform(0, 0.8))  # not a wait: the moment of the kill is the test
        dashboard.kill()
    with place.database.write() as session:
        for number in range(5):
            job = place.job(f"every-second-{number}")
            job.paused_at, job.next_run_time = now, None
            session.merge(job)
    dashboard = place.start()
    place.settle()
    assert place.runs(RunState.RUNNING) == []
    _check_traces(place, rounds)
    _check_fire_times(place, now)
    dashboard.kill()


def _start(place: Place) -> Process:
    """Start a dashboard and wait until it has begun a run."""
    begun = place.traces()
    dashboard = place.start()
    wait_until(lambda: dashboard.listens() and place.traces() != begun)
    return dashboard


def _check_traces(place: Place, rounds: int) -> None:
    begun, ended = Counter(place.traces("begin")), Counter(place.traces("end"))
    assert set(begun.values()) == {1}
    assert set(ended.values()) == {1}
    runs = {run.id: run for run in place.runs()}
    assert {run.state for run in runs.values()} <= {RunState.SUCCEEDED, RunState.INTERRUPTED}
    assert begun.keys() <= runs.keys()
    for run in runs.values():
        if run.state is RunState.SUCCEEDED:
            assert run.id in ended
        else:
            assert run.reason
            assert run.finished_at is not None
    # A crash leaves at most so many runs undone as a pool has taken.
    undone = [run for run in runs.values() if run.id not in ended]
    assert len(undone) <= THREADS * AHEAD * rounds


def _check_fire_times(place: Place, first: datetime) -> None:
    for number in range(5):
        moments = [run.scheduled_at for run in place.runs() if run.job_id.endswith(f"-{number}")]
        assert sorted(moments) == [first + n * SECOND for n in range(len(moments))]


def test_what_was_running_is_interrupted_and_what_was_queued_runs(
    make_place: Callable[..., Place],
) -> None:
    place = make_place(threads=2)
    place.add_job("a")
    running = place.ask("a", count=2, parameters={"seconds": 60})
    queued = place.ask("a", first=100, count=3)
    first = place.start()
    wait_until(lambda: len(place.traces()) == 2)
    first.kill()
    assert [place.state(run_id) for run_id in running] == ["running"] * 2
    second = place.start()
    wait_until(lambda: [place.state(run_id) for run_id in queued] == ["succeeded"] * 3)
    assert [place.state(run_id) for run_id in running] == ["interrupted"] * 2
    assert sorted(place.traces()) == running + queued
    second.kill()


def test_worker_processes_end_with_the_dashboard(make_place: Callable[..., Place]) -> None:
    place = make_place(processes=1)
    place.add_job("a", executor="processes")
    [run_id] = place.ask("a", executor="processes", parameters={"seconds": 60})
    dashboard = place.start()
    wait_until(place.traces)
    [worker] = place.pids()
    assert worker != dashboard.pid
    dashboard.kill()
    wait_until(lambda: not psutil.pid_exists(worker))
    assert place.traces("end") == []
    assert place.state(run_id) == "running"
    following = place.start()
    wait_until(lambda: place.state(run_id) == "interrupted")
    following.kill()

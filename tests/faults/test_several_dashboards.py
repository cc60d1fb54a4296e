"""Several dashboards on the same data: one schedules, the others serve and stand by."""

from __future__ import annotations

import signal
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from dashboard.storage.models import RunState
from tests.factories import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.dashboards import Place, Process

EVERY_SECOND = {"type": "interval", "seconds": 1}


def keep_busy(place: Place, jobs: int = 3) -> datetime:
    """Add jobs that fire every second and never miss."""
    now = datetime.now(UTC).replace(microsecond=0)
    for number in range(jobs):
        place.add_job(
            f"j{number}",
            trigger=EVERY_SECOND | {"start_date": now.isoformat()},
            next_run_time=now,
            coalesce=False,
            misfire_grace_time=None,
        )
    return now


def check(place: Place, first: datetime) -> None:
    """Every fire time is one row, and every row began at most once."""
    assert set(Counter(place.traces()).values()) == {1}
    runs = place.runs()
    for job_id in {run.job_id for run in runs} - {"long"}:
        moments = sorted(run.scheduled_at for run in runs if run.job_id == job_id)
        assert moments == [first + timedelta(seconds=n) for n in range(len(moments))]
    begun = set(place.traces())
    assert {run.id for run in runs if run.state is RunState.SUCCEEDED} <= begun


def go_on(place: Place, runs: int = 3) -> None:
    """Wait until so many more runs have begun."""
    before = len(place.traces())
    wait_until(lambda: len(place.traces()) >= before + runs)


def stop_the_leader(place: Place, dashboards: dict[int, Process], first: int) -> tuple[int, int]:
    """Stop whoever leads in the middle of a run, and see that run interrupted; return both."""
    [run_id] = place.ask("long", first=first, task="faults.hold")
    wait_until(lambda: run_id in place.traces())
    leader = place.began_in(run_id)
    # Stopped inside a transaction, it would keep SQLite locked; PostgreSQL ends that.
    with place.database.write() as session:
        session.connection()  # the lock is taken now, not before something is written
        dashboards[leader].freeze()
    wait_until(lambda: place.state(run_id) == "interrupted")
    return leader, run_id


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_second_serves_and_takes_over_when_the_first_is_killed(
    request: pytest.FixtureRequest, make_place: Callable[..., Place], kind: str
) -> None:
    url = request.getfixturevalue("postgresql_url") if kind == "postgresql" else ""
    # With so long a lease only the death of the first explains a quick take-over.
    place = make_place(database=url, lease_seconds=3600)
    first_fire_time = keep_busy(place)
    first = place.start()
    wait_until(lambda: len(place.traces()) >= 3)
    second = place.start()
    assert second.get("/login")[0] == 200
    go_on(place)
    assert place.leader() == first.pid
    assert place.pids() == {first.pid}
    first.kill()
    wait_until(lambda: place.leader() == second.pid)
    go_on(place)
    assert place.pids() == {first.pid, second.pid}
    second.kill()
    check(place, first_fire_time)


@pytest.mark.parametrize(("kind", "number"), [("sqlite", 2), ("postgresql", 3)])
def test_leaders_that_are_stopped_are_replaced_and_start_nothing_when_they_go_on(
    request: pytest.FixtureRequest, make_place: Callable[..., Place], kind: str, number: int
) -> None:
    url = request.getfixturevalue("postgresql_url") if kind == "postgresql" else ""
    place = make_place(database=url, lease_seconds=2)
    first_fire_time = keep_busy(place)
    place.add_job("long")
    dashboards = {dashboard.pid: dashboard for dashboard in [place.start() for _ in range(number)]}
    for dashboard in dashboards.values():
        dashboard.listens()
    stopped: dict[int, int] = {}  # and the run that each was in the middle of
    while len(stopped) < number - 1:
        leader, run_id = stop_the_leader(place, dashboards, first=len(stopped))
        stopped[leader] = run_id
        wait_until(lambda: place.leader() not in stopped)
        go_on(place)
    for pid in stopped:
        dashboards[pid].signal(signal.SIGCONT)
    place.let_go()
    wait_until(lambda: set(stopped.values()) <= set(place.traces("end")))
    go_on(place, runs=6)
    for pid, run_id in stopped.items():
        assert place.state(run_id) == "interrupted"
        assert dashboards[pid].get("/login")[0] == 200
    for dashboard in dashboards.values():
        dashboard.kill()
    check(place, first_fire_time)


def test_a_leader_that_lives_keeps_the_shortest_lease(make_place: Callable[..., Place]) -> None:
    place = make_place(lease_seconds=1)
    first, second = place.start(), place.start()
    for dashboard in (first, second):
        dashboard.listens()
    seen = [(wait_until(place.leader), time.monotonic())]

    def keeps_it() -> bool:
        # A machine that is busy may cost a leader its lease once, but not second after second.
        if place.leader() != seen[-1][0]:
            seen.append((place.leader(), time.monotonic()))
        return time.monotonic() > seen[-1][1] + 2.5

    wait_until(keeps_it)

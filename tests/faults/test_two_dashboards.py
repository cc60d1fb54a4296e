"""Two dashboards on the same data: one schedules, the other serves and stands by."""

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

    from tests.faults.dashboards import Place

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
    before = len(place.traces())
    wait_until(lambda: len(place.traces()) >= before + 3)
    assert place.leader() == first.pid
    assert place.pids() == {first.pid}
    first.kill()
    wait_until(lambda: place.leader() == second.pid)
    before = len(place.traces())
    wait_until(lambda: len(place.traces()) >= before + 3)
    assert place.pids() == {first.pid, second.pid}
    second.kill()
    check(place, first_fire_time)


def test_the_second_takes_over_from_one_that_is_stopped_and_keeps_the_lead(
    make_place: Callable[..., Place],
) -> None:
    place = make_place(lease_seconds=2)
    first_fire_time = keep_busy(place)
    place.add_job("long")
    first = place.start()
    wait_until(lambda: len(place.traces()) >= 3)
    second = place.start()
    second.listens()
    [run_id] = place.ask("long", task="faults.hold")
    wait_until(lambda: run_id in place.traces())
    with place.database.write():  # stopped inside a transaction, it would keep SQLite locked
        first.signal(signal.SIGSTOP)
    wait_until(lambda: place.leader() == second.pid)
    wait_until(lambda: place.state(run_id) == "interrupted")
    before = len(place.traces())
    wait_until(lambda: len(place.traces()) >= before + 3)
    first.signal(signal.SIGCONT)
    place.let_go()
    wait_until(lambda: run_id in place.traces("end"))
    before = len(place.traces())
    wait_until(lambda: len(place.traces()) >= before + 6)
    assert place.leader() == second.pid
    assert place.state(run_id) == "interrupted"
    assert first.get("/login")[0] == 200
    for dashboard in (first, second):
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

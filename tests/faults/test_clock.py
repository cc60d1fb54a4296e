"""The clock of the machine is set, and the machine sleeps: no fire time is lost or comes twice."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from dashboard.storage.models import RunState, SchedulerLife
from tests.factories import wait_until
from tests.faults.surroundings import Clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.dashboards import Place

MINUTE = 60


def add_job(place: Place) -> datetime:
    """Add a job of every second, none of whose fire times is ever too late."""
    now = datetime.now(UTC).replace(microsecond=0)
    place.add_job(
        "j",
        trigger={"type": "interval", "seconds": 1, "start_date": now.isoformat()},
        next_run_time=now,
        coalesce=False,
        misfire_grace_time=None,
    )
    return now


def goes_on(place: Place, runs: int = 3) -> None:
    """Wait until so many more runs have begun."""
    before = len(place.traces())
    wait_until(lambda: len(place.traces()) >= before + runs)


def check(place: Place, first: datetime) -> None:
    """Every fire time is one run, and each began once."""
    runs = place.runs()
    moments = sorted(run.scheduled_at for run in runs)
    assert moments == [first + timedelta(seconds=n) for n in range(len(moments))]
    assert sorted(place.traces()) == [run.id for run in runs if run.started_at]
    assert {run.state for run in runs} <= {RunState.SUCCEEDED, RunState.QUEUED}


def test_jumps_and_sleep_lose_no_fire_time_and_move_no_lead(
    make_place: Callable[..., Place], tmp_path: Path
) -> None:
    place, clock = make_place(lease_seconds=15), Clock(tmp_path)
    first_fire_time = add_job(place)
    leader = place.start()
    goes_on(place)

    standby = place.start()  # looks at the lease for the first time when the clock has been set
    clock.jump(MINUTE)
    standby.listens()
    wait_until(lambda: len(place.runs(RunState.SUCCEEDED)) > MINUTE)

    clock.jump(-8)  # for twice as long as from one sign of life to the next
    wait_until(lambda: any(member.problem for member in place.processes().values()))
    goes_on(place)

    pair = leader, standby
    for process in pair:
        process.signal(signal.SIGSTOP)
    clock.jump(MINUTE)
    for process in pair:
        process.signal(signal.SIGCONT)
    wait_until(lambda: len(place.runs(RunState.SUCCEEDED)) > 2 * MINUTE)
    goes_on(place)

    assert place.leader() == leader.pid
    with place.database.read() as session:
        assert len(session.scalars(select(SchedulerLife)).all()) == 1
    for process in pair:
        process.signal(signal.SIGTERM)
        process.wait()
    check(place, first_fire_time)

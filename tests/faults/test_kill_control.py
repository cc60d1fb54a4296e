"""kill -9 while something waits: a retry or a pause for its moment, a run for its end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psutil
from sqlalchemy import update

from dashboard.services import audit, runs
from dashboard.storage.models import Job, Run
from tests.factories import OPERATOR, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.dashboards import Place

LONG = {"seconds": 600}


def attempts(place: Place, job_id: str) -> list[tuple[int, str]]:
    return [(run.attempt, run.state.value) for run in place.runs() if run.job_id == job_id]


def add_jobs(place: Place) -> None:
    place.add_job("again", task="faults.fragile", retries=2, retry_wait=600)
    place.add_job("limited", executor="processes", timeout=600, retries=1, retry_wait=1)
    place.add_job("unwanted", retries=3, retry_wait=1)
    now = datetime.now(UTC)
    place.add_job("away", paused_at=now, resume_at=now + timedelta(hours=1))


def let_everything_come(place: Place) -> None:
    """Let pass, while nobody is there, what everybody waited for."""
    now = datetime.now(UTC)
    (place.folder / "trouble").unlink()
    with place.database.write() as session:
        session.execute(update(Run).where(Run.not_before.is_not(None)).values(not_before=now))
        session.execute(update(Job).where(Job.id == "away").values(resume_at=now))
        session.execute(update(Job).where(Job.id == "limited").values(timeout=0.5))


def test_nothing_that_waited_is_lost_or_done_twice(make_place: Callable[..., Place]) -> None:
    place = make_place(threads=2, processes=1)
    (place.folder / "trouble").touch()
    add_jobs(place)
    place.ask("again", task="faults.fragile")
    [limited] = place.ask("limited", executor="processes", parameters=LONG)
    [unwanted] = place.ask("unwanted", parameters=LONG)
    first = place.start()
    wait_until(lambda: attempts(place, "again") == [(1, "failed"), (2, "queued")])
    wait_until(lambda: {limited, unwanted} <= set(place.traces()))
    with audit.transaction(place.database) as session:
        runs.cancel_run(session, unwanted, actor=OPERATOR)
    workers = place.pids() - {first.pid}
    first.kill()
    wait_until(lambda: not any(map(psutil.pid_exists, workers)))
    assert attempts(place, "limited") == attempts(place, "unwanted") == [(1, "running")]

    let_everything_come(place)
    second = place.start()
    wait_until(lambda: len(attempts(place, "limited")) == 2)
    place.settle()
    assert attempts(place, "again") == [(1, "failed"), (2, "succeeded")]
    assert attempts(place, "limited") == [(1, "interrupted"), (2, "failed")]
    assert attempts(place, "unwanted") == [(1, "cancelled")]
    assert place.job("away").paused_at is None
    following = next(run for run in place.runs() if run.job_id == "limited" and run.attempt == 2)
    assert following.error_type == "TimeoutError"
    assert sorted(place.traces()) == sorted([limited, unwanted, following.id])
    assert place.traces("end") == []
    second.kill()

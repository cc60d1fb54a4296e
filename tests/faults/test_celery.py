"""Celery workers, real ones with a real broker: killed, stopped, cut off, and asked twice."""

from __future__ import annotations

import os
import signal
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import redis
from sqlalchemy import update

from dashboard.scheduling.broker import QUEUE, RUN, make_celery
from dashboard.scheduling.leader import Identity
from dashboard.scheduling.presence import Presence
from dashboard.services import audit
from dashboard.services.runs import cancel_run
from dashboard.storage.models import ProcessKind, Run, RunState
from tests import servers
from tests.conftest import unavailable
from tests.factories import OPERATOR, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.dashboards import Place, Process

LONG = 600.0


def ready(worker: Process) -> Process:
    """Wait until a worker takes runs."""
    wait_until(lambda: "Worker ready" in worker.said or not worker.alive)
    assert "Worker ready" in worker.said, worker.said
    return worker


@pytest.fixture
def place(make_place: Callable[..., Place], redis_url: str) -> Place:
    place = make_place(celery_broker=redis_url, shutdown_grace=1)
    place.add_job("a", executor="celery")
    return place


def ask(place: Place, count: int = 1, job_id: str = "a", **values: Any) -> list[int]:
    """Queue runs for Celery."""
    first = len(place.runs())
    return place.ask(job_id, first=first, count=count, **({"executor": "celery"} | values))


def take_time(seconds: float) -> dict[str, Any]:
    return {"parameters": {"seconds": seconds}}


def test_runs_are_executed_once_by_the_workers(place: Place) -> None:
    worker = ready(place.start_worker("--concurrency", "2"))
    dashboard = place.start()
    ids = ask(place, 60)
    place.settle()
    assert Counter(place.traces()) == dict.fromkeys(ids, 1)
    assert {run.state for run in place.runs()} == {RunState.SUCCEEDED}
    found = place.processes()
    assert {run.process for run in place.runs()} == {found[worker.pid].process}
    assert found[worker.pid].places == 2
    assert dashboard.pid in found
    assert not {dashboard.pid, worker.pid} & place.pids()


def test_a_worker_receives_secrets(place: Place) -> None:
    sealed = {"token": place.settings.vault.seal("hunter2")}
    ready(place.start_worker("--concurrency", "1"))
    place.start()
    ask(place, task="faults.secret", parameters=sealed)
    place.settle()
    [run] = place.runs()
    assert (run.state, run.result) == (RunState.SUCCEEDED, "**********")


def test_a_message_that_comes_twice_starts_nothing_twice(place: Place) -> None:
    ready(place.start_worker("--concurrency", "2"))
    place.start()
    ids = ask(place, 20, **take_time(0.05))
    app = make_celery(place.settings)
    wait_until(place.traces)
    for run_id in [*ids, *ids, 10**9]:
        app.send_task(RUN, [run_id])
    place.settle()
    app.close()
    assert Counter(place.traces()) == dict.fromkeys(ids, 1)


def test_what_waits_in_the_broker_is_not_sent_again_but_what_it_lost_is(
    make_place: Callable[..., Place], redis_url: str
) -> None:
    place = make_place(celery_broker=redis_url)
    place.add_job("a", executor="celery")
    here, kind = Identity.of_this_process(), ProcessKind.WORKER
    somebody: dict[str, Any] = {
        "seconds": 3600,
        "version": "1",
        "executors": ["celery"],
        "places": 1,
    }
    Presence(place.database, here, kind, **somebody).beat()  # and takes nothing
    place.start()
    ids = ask(place, 2)
    with redis.Redis.from_url(redis_url) as broker:
        wait_until(lambda: broker.llen(QUEUE) == len(ids))
        for _ in range(2):
            wait_long(place)
        assert broker.llen(QUEUE) == len(ids)
        broker.delete(QUEUE)
        wait_long(place)
        wait_until(lambda: broker.llen(QUEUE) == len(ids))
    ready(place.start_worker("--concurrency", "1"))
    place.settle()
    assert sorted(place.traces()) == ids


def wait_long(place: Place) -> None:
    """Let a minute pass for what was sent, and wait until the leader has looked at that."""
    with place.database.write() as session:
        earlier = datetime.now(UTC) - timedelta(minutes=2)
        session.execute(update(Run).values(sent_at=earlier))
    wait_until(lambda: all(run.sent_at and run.sent_at > earlier for run in place.runs()))


def test_runs_of_a_lost_worker_are_interrupted_and_others_go_on(place: Place) -> None:
    place.start()
    lost = ready(place.start_worker("--concurrency", "1"))
    [run_id] = ask(place, **take_time(LONG))
    wait_until(place.traces)
    [child] = place.pids()
    lost.kill()
    wait_until(lambda: place.state(run_id) == "interrupted")
    wait_until(lambda: not psutil.pid_exists(child))
    assert lost.pid not in place.processes()
    [waiting] = ask(place)
    ready(place.start_worker("--concurrency", "1"))
    wait_until(lambda: place.state(waiting) == "succeeded")
    assert place.traces() == [run_id, waiting]


def test_a_worker_whose_child_is_killed_ends_that_run_and_goes_on(place: Place) -> None:
    place.start()
    worker = ready(place.start_worker("--concurrency", "1"))
    [run_id] = ask(place, **take_time(LONG))
    wait_until(place.traces)
    [child] = place.pids()
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: place.state(run_id) == "interrupted")
    [after] = ask(place)
    wait_until(lambda: place.state(after) == "succeeded")
    assert worker.alive


def test_a_cancelled_run_is_killed_with_its_child(place: Place) -> None:
    place.start()
    worker = ready(place.start_worker("--concurrency", "1"))
    [run_id] = ask(place, **take_time(LONG))
    wait_until(place.traces)
    with audit.transaction(place.database) as session:
        cancel_run(session, run_id, actor=OPERATOR)
    wait_until(lambda: place.state(run_id) == "cancelled")
    [run] = place.runs()
    assert "Cancelled by otto" in str(run.reason)
    assert run.started_at is not None
    [after] = ask(place)
    wait_until(lambda: place.state(after) == "succeeded")
    assert worker.alive


def test_a_new_leader_leaves_the_runs_of_workers_alone(place: Place) -> None:
    ready(place.start_worker("--concurrency", "1"))
    first = place.start()
    [run_id] = ask(place, task="faults.hold")
    wait_until(place.traces)
    first.kill()
    second = place.start()
    wait_until(lambda: place.leader() == second.pid)
    place.let_go()
    wait_until(lambda: place.state(run_id) != "running")
    assert place.state(run_id) == "succeeded"


def test_a_stopped_worker_gives_its_runs_the_grace_period(place: Place) -> None:
    place.start()
    worker = ready(place.start_worker("--concurrency", "2", shutdown_grace=5))
    [short] = ask(place, **take_time(0.5))
    [long] = ask(place, **take_time(LONG))
    wait_until(lambda: len(place.traces()) == 2)
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0, worker.said
    assert place.state(short) == "succeeded"
    assert place.state(long) == "interrupted"
    assert worker.pid not in place.processes()


def test_without_the_broker_runs_stay_queued_and_go_on_by_themselves(
    make_place: Callable[..., Place],
) -> None:
    program = servers.find_redis()
    if program is None:
        unavailable("Redis")
    port = servers.free_port()
    place = make_place(celery_broker=f"redis://127.0.0.1:{port}/0", lease_seconds=5)
    place.add_job("a", executor="celery")
    with servers.redis_server(program, port=port):
        worker = ready(place.start_worker("--concurrency", "1"))
        dashboard = place.start()
        [before] = ask(place)
        wait_until(lambda: place.state(before) == "succeeded")
    ids = ask(place, 5)
    wait_until(lambda: place.processes()[dashboard.pid].problem)
    assert "broker cannot be reached" in str(place.processes()[dashboard.pid].problem)
    assert {place.state(run_id) for run_id in ids} == {"queued"}
    with servers.redis_server(program, port=port):
        wait_until(lambda: {place.state(run_id) for run_id in ids} == {"succeeded"})
        wait_until(lambda: place.processes()[dashboard.pid].problem is None)
        assert worker.alive
    assert Counter(place.traces()) == dict.fromkeys([before, *ids], 1)


def test_queues_go_to_the_workers_that_serve_them(
    make_place: Callable[..., Place], redis_url: str
) -> None:
    place = make_place(celery_broker=redis_url, celery_queues="gpu")
    place.add_job("plain", executor="celery")
    place.add_job("gpu", executor="celery:gpu", max_instances=2)
    place.add_job("other", executor="celery:gpu")
    place.start()
    worker = ready(place.start_worker("--queues", "gpu", "--concurrency", "4"))
    ids = ask(place, 6, "gpu", executor="celery:gpu", task="faults.hold")
    [unserved] = ask(place, 1, "plain")
    wait_until(lambda: len(place.traces()) == 2)
    [after] = ask(place, 1, "other", executor="celery:gpu")
    wait_until(lambda: place.state(after) == "succeeded")
    assert len(place.traces()) == 3  # its max_instances, though four would have had a place
    place.let_go()
    wait_until(lambda: {place.state(run_id) for run_id in ids} == {"succeeded"})
    assert place.state(unserved) == "queued"
    assert place.processes()[worker.pid].executors == ["celery:gpu"]


def test_a_run_that_takes_too_long_is_killed_and_told_so(place: Place) -> None:
    place.add_job("slow", executor="celery", timeout=1)
    ready(place.start_worker("--concurrency", "1"))
    place.start()
    [late] = ask(place, 1, "slow", **take_time(LONG))
    [following] = ask(place)
    wait_until(lambda: place.state(following) == "succeeded")
    run = next(run for run in place.runs() if run.id == late)
    assert (run.state, run.error_type) == (RunState.FAILED, "TimeoutError")
    assert "longer than its timeout of 1 s" in str(run.error_message)
    assert late not in place.traces("end")

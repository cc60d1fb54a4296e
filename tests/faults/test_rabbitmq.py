"""Celery's other broker: what test_celery.py shows with Redis holds with RabbitMQ."""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from dashboard.storage.models import RunState
from tests import servers
from tests.factories import wait_until
from tests.faults.test_celery import LONG, ask, ready, take_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.faults.dashboards import Place


@pytest.fixture
def rabbitmq_url() -> Iterator[str]:
    program = servers.find_rabbitmq()
    if program is None:
        pytest.skip("RabbitMQ is not installed (apt-get install rabbitmq-server); nothing needs it")
    with servers.rabbitmq_server(program) as url:
        yield url


@pytest.mark.timeout(300)
def test_runs_are_executed_once_and_end_with_their_worker(
    make_place: Callable[..., Place], rabbitmq_url: str
) -> None:
    place = make_place(celery_broker=rabbitmq_url, shutdown_grace=1)
    place.add_job("a", executor="celery")
    worker = ready(place.start_worker("--concurrency", "1"))
    place.start()
    ids = ask(place, 30)
    place.settle()
    assert Counter(place.traces()) == dict.fromkeys(ids, 1)
    assert {run.state for run in place.runs()} == {RunState.SUCCEEDED}
    [child] = place.pids()
    [long] = ask(place, **take_time(LONG))
    wait_until(lambda: long in place.traces())
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: place.state(long) == "interrupted")
    [after] = ask(place)
    wait_until(lambda: place.state(after) == "succeeded")
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0, worker.said

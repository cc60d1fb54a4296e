"""Runs a second by two Celery workers, every run a row, against the same by bare Celery."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import redis
from sqlalchemy import insert

from bench.bare_celery import BROKER, CALLS, app, count
from bench.drain import SUCCEEDED
from bench.isolation import LOOK, PATIENCE, scratch, wait_for_rows
from bench.parties import add_jobs, in_pieces, job_row
from bench.processes import ROOT
from bench.results import Figure, median
from dashboard.runtime import make_runtime
from dashboard.settings import load_settings
from dashboard.storage.models import Origin, Run, RunState
from tests import servers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.scale import Scale
    from dashboard.storage.db import Database

WORKERS = 2
PLACES = 2
"""Runs at once in each worker."""


def measure(scale: Scale) -> Iterator[Figure]:
    """Compare on PostgreSQL and Redis of our own, in turn."""
    postgresql, program = servers.find_postgresql(), servers.find_redis()
    if postgresql is None or program is None:
        print("(celery: PostgreSQL or Redis is not installed, left out)", file=sys.stderr)
        return
    ours, plain = [], []
    for _ in range(scale.worker_rounds):
        with servers.postgresql_server(postgresql) as server, servers.redis_server(program) as url:
            ours.append(_dashboard(f"{server}/postgres", url, scale.sent_runs))
        with servers.redis_server(program) as url:
            plain.append(_bare(url, scale.sent_runs))
    what = f"{scale.sent_runs:,} runs by {WORKERS} workers, recorded / bare Celery"
    ratio = median([mine / theirs for mine, theirs in zip(ours, plain, strict=True)])
    detail = f"{median(ours):,.0f} and {median(plain):,.0f} runs/s"
    yield Figure("celery", what, ratio, "x", None, detail)


def _dashboard(database: str, broker: str, runs: int) -> float:
    """Return runs a second, from the first that is queued until all rows have succeeded."""
    options = {"database": database, "celery_broker": broker, "tasks": "bench.workload"}
    with ExitStack() as stack:
        options["data"] = str(stack.enter_context(scratch()))
        runtime = make_runtime(load_settings(**options))
        stack.callback(runtime.database.close)
        stack.callback(runtime.stop, 5)
        runtime.start()
        environment = {f"DASHBOARD_{name.upper()}": value for name, value in options.items()}
        command = ["-m", "dashboard", "worker", "--concurrency", str(PLACES)]
        for _ in range(WORKERS):
            stack.enter_context(_program(command, environment, "Worker ready"))
        began = time.perf_counter()
        _queue(runtime.database, runs)
        wait_for_rows(runtime.database.url, SUCCEEDED, runs)
        return runs / (time.perf_counter() - began)


def _queue(database: Database, runs: int) -> None:
    """Queue runs of as many jobs, as a person would with a bulk action."""
    now = datetime.now(UTC)
    make = partial(
        job_row,
        task="bench.tick",
        executor="celery",
        trigger={"type": "interval", "hours": 1},
        next_run_time=None,
    )
    run = {
        "job_name": "",
        "task": "bench.tick",
        "parameters": {},
        "scheduled_at": now,
        "attempt": 1,
        "origin": Origin.MANUAL,
        "state": RunState.QUEUED,
        "coalesced": 0,
        "queued_at": now,
        "executor": "celery",
        "log_dropped": 0,
    }
    with database.write() as session:
        add_jobs(session, (make(number) for number in range(runs)))
        in_pieces(session, insert(Run), (run | {"job_id": f"job-{n}"} for n in range(runs)))


def _bare(broker: str, runs: int) -> float:
    """Return calls a second, from the first that is sent until the last was counted."""
    with ExitStack() as stack:
        command = ["-m", "celery", "--app", "bench.bare_celery", "worker", "--pool", "prefork"]
        command += ["--concurrency", str(PLACES), "--loglevel", "INFO", "--hostname"]
        for number in range(WORKERS):
            stack.enter_context(_program([*command, f"w{number}"], {BROKER: broker}, " ready."))
        # One of its own: the app's pool would keep the connection to the broker of the last round.
        connection = stack.enter_context(app.connection_for_write(broker))
        producer = app.amqp.Producer(connection)
        counter = redis.Redis.from_url(broker)
        stack.callback(counter.close)
        began = time.perf_counter()
        for number in range(runs):
            count.apply_async((number,), producer=producer)
        while int(counter.get(CALLS) or 0) < runs:
            if time.perf_counter() - began > PATIENCE:
                raise TimeoutError(f"{counter.get(CALLS)!r} of {runs} calls")
            time.sleep(LOOK)
        return runs / (time.perf_counter() - began)


@contextmanager
def _program(
    arguments: Sequence[str], environment: Mapping[str, str], greeting: str
) -> Iterator[None]:
    """Run Python with `arguments` once it has said `greeting`, until the block ends."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process, ExitStack() as stack:
        stack.callback(process.terminate)
        assert process.stdout is not None
        if not any(greeting in line for line in process.stdout):
            raise RuntimeError(f"{arguments} ended before it was ready")
        reader = threading.Thread(target=process.stdout.read, daemon=True)
        reader.start()
        stack.callback(reader.join)
        stack.callback(process.terminate)
        yield

"""How long nobody leads when the leading process stops, is killed, or freezes."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from bench.isolation import scratch
from bench.results import Figure, Target, median
from tests import servers
from tests.factories import wait_until
from tests.faults.dashboards import Place, Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.scale import Scale

LEASE = 2.0
"""Seconds; the default is ten."""


def measure(scale: Scale) -> Iterator[Figure]:
    """Let two dashboards on PostgreSQL lead in turn."""
    programs = servers.find_postgresql()
    if programs is None:
        print("(failover: PostgreSQL is not installed, left out)", file=sys.stderr)
        return
    with ExitStack() as stack:
        server = stack.enter_context(servers.postgresql_server(programs))
        folder = stack.enter_context(scratch())
        place = Place.make(folder, database=f"{server}/postgres", lease_seconds=LEASE)
        stack.callback(place.database.close)
        pair = [place.start(), place.start()]
        stack.callback(_end, pair)
        for what, target, end in (
            ("stops cleanly", 2.0, _stop),
            ("is killed, on the same machine", 2.0, _kill),
            ("freezes, as one on another machine is lost", 2 * LEASE, _freeze),
        ):
            seconds = [_trial(place, pair, end) for _ in range(scale.failovers)]
            detail = f"median {median(seconds):.2f} s of {len(seconds)}, lease {LEASE:g} s"
            title = f"longest time without a leader after it {what}"
            yield Figure("failover", title, max(seconds), "s", Target(at_most=target), detail)


def _trial(place: Place, pair: list[Process], end: Callable[[Process], None]) -> float:
    """End the leader in some way; return the seconds until the other one leads."""
    for process in pair:
        process.listens()
    wait_until(lambda: place.leader() in {process.pid for process in pair})
    leads = [process.pid for process in pair].index(place.leader())
    other = pair[1 - leads].pid
    wait_until(lambda: {process.pid for process in pair} <= place.processes().keys())
    began = time.perf_counter()
    end(pair[leads])
    wait_until(lambda: place.leader() == other)
    took = time.perf_counter() - began
    if end is _freeze:
        pair[leads].signal(signal.SIGCONT)
    else:
        pair[leads].wait()
        pair[leads] = place.start()
    return took


def _stop(leader: Process) -> None:
    leader.signal(signal.SIGTERM)


def _kill(leader: Process) -> None:
    leader.kill()


def _freeze(leader: Process) -> None:
    leader.signal(signal.SIGSTOP)


def _end(pair: list[Process]) -> None:
    for process in pair:
        process.kill()

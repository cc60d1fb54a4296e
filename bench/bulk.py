"""Acting on ten thousand jobs at once: how long it takes, and how long others wait meanwhile."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.isolation import scratch
from bench.parties import dashboard
from bench.population import populate
from bench.results import Figure, Target
from dashboard.services import audit, bulk
from dashboard.services.audit import SYSTEM
from dashboard.services.bulk import BulkAction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.scale import Scale
    from dashboard.runtime import Runtime

TARGET = Target(at_most=30)
LONGEST = Target(at_most=500)
ACTIONS = (BulkAction.PAUSE, BulkAction.RESUME, BulkAction.REMOVE)


def measure(scale: Scale) -> Iterator[Figure]:
    """Preview and do each action to every job of a full dashboard."""
    with scratch() as folder, dashboard(folder) as runtime:
        populate(runtime.database, jobs=scale.page_jobs, runs=0)
        for action in ACTIONS:
            yield from _figures(runtime, action)


def _figures(runtime: Runtime, action: BulkAction) -> Iterator[Figure]:
    database = runtime.database
    began = time.perf_counter()
    with audit.transaction(database) as session:
        planned = bulk.prepare(session, action, search="", actor=SYSTEM)
    previewed = time.perf_counter()
    with audit.transaction(database) as session:
        bulk.start(session, planned.id, actor=SYSTEM)
    longest, more = 0.0, True
    while more:
        batch = time.perf_counter()
        with audit.transaction(database) as session:
            more = bulk.go_on(session, planned.id, actor=SYSTEM, settings=runtime.settings)
        longest = max(longest, time.perf_counter() - batch)
    count = len(planned.targets)
    detail = f"{count:,} jobs, previewed in {(previewed - began) * 1000:.0f} ms"
    seconds = time.perf_counter() - previewed
    yield Figure("bulk", f"{action.value} all jobs", seconds, "s", TARGET, detail)
    yield Figure("bulk", f"{action.value}: longest transaction", longest * 1000, "ms", LONGEST, "")

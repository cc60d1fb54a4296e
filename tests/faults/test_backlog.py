"""100,000 queued runs: pages cost what they do beside a fifth of them, and answer meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event, func, insert, literal, select

from dashboard.services.accounts import ensure_first_account
from dashboard.storage.models import Origin, Run, RunState
from tests.factories import wait_until
from tests.faults.test_away import PASSWORD, fetch, sign_in
from tests.web.site import open_site

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tests.faults.dashboards import Place

PAGES = (
    "/",
    "/jobs",
    "/jobs/flood",
    "/jobs/other",
    "/runs",
    "/runs?state=queued",
    "/runs?job=flood&state=queued",
    "/runs?task=faults.work",
    "/runs/1",
    "/errors",
    "/system",
    "/system/pulse",
    "/api/v1/jobs",
    "/api/v1/runs",
    "/api/v1/runs?state=queued",
    "/metrics",
)
COUNTING = ("/timeline", "/api/v1/status")
"""These look at every active run, as entries of an index."""

A_UNIT = 100
"""Instructions of SQLite's virtual machine that make a unit of work."""


def queue(place: Place, first: int, last: int) -> None:
    """Queue runs of one job as if they had been asked for second by second, long ago."""
    numbers = select(literal(first).label("number")).cte(recursive=True)
    numbers = numbers.union_all(select(numbers.c.number + 1).where(numbers.c.number < last))
    moment = func.strftime("%Y-%m-%d %H:%M:%f000", 1_700_000_000 + numbers.c.number, "unixepoch")
    columns: dict[str, Any] = {
        "job_id": literal("flood"),
        "job_name": literal("flood"),
        "task": literal("faults.work"),
        "parameters": literal('{"seconds": 0.05}'),
        "scheduled_at": moment,
        "queued_at": moment,
        "attempt": literal(1),
        "origin": literal(Origin.MANUAL.value),
        "state": literal(RunState.QUEUED.value),
        "executor": literal("threads"),
        "coalesced": literal(0),
        "log_dropped": literal(0),
    }
    with place.database.write() as session:
        rows = select(*columns.values())
        session.execute(insert(Run).from_select(list(columns), rows, include_defaults=False))


def work_of_pages(place: Place) -> dict[str, int]:
    """Return how much SQLite has to do for each page, which no busy machine makes more."""
    done = 0

    def count() -> int:
        nonlocal done
        done += 1
        return 0

    def watch(connection: Any, _record: object) -> None:
        connection.set_progress_handler(count, A_UNIT)

    engine, work = place.database.engine, {}
    event.listen(engine, "connect", watch)
    engine.dispose()
    with open_site(place.database, place.settings) as site:
        for page in PAGES:
            site.get(page)  # what is remembered of it, and statements that are built once
            with place.database.write():
                pass  # and now something has changed
            before = done
            site.get(page)
            work[page] = done - before
    event.remove(engine, "connect", watch)
    engine.dispose()
    return work


@pytest.mark.timeout(180)
def test_pages_beside_100_000_queued_runs(make_place: Callable[..., Place]) -> None:
    place = make_place(admin_password=PASSWORD)
    ensure_first_account(place.database, place.settings)
    for job_id in ("flood", "other"):
        place.add_job(job_id)
    queue(place, 1, 20_000)
    few = work_of_pages(place)
    queue(place, 20_001, 100_000)
    many = work_of_pages(place)
    assert {page: work for page, work in many.items() if work > 1.2 * few[page] + 10} == {}
    dashboard = place.start()
    person = sign_in(dashboard.listens())
    wait_until(lambda: len(place.traces()) >= 20)
    for page in PAGES + COUNTING:
        assert fetch(person, dashboard.listens() + page)[0] == 200
    before = len(place.traces())
    wait_until(lambda: len(place.traces()) > before)
    assert dashboard.get("/healthz")[0] == 200

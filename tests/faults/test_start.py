"""What is wrong at the start is said, and costs no job."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

from tests.factories import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.dashboards import Place, Process


def test_with_tasks_that_cannot_be_imported_it_serves_and_keeps_their_jobs(
    make_place: Callable[..., Place],
) -> None:
    place = make_place()
    place.add_job("a", notes="keep me")
    tasks = place.folder / "faults_tasks.py"
    good = tasks.read_text()
    tasks.write_text("import nothing_of_that_name\n")
    dashboard = place.start()
    assert dashboard.get("/login")[0] == 200
    assert "faults_tasks.py could not be loaded: No module named" in dashboard.said
    wait_until(lambda: place.job("a").broken_reason)
    dashboard.kill()
    assert place.job("a").notes == "keep me"
    tasks.write_text(good)
    [run_id] = place.ask("a")
    dashboard = place.start()
    wait_until(lambda: place.state(run_id) == "succeeded")
    assert place.job("a").broken_reason is None


def test_who_asks_is_told_while_nothing_can_be_scheduled(
    make_place: Callable[..., Place],
) -> None:
    place = make_place(lease_seconds=1)
    dashboard = place.start()
    wait_until(lambda: health(dashboard, 200))
    name = place.database.engine.url.database
    assert name is not None
    other = sqlite3.connect(name, isolation_level=None, timeout=PATIENCE)
    other.execute("BEGIN IMMEDIATE")
    told = wait_until(lambda: health(dashboard, 503))
    assert told["scheduler"] == "stopped"
    assert told["heartbeat_age_seconds"] >= 1
    other.execute("ROLLBACK")
    other.close()
    assert wait_until(lambda: health(dashboard, 200))["scheduler"] == "running"


def health(dashboard: Process, wanted: int) -> dict[str, Any]:
    """Return what is told with that status; nothing while it is another."""
    status, told = dashboard.get("/healthz")
    return json.loads(told) if status == wanted else {}

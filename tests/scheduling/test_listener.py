from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from dashboard.scheduling import listener, scheduler
from dashboard.storage.models import RunState
from tests.factories import open_core, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest


def test_the_leader_hears_at_once_what_was_done_elsewhere(
    postgresql_url: str,
    tmp_path: Path,
    register: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scheduler, "LOOK", 600.0)  # by itself it would see it far too late
    monkeypatch.setattr(listener, "RETRY", 0.05)
    register(lambda: None, "test.nothing")
    options = {"data": tmp_path, "database": postgresql_url, "lease_seconds": 3600}
    with open_core(**options) as leader, open_core(**options) as other:
        leader.start()
        wait_until(lambda: leader.runtime.scheduler.leadership.leading)
        job_id = other.add("test.nothing")
        run_id = other.run_now(job_id)
        wait_until(lambda: other.run(run_id).state is RunState.SUCCEEDED)
        with psycopg.connect(postgresql_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
            )
        run_id = other.run_now(job_id)
        wait_until(lambda: other.run(run_id).state is RunState.SUCCEEDED)


def test_who_stands_by_hears_of_a_clean_stop(
    postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "LOOK", 600.0)
    options = {"data": tmp_path, "database": postgresql_url, "lease_seconds": 3600}
    with open_core(**options) as leader, open_core(**options) as other:
        leader.start()
        wait_until(lambda: leader.runtime.scheduler.leadership.leading)
        other.start()
        listeners = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
        with psycopg.connect(postgresql_url, autocommit=True) as connection:
            wait_until(lambda: connection.execute(listeners).fetchone() == (2,))
        leader.runtime.stop()
        wait_until(lambda: other.runtime.scheduler.leadership.leading)

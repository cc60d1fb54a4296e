"""gunicorn with several workers, as in docs/OPERATIONS.md: one of them leads."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.factories import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.dashboards import Place

OPTIONS = ["--bind", "127.0.0.1:0", "--workers", "2", "--threads", "4"]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_one_of_its_workers_leads_and_another_follows(
    request: pytest.FixtureRequest, make_place: Callable[..., Place], kind: str
) -> None:
    url = request.getfixturevalue("postgresql_url") if kind == "postgresql" else ""
    place = make_place(database=url, shutdown_grace=2, admin_password="correct horse battery")
    place.add_job("a")
    server = place.start_gunicorn(*OPTIONS)
    wait_until(lambda: len(place.processes()) == 2 and place.leader() in place.processes())
    assert server.get("/login")[0] == 200
    assert server.get("/healthz")[0] == 200
    ids = place.ask("a", count=20)
    place.settle()
    assert sorted(place.traces()) == ids
    [leader] = place.pids()
    assert leader == place.leader()
    [running] = place.ask("a", first=100, parameters={"seconds": 600})
    wait_until(lambda: running in place.traces())
    server.signal(signal.SIGTERM)
    assert server.wait() == 0, server.said
    assert place.state(running) == "interrupted"
    assert place.processes() == {}

"""SIGTERM and Ctrl-C: intake ends, runs get their grace period, the rest is interrupted."""

from __future__ import annotations

import signal
import sqlite3
from typing import TYPE_CHECKING

from tests.factories import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.dashboards import Place, Process

AN_HOUR = 3600.0
"""Longer than a test waits for an end."""

NEVER_ENDS = {"seconds": AN_HOUR}


def end(
    dashboard: Process, number: signal.Signals = signal.SIGTERM, *, group: bool = False
) -> None:
    """Send a signal and wait for the end."""
    dashboard.signal(number, group=group)
    assert dashboard.wait() == 0, dashboard.said


def test_runs_end_within_the_grace_period_or_are_interrupted(
    make_place: Callable[..., Place],
) -> None:
    place = make_place(shutdown_grace=4)
    place.add_job("a")
    place.add_job("late")
    [short] = place.ask("a", task="faults.hold")
    [long] = place.ask("a", first=1, parameters=NEVER_ENDS)
    dashboard = place.start()
    wait_until(lambda: len(place.traces()) == 2)
    dashboard.signal(signal.SIGTERM)
    wait_until(lambda: "stopping" in dashboard.said)
    late = place.ask("late", parameters={})
    place.let_go()
    assert dashboard.wait() == 0, dashboard.said
    assert place.state(short) == "succeeded"
    assert place.state(long) == "interrupted"
    assert [place.state(run_id) for run_id in late] == ["queued"]
    assert sorted(place.traces()) == sorted([short, long])  # they started at the same moment


def test_without_runs_it_ends_at_once(make_place: Callable[..., Place]) -> None:
    place = make_place(shutdown_grace=AN_HOUR)
    dashboard = place.start()
    dashboard.get("/login")
    end(dashboard)
    assert "Traceback" not in dashboard.said


def test_a_second_signal_cuts_the_grace_period_short(make_place: Callable[..., Place]) -> None:
    place = make_place(shutdown_grace=AN_HOUR)
    place.add_job("a")
    [run_id] = place.ask("a", parameters=NEVER_ENDS)
    dashboard = place.start()
    wait_until(place.traces)
    dashboard.signal(signal.SIGTERM)
    wait_until(lambda: "stopping" in dashboard.said)
    end(dashboard)
    assert place.state(run_id) == "interrupted"


def test_ctrl_c_leaves_worker_processes_their_grace_period(
    make_place: Callable[..., Place],
) -> None:
    """A terminal sends it to every process of the dashboard."""
    place = make_place(shutdown_grace=AN_HOUR)
    place.add_job("a", executor="processes")
    [run_id] = place.ask("a", executor="processes", parameters={"seconds": 1.5})
    dashboard = place.start()
    wait_until(place.traces)
    end(dashboard, signal.SIGINT, group=True)
    assert place.state(run_id) == "succeeded"
    assert place.traces("end") == [run_id]


def test_worker_processes_that_do_not_end_are_ended(make_place: Callable[..., Place]) -> None:
    place = make_place(shutdown_grace=0.5)
    place.add_job("a", executor="processes")
    [run_id] = place.ask("a", executor="processes", parameters=NEVER_ENDS)
    dashboard = place.start()
    wait_until(place.traces)
    end(dashboard)
    assert place.state(run_id) == "interrupted"


def test_a_locked_database_does_not_keep_it(make_place: Callable[..., Place]) -> None:
    place = make_place(shutdown_grace=1)
    place.add_job("a")
    [run_id] = place.ask("a", parameters=NEVER_ENDS)
    dashboard = place.start()
    wait_until(place.traces)
    name = place.database.engine.url.database
    assert name is not None
    other = sqlite3.connect(name, isolation_level=None, timeout=PATIENCE)
    other.execute("BEGIN IMMEDIATE")
    end(dashboard)
    other.execute("ROLLBACK")
    other.close()
    assert place.state(run_id) == "running"  # the next leader interrupts it

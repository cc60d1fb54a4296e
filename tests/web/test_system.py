from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text, update

from dashboard.storage.models import Lease, Process, ProcessKind, RunState, SchedulerLife
from dashboard.tasks import LoadProblem
from tests.rows import make_job, make_run
from tests.web.site import HTMX, links, words

if TYPE_CHECKING:
    from collections.abc import Callable

    from dashboard.web.state import DashboardState
    from tests.web.site import Site

NOW = datetime.now(UTC)


def state_of(site: Site) -> DashboardState:
    state: DashboardState = site.client.application.extensions["dashboard"]
    return state


def lead(site: Site, *, seconds: int = 3600) -> None:
    """Let a scheduler hold the lease for so long."""
    now = datetime.now(UTC)
    with site.database.write() as session:
        until = now + timedelta(seconds=seconds)
        values = {"holder": "app-1:7:abc", "renewed_at": now, "until": until}
        session.execute(update(Lease).values(**values))


def test_everything_about_the_installation(site: Site, register: Callable[..., Any]) -> None:
    def archive() -> None:
        """Archive what is old."""

    register(archive, "archive.old")
    lead(site)
    began = NOW - timedelta(days=2)
    life = {"process": "p", "host": "app-1", "pid": 7, "version": "0.1.0"}
    site.add(SchedulerLife(began_at=began, seen_at=NOW, **life))
    page = site.get("/system")
    text_of_page = words(page)
    for part in (
        "running",
        "app-1:7:abc",
        "threads 0 of 20",
        "processes 0 of 2",
        "90 days, and the newest 100 of each job",
        "APScheduler 3.11",
        "app-1 pid 7, version 0.1.0",
        "goes on",
        "archive.old Archive what is old. threads",
    ):
        assert part in text_of_page
    assert links(page)["archive.old"] == "/jobs?q=task:archive.old"


@pytest.mark.usefixtures("no_tasks")
def test_without_anything_it_is_a_page_too(site: Site) -> None:
    page = site.get("/system")
    assert "stopped" in words(page)
    assert "No scheduler has run on this database yet." in words(page)
    assert "No tasks are loaded" in words(page)


def make_process(process: str, pid: int, **values: Any) -> Process:
    defaults: dict[str, Any] = {
        "kind": ProcessKind.DASHBOARD,
        "host": "app-1",
        "machine": "m",
        "pid_started": 0.0,
        "version": "0.1.0",
        "executors": [],
        "places": 0,
        "began_at": NOW,
        "seen_at": NOW,
        "until": NOW + timedelta(hours=1),
    }
    return Process(process=process, pid=pid, **(defaults | values))


def test_all_processes_that_take_part(site: Site) -> None:
    lead(site)
    worker: dict[str, Any] = {"kind": ProcessKind.WORKER, "executors": ["celery"], "places": 4}
    site.add(
        make_process("app-1:7:abc", 7, problem="Celery's broker cannot be reached."),
        make_process("app-1:8:def", 8, until=NOW - timedelta(seconds=1)),
        make_process("w:9:x", 9, host="worker-1", **worker),
        make_run(1, state=RunState.RUNNING, executor="celery", process="w:9:x"),
    )
    page = site.get("/system")
    text_of_page = words(page)
    for part in (
        "Processes 3 alive",
        "app-1 pid 7 dashboard, leads",
        "app-1 pid 8 dashboard, stands by",
        "worker-1 pid 9 worker of celery 1 of 4",
        "celery 1 of 4",
        "Celery's broker cannot be reached. Told by",
    ):
        assert part in text_of_page
    assert text_of_page.count(" lost") == 1


def test_tags_that_have_a_limit(site: Site) -> None:
    object.__setattr__(state_of(site).settings, "tag_limits", {"billing": 2, "heavy": 1})
    site.add(
        make_job("a", tags=["billing"]),
        make_run(1, "a", state=RunState.RUNNING),
        make_run(2, "a", state=RunState.QUEUED),
    )
    page = site.get("/system")
    assert "Tag with a limit Under way billing 1 of 2" in words(page)
    assert "heavy 0 of 1" in words(page)
    assert links(page)["billing"] == "/jobs?q=tag:billing"


def test_task_modules_that_failed_are_told_everywhere(site: Site) -> None:
    state = state_of(site)
    problem = LoadProblem("my/tasks.py", "SyntaxError", "no <such> luck", "Traceback …")
    object.__setattr__(state, "load_problems", (problem,))
    assert "1 task module could not be loaded" in words(site.get("/jobs"), ".banner-warn")
    assert "my/tasks.py SyntaxError: no <such> luck" in words(site.get("/system"), "#tasks")


def test_what_keeps_this_process_from_its_work_is_told_by_itself(site: Site) -> None:
    state = state_of(site)
    site.add(make_process(state.process, 7, problem="what it told while it could write"))
    before = site.client.get("/system/pulse", headers=HTMX).headers["ETag"]
    problem = "The scheduler cannot work: database or <disk> is full."
    object.__setattr__(state, "problem", lambda: problem)
    for page in ("/", "/jobs"):
        assert f"No job starts until it is back. {problem}" in words(site.get(page), ".banner-bad")
    assert f"{problem} Told by" in words(site.get("/system"), ".banner-warn")
    answer = site.client.get("/system/pulse", headers=HTMX | {"If-None-Match": before})
    assert "database or &lt;disk&gt; is full" in answer.text
    lead(site)
    assert problem not in words(site.get("/"))


def test_the_pulse_brings_the_banners_along(site: Site) -> None:
    answer = site.client.get("/system/pulse", headers=HTMX)
    assert 'id="pulse"' in answer.text
    assert 'hx-target="#banners"' in answer.text
    assert 'data-problems="1"' in answer.text
    lead(site)
    assert 'data-problems=""' in site.client.get("/system/pulse", headers=HTMX).text


@pytest.mark.parametrize(
    ("problems", "number"), [("", None), ("3", "3"), ("500", "99"), ("-1", None), ("x", None)]
)
def test_the_icon_shows_the_number_of_problems(
    site: Site, problems: str, number: str | None
) -> None:
    answer = site.client.get(f"/favicon.svg?problems={problems}")
    assert answer.mimetype == "image/svg+xml"
    assert (f">{number}</text>" in answer.text) is (number is not None)
    assert ("</text>" in answer.text) is (number is not None)


# -- /healthz --------------------------------------------------------------------------------------


def test_healthy(site: Site) -> None:
    lead(site)
    answer = site.client.application.test_client().get("/healthz")
    assert answer.status_code == 200
    assert answer.json is not None
    assert answer.json["scheduler"] == "running"
    assert answer.json["database"] == "ok"
    assert 0 <= answer.json["heartbeat_age_seconds"] < 60
    assert answer.headers["Cache-Control"] == "no-store"


def test_not_healthy_without_a_scheduler(site: Site) -> None:
    lead(site, seconds=-1)
    answer = site.client.get("/healthz")
    assert (answer.status_code, answer.json and answer.json["scheduler"]) == (503, "stopped")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_not_healthy_without_its_database(site: Site) -> None:
    with site.database.engine.connect() as connection:
        connection.execute(text("ALTER TABLE lease RENAME TO elsewhere"))
        connection.commit()
        try:
            answer = site.client.application.test_client().get("/healthz")
        finally:
            connection.execute(text("ALTER TABLE elsewhere RENAME TO lease"))
            connection.commit()
    assert answer.status_code == 503
    assert answer.json == {
        "scheduler": "unknown",
        "database": "failed",
        "heartbeat_age_seconds": None,
    }


@pytest.mark.parametrize(
    ("address", "answers"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.5", False),
        ("2001:db8::1", False),
        ("", False),
    ],
)
def test_other_machines_are_told_nothing(site: Site, address: str, answers: bool) -> None:
    stranger = site.client.application.test_client()
    answer = stranger.get("/healthz", environ_base={"REMOTE_ADDR": address})
    assert ("scheduler" in answer.text) is answers
    assert site.client.get("/healthz", environ_base={"REMOTE_ADDR": address}).is_json

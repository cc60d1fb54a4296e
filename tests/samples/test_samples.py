from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select

from dashboard.demo import add_demo
from dashboard.records import RunIdentity
from dashboard.runcontext import ProgressChange, run_task
from dashboard.samples import register_samples, sample_jobs
from dashboard.samples.backup import backup
from dashboard.storage.models import Run, RunState
from dashboard.tasks import all_tasks, get_task
from tests.factories import PATIENCE
from tests.rows import make_run
from tests.sinks import MIDNIGHT, Sink, run

if TYPE_CHECKING:
    from dashboard.settings import Settings
    from dashboard.storage.db import Database

SHIPPED = {
    "dashboard.backup",
    "dashboard.prune",
    "dashboard.report",
    "demo.import",
    "demo.unsteady",
    "http.check",
    "system.disk_and_memory",
    "verification.pipeline",
}


def test_registering_twice_changes_nothing() -> None:
    before = all_tasks()
    register_samples()
    assert all_tasks() == before
    assert {task.name for task in before} >= SHIPPED
    assert get_task("dashboard.backup").function is backup


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_shipped_tasks_explain_themselves(name: str) -> None:
    task = get_task(name)
    assert task.description.endswith(".")
    assert all(field.label for field in task.parameters.fields)
    assert task.parameters.schema()["type"] == "object"


# -- the machine -------------------------------------------------------------------------------


def test_a_machine_with_room_is_in_order(sink: Sink) -> None:
    limits = {"max_disk_percent": 100, "max_memory_percent": 100}
    outcome = run("system.disk_and_memory", limits, sink=sink)
    assert outcome.state == "succeeded", outcome.traceback
    table = sink.texts()[0].splitlines()
    assert table[1].split() == ["used", "GiB", "of", "GiB", "percent"]
    assert [line.split()[0] for line in table[2:]] == ["disk", "memory"]


def test_a_full_machine_fails_the_run_and_says_by_how_much() -> None:
    limits = {"max_disk_percent": 1e-9, "max_memory_percent": 1e-9}
    outcome = run("system.disk_and_memory", limits)
    assert (outcome.state, outcome.error_type) == ("failed", "dashboard.samples.checks.CheckFailed")
    assert outcome.error_message is not None
    assert "disk / is " in outcome.error_message
    assert "; memory is " in outcome.error_message
    assert "(at most 1e-09 % is allowed)" in outcome.error_message


def test_a_disk_that_is_not_there_fails_the_run() -> None:
    outcome = run("system.disk_and_memory", {"paths": ["/no/such/place"]})
    assert outcome.error_message == (
        "The disk of /no/such/place cannot be asked: No such file or directory."
    )


# -- old runs ----------------------------------------------------------------------------------


def test_old_runs_are_pruned_as_the_settings_or_the_parameters_say(
    settings: Settings, database: Database, sink: Sink
) -> None:
    with database.write() as session:
        old = MIDNIGHT - timedelta(days=200)
        session.add_all([make_run(number, queued_at=old) for number in range(1, 11)])
        session.add(make_run(11, "other", queued_at=old, state=RunState.RUNNING))
    assert run("dashboard.prune", settings=settings).result == (
        '{"runs": 0, "statistics": 0, "jobs": 2}'
    ), "the newest 100 are kept"
    parameters = {"keep_runs": 3, "retention_days": 1, "dry_run": True}
    counted = run("dashboard.prune", parameters, settings=settings, sink=sink)
    assert counted.result == '{"runs": 7, "statistics": 0, "jobs": 2}'
    assert sink.texts() == ["7 runs of 2 jobs would be deleted"]
    run("dashboard.prune", {**parameters, "dry_run": False}, settings=settings)
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Run)) == 4


# -- demonstration -----------------------------------------------------------------------------


def test_the_unsteady_task_succeeds_or_fails_as_asked(sink: Sink) -> None:
    steady = run("demo.unsteady", {"fail_probability": 0, "seconds": 0}, sink=sink)
    assert (steady.state, steady.result) == ("succeeded", "done")
    failing = run("demo.unsteady", {"fail_probability": 1, "seconds": 0, "message": "no line"})
    assert (failing.state, failing.error_message) == ("failed", "no line")


def test_the_import_tells_of_its_steps_and_progress(sink: Sink) -> None:
    outcome = run("demo.import", {"rows": 50, "seconds": 0.5, "faulty_rows": 2}, sink=sink)
    assert outcome.result == '{"loaded": 50, "left out": 2}'
    assert sink.steps() == [
        ("Download", "succeeded"),
        ("Check", "succeeded"),
        ("Load", "succeeded"),
        ("Tidy up", "succeeded"),
    ]
    last = sink.of(ProgressChange)[-1]
    assert (last.done, last.total) == (50, 50)


def test_an_import_that_takes_no_time_is_complete() -> None:
    assert run("demo.import", {"rows": 3, "seconds": 0}).result == '{"loaded": 3, "left out": 3}'


@pytest.mark.parametrize("name", ["demo.unsteady", "demo.import"])
def test_tasks_that_take_their_time_stop_when_they_are_cancelled(name: str) -> None:
    stop = threading.Event()
    identity = RunIdentity(1, "job", MIDNIGHT)
    stop.set()
    outcome = run_task(name, {"seconds": 3600}, identity, Sink(), cancellation=stop)
    assert outcome.state == "cancelled"
    assert outcome.duration is not None
    assert outcome.duration < PATIENCE


# -- jobs of the demonstration -----------------------------------------------------------------


def test_the_sample_jobs_fit_their_tasks() -> None:
    jobs = sample_jobs()
    assert len(jobs) >= 10
    assert len({job["id"] for job in jobs}) == len(jobs)
    assert {job["task"] for job in jobs} == SHIPPED
    assert {job["trigger"]["type"] for job in jobs} == {
        "interval",
        "cron",
        "date",
        "calendarinterval",
    }
    for job in jobs:
        task = get_task(job["task"])
        assert task.parameters.validate(job["parameters"]) == job["parameters"]
    assert sum("paused" in job for job in jobs) == 1


def test_each_call_gives_sample_jobs_of_its_own() -> None:
    for job in sample_jobs():
        job.clear()
    assert all(sample_jobs())


def test_the_sample_pipeline_verifies_itself_to_the_end(settings: Settings) -> None:
    [job] = [job for job in sample_jobs() if job["task"] == "verification.pipeline"]
    assert job["trigger"] == {"type": "interval", "seconds": 58}
    for _ in job["parameters"]["steps"]:
        outcome = run(job["task"], job["parameters"], settings=settings)
        assert outcome.state == "succeeded", outcome.traceback
    assert outcome.finish_reason


def test_an_empty_dashboard_gets_a_history_up_to_now_and_only_once(
    database: Database, settings: Settings
) -> None:
    began = datetime.now(UTC)
    add_demo(database, settings)
    with database.read() as session:
        ended = session.scalars(select(Run.finished_at)).all()
        of_every_minute = select(Run.scheduled_at).where(Run.job_id == "disk-and-memory")
        moments = session.scalars(of_every_minute.order_by(Run.id)).all()
    assert max(filter(None, ended)) <= datetime.now(UTC)
    assert moments[-1] >= began - timedelta(minutes=2)
    assert {later - sooner for sooner, later in pairwise(moments)} == {timedelta(minutes=1)}

    add_demo(database, settings)
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Run)) == len(ended)

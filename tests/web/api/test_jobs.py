"""`/jobs`: good, bad, missing, stale and at once."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from dashboard.services.jobdata import FIELDS
from dashboard.storage.models import Audit, Job, JobHealth, RunState
from dashboard.web.api.jobs import JobChange, JobToAdd
from tests.rows import EPOCH, make_job, make_run
from tests.web.api.program import fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.web.api.program import Program
    from tests.web.site import Site

HOURLY = {"type": "interval", "hours": 1}
NEW = {"task": "reports.daily", "trigger": HOURLY}
sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def ids(answer: Any) -> list[str]:
    return [job["id"] for job in answer["items"]]


def jobs_in(site: Site) -> list[str]:
    with site.database.read() as session:
        return list(session.scalars(select(Job.id).order_by(Job.id)))


# -- one job ---------------------------------------------------------------------------------------


def test_a_job_tells_everything(site: Site, program: Program) -> None:
    recent = [[7, "failed", 1.5, EPOCH.isoformat()]]
    site.add(
        make_job(tags=["mail"], notes="See the wiki.", parameters={"days": 3}, version=4),
        JobHealth(
            job_id="nightly",
            last_run_id=7,
            last_state=RunState.FAILED,
            last_finished_at=EPOCH + timedelta(seconds=2),
            failing_since=EPOCH,
            consecutive_failures=2,
            recent=recent,
        ),
    )
    job = program.get("/jobs/nightly")
    assert job == {
        "id": "nightly",
        "name": "nightly",
        "task": "reports.daily",
        "parameters": {"days": 3},
        "trigger": {"type": "interval", "hours": 1, "start_date": EPOCH.isoformat()},
        "timezone": "UTC",
        "executor": "threads",
        "coalesce": True,
        "max_instances": 1,
        "misfire_grace_time": 60,
        "slow_after": None,
        "timeout": None,
        "retries": 0,
        "retry_wait": 60,
        "max_runs": None,
        "stop_on_success": False,
        "stop_on_failure": False,
        "end_at": None,
        "tags": ["mail"],
        "notes": "See the wiki.",
        "owner": "",
        "runbook": "",
        "state": "scheduled",
        "health": "failing",
        "next_run_time": "2027-03-01T13:00:00Z",
        "paused_at": None,
        "paused_by": None,
        "paused_reason": None,
        "resume_at": None,
        "broken_reason": None,
        "finished_reason": None,
        "last_run": {
            "id": 7,
            "state": "failed",
            "scheduled_at": "2027-03-01T12:00:00Z",
            "finished_at": "2027-03-01T12:00:02Z",
            "duration_seconds": 1.5,
        },
        "consecutive_failures": 2,
        "failing_since": "2027-03-01T12:00:00Z",
        "version": 4,
        "created_at": "2027-03-01T12:00:00Z",
        "created_by": "admin",
        "updated_at": "2027-03-01T12:00:00Z",
        "updated_by": "admin",
    }


@pytest.mark.parametrize("job_id", ["none", "%00", "%ff", "x" * 500, "a%20b"])
def test_a_job_that_is_not_there(program: Program, job_id: str) -> None:
    for method, address in (
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/run"),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("GET", "/runs"),
    ):
        body = {"json": {"version": 1}} if method == "PATCH" else {}
        program.send(method, f"/jobs/{job_id}{address}", status=404, **body)


@sqlite
def test_ids_may_hold_anything_that_an_address_can(site: Site, program: Program) -> None:
    job_id = "Müll & “Co” #1?x=%2f 🚮"
    added = program.send("POST", "/jobs", status=201, json=NEW | {"id": job_id})
    location = added.headers["Location"].removeprefix("/api/v1")
    assert program.get(location)["id"] == job_id
    assert jobs_in(site) == [job_id]


# -- adding ----------------------------------------------------------------------------------------


def test_a_job_is_added(site: Site, program: Program) -> None:
    job = program.post(
        "/jobs",
        NEW
        | {
            "id": "weekly",
            "name": "Weekly report",
            "parameters": {"days": 7, "dry_run": True},
            "trigger": {"type": "cron", "crontab": "0 9 * * 1", "timezone": "Europe/Berlin"},
            "executor": "processes",
            "coalesce": False,
            "max_instances": 3,
            "misfire_grace_time": None,
            "tags": ["b", "a"],
            "notes": "…",
        },
        status=201,
    )
    assert program.get("/jobs/weekly") == job
    assert (job["timezone"], job["tags"], job["created_by"]) == (
        "Europe/Berlin",
        ["a", "b"],
        "token:admin",
    )
    assert site.woken == ["now"]


@sqlite
def test_what_is_left_out_has_sensible_values(program: Program) -> None:
    job = program.post("/jobs", NEW, status=201)
    assert (job["id"], job["name"], job["executor"]) == (
        "reports-daily",
        "reports.daily",
        "threads",
    )
    assert (job["coalesce"], job["max_instances"], job["misfire_grace_time"]) == (True, 1, 60)


@sqlite
def test_an_id_is_given_once(program: Program) -> None:
    program.post("/jobs", NEW | {"id": "x"}, status=201)
    assert "exists already" in program.post("/jobs", NEW | {"id": "x"}, status=409)["detail"]


@sqlite
@pytest.mark.parametrize(
    "trigger", [{"type": "cron", "year": 2020}, {"type": "cron", "day": "31", "month": 2}]
)
def test_what_would_never_run_is_not_added(program: Program, trigger: dict[str, Any]) -> None:
    problem = program.post("/jobs", NEW | {"trigger": trigger}, status=422)
    assert {field.partition(".")[0] for field in fields(problem)} == {"trigger"}


@sqlite
def test_all_that_is_wrong_is_told_at_once(program: Program) -> None:
    wrong = {"task": "no.such", "name": "a\nb", "tags": ["a b"], "trigger": {"type": "interval"}}
    assert fields(program.post("/jobs", wrong, status=422)) == {"task", "name", "tags", "trigger"}


def test_the_api_knows_every_field_of_a_job() -> None:
    assert set(JobToAdd.model_fields) == set(FIELDS)
    assert set(JobChange.model_fields) == set(FIELDS) - {"id"} | {"version"}


# -- changing --------------------------------------------------------------------------------------


def test_a_job_is_changed_once_for_each_version(site: Site, program: Program) -> None:
    site.add(make_job())
    changed = program.patch("/jobs/nightly", {"version": 1, "name": "N", "tags": ["x"]})
    assert (changed["name"], changed["tags"], changed["version"]) == ("N", ["x"], 2)
    assert changed["trigger"] == program.get("/jobs/nightly")["trigger"]
    stale = program.patch("/jobs/nightly", {"version": 1, "name": "M"}, status=409)
    assert "version 1" in stale["detail"]
    assert program.get("/jobs/nightly")["name"] == "N"


@sqlite
def test_a_change_needs_a_version(site: Site, program: Program) -> None:
    site.add(make_job())
    assert fields(program.patch("/jobs/nightly", {"name": "N"}, status=422)) == {"version"}
    for version in (0, "1", 1.5, None, True):
        problem = program.patch("/jobs/nightly", {"version": version}, status=422)
        assert fields(problem) == {"version"}


@sqlite
def test_what_a_job_tells_can_be_given_back(program: Program) -> None:
    added = program.post("/jobs", NEW, status=201)
    body = {name: added[name] for name in JobChange.model_fields}
    again = program.patch(f"/jobs/{added['id']}", body)
    assert again["trigger"] == added["trigger"]
    assert again["next_run_time"] == added["next_run_time"]


@sqlite
def test_an_id_stays(site: Site, program: Program) -> None:
    site.add(make_job())
    problem = program.patch("/jobs/nightly", {"version": 1, "id": "other"}, status=422)
    assert fields(problem) == {"id"}


# -- doing -----------------------------------------------------------------------------------------


def test_a_job_is_run_with_other_parameters(site: Site, program: Program) -> None:
    site.add(make_job(parameters={"days": 1}))
    answer = program.send("POST", "/jobs/nightly/run", status=202, json={"parameters": {"days": 2}})
    run = answer.json
    assert run is not None
    assert (run["state"], run["origin"], run["parameters"]) == ("queued", "manual", {"days": 2})
    assert program.get(answer.headers["Location"].removeprefix("/api/v1")) == run
    assert program.get("/jobs/nightly")["next_run_time"] == "2027-03-01T13:00:00Z"
    running = program.post("/jobs/nightly/run", status=409)
    assert "already running" in running["detail"]


@sqlite
def test_a_run_needs_parameters_that_fit(site: Site, program: Program) -> None:
    site.add(make_job())
    wrong = {"parameters": {"days": "many"}}
    assert fields(program.post("/jobs/nightly/run", wrong, status=422)) == {"parameters.days"}
    assert program.get("/runs")["items"] == []


@sqlite
def test_a_broken_job_does_not_run(site: Site, program: Program) -> None:
    site.add(make_job(broken_reason="its task is gone"))
    assert "task is gone" in program.post("/jobs/nightly/run", status=409)["detail"]
    assert program.get("/jobs/nightly")["state"] == "broken"


def test_a_job_is_paused_and_resumed(program: Program) -> None:
    program.post("/jobs", NEW | {"id": "x"}, status=201)
    paused = program.post("/jobs/x/pause", {"reason": "moving <house>"})
    assert (paused["state"], paused["paused_reason"]) == ("paused", "moving <house>")
    assert (paused["paused_by"], paused["next_run_time"]) == ("token:admin", None)
    assert program.post("/jobs/x/pause")["paused_reason"] == "moving <house>"
    resumed = program.post("/jobs/x/resume")
    assert (resumed["state"], resumed["paused_reason"]) == ("scheduled", None)
    assert resumed["next_run_time"] is not None


@sqlite
def test_pausing_takes_a_reason_and_nothing_else(site: Site, program: Program) -> None:
    site.add(make_job())
    program.post("/jobs/nightly/pause", {"reason": 5}, status=422)
    program.post("/jobs/nightly/pause", {"why": "x"}, status=422)
    program.post("/jobs/nightly/pause", {"reason": "x" * 2001}, status=422)
    for until in ("9999-12-31T23:59:59-10:00", "0001-01-01T00:00:00+10:00"):
        assert fields(program.post("/jobs/nightly/pause", {"until": until}, status=422)) == {
            "until"
        }
    assert program.get("/jobs/nightly")["state"] == "scheduled"


def test_a_job_is_removed_and_its_runs_stay(site: Site, program: Program) -> None:
    site.add(make_job(), make_run(1))
    assert program.delete("/jobs/nightly") == b""
    program.get("/jobs/nightly", status=404)
    assert [run["id"] for run in program.get("/jobs/nightly/runs")["items"]] == [1]
    program.delete("/jobs/nightly", status=404)
    with site.database.read() as session:
        removals = select(Audit).where(Audit.action == "job.remove").order_by(Audit.id)
        told = session.scalars(removals).all()
    assert [entry.outcome for entry in told] == ["done", "refused"]


# -- the list --------------------------------------------------------------------------------------


def test_jobs_are_listed_by_name_page_by_page(site: Site, program: Program) -> None:
    site.add(*(make_job(f"job-{number}", name=f"Job {number // 2}") for number in range(7)))
    found, after, pages = [], "", 0
    while after is not None:
        answer = program.get(f"/jobs?limit=3{after and '&after='}{after}")
        found += ids(answer)
        after, pages = answer["next"], pages + 1
    assert (found, pages) == ([f"job-{number}" for number in range(7)], 3)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["a", "b", "c"]),
        ("q=nam", ["a"]),
        ("q=state:paused", ["b"]),
        ("state=paused", ["b"]),
        ("state=failing", ["c"]),
        ("state=failing&state=scheduled", ["c"]),
        ("state=failing,paused", []),
        ("tag=mail", ["a", "b"]),
        ("tag=mail&tag=nightly", ["b"]),
        ("tag=mail,nightly", ["b"]),
        ("tag=ail", []),
        ("q=task:weekly", ["c"]),
        ("q=%25", []),
        ("q=\0x", []),
    ],
)
def test_jobs_are_found(site: Site, program: Program, query: str, found: list[str]) -> None:
    site.add(
        make_job("a", name="Namely", tags=["mail"]),
        make_job("b", tags=["mail", "nightly"], paused_at=EPOCH, next_run_time=None),
        make_job("c", task="reports.weekly"),
        JobHealth(job_id="c", failing_since=EPOCH, recent=[]),
    )
    if "\0" in query:
        program.get("/jobs?q=%00x", status=422)
    else:
        assert sorted(ids(program.get(f"/jobs?{query}"))) == found


@sqlite
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=many", "limit"),
        ("limit=", "limit"),
        ("after=nonsense", "after"),
        ("after=", "after"),
        ("state=dancing", "state"),
        ("state=", "state"),
        ("tag=", "tag"),
        ("q=state:dancing", "q"),
        ("q=" + "x" * 1001, "q"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused(program: Program, query: str, field: str) -> None:
    assert fields(program.get(f"/jobs?{query}", status=422)) == {field}


def test_a_list_costs_the_same_however_many_there_are(
    site: Site, program: Program, statements: Callable[[], int]
) -> None:
    site.add(*(make_job(f"job-{number:03}") for number in range(120)))
    program.get("/jobs")
    before = statements()
    assert len(program.get("/jobs?limit=100")["items"]) == 100
    assert statements() - before <= 6  # who asks, the revision, the scheduler (two), the page (two)

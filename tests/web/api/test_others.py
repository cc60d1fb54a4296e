"""`/tasks`, `/triggers/preview`, `/status`, `/openapi.json`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask
from sqlalchemy import update

from dashboard.storage.models import JobHealth, Lease, Role, RunState
from dashboard.web import init_web
from dashboard.web.state import DashboardState
from tests.rows import make_job, make_run
from tests.web.api.program import fields, make_program
from tests.web.routes import API_RULES, methods

if TYPE_CHECKING:
    from dashboard.settings import Settings
    from tests.web.api.program import Program
    from tests.web.site import Site

sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
DAILY = {"type": "cron", "crontab": "30 2 * * *", "timezone": "Europe/Berlin"}


# -- tasks -----------------------------------------------------------------------------------------


@sqlite
def test_a_task_says_what_it_takes(program: Program) -> None:
    task = next(each for each in program.get("/tasks")["items"] if each["name"] == "reports.daily")
    assert (task["description"], task["executor"]) == ("Make the report.", "threads")
    assert task["parameters"]["properties"]["days"]["type"] == "integer"


# -- previews --------------------------------------------------------------------------------------


def test_a_trigger_is_previewed_with_the_offsets_of_its_zone(program: Program) -> None:
    body = {"trigger": DAILY, "count": 3, "after": "2027-03-26T12:00:00+00:00"}
    seen = program.post("/triggers/preview", body)
    assert seen["description"] == "Every day at 02:30"
    assert seen["fire_times"] == [
        "2027-03-27T02:30:00+01:00",
        "2027-03-28T03:00:00+02:00",
        "2027-03-29T02:30:00+02:00",
    ]
    warning = seen["warnings"][0]
    assert (warning["code"], warning["at"]) == ("dst_skipped", "2027-03-28T02:30:00")
    assert warning["message"]


def test_a_preview_warns_of_what_the_task_takes(site: Site, program: Program) -> None:
    site.add(make_job(), JobHealth(job_id="nightly", usual_duration=90.0, recent=[]))
    body = {"trigger": {"type": "interval", "minutes": 1}, "task": "reports.daily"}
    assert [each["code"] for each in program.post("/triggers/preview", body)["warnings"]] == [
        "very_frequent"
    ]


@sqlite
def test_what_never_fires_is_a_warning_here(program: Program) -> None:
    seen = program.post("/triggers/preview", {"trigger": {"type": "cron", "year": 2020}})
    assert seen["fire_times"] == []
    assert [each["code"] for each in seen["warnings"]] == ["never_fires"]


@sqlite
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "trigger"),
        ({"trigger": DAILY, "count": 0}, "count"),
        ({"trigger": DAILY, "count": 101}, "count"),
        ({"trigger": DAILY, "count": "5"}, "count"),
        ({"trigger": DAILY, "after": "2027-03-26T12:00:00"}, "after"),
        ({"trigger": DAILY, "after": "tomorrow"}, "after"),
        ({"trigger": DAILY, "after": "9999-12-31T23:59:59Z"}, "after"),
        ({"trigger": DAILY, "after": "0001-01-01T00:00:00Z"}, "after"),
        ({"trigger": DAILY | {"timezone": "Mars"}}, "trigger.timezone"),
        ({"trigger": DAILY | {"crontab": "x"}}, "trigger.crontab"),
        ({"trigger": {"type": "and", "triggers": []}}, "trigger.triggers"),
    ],
)
def test_a_preview_that_makes_no_sense(program: Program, body: dict[str, Any], field: str) -> None:
    assert fields(program.post("/triggers/preview", body, status=422)) == {field}


@sqlite
def test_a_preview_changes_nothing_so_viewers_may(site: Site) -> None:
    viewer = make_program(site, Role.VIEWER)
    viewer.post("/triggers/preview", {"trigger": DAILY})
    assert site.woken == []


# -- status ----------------------------------------------------------------------------------------


def test_the_status(site: Site, program: Program) -> None:
    stopped = program.get("/status")
    assert (stopped["scheduler"], stopped["leader"]) == ("stopped", None)
    now = datetime.now(UTC)
    with site.database.write() as session:
        until = now + timedelta(hours=1)
        session.execute(update(Lease).values(holder="app-1:7:abc", renewed_at=now, until=until))
    site.add(
        make_job("a"),
        make_job("b"),
        make_run(1, state=RunState.QUEUED),
        make_run(2, state=RunState.RUNNING),
        make_run(3, state=RunState.RUNNING),
        make_run(4),
    )
    status = program.get("/status")
    assert (status["scheduler"], status["leader"]) == ("running", "app-1:7:abc")
    assert (status["jobs"], status["queued"], status["running"]) == (2, 1, 2)
    assert 0 <= status["heartbeat_age_seconds"] < 60
    assert status["version"]


# -- the description -------------------------------------------------------------------------------


@sqlite
def test_everything_is_described_to_everybody(site: Site) -> None:
    stranger = site.client.application.test_client()
    answer = stranger.get("/api/v1/openapi.json")
    told = answer.json
    assert told is not None
    described = {(method.upper(), path) for path, each in told["paths"].items() for method in each}
    declared = {
        (
            method,
            rule.rule.removeprefix("/api/v1")
            .replace("<int:", "<")
            .replace("<", "{")
            .replace(">", "}"),
        )
        for rule in API_RULES
        for method in methods(rule)
        if not rule.endpoint.endswith(("elsewhere", "openapi.show"))
    }
    assert described == declared
    headers = {"If-None-Match": answer.headers["ETag"]}
    assert stranger.get("/api/v1/openapi.json", headers=headers).status_code == 304


@sqlite
def test_every_reference_leads_somewhere(site: Site) -> None:
    told = site.client.get("/api/v1/openapi.json").json
    schemas = told["components"]["schemas"]  # type: ignore[index]
    named: set[str] = set()
    waiting: list[Any] = [told]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            named.add(str(part.get("$ref", "")).removeprefix("#/components/schemas/"))
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
    assert named - {""} == set(schemas)


@sqlite
def test_a_change_has_no_defaults(site: Site) -> None:
    """What is left out of it stays as it is."""
    told = site.client.get("/api/v1/openapi.json").json
    assert told is not None
    for name in ("JobChange", "RuleChange"):
        fields_of_it = told["components"]["schemas"][name]["properties"]
        assert not any("default" in field for field in fields_of_it.values())


# -- inside another app ----------------------------------------------------------------------------


@sqlite
def test_inside_a_host_app_it_lies_under_the_prefix(
    program: Program, site: Site, settings: Settings
) -> None:
    host = Flask("host")
    host.secret_key = "h" * 32
    state = DashboardState(settings=settings, database=site.database, wake=lambda: None)
    init_web(host, state, prefix="/ops")
    client = host.test_client()
    headers = {"Authorization": f"Bearer {program.key}"}
    new = {"task": "reports.daily", "trigger": {"type": "interval", "hours": 1}}
    added = client.post("/ops/api/v1/jobs", json=new, headers=headers)
    assert (added.status_code, added.headers["Location"]) == (201, "/ops/api/v1/jobs/reports-daily")
    assert client.get(added.headers["Location"], headers=headers).status_code == 200
    for method, address, status in (
        ("GET", "/ops/api/v1/jobs/none", 404),
        ("GET", "/ops/api/v1/nowhere", 404),
        ("PUT", "/ops/api/v1/jobs", 405),
    ):
        answer = client.open(address, method=method, headers=headers)
        assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    assert client.get("/ops/api/v1/jobs").status_code == 401
    told = client.get("/ops/api/v1/openapi.json").json
    assert told is not None
    assert told["servers"] == [{"url": "/ops/api/v1"}]
    assert "/jobs/{job_id}" in told["paths"]

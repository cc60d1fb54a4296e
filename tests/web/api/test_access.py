"""Who may use the API, and how often."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, update

from dashboard.services import audit, tokens
from dashboard.storage.models import ApiToken, Audit, Role
from dashboard.web.access import API_PATH
from tests.factories import ADMIN
from tests.rows import make_job
from tests.web.api.program import Program, make_program
from tests.web.routes import API_RULES, address, methods, named, needing

if TYPE_CHECKING:
    from werkzeug.routing import Rule

    from tests.web.site import Site

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)

GUARDED = needing(*Role, rules=API_RULES)


def below(rule: Rule) -> str:
    return address(rule).removeprefix(API_PATH)


@pytest.mark.parametrize("rule", named(GUARDED))
def test_nobody_is_answered_without_a_token(site: Site, rule: Rule) -> None:
    stranger = Program(site, "apsd_" + "x" * 43)
    for method in methods(rule):
        answer = stranger.send(method, below(rule), status=401)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
        bare = site.client.application.test_client().open(address(rule), method=method)
        assert bare.status_code == 401


@pytest.mark.parametrize("rule", named(needing(Role.OPERATOR, Role.ADMIN, rules=API_RULES)))
def test_a_viewers_token_changes_nothing(site: Site, rule: Rule) -> None:
    viewer = make_program(site, Role.VIEWER)
    for method in methods(rule):
        viewer.send(method, below(rule), status=403)


@pytest.mark.parametrize("rule", named(needing(Role.ADMIN, rules=API_RULES)))
def test_an_operators_token_does_nothing_of_an_admins(site: Site, rule: Rule) -> None:
    operator = make_program(site, Role.OPERATOR)
    for method in methods(rule):
        operator.send(method, below(rule), status=403)


def test_an_operator_changes_triggers_and_nothing_else(site: Site) -> None:
    site.add(make_job())
    operator = make_program(site, Role.OPERATOR)
    daily = {"type": "cron", "crontab": "@daily"}
    operator.patch("/jobs/nightly", {"version": 1, "trigger": daily})
    operator.patch("/jobs/nightly", {"version": 2, "notes": "mine"}, status=403)


def test_somebody_signed_in_reads_and_changes_nothing(site: Site) -> None:
    site.add(make_job())
    assert site.client.get(f"{API_PATH}/jobs").status_code == 200
    for data in ({}, {"csrf_token": site.token()}):
        answer = site.client.post(f"{API_PATH}/jobs/nightly/run", data=data)
        assert answer.status_code == 401
    assert site.client.delete(f"{API_PATH}/jobs/nightly").status_code == 401


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Bearer nonsense",
        "Bearer apsd_" + "x" * 43,
        "Bearer apsd_" + "é" * 43,
        "bearer nonsense",
    ],
)
def test_a_wrong_token_is_not_made_up_for_by_a_session(site: Site, header: str) -> None:
    answer = site.client.get(
        f"{API_PATH}/jobs", headers={"Authorization": header.encode().decode("latin-1")}
    )
    assert answer.status_code == 401


@pytest.mark.parametrize("header", ["Basic YWRtaW46cGFzc3dvcmQ=", "nonsense", ""])
def test_what_a_proxy_in_front_asks_for_leaves_the_session(site: Site, header: str) -> None:
    headers = {"Authorization": header}
    assert site.client.get(f"{API_PATH}/jobs", headers=headers).status_code == 200
    assert site.client.post(f"{API_PATH}/jobs", headers=headers, json={}).status_code == 401


def test_a_token_opens_no_page(site: Site, program: Program) -> None:
    client = site.client.application.test_client()
    answer = client.get("/jobs", headers={"Authorization": f"Bearer {program.key}"})
    assert answer.status_code == 303


def test_an_expired_token_works_no_longer(site: Site) -> None:
    program = make_program(site, days=1)
    program.get("/jobs")
    with site.database.write() as session:
        past = datetime.now(UTC) - timedelta(seconds=1)
        session.execute(update(ApiToken).values(expires_at=past))
    program.get("/jobs", status=401)


def test_a_revoked_token_works_no_longer(site: Site, program: Program) -> None:
    program.get("/jobs")
    with audit.transaction(site.database) as session:
        tokens.revoke_token(session, 1, actor=ADMIN)
    program.get("/jobs", status=401)


def test_what_a_program_does_is_done_in_its_name(site: Site, program: Program) -> None:
    site.add(make_job())
    assert program.post("/jobs/nightly/run", status=202)["requested_by"] == "token:admin"
    program.post("/jobs/nightly/run", status=409)
    with site.database.read() as session:
        runs = select(Audit).where(Audit.action == "job.run").order_by(Audit.id)
        told = session.scalars(runs).all()
    assert [(entry.actor, entry.outcome) for entry in told] == [
        ("token:admin", "done"),
        ("token:admin", "refused"),
    ]


def test_too_many_requests_have_to_wait(site: Site) -> None:
    settings = site.client.application.extensions["dashboard"].settings
    object.__setattr__(settings, "api_rate", 3)
    one, other = make_program(site, name="one"), make_program(site, name="other")
    for _ in range(3):
        one.get("/tasks")
    answer = one.send("GET", "/tasks", status=429)
    assert 1 <= int(answer.headers["Retry-After"]) <= 20
    other.get("/tasks")


def test_a_key_is_in_no_log_and_no_answer(
    site: Site, program: Program, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    said = [
        program.send("GET", "/jobs", status=200).text,
        program.send("POST", "/jobs", status=422, json={"task": "none", "trigger": {}}).text,
        program.send("GET", "/nowhere", status=404).text,
        caplog.text,
    ]
    with site.database.read() as session:
        said += [str(vars(row)) for row in session.scalars(select(ApiToken))]
        said += [str(vars(row)) for row in session.scalars(select(Audit))]
    assert not any(program.key in text for text in said)

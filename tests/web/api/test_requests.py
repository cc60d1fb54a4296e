"""What holds for every request to the API: strict JSON, tags, keys, problems."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select, update

from dashboard.storage.models import ANSWER_KEPT, Job, KeptAnswer
from dashboard.web import LARGEST_REQUEST
from tests.rows import make_job, make_run
from tests.web.api.program import fields, make_program

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.web.api.program import Program
    from tests.web.site import Site

NEW = {"task": "reports.daily", "trigger": {"type": "interval", "hours": 1}}
ONCE = {"Idempotency-Key": "4b1"}
sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def count_jobs(site: Site) -> int:
    with site.database.read() as session:
        return session.scalar(select(func.count(Job.id))) or 0


# -- strict JSON -----------------------------------------------------------------------------------


@sqlite
@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 400, "line 1, column 2"),
        (b"", 422, "This is required"),
        (b"null", 400, "must be a JSON object"),
        (b"[1]", 400, "must be a JSON object"),
        (b'{"task": NaN}', 400, "NaN is no number"),
        (b'{"task": -Infinity}', 400, "-Infinity is no number"),
        (b'{"task": 1e999}', 400, "too large"),
        (b'{"task": ' + b"9" * 5000 + b"}", 400, "more than 100 digits"),
        (b'{"task": "a", "task": "b"}', 400, "“task” twice"),
        (b'{"trigger": {"type": "date", "type": "cron"}}', 400, "“type” twice"),
        (b'{"task": "\xff"}', 400, "not UTF-8"),
        ('{"task": "a"}'.encode("utf-16"), 400, "not UTF-8"),
        (b'{"a":' * 100_000, 400, "40 levels"),
        (b'{"parameters": {"a": ' + b"[" * 41 + b"]" * 41 + b"}}", 400, "40 levels"),
        (b'{"notes": "\\ud83d"}', 422, "cannot be stored"),
        (b'{"notes": "\\u0000"}', 422, "cannot be stored"),
        (b'{"parameters": {"\\u0000": 1}}', 422, "cannot be stored"),
    ],
)
def test_what_is_no_strict_json_is_refused(
    program: Program, body: bytes, status: int, said: str
) -> None:
    answer = program.send(
        "POST", "/jobs", status=status, data=body, content_type="application/json"
    )
    assert said in answer.text


@sqlite
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_body_that_does_not_say_it_is_json_is_refused(program: Program, kind: str) -> None:
    program.send("POST", "/jobs", status=415, data=json.dumps(NEW), content_type=kind)


@sqlite
def test_a_body_that_is_too_long_is_refused(program: Program) -> None:
    program.post("/jobs", NEW | {"notes": "x" * LARGEST_REQUEST}, status=413)


@sqlite
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": 5}, "name"),
        ({"max_instances": "2"}, "max_instances"),
        ({"max_instances": 2.5}, "max_instances"),
        ({"max_instances": True}, "max_instances"),
        ({"coalesce": "yes"}, "coalesce"),
        ({"coalesce": 1}, "coalesce"),
        ({"tags": "a b"}, "tags"),
        ({"tags": [1]}, "tags.0"),
        ({"parameters": []}, "parameters"),
        ({"parameters": {"days": "x"}}, "parameters.days"),
        ({"parameters": {"weeks": 1}}, "parameters.weeks"),
        ({"trigger": "daily"}, "trigger"),
        ({"trigger": {}}, "trigger"),
        ({"trigger": {"type": "sometimes"}}, "trigger"),
        ({"trigger": {"type": "interval", "hours": "1"}}, "trigger.hours"),
        ({"trigger": {"type": "interval", "hour": 1}}, "trigger.hour"),
        ({"trigger": {"type": "cron", "hour": 1.5}}, "trigger.hour"),
        ({"trigger": {"type": "cron", "hour": "25"}}, "trigger.hour"),
        (
            {"trigger": {"type": "or", "triggers": [{"type": "date"}]}},
            "trigger.triggers.0.run_date",
        ),
        ({"retrys": 1}, "retrys"),
        ({"task": None}, "task"),
        ({"id": "a/b"}, "id"),
        ({"misfire_grace_time": 0}, "misfire_grace_time"),
    ],
)
def test_every_fault_names_its_field(
    site: Site, program: Program, change: dict[str, Any], field: str
) -> None:
    assert fields(program.post("/jobs", NEW | change, status=422)) == {field}
    assert count_jobs(site) == 0


@sqlite
@pytest.mark.parametrize("address", ["/jobs?stat=failing", "/jobs?limit=5&limit=6", "/tasks?x=1"])
def test_parameters_that_mean_nothing_are_refused(program: Program, address: str) -> None:
    program.get(address, status=422)


# -- tags ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["/jobs", "/jobs/nightly", "/runs", "/runs/1/log"])
def test_what_has_not_changed_is_not_sent_again(site: Site, program: Program, address: str) -> None:
    site.add(make_job(), make_run(1))
    tag = program.send("GET", address, status=200).headers["ETag"]
    unchanged = program.send("GET", address, status=304, headers={"If-None-Match": tag})
    assert (unchanged.data, unchanged.headers["ETag"]) == (b"", tag)
    site.add(make_job("other"))
    changed = program.send("GET", address, status=200, headers={"If-None-Match": tag})
    assert changed.headers["ETag"] != tag


@sqlite
def test_a_tag_is_no_answer_to_another_token(site: Site, program: Program) -> None:
    tag = program.send("GET", "/jobs", status=200).headers["ETag"]
    other = make_program(site, name="other")
    assert other.send("GET", "/jobs", status=200).headers["ETag"] != tag


@sqlite
def test_tasks_are_known_by_what_they_are(
    site: Site, program: Program, register: Callable[..., None]
) -> None:
    """Each process has its own, whatever the database says."""

    def other() -> None: ...

    tag = program.send("GET", "/tasks", status=200).headers["ETag"]
    site.add(make_job())
    program.send("GET", "/tasks", status=304, headers={"If-None-Match": tag})
    register(other, "other")
    program.send("GET", "/tasks", status=200, headers={"If-None-Match": tag})


@sqlite
def test_the_status_has_no_tag(program: Program) -> None:
    assert "ETag" not in program.send("GET", "/status", status=200).headers


# -- keys ------------------------------------------------------------------------------------------


def test_a_request_sent_twice_is_done_once(site: Site, program: Program) -> None:
    first = program.send("POST", "/jobs", status=201, json=NEW, headers=ONCE)
    again = program.send("POST", "/jobs", status=201, json=NEW, headers=ONCE)
    assert again.json == first.json
    assert again.headers["Location"] == first.headers["Location"]
    assert (again.headers["Idempotency-Replayed"], count_jobs(site)) == ("true", 1)
    assert program.post("/jobs", NEW, status=201)["id"] != first.json["id"]  # type: ignore[index]


@sqlite
def test_a_key_is_for_one_request(program: Program) -> None:
    program.post("/jobs", NEW, status=201, headers=ONCE)
    other = program.post("/jobs", NEW | {"name": "Other"}, status=422, headers=ONCE)
    assert fields(other) == {"Idempotency-Key"}
    elsewhere = program.post("/jobs/reports-daily/pause", NEW, status=422, headers=ONCE)
    assert elsewhere["status"] == 422


@sqlite
def test_a_key_is_one_tokens_own(site: Site, program: Program) -> None:
    other = make_program(site, name="other")
    program.post("/jobs", NEW, status=201, headers=ONCE)
    other.post("/jobs", NEW, status=201, headers=ONCE)
    assert count_jobs(site) == 2


@sqlite
def test_a_refusal_may_be_tried_again_with_its_key(site: Site, program: Program) -> None:
    program.post("/jobs/nightly/run", status=404, headers=ONCE)
    site.add(make_job())
    program.post("/jobs/nightly/run", status=202, headers=ONCE)
    program.post("/jobs/nightly/run", status=202, headers=ONCE)


def test_a_key_is_forgotten_after_a_day(site: Site, program: Program) -> None:
    program.post("/jobs", NEW, status=201, headers=ONCE)
    with site.database.write() as session:
        yesterday = datetime.now(UTC) - ANSWER_KEPT - timedelta(seconds=1)
        session.execute(update(KeptAnswer).values(at=yesterday))
    program.post("/jobs", NEW, status=201, headers=ONCE)
    assert count_jobs(site) == 2
    with site.database.read() as session:
        assert session.scalar(select(func.count(KeptAnswer.key))) == 1


@sqlite
@pytest.mark.parametrize("key", ["", "x" * 256, "ä"])
def test_a_key_is_short_plain_text(program: Program, key: str) -> None:
    problem = program.post("/jobs", NEW, status=422, headers={"Idempotency-Key": key})
    assert fields(problem) == {"Idempotency-Key"}


def test_of_many_at_once_one_is_done(site: Site, program: Program) -> None:
    """The others are told to ask again, and then get the answer of the one."""
    statuses: list[int] = []
    together = threading.Barrier(6)

    def send() -> None:
        client = site.client.application.test_client()
        headers = {"Authorization": f"Bearer {program.key}"} | ONCE
        together.wait()
        answer = client.post("/api/v1/jobs", json=NEW, headers=headers)
        statuses.append(answer.status_code)

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count_jobs(site) == 1
    assert set(statuses) <= {201, 409}
    assert statuses.count(201) >= 1
    program.post("/jobs", NEW, status=201, headers=ONCE)


# -- problems --------------------------------------------------------------------------------------


@sqlite
def test_an_unknown_address_is_told_in_json(program: Program) -> None:
    for address in ("/nowhere", "/jobs/a/b/c", "/runs/first", "/runs/0", "/runs/" + "9" * 5000):
        program.get(address, status=404)
    program.send("WHAT", "/tasks", status=405)


@sqlite
@pytest.mark.parametrize(
    ("method", "address", "allowed"),
    [
        ("PUT", "/jobs/x", {"DELETE", "GET", "PATCH"}),
        ("DELETE", "/jobs", {"GET", "POST"}),
        ("POST", "/status", {"GET"}),
        ("TRACE", "/runs/1/retry", {"POST"}),
    ],
)
def test_a_method_that_an_address_lacks(
    program: Program, method: str, address: str, allowed: set[str]
) -> None:
    answer = program.send(method, address, status=405)
    assert set(answer.headers["Allow"].split(", ")) - {"HEAD", "OPTIONS"} == allowed


@sqlite
def test_a_fault_of_ours_is_admitted_and_shows_no_secrets(
    site: Site, program: Program, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("password=hunter2")

    views: dict[str, Any] = site.client.application.view_functions
    vars(fail)["dashboard_access"] = views["dashboard.api.tasks.index"].dashboard_access
    views["dashboard.api.tasks.index"] = fail
    site.client.application.testing = False
    assert "hunter2" not in program.get("/tasks", status=500)["detail"]
    assert "hunter2" in caplog.text

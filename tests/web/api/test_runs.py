"""`/runs`: what happened, and what is done about it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dashboard.storage.models import Origin, RunLog, RunState, RunStep
from tests.factories import new_run
from tests.rows import EPOCH, make_job, make_run
from tests.web.api.program import fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.web.api.program import Program
    from tests.web.site import Site

sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def ids(answer: Any) -> list[int]:
    return [run["id"] for run in answer["items"]]


def line(seq: int, text: str = "x") -> RunLog:
    return RunLog(run_id=1, seq=seq, at=EPOCH, level="INFO", logger="print", text=text)


# -- one run ---------------------------------------------------------------------------------------


def test_a_run_tells_everything(site: Site, program: Program) -> None:
    site.add(
        make_run(
            1,
            state=RunState.FAILED,
            origin=Origin.MANUAL,
            requested_by="ann",
            result="<b>",
            error_type="ValueError",
            error_message="no “file”",
            traceback="Traceback …",
            fingerprint="abc",
            progress={"done": 3, "total": None, "text": "three"},
            coalesced=2,
            coalesced_since=EPOCH - timedelta(hours=1),
            coalesced_times=[EPOCH - timedelta(hours=1), EPOCH - timedelta(minutes=30)],
        ),
        RunStep(
            run_id=1, index=1, name="load", state=RunState.FAILED, started_at=EPOCH, error="no"
        ),
    )
    run = program.get("/runs/1")
    assert run == {
        "id": 1,
        "job_id": "nightly",
        "job_name": "nightly",
        "task": "reports.daily",
        "parameters": {"day": "2027-03-01"},
        "origin": "manual",
        "attempt": 1,
        "state": "failed",
        "reason": None,
        "scheduled_at": "2027-03-01T12:00:01Z",
        "coalesced": 2,
        "coalesced_times": ["2027-03-01T11:00:00Z", "2027-03-01T11:30:00Z"],
        "queued_at": "2027-03-01T12:00:01Z",
        "not_before": None,
        "started_at": "2027-03-01T12:00:01Z",
        "finished_at": "2027-03-01T12:00:03Z",
        "duration_seconds": 2.0,
        "executor": "threads",
        "host": "worker-1",
        "requested_by": "ann",
        "result": "<b>",
        "error": {
            "type": "ValueError",
            "message": "no “file”",
            "traceback": "Traceback …",
            "fingerprint": "abc",
        },
        "progress": {"done": 3.0, "total": None, "text": "three"},
        "steps": [
            {
                "name": "load",
                "state": "failed",
                "started_at": "2027-03-01T12:00:00Z",
                "finished_at": None,
                "error": "no",
            }
        ],
    }
    assert program.get("/runs")["items"] == [run], "a list tells the same"


def test_a_run_that_is_not_there(program: Program) -> None:
    for number in (1, 2**63, 2**70):
        program.get(f"/runs/{number}", status=404)
        program.get(f"/runs/{number}/log", status=404)
        program.post(f"/runs/{number}/retry", status=404)
        program.post(f"/runs/{number}/cancel", status=404)


# -- doing -----------------------------------------------------------------------------------------


def test_a_run_is_retried_as_the_next_attempt(site: Site, program: Program) -> None:
    failed = new_run(second=1, state=RunState.FAILED, parameters={"days": 4})
    site.add(make_job(), failed)
    answer = program.send("POST", f"/runs/{failed.id}/retry", status=202)
    run = answer.json
    assert run is not None
    assert (run["attempt"], run["origin"], run["parameters"]) == (2, "retry", {"days": 4})
    assert run["scheduled_at"] == "2027-03-01T12:00:01Z"
    assert program.get(answer.headers["Location"].removeprefix("/api/v1")) == run
    again = program.post(f"/runs/{run['id']}/retry", status=409)
    assert "has not ended" in again["detail"]


@sqlite
def test_what_cannot_be_retried(site: Site, program: Program) -> None:
    site.add(make_run(1), make_job("b", broken_reason="task gone"), make_run(2, "b"))
    assert "was removed" in program.post("/runs/1/retry", status=409)["detail"]
    assert "task gone" in program.post("/runs/2/retry", status=409)["detail"]


def test_a_run_is_cancelled(site: Site, program: Program) -> None:
    site.add(make_job(), make_run(1, state=RunState.QUEUED), make_run(2, state=RunState.RUNNING))
    cancelled = program.post("/runs/1/cancel", status=202)
    assert cancelled["state"] == "cancelled"
    assert "token:admin" in cancelled["reason"]
    assert program.post("/runs/2/cancel", status=202)["state"] == "running", "it was asked to"
    assert "ended already" in program.post("/runs/1/cancel", status=409)["detail"]


# -- the log ---------------------------------------------------------------------------------------


def test_a_log_is_read_page_by_page(site: Site, program: Program) -> None:
    site.add(make_run(1, log_dropped=3), *(line(seq, f"line {seq}") for seq in range(1, 6)))
    first = program.get("/runs/1/log?limit=3")
    assert [each["text"] for each in first["items"]] == ["line 1", "line 2", "line 3"]
    assert first["items"][0] == {
        "seq": 1,
        "at": "2027-03-01T12:00:00Z",
        "level": "INFO",
        "logger": "print",
        "text": "line 1",
    }
    assert (first["next"], first["dropped"]) == (3, 3)
    rest = program.get("/runs/1/log?limit=3&after=3")
    assert ([each["seq"] for each in rest["items"]], rest["next"]) == ([4, 5], None)


def test_the_log_of_a_run_that_goes_on_can_be_followed(site: Site, program: Program) -> None:
    site.add(make_run(1, state=RunState.RUNNING))
    assert program.get("/runs/1/log") == {"items": [], "next": 0, "dropped": 0}
    site.add(line(1), line(2))
    assert program.get("/runs/1/log?after=0")["next"] == 2
    assert program.get("/runs/1/log?after=2") == {"items": [], "next": 2, "dropped": 0}


@sqlite
@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "after=-1", "after=x", f"after={2**63}"]
)
def test_a_log_that_makes_no_sense_is_refused(site: Site, program: Program, query: str) -> None:
    site.add(make_run(1))
    assert fields(program.get(f"/runs/1/log?{query}", status=422)) == {query.partition("=")[0]}


# -- the list --------------------------------------------------------------------------------------


def test_runs_are_listed_newest_first_page_by_page(site: Site, program: Program) -> None:
    site.add(*(make_run(number) for number in range(1, 8)))
    found, after, pages = [], "", 0
    while after is not None:
        answer = program.get(f"/runs?limit=3{after and '&after='}{after}")
        found += ids(answer)
        after, pages = answer["next"], pages + 1
    assert (found, pages) == ([7, 6, 5, 4, 3, 2, 1], 3)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [4, 3, 2, 1]),
        ("job=other", [3]),
        ("job=none", []),
        ("task=reports.weekly", [4]),
        ("state=failed", [2]),
        ("state=failed,missed", [3, 2]),
        ("state=failed&state=missed", [3, 2]),
        ("origin=manual", [1]),
        ("origin=manual&state=failed", []),
        ("since=2027-03-01T12:00:03Z", [4, 3]),
        ("until=2027-03-01T13:00:03%2B01:00", [2, 1]),
        ("since=2027-03-01 12:00:02&until=2027-03-01T12:00:03Z", [2]),
        ("since=5000w", [4, 3, 2, 1]),
        ("until=5000w", []),
    ],
)
def test_runs_are_found(site: Site, program: Program, query: str, found: list[int]) -> None:
    site.add(
        make_run(1, origin=Origin.MANUAL),
        make_run(2, state=RunState.FAILED),
        make_run(3, "other", state=RunState.MISSED),
        make_run(4, task="reports.weekly"),
    )
    assert ids(program.get(f"/runs?{query}")) == found


def test_the_runs_of_one_job(site: Site, program: Program) -> None:
    site.add(make_job("empty"), make_run(1), make_run(2, "other"), make_run(3))
    assert ids(program.get("/jobs/nightly/runs")) == [3, 1]
    assert ids(program.get("/jobs/nightly/runs?limit=1&after=3")) == [1]
    assert ids(program.get("/jobs/empty/runs")) == []
    assert fields(program.get("/jobs/nightly/runs?job=other", status=422)) == {"job"}


@sqlite
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=501", "limit"),
        ("after=x", "after"),
        (f"after={2**63}", "after"),
        ("state=dancing", "state"),
        ("origin=moon", "origin"),
        ("since=yesterday", "since"),
        ("since=0001-01-01", "since"),
        ("until=24h&since=1h", "until"),
        ("job=" + "x" * 192, "job"),
        ("task=%00", "task"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused(program: Program, query: str, field: str) -> None:
    assert fields(program.get(f"/runs?{query}", status=422)) == {field}


def test_a_long_page_is_sent_while_it_is_read(site: Site, program: Program) -> None:
    site.add(*(make_run(number) for number in range(1, 131)))
    site.add(
        *(
            RunStep(run_id=1, index=n, name=f"{n}", state="succeeded", started_at=EPOCH)
            for n in (1, 2)
        )
    )
    answer = program.send("GET", "/runs?limit=120", status=200)
    assert answer.is_streamed
    assert answer.headers["ETag"]
    assert answer.json is not None
    assert ids(answer.json) == list(range(130, 10, -1))
    rest = program.get(f"/runs?limit=120&after={answer.json['next']}")
    assert (ids(rest), rest["next"]) == (list(range(10, 0, -1)), None)
    assert [step["name"] for step in rest["items"][-1]["steps"]] == ["1", "2"]
    one = program.get("/runs/50")
    assert one == next(run for run in answer.json["items"] if run["id"] == 50)


def test_a_list_costs_the_same_however_many_there_are(
    site: Site, program: Program, statements: Callable[[], int]
) -> None:
    site.add(*(make_run(number) for number in range(1, 121)))
    program.get("/runs?limit=1")
    before = statements()
    assert len(program.get("/runs?limit=50")["items"]) == 50
    assert statements() - before <= 7  # who asks, revision, scheduler (two), page (three)

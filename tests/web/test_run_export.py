"""Runs as a file: what is filtered, whole, and harmless to whoever opens it."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from dashboard.storage.models import MOST_COALESCED, Role, RunState
from dashboard.web import run_export
from tests.rows import EPOCH, make_job, make_run
from tests.web.site import Site, links, words

if TYPE_CHECKING:
    from werkzeug.test import TestResponse

FORMULAS = [
    '=cmd|" /C calc"!A0',
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "＝1+1",  # noqa: RUF001 -- spreadsheets in Asia take it for =
]


def lines(answer: TestResponse) -> list[dict[str, str]]:
    assert answer.status_code == 200
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


def test_what_is_filtered_is_what_is_in_the_file(site: Site) -> None:
    site.add(
        make_run(1, state=RunState.FAILED, error_type="OSError", error_message='disk "full", ü\n2'),
        make_run(2),
        make_run(3, "other", state=RunState.MISSED, reason="too late", coalesced=12),
    )
    found = lines(site.client.get("/runs/export?job=nightly&state=failed"))
    assert [row["id"] for row in found] == ["1"]
    [row] = found
    assert (row["error_type"], row["error_message"]) == ("OSError", 'disk "full", ü\n2')
    assert (row["state"], row["duration"]) == ("failed", "2.0")
    assert row["scheduled_at"] == "2027-03-01T12:00:01.000+00:00"
    assert json.loads(row["parameters"]) == {"day": "2027-03-01"}
    [missed] = lines(site.client.get("/runs/export?state=missed"))
    assert (missed["reason"], missed["coalesced"], missed["started_at"]) == ("too late", "12", "")


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_cell_is_a_formula(site: Site, formula: str) -> None:
    hostile = {"error_type": formula, "error_message": formula, "result": formula}
    site.add(make_run(1, job_name=formula, reason=formula, requested_by=formula, **hostile))
    [row] = lines(site.client.get("/runs/export"))
    for name in ("job_name", "reason", "requested_by", *hostile):
        assert row[name] == f"'{formula}"


def test_json_is_as_the_api_has_it(site: Site) -> None:
    site.add(make_run(1, result="<b>\u202e🎉"), make_run(2))
    answer = site.client.get("/runs/export?format=json")
    assert answer.content_type == "application/json; charset=utf-8"
    found = json.loads(answer.text)["items"]
    assert [run["id"] for run in found] == [2, 1]
    assert found[1]["result"] == "<b>\u202e🎉"
    assert found[0]["duration_seconds"] == 2.0
    assert json.loads(site.client.get("/runs/export?format=json&q=zebra").text) == {"items": []}


def test_however_many_there_are_few_are_in_memory(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_export, "SOME", 7)
    site.add(*(make_run(number) for number in range(1, 41)))
    found = lines(site.client.get("/runs/export"))
    assert [int(row["id"]) for row in found] == list(range(40, 0, -1))
    response = site.client.get("/runs/export", buffered=False)
    assert not response.is_sequence, "it is made while it is sent"
    response.close()


@pytest.mark.parametrize("query", ["format=exe", "since=yesterdayish", "state=dancing"])
def test_what_is_not_understood_is_refused(site: Site, query: str) -> None:
    assert site.client.get(f"/runs/export?{query}").status_code == 422


def test_the_page_offers_what_it_shows(site: Site) -> None:
    site.sign_in(Role.VIEWER)
    page = site.get("/runs?state=failed&tag=x")
    assert links(page)["CSV"] == "/runs/export?state=failed&tag=x&format=csv"
    assert links(page)["JSON"] == "/runs/export?state=failed&tag=x&format=json"


def test_runs_are_found_by_a_tag_of_their_job(site: Site) -> None:
    site.add(make_job("a", tags=["ops", "x y"]), make_job("b", tags=["opsy"]))
    site.add(make_run(1, "a"), make_run(2, "b"), make_run(3, "gone"))

    def jobs(tag: str) -> list[str]:
        return [row["job_id"] for row in lines(site.client.get(f"/runs/export?tag={tag}"))]

    assert jobs("ops") == ["a"]
    assert jobs("nothing") == []
    assert "Tag: ops" in words(site.get("/runs?tag=ops"))


def test_a_run_says_how_many_fire_times_it_stands_for(site: Site) -> None:
    times = [EPOCH + timedelta(hours=n) for n in range(3)]
    site.add(
        make_run(1, coalesced=3, coalesced_since=EPOCH, coalesced_times=times),
        make_run(2, coalesced=1, state=RunState.MISSED, reason="Late."),
        make_run(3, coalesced=MOST_COALESCED, coalesced_since=EPOCH),
    )
    page = site.get("/runs")
    told = "Stands for 3 earlier fire times as well, the first at 2027-03-01 12:00:00 UTC."
    assert told in words(page)
    assert told.replace("Stands", "It stands") in words(site.get("/runs/1"))
    assert "Late. Stands for 1 earlier fire time as well." in words(page)
    assert "Stands for at least 1,000 earlier fire times as well, the first" in words(page)


def test_a_run_tells_each_fire_time_it_stands_for(site: Site) -> None:
    hour = timedelta(hours=1)
    times = [EPOCH, EPOCH + hour / 7, EPOCH + hour, EPOCH + 2 * hour]
    first = [EPOCH + hour * n for n in range(MOST_COALESCED)]
    site.add(
        make_run(1, coalesced=4, coalesced_since=EPOCH, coalesced_times=times),
        make_run(2, coalesced=MOST_COALESCED, coalesced_since=EPOCH, coalesced_times=first),
        make_run(3),
    )
    page = site.get("/runs/1")
    assert words(page, "#coalesced summary") == "All 4 earlier fire times"
    assert [each.text for each in page.select("#coalesced li")] == [
        "2027-03-01 12:00:00 UTC",
        "2027-03-01 12:08:34 UTC",
        "2027-03-01 13:00:00 UTC",
        "2027-03-01 14:00:00 UTC",
    ]
    many = site.get("/runs/2")
    assert words(many, "#coalesced summary") == "The first 1,000 earlier fire times"
    assert len(many.select("#coalesced li")) == MOST_COALESCED
    assert not site.get("/runs/3").select("#coalesced")

    rows = lines(site.client.get("/runs/export"))
    kept = [row["coalesced_times"].split() for row in rows]
    assert [len(each) for each in kept] == [0, MOST_COALESCED, 4]
    assert [datetime.fromisoformat(each) for each in kept[1]] == first
    assert kept[2][1] == "2027-03-01T12:08:34.285+00:00"
    exported = json.loads(site.client.get("/runs/export?format=json").text)["items"]
    assert [run["coalesced"] for run in exported] == [0, MOST_COALESCED, 4]
    assert [datetime.fromisoformat(each) for each in exported[2]["coalesced_times"]] == times
    assert exported[0]["coalesced_times"] == []

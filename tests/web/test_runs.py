from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dashboard.history import run_list
from dashboard.storage.models import JobHealth, Origin, Role, RunState
from tests.rows import make_job, make_run
from tests.web.site import HTMX, Site, links, open_site, parse, words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bs4 import BeautifulSoup

    from dashboard.settings import Settings
    from dashboard.storage.db import Database

FAILED, MISSED = RunState.FAILED, RunState.MISSED
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}"


@pytest.fixture
def site(database: Database, settings: Settings) -> Iterator[Site]:
    with open_site(database, settings, Role.VIEWER) as site:
        yield site


def listed(page: BeautifulSoup) -> list[int]:
    """Return the ids of the runs that a page lists."""
    return [int(str(row["id"]).removeprefix("run-")) for row in page.select("tr[id^=run-]")]


def row(page: BeautifulSoup, number: int) -> str:
    return words(page, f"#run-{number}")


def test_a_row_tells_what_matters(site: Site) -> None:
    site.add(
        make_job("nightly"),
        make_run(7, job_name="Nightly report", origin=Origin.MANUAL, requested_by="ann"),
        JobHealth(job_id="nightly", consecutive_failures=0, recent=[], usual_duration=1.0),
    )
    page = site.get("/runs")
    text = row(page, 7)
    for part in (
        "succeeded",
        "Nightly report",
        "2027-03-01 12:00:07 UTC",
        "2.0 s",
        "By hand",
        "ann",
    ):
        assert part in text
    assert links(page)["#7"] == "/runs/7"
    assert links(page)["Nightly report"] == "/jobs/nightly"
    assert len(page.select("h1")) == 1
    assert page.select_one("#run-7 .took-bar") is not None


def test_what_went_wrong_stands_in_the_row(site: Site) -> None:
    site.add(
        make_run(1, state=FAILED, error_type="OSError", error_message="no route\nto host"),
        make_run(2, state=MISSED, reason="It was 61 s late."),
        make_run(3, duration=90.0),
        JobHealth(job_id="nightly", consecutive_failures=0, recent=[], usual_duration=2.0),
    )
    page = site.get("/runs")
    assert "OSError : no route to host" in row(page, 1)
    assert "missed" in row(page, 2)
    assert "It was 61 s late." in row(page, 2)
    assert "slow" in row(page, 3)


def test_what_tasks_and_people_write_stays_text(site: Site) -> None:
    site.add(
        make_run(
            1,
            HOSTILE,
            job_name=HOSTILE,
            state=FAILED,
            error_type=HOSTILE,
            error_message=HOSTILE,
            requested_by=HOSTILE,
            origin=Origin.MANUAL,
        )
    )
    page = site.get("/runs", query_string={"q": HOSTILE, "job": HOSTILE})
    assert listed(page) == [1]
    assert not page.select("main script, main img")
    assert HOSTILE in row(page, 1)
    assert page.select_one("#field-q")["value"] == HOSTILE  # type: ignore[index]


class TestFilter:
    @pytest.fixture(autouse=True)
    def _runs(self, site: Site) -> None:
        site.add(
            make_run(1),
            make_run(2, "hourly", state=FAILED, fingerprint="f1"),
            make_run(3, "hourly", state=MISSED),
            make_run(4, task="mail.send", origin=Origin.RETRY, executor="processes"),
        )

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("", [4, 3, 2, 1]),
            ("?state=failed&state=missed", [3, 2]),
            ("?state=failed,missed", [3, 2]),
            ("?job=hourly", [3, 2]),
            ("?task=mail.send", [4]),
            ("?origin=retry", [4]),
            ("?executor=processes", [4]),
            ("?fingerprint=f1", [2]),
            ("?q=HOUR", [3, 2]),
            ("?since=2027-03-01T12:00:03", [4, 3]),
            ("?until=2027-03-01+12:00:03", [2, 1]),
            ("?since=2027-03-01T12:00:02&until=2027-03-01T12:00:04&state=missed", [3]),
            ("?job=nobody", []),
        ],
    )
    def test_the_address_says_which_runs(self, site: Site, query: str, expected: list[int]) -> None:
        assert listed(site.get(f"/runs{query}")) == expected

    def test_the_form_shows_what_is_asked_for(self, site: Site) -> None:
        page = site.get("/runs?state=failed&job=hourly&task=gone.task&origin=retry&since=24h")
        checked = [box["value"] for box in page.select("input[name=state][checked]")]
        assert checked == ["failed"]
        assert page.select_one("#field-job")["value"] == "hourly"  # type: ignore[index]
        assert words(page, "#field-task [selected]") == "gone.task"
        assert words(page, "#field-origin [selected]") == "retry"
        assert words(page, ".chips [aria-current]") == "24 hours"

    def test_each_filter_can_be_taken_away(self, site: Site) -> None:
        page = site.get("/runs?state=failed&state=missed&job=hourly")
        without = {
            str(link["aria-label"]): str(link["href"]) for link in page.select(".given a[href]")
        }
        assert without == {
            "Remove the filter State": "/runs?job=hourly",
            "Remove the filter Job id": "/runs?state=failed&state=missed",
        }

    def test_an_error_that_was_filtered_for_stays_when_the_form_is_sent(self, site: Site) -> None:
        page = site.get("/runs?fingerprint=f1")
        hidden = page.select_one("form[role=search] input[name=fingerprint]")
        assert hidden is not None
        assert (hidden["name"], hidden["value"]) == ("fingerprint", "f1")

    def test_empty_fields_of_the_form_leave_the_address(self, site: Site) -> None:
        response = site.client.get("/runs?q=&state=failed&job=&since=+")
        assert (response.status_code, response.location) == (302, "/runs?state=failed")

    @pytest.mark.parametrize(
        ("query", "message"),
        [
            ("?state=foo", "“foo” is no state."),
            ("?origin=foo", "“foo” is no origin."),
            ("?since=soon", "This is no time."),
            ("?since=1h&until=2h", "This is not after the beginning."),
            ("?job=" + "x" * 200, "longer than the 191 characters"),
            ("?q=%00", "characters that cannot be printed"),
            ("?before=abc", "This address leads to no page"),
            ("?before=99999999999999999999", "This address leads to no page"),
            ("?before=3&after=1", "not both"),
        ],
    )
    def test_a_filter_that_cannot_be_understood_shows_no_runs_and_says_why(
        self, site: Site, query: str, message: str
    ) -> None:
        page = site.get(f"/runs{query}", status=422)
        assert listed(page) == []
        assert message in words(page)
        assert "No runs are shown" in words(page)

    def test_no_match_is_told_from_no_history(self, site: Site) -> None:
        assert "No run matches" in words(site.get("/runs?job=nobody"))


def test_an_empty_history_says_so(site: Site) -> None:
    assert "Nothing has run yet" in words(site.get("/runs"))


class TestPaging:
    @pytest.fixture(autouse=True)
    def _runs(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(run_list, "LOOK_THROUGH", 10)
        site.add(*(make_run(number, "a" if number % 2 else "b") for number in range(1, 121)))

    def test_older_and_newer_pages_keep_the_filter(self, site: Site) -> None:
        first = site.get("/runs?job=a")
        assert listed(first) == list(range(119, 19, -2))
        assert links(first)["Older"] == "/runs?job=a&before=21"
        assert "Newer" not in links(first)
        second = site.get(links(first)["Older"])
        assert listed(second) == list(range(19, 0, -2))
        assert links(second)["Newer"] == "/runs?job=a&after=19"
        assert "Older" not in links(second)

    def test_the_newest_page_is_live_and_others_stand_still(self, site: Site) -> None:
        assert site.get("/runs").select("#runs[data-live]")
        assert not site.get("/runs?before=100").select("[data-live]#runs")

    def test_newer_pages_end_at_the_newest_page_itself(self, site: Site) -> None:
        assert listed(site.get("/runs?after=1")) == list(range(51, 1, -1))
        response = site.client.get("/runs?job=a&after=100")
        assert (response.status_code, response.location) == (302, "/runs?job=a")

    def test_a_search_that_gave_up_offers_to_go_on(self, site: Site) -> None:
        page = site.get("/runs?q=b&origin=manual")
        assert "None of the 10,000 runs looked through matches" in words(page)
        assert links(page)["Search further"] == "/runs?origin=manual&q=b&before=111"


def test_a_poll_is_answered_with_the_region_or_with_nothing_new(site: Site) -> None:
    site.add(make_run(1))
    etag = site.get("/runs").select_one("#runs")["data-etag"]  # type: ignore[index]
    poll = HTMX | {"If-None-Match": f'W/"{etag}"'}
    assert site.client.get("/runs", headers=poll).status_code == 304
    site.add(make_run(2))
    response = site.client.get("/runs", headers=poll)
    assert response.status_code == 200
    assert "HX-Request" in response.headers["Vary"]
    assert listed(parse(response)) == [2, 1]
    assert not parse(response).select("h1")


def test_nobody_reads_runs_without_signing_in(site: Site) -> None:
    site.client.delete_cookie("dashboard-sign-in")
    response = site.client.get("/runs")
    assert response.status_code == 303
    assert "/login" in response.location

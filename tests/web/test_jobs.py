from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dashboard.storage.models import JobHealth, Role, RunState
from tests.rows import make_job, make_run
from tests.web.site import HTMX, Site, buttons, links, parse, words, words_of

NOW = datetime.now(UTC)
SOON = NOW + timedelta(minutes=90, seconds=30)


def job(job_id: str, **values: Any) -> Any:
    return make_job(job_id, **({"next_run_time": SOON} | values))


def names(page: Any) -> list[str]:
    return [link.text for link in page.select("table a.name")]


def row(page: Any, name: str) -> str:
    """Return what the row of a job says."""
    found = [tr for tr in page.select("tbody tr") if tr.select_one("a.name").text == name]
    assert len(found) == 1
    return words_of(found[0])


def test_no_jobs_at_all(site: Site) -> None:
    page = site.get("/jobs")
    assert "No jobs yet" in words(page)
    assert links(page)["Add the first job"] == "/jobs/new"
    site.sign_in(Role.OPERATOR)
    assert "Add the first job" not in words(site.get("/jobs"))


def test_nothing_found_is_something_else(site: Site) -> None:
    site.add(job("a"))
    page = site.get("/jobs?q=zebra")
    assert "No job matches" in words(page)
    assert links(page)["Show all jobs"] == "/jobs"


def test_a_row_tells_a_job(site: Site) -> None:
    trigger = {"type": "cron", "hour": "2", "minute": "30"}
    recent = [[n, "succeeded", 2.0, "2027-03-01T12:00:00+00:00"] for n in range(9)]
    recent.append([9, "failed", 1.0, "2027-03-01T12:00:00+00:00"])
    site.add(
        job(
            "nightly",
            name="Nightly <report>",
            task="reports.daily",
            tags=["billing", "<ops>"],
            trigger=trigger,
            timezone="Europe/Berlin",
        ),
        JobHealth(
            job_id="nightly",
            last_run_id=9,
            last_finished_at=NOW - timedelta(hours=2),
            failing_since=NOW - timedelta(hours=2),
            consecutive_failures=1,
            recent=recent,
            usual_duration=2.0,
        ),
    )
    page = site.get("/jobs")
    text = row(page, "Nightly <report>")
    assert "reports.daily billing <ops>" in text
    assert "scheduled failing 1 time in a row" in text
    assert "Every day at 02:30" in text
    assert "Europe/Berlin" in text
    assert re.search(
        r" in (1 h|\d+ min)", text
    )  # as long after the start of the tests as it may be
    assert f" {SOON:%Y-%m-%d %H:%M:%S} UTC" in text
    assert "Last 10 runs: 9 succeeded, 1 failed; the newest failed." in text
    assert "90 % · usually 2.0 s · 2 h ago" in text
    assert links(page)["Nightly <report>"] == "/jobs/nightly"
    assert [words_of(each) for each in page.select("td button")] == ["Run now", "Pause"]


def test_a_row_of_a_paused_job_offers_to_resume(site: Site) -> None:
    paused_at = NOW - timedelta(hours=1)
    site.add(job("p", paused_at=paused_at, paused_reason="Month <end>", next_run_time=None))
    page = site.get("/jobs")
    assert "paused 1 h ago Month <end>" in row(page, "p")
    assert [words_of(each) for each in page.select("td button")] == ["Run now", "Resume"]


def test_a_row_of_a_finished_job_offers_no_pause_from_what_it_does_not_do(site: Site) -> None:
    site.add(job("f", next_run_time=None, finished_reason="It ran once."))
    page = site.get("/jobs")
    assert "finished" in row(page, "f")
    assert [words_of(each) for each in page.select("td button")] == ["Run now"]


def test_a_broken_job_says_why_and_cannot_run(site: Site) -> None:
    site.add(job("b", broken_reason="There is no task “x”.", next_run_time=NOW))
    page = site.get("/jobs")
    text = row(page, "b")
    assert "broken" in text
    assert "There is no task “x”." in text
    assert "none" in text
    assert "Run now" not in buttons(page)


@pytest.mark.parametrize(
    "trigger", [{"type": "cron", "hour": "99"}, {"type": "moon"}, {}, {"type": "interval"}, []]
)
def test_a_trigger_nobody_can_read_is_shown_raw(site: Site, trigger: Any) -> None:
    site.add(job("odd", trigger=trigger))
    text = row(site.get("/jobs"), "odd")
    assert "Unreadable trigger" in text


@pytest.mark.parametrize("job_id", ["a b", "ü", "50%", "a?b#c", "<x>", "..a", "'\"&", "a+b;c"])
def test_any_id_has_an_address_that_leads_to_it(site: Site, job_id: str) -> None:
    site.add(job(job_id))
    page = site.get("/jobs")
    address = links(page)[job_id]
    assert site.client.get(address).status_code == 200
    action = page.select_one("button[formaction$='/pause']")
    assert action is not None
    assert site.post(str(action["formaction"])).status_code == 303


def test_buttons_belong_to_the_form_with_the_token(site: Site) -> None:
    site.add(job("a"))
    page = site.get("/jobs")
    assert {button["form"] for button in page.select("td button")} == {"act", "asking"}
    assert page.select_one("form#act[method=post] input[name=csrf_token]") is not None


def test_running_jobs_make_the_page_fast(site: Site) -> None:
    site.add(job("a"))
    assert site.get("/jobs").select_one("#jobs")["data-live"] == "5"  # type: ignore[index]
    site.add(make_run(1, "a", state=RunState.RUNNING))
    page = site.get("/jobs")
    assert page.select_one("#jobs")["data-live"] == "2"  # type: ignore[index]
    assert "running" in row(page, "a")


def test_chips_and_sorting_are_addresses(site: Site) -> None:
    site.add(job("a", tags=["ops"]), job("b", paused_at=NOW, next_run_time=None, tags=["ops"]))
    page = site.get("/jobs?q=tag:ops&sort=next")
    found = links(page)
    assert found["Paused"] == "/jobs?q=state:paused+tag:ops&sort=next"
    assert names(site.get(found["Paused"])) == ["b"]
    assert found["Last run"] == "/jobs?q=tag:ops&sort=last"
    assert found["Name"] == "/jobs?q=tag:ops"
    current = [link.text for link in page.select(".chips [aria-current], .sorts [aria-current]")]
    assert current == ["All", "Next run"]


def test_an_unknown_state_or_order_is_no_error(site: Site) -> None:
    site.add(job("a"))
    page = site.get("/jobs?q=state:asleep&sort=colour&after=nonsense")
    assert "“asleep” is no state" in words(page)
    assert names(page) == ["a"]


def test_fifty_a_page(site: Site) -> None:
    site.add(*(job(f"job-{number:03d}") for number in range(120)))
    page = site.get("/jobs?q=job")
    assert "120 jobs" in words(page)
    seen = names(page)
    while (following := links(page).get("Next page")) is not None:
        page = site.get(following)
        seen += names(page)
        assert links(page)["First page"] == "/jobs?q=job"
    assert seen == [f"job-{number:03d}" for number in range(120)]


def test_searching_in_place_brings_the_list_alone(site: Site) -> None:
    site.add(job("apple"), job("pear"))
    answer = site.client.get("/jobs?q=pear", headers=HTMX)
    page = parse(answer)
    assert names(page) == ["pear"]
    region = page.select_one("#jobs")
    assert region is not None
    assert region["hx-get"] == "/jobs?q=pear", "and goes on updating what was found"
    assert page.select_one("input[type=search]") is None


def test_the_search_keeps_what_was_typed(site: Site) -> None:
    field = site.get('/jobs?q="><script>').select_one("input[type=search]")
    assert field is not None
    assert field["value"] == '"><script>'


def remove(site: Site, job_id: str) -> None:
    site.post(f"/jobs/{job_id}/remove")


class TestRemoved:
    def test_a_removed_job_is_listed_and_brought_back(self, site: Site) -> None:
        site.add(job("a", name="A <b>"), job("b"))
        remove(site, "a")
        page = site.get("/jobs")
        assert "“A <b>” is removed." in words(page, "#toasts")
        undo = page.select_one("#toasts button[formaction]")
        assert undo is not None
        assert (undo["formaction"], undo["form"]) == ("/jobs/a/restore", "act")

        listed = site.get("/jobs?q=state:removed")
        assert "A <b> a · reports.daily" in words(listed)
        assert "b" not in names(listed)
        assert links(listed)["Removed"] == "/jobs?q=state:removed"
        assert site.post("/jobs/a/restore").status_code == 303
        assert names(site.get("/jobs")) == ["A <b>", "b"]
        assert "No removed job" in words(site.get("/jobs?q=state:removed"))

    def test_only_admins_are_offered_to_bring_back(self, site: Site) -> None:
        site.add(job("a"))
        remove(site, "a")
        site.sign_in(Role.OPERATOR)
        page = site.get("/jobs?q=state:removed")
        assert names(page) == ["a"]
        assert "Bring back" not in buttons(page)
        assert site.post("/jobs/a/restore").status_code == 403

    def test_removed_jobs_are_searched(self, site: Site) -> None:
        site.add(job("apple"), job("pear"))
        remove(site, "apple")
        remove(site, "pear")
        assert names(site.get("/jobs?q=state:removed+app")) == ["apple"]
        assert "No removed job matches" in words(site.get("/jobs?q=state:removed+x"))

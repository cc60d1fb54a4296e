from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from dashboard.history import queries
from dashboard.storage.models import JobHealth, Origin, Role, Run, RunLog, RunState, RunStep
from dashboard.web import run as run_page
from tests.rows import EPOCH, make_job, make_run
from tests.web.site import HTMX, Site, buttons, links, open_site, parse, words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bs4 import BeautifulSoup

    from dashboard.settings import Settings
    from dashboard.storage.db import Database

SECOND = timedelta(seconds=1)
FAILED, RUNNING, SUCCEEDED = RunState.FAILED, RunState.RUNNING, RunState.SUCCEEDED
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}"
OLD = 10_000
"""A run id out of the way of the ids that PostgreSQL gives."""
TRACEBACK = """Traceback (most recent call last):
  File "/srv/app/tasks.py", line 48, in report
    totals = ledger.totals(day)
             ^^^^^^^^^^^^^^^^^^
  File "/venv/lib/python3.12/site-packages/ledger/client.py", line 9, in totals
    raise OSError("no route")
OSError: no route
"""


@pytest.fixture
def site(database: Database, settings: Settings) -> Iterator[Site]:
    with open_site(database, settings, Role.OPERATOR) as site:
        yield site


def make_line(seq: int, text: str = "", **values: Any) -> RunLog:
    defaults = {"run_id": 1, "at": EPOCH, "level": "INFO", "logger": "task"}
    return RunLog(seq=seq, text=text or f"line {seq}", **(defaults | values))


def lines(page: BeautifulSoup) -> list[int]:
    return [int(str(line["id"]).removeprefix("L")) for line in page.select(".line")]


class TestPage:
    def test_it_tells_when_and_how(self, site: Site) -> None:
        run = make_run(
            5,
            job_name="Nightly report",
            scheduled_at=EPOCH,
            queued_at=EPOCH + SECOND,
            started_at=EPOCH + 3 * SECOND,
            finished_at=EPOCH + 33 * SECOND,
            duration=30.0,
            origin=Origin.MANUAL,
            requested_by="ann",
            attempt=2,
            coalesced=3,
            result="18 rows",
        )
        health = JobHealth(
            job_id="nightly",
            consecutive_failures=0,
            recent=[],
            usual_duration=8.0,
            long_duration=9.0,
        )
        site.add(make_job("nightly"), run, health)
        page = site.get("/runs/5")
        assert words(page, "h1") == "Run 5 of Nightly report"
        assert len(page.select("h1")) == 1
        text = words(page)
        for part in (
            "Scheduled 2027-03-01 12:00:00 UTC",
            "3 earlier fire times",
            "Queued 2027-03-01 12:00:01 UTC",
            "Started 2027-03-01 12:00:03 UTC",
            "3.0 s after its time",
            "Finished 2027-03-01 12:00:33 UTC",
            "Duration 30 s 3.8× usual usually 8.0 s",  # noqa: RUF001 -- as typographers set it
            "Run by hand, asked for by ann",
            "Attempt 2",
            "Executor threads",
            "Host worker-1",
            "day 2027-03-01",
            "Result 18 rows",
        ):
            assert part in text

    @pytest.mark.parametrize(
        "state", [RunState.MISSED, RunState.SKIPPED, RunState.INTERRUPTED, RunState.CANCELLED]
    )
    def test_a_run_that_did_not_simply_end_says_why(self, site: Site, state: RunState) -> None:
        site.add(make_run(1, state=state, reason="Because of that."))
        page = site.get("/runs/1")
        assert f"{state.capitalize()}. Because of that." in words(page, "#run .banner")

    def test_it_leads_to_its_neighbours_and_its_job(self, site: Site) -> None:
        site.add(*(make_run(number) for number in (1, 2, 3)), make_run(4, "other"))
        middle = links(site.get("/runs/2"))
        assert (middle["Previous run"], middle["Next run"]) == ("/runs/1", "/runs/3")
        assert middle["nightly"] == "/jobs/nightly"
        assert "removed" in words(site.get("/runs/2"), ".crumb")
        assert "Next run" not in links(site.get("/runs/3"))

    @pytest.mark.parametrize("number", ["7", "9223372036854775807", "9223372036854775808"])
    def test_an_unknown_run_is_not_found(self, site: Site, number: str) -> None:
        for url in (f"/runs/{number}", f"/runs/{number}/log?download=1"):
            assert site.client.get(url).status_code == 404
        assert site.post(f"/runs/{number}/retry").status_code == 404

    def test_what_a_task_said_stays_text(self, site: Site) -> None:
        values: dict[str, Any] = dict.fromkeys(
            ("job_name", "error_type", "error_message", "traceback", "result", "host"), HOSTILE
        )
        site.add(
            make_run(1, state=FAILED, parameters={HOSTILE: HOSTILE}, fingerprint="f", **values),
            make_line(1, HOSTILE, logger=HOSTILE),
            RunStep(run_id=1, index=1, name=HOSTILE, state=FAILED, started_at=EPOCH, error=HOSTILE),
        )
        page = site.get("/runs/1")
        assert words(page).count(HOSTILE) >= 10
        assert not page.select("main script, main img")


class TestError:
    @pytest.fixture(autouse=True)
    def _failed(self, site: Site) -> None:
        failed = {"state": FAILED, "error_type": "OSError", "error_message": "no route"}
        site.add(
            make_run(1, traceback=TRACEBACK, fingerprint="f1", **failed),
            make_run(2, fingerprint="f1", **failed),
        )

    def test_own_frames_are_open_and_those_of_libraries_folded(self, site: Site) -> None:
        page = site.get("/runs/1")
        own = words(page, ".frames.own")
        assert "/srv/app/ tasks.py :48 in report" in own
        assert words(page, ".frames.own mark") == "ledger.totals(day)"
        assert "client.py" not in own
        assert "1 frame of libraries" in words(page, "details.library")
        assert not page.select("details[open]")

    def test_the_whole_text_is_there_to_copy(self, site: Site) -> None:
        whole = site.get("/runs/1").select_one("#traceback-text")
        assert whole is not None
        assert whole.get_text() == TRACEBACK

    def test_runs_with_the_same_error_are_a_link_away(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert links(site.get("/runs/1"))["Same error in 1 other run"] == "/errors/f1"
        site.add(*(make_run(number, fingerprint="f1", state=FAILED) for number in (3, 4)))
        monkeypatch.setattr(queries, "SAME_ERROR_CAP", 2)
        assert "Same error in 2+ other runs" in links(site.get("/runs/1"))

    def test_a_failure_without_a_traceback_has_its_message(self, site: Site) -> None:
        assert "OSError no route" in words(site.get("/runs/2"), ".error-card")


class TestProgress:
    @pytest.mark.parametrize(
        ("progress", "share", "text"),
        [
            ({"done": 30, "total": 120, "text": "Page 3"}, "0.25", "25 % 30 of 120 Page 3"),
            ({"done": 1500, "total": None, "text": ""}, None, "Under way 1,500"),
            ({"done": 9, "total": 0, "text": ""}, None, "Under way 9 of 0"),
            ({"done": 9.5, "total": 3, "text": ""}, "1.0", "100 % 9.5 of 3"),
            ({"done": -1, "total": 3, "text": ""}, "0.0", "0 % -1 of 3"),
        ],
    )
    def test_a_running_run_shows_how_far_it_is(
        self, site: Site, progress: dict[str, Any], share: str | None, text: str
    ) -> None:
        site.add(make_run(1, state=RUNNING, progress=progress))
        page = site.get("/runs/1")
        bar = page.select_one("progress")
        assert bar is not None
        assert bar.get("value") == share
        assert words(page, ".progress-words") == text

    def test_steps_show_how_they_stand(self, site: Site) -> None:
        site.add(
            make_run(1, state=RunState.INTERRUPTED),
            RunStep(
                run_id=1,
                index=1,
                name="Load",
                state=SUCCEEDED,
                started_at=EPOCH,
                finished_at=EPOCH + 3 * SECOND,
            ),
            RunStep(run_id=1, index=2, name="Send", state=RUNNING, started_at=EPOCH),
        )
        steps = site.get("/runs/1").select(".run-steps li")
        assert [" ".join(step.get_text(" ").split()) for step in steps] == [
            "succeeded Load 3.0 s",
            "interrupted Send –",  # noqa: RUF001 -- the dash stands for no duration
        ]


class TestLog:
    @pytest.fixture(autouse=True)
    def _lines(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(run_page, "LOG_LINES", 4)
        site.add(make_run(1, state=RUNNING), *(make_line(seq) for seq in range(1, 11)))
        site.add(make_run(2))

    def finish(self, site: Site, **values: Any) -> None:
        with site.database.write() as session:
            run = session.get_one(Run, 1)
            for name, value in {"state": SUCCEEDED, **values}.items():
                setattr(run, name, value)

    def end(self, page: BeautifulSoup) -> str:
        return words(page, "#log-end")

    def test_the_page_shows_its_end_and_where_it_goes_on(self, site: Site) -> None:
        page = site.get("/runs/1")
        assert lines(page) == [7, 8, 9, 10]
        tail = page.select_one("#log-end")
        assert tail is not None
        assert tail["hx-get"] == "/runs/1/log?after=10"
        assert tail["data-live"]
        assert links(page)["Earlier lines"] == "/runs/1?before=7#log"

    def test_a_poll_brings_new_lines_only(self, site: Site) -> None:
        poll = "/runs/1/log?after=10"
        assert site.client.get(poll, headers=HTMX).status_code == 204
        site.add(make_line(11, level="ERROR"), make_line(12))
        page = site.get(poll, headers=HTMX)
        assert lines(page) == [11, 12]
        assert "ERROR" in words(page, "#L11")
        assert page.select_one("#log-end")["hx-get"] == "/runs/1/log?after=12"  # type: ignore[index]

    def test_polling_ends_with_the_run_and_after_its_last_line(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(queries, "LOG_PAGE", 6)
        self.finish(site, log_dropped=1200)
        page = site.get("/runs/1/log?after=2", headers=HTMX)
        assert lines(page) == [3, 4, 5, 6, 7, 8]
        assert page.select("#log-end[data-live]")
        page = site.get("/runs/1/log?after=8", headers=HTMX)
        assert lines(page) == [9, 10]
        assert not page.select("[data-live]")
        assert "1,200 more lines were beyond the limit" in self.end(page)

    def test_earlier_lines_come_on_demand(self, site: Site) -> None:
        page = site.get("/runs/1/log?before=7", headers=HTMX)
        assert lines(page) == [3, 4, 5, 6]
        page = site.get("/runs/1/log?before=3", headers=HTMX)
        assert lines(page) == [1, 2]
        assert not page.select("a[hx-get]")

    def test_without_javascript_parts_of_the_log_are_pages(self, site: Site) -> None:
        page = site.get("/runs/1?before=7")
        assert lines(page) == [3, 4, 5, 6]
        assert links(page)["To the newest lines"] == "/runs/1#log"
        response = site.client.get("/runs/1/log?q=x&before=7")
        assert (response.status_code, response.location) == (302, "/runs/1?q=x&before=7#log")

    def test_searching_finds_lines_wherever_they_are(self, site: Site) -> None:
        page = site.get("/runs/1/log?q=LINE+1", headers=HTMX)
        assert lines(page) == [1, 10]
        page = site.get("/runs/1?q=line+2")
        assert lines(page) == [2]
        self.finish(site)
        assert self.end(site.get("/runs/1?q=nowhere")) == "No line with “nowhere”."
        site.get("/runs/1?q=%00", status=422)

    def test_lines_are_found_by_their_level(self, site: Site) -> None:
        levels = ("DEBUG", "WARNING", "ERROR", "NOTICE")
        site.add(*(make_line(seq, level=level) for seq, level in enumerate(levels, 11)))
        assert lines(site.get("/runs/1/log?level=warning", headers=HTMX)) == [12, 13]
        assert lines(site.get("/runs/1/log?level=error&q=line", headers=HTMX)) == [13]
        assert 11 not in lines(site.get("/runs/1/log?level=info", headers=HTMX))
        assert 14 in lines(site.get("/runs/1/log?level=info", headers=HTMX))
        page = site.get("/runs/1?level=error&q=13")
        chosen = page.select_one("select[name=level] option[selected]")
        assert chosen is not None
        assert (chosen["value"], lines(page)) == ("error", [13])
        tail = page.select_one("#log-end")
        assert tail is not None
        assert tail["hx-get"] == "/runs/1/log?after=13&q=13&level=error"
        assert words(page, "#log-end") == "Lines of level error or above with “13” appear here"
        assert len(lines(site.get("/runs/1?level=nonsense"))) == 4, "that is no filter"

    def test_a_log_that_is_full_says_so_while_the_run_goes_on(self, site: Site) -> None:
        with site.database.write() as session:
            session.get_one(Run, 1).log_dropped = 1024
        page = site.get("/runs/1/log?after=10", headers=HTMX)
        assert "not kept, but counted: 1,024 and more" in self.end(page)
        assert page.select("#log-end[data-live]"), "it looks for the end"
        self.finish(site, state=RunState.INTERRUPTED)
        assert "At least 1,024 more lines" in self.end(site.get("/runs/1"))

    @pytest.mark.parametrize("query", ["after=x", "after=-1", "after=" + "9" * 30, "before=½"])
    def test_numbers_that_are_none_do_no_harm(self, site: Site, query: str) -> None:
        assert site.client.get(f"/runs/1/log?{query}", headers=HTMX).status_code in {200, 204}

    def test_a_log_that_is_empty_says_so(self, site: Site) -> None:
        assert "It wrote nothing." in self.end(site.get("/runs/2"))

    def test_it_can_be_downloaded_whole(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(queries, "LOG_PAGE", 3)
        self.finish(site, log_dropped=2)
        response = site.client.get("/runs/1/log?download=1")
        assert response.mimetype == "text/plain"
        assert response.headers["Content-Disposition"] == 'attachment; filename="run-1.log"'
        text = response.text.splitlines()
        assert text[0] == "2027-03-01T12:00:00.000000Z INFO     task: line 1"
        assert len(text) == 11
        assert text[-1].startswith("… 2 more lines")


class TestRetry:
    def test_it_goes_to_the_new_run(self, site: Site) -> None:
        site.add(make_job("nightly"), make_run(OLD, state=FAILED, parameters={"day": "x"}))
        assert "Retry" in buttons(site.get(f"/runs/{OLD}"))
        response = site.post(f"/runs/{OLD}/retry")
        assert response.status_code == 303
        with site.database.read() as session:
            again = session.scalars(select(Run).where(Run.id != OLD)).one()
        assert response.location == f"/runs/{again.id}"
        assert (again.origin, again.attempt) == (Origin.RETRY, 2)
        assert (again.parameters, again.scheduled_at) == ({"day": "x"}, EPOCH + OLD * SECOND)
        assert site.woken
        page = site.get(f"/runs/{again.id}")
        assert f"attempt 2 of run {OLD}" in words(page, "#toasts")

    def test_in_place_it_goes_there_as_well(self, site: Site) -> None:
        site.add(make_job("nightly"), make_run(OLD, state=FAILED))
        response = site.post(f"/runs/{OLD}/retry", in_place=True)
        assert response.headers["HX-Redirect"].startswith("/runs/")

    def test_it_is_offered_only_where_it_works(self, site: Site) -> None:
        site.add(make_job("nightly"), make_run(1, state=RUNNING), make_run(2, "removed"))
        assert "Retry" not in buttons(site.get("/runs/1"))
        assert "Retry" not in buttons(site.get("/runs/2"))
        assert site.post("/runs/1/retry").status_code == 409
        assert site.post("/runs/2/retry").status_code == 409
        site.sign_in(Role.VIEWER)
        site.add(make_run(3))
        assert "Retry" not in buttons(site.get("/runs/3"))
        assert site.post("/runs/3/retry").status_code == 403


class TestCancel:
    def test_a_dialog_asks_and_without_javascript_a_page(self, site: Site) -> None:
        site.add(make_job("nightly"), make_run(1, state=RUNNING, executor="processes"))
        page = site.get("/runs/1")
        assert "Cancel" in buttons(page)
        assert "process is killed within a second" in words(page, "dialog")
        page = site.get("/runs/1/cancel")
        assert words(page, "h1") == "Cancel run 1 of “nightly”?"
        assert buttons(page) == ["Cancel run"]

    def test_a_running_run_is_asked_to_end(self, site: Site) -> None:
        site.add(make_job("nightly"), make_run(1, state=RUNNING))
        response = site.post("/runs/1/cancel", in_place=True)
        assert response.status_code == 200
        assert "Run 1 is asked to end." in response.text
        assert site.woken
        page = site.get("/runs/1")
        assert "has cancelled this run" in words(page)
        assert "cannot be killed from outside" in words(page)
        assert "Cancel" not in buttons(page)

    def test_a_queued_run_is_cancelled(self, site: Site) -> None:
        site.add(make_job("nightly"), make_run(1, state=RunState.QUEUED))
        asked = {"Referer": "http://localhost/runs/1/cancel"}
        fields = {"csrf_token": site.token()}
        response = site.client.post("/runs/1/cancel", data=fields, headers=asked)
        assert (response.status_code, response.location) == (303, "/runs/1")
        page = site.get("/runs/1")
        assert "Run 1 is cancelled." in words(page, "#toasts")
        assert "before it began" in words(page)
        assert "It has ended already." in words(site.get("/runs/1/cancel"))
        assert site.post("/runs/1/cancel").status_code == 409

    def test_lists_of_runs_lead_there(self, site: Site) -> None:
        site.add(make_job("nightly"), make_run(1, state=RUNNING), make_run(2))
        for url in ("/runs", "/jobs/nightly", "/"):
            assert "/runs/1/cancel" in links(site.get(url)).values()
            assert "/runs/2/cancel" not in links(site.get(url)).values()
        site.sign_in(Role.VIEWER)
        for url in ("/runs", "/jobs/nightly", "/", "/runs/1"):
            page = site.get(url)
            assert "/runs/1/cancel" not in links(page).values()
            assert "Cancel" not in buttons(page)
        assert site.post("/runs/1/cancel").status_code == 403
        site.get("/runs/1/cancel", status=403)


def test_a_poll_is_answered_with_the_region_without_its_log(site: Site) -> None:
    site.add(make_run(1, state=RUNNING), make_line(1))
    region = site.get("/runs/1").select_one("#run")
    assert region is not None
    assert region["data-live"] == "2"
    poll = HTMX | {"If-None-Match": f'W/"{region["data-etag"]}"'}
    assert site.client.get("/runs/1", headers=poll).status_code == 304
    with site.database.write() as session:
        session.get_one(Run, 1).state = SUCCEEDED
    page = parse(site.client.get("/runs/1", headers=poll))
    assert "succeeded" in words(page, "#run .head-states")
    assert not page.select("#log")

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr
from sqlalchemy import event, select

from dashboard.storage.models import (
    DURATION_BOUNDS,
    DURATION_COLUMNS,
    Audit,
    Job,
    JobHealth,
    Origin,
    Role,
    Run,
    RunState,
    RunStats,
)
from dashboard.web.job import Piece, split_notes
from tests.rows import EPOCH, make_job, make_run
from tests.web.site import HTMX, Site, buttons, links, open_site, parse, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dashboard.settings import Settings
    from dashboard.storage.db import Database

HOUR = timedelta(hours=1)
SOON = datetime.now(UTC).replace(microsecond=0) + HOUR
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}"
CRON = {"type": "cron", "hour": "2", "minute": "30", "timezone": "Europe/Berlin"}


@pytest.fixture
def site(database: Database, settings: Settings) -> Iterator[Site]:
    with open_site(database, settings) as site:
        yield site


def add_job(site: Site, job_id: str = "nightly", **values: Any) -> None:
    site.add(make_job(job_id, **{"next_run_time": SOON, **values}))


def make_health(job_id: str = "nightly", **values: Any) -> JobHealth:
    recent = [[1, "succeeded", 2.0, EPOCH.isoformat()]]
    defaults = {"consecutive_failures": 0, "recent": recent, "last_run_id": 1}
    return JobHealth(job_id=job_id, **(defaults | values))


class TestPage:
    def test_it_tells_what_the_job_is(self, site: Site) -> None:
        add_job(
            site,
            name="Nightly report",
            trigger=CRON,
            timezone="Europe/Berlin",
            parameters={"day": "monday", "limit": 3, "to": ["ann"]},
            misfire_grace_time=None,
            tags=["billing"],
            updated_by="otto",
            version=2,
        )
        page = site.get("/jobs/nightly")
        assert words(page, "h1") == "Nightly report"
        assert len(page.select("h1")) == 1
        facts = words(page, ".facts")
        for part in ("reports.daily", "02:30", "Europe/Berlin", "day monday", "limit 3"):
            assert part in facts
        for part in ('to ["ann"]', "However late it can start, it runs.", "billing", "by otto"):
            assert part in facts

    def test_it_lists_ten_fire_times_in_the_triggers_zone(self, site: Site) -> None:
        first = datetime(2027, 3, 27, 1, 30, tzinfo=UTC)
        add_job(site, trigger=CRON, next_run_time=first)
        found = [
            words(item, ".number") for item in site.get("/jobs/nightly").select(".fire-times li")
        ]
        assert len(found) == 10
        assert found[:3] == [
            "Sat 2027-03-27 02:30:00 CET",
            "Sun 2027-03-28 03:00:00 CEST",  # 02:30 is skipped that night
            "Mon 2027-03-29 02:30:00 CEST",
        ]

    def test_a_job_that_is_late_is_overdue(self, site: Site) -> None:
        add_job(site, next_run_time=datetime.now(UTC) - HOUR)
        page = site.get("/jobs/nightly")
        assert "overdue" in words(page, ".head-states")
        assert "It was due at" in words(page)

    def test_a_paused_job_says_who_why_and_since_when(self, site: Site) -> None:
        add_job(
            site,
            next_run_time=None,
            paused_at=EPOCH,
            paused_by="otto",
            paused_reason="Disk is full",
        )
        page = site.get("/jobs/nightly")
        notice = words(page, "#job .banner-warn")
        for part in ("Paused by otto", "2027-03-01 12:00:00 UTC", "Disk is full"):
            assert part in notice
        assert "If it were resumed now" in words(page, ".job-next")
        assert len(page.select(".fire-times li")) == 10
        assert "Resume" in buttons(page)
        assert "Pause" not in buttons(page)

    def test_a_job_paused_until_a_time_shows_what_fires_from_then_on(self, site: Site) -> None:
        until = datetime.now(UTC) + timedelta(days=30)
        add_job(site, next_run_time=None, paused_at=EPOCH, paused_by="otto", resume_at=until)
        page = site.get("/jobs/nightly")
        assert "It resumes by itself" in words(page, "#job .banner-warn")
        assert "Once it has resumed by itself" in words(page, ".job-next")
        first = page.select(".fire-times li time")[0]
        assert datetime.fromisoformat(str(first["datetime"])) >= until - timedelta(seconds=1)

    def test_a_broken_job_says_why_and_what_to_do(self, site: Site) -> None:
        add_job(site, trigger={"type": "nonsense"}, broken_reason="There is no task “x”.")
        page = site.get("/jobs/nightly")
        assert "There is no task “x”." in words(page, "#job .banner-bad")
        assert links(page)["Edit the job"] == "/jobs/nightly/edit"
        assert "It cannot be read." in words(page, ".facts")
        assert "Run now" not in buttons(page)

    def test_a_finished_job_says_so(self, site: Site) -> None:
        add_job(site, next_run_time=None, finished_reason="Its trigger ended.")
        page = site.get("/jobs/nightly")
        assert "Its trigger ended." in words(page, "#job .banner-info")
        assert "no further fire time" in words(page, ".job-next")

    def test_a_failing_job_says_since_when(self, site: Site) -> None:
        add_job(site)
        site.add(
            make_health(
                failing_since=EPOCH,
                consecutive_failures=3,
                last_error="OSError: no route",
                failure_run_id=1,
            )
        )
        notice = words(site.get("/jobs/nightly"), "#job .banner-bad")
        for part in ("2027-03-01 12:00:00", "3 failures in a row", "OSError", "never succeeded"):
            assert part in notice

    def test_in_trouble_it_names_who_and_what_helps(self, site: Site) -> None:
        add_job(site, owner="Team Payments", runbook="https://wiki.example.com/nightly")
        assert not site.get("/jobs/nightly").select("#job .banner")
        site.add(make_health(failing_since=EPOCH, failure_run_id=1))
        notice = words(site.get("/jobs/nightly"), "#job .banner-info")
        assert notice == "Runbook: https://wiki.example.com/nightly Owner: Team Payments"

    def test_what_people_wrote_stays_text(self, site: Site) -> None:
        job_id = HOSTILE.replace("/", "")  # which no id of ours has
        add_job(
            site,
            job_id,
            name=HOSTILE,
            notes=HOSTILE,
            tags=[HOSTILE],
            parameters={HOSTILE: HOSTILE},
            paused_at=EPOCH,
            paused_by=HOSTILE,
            paused_reason=HOSTILE,
            broken_reason=HOSTILE,
        )
        site.add(
            make_run(1, job_id, job_name=HOSTILE, state=RunState.FAILED, error_type=HOSTILE),
            make_health(job_id, failing_since=EPOCH, last_error=HOSTILE, failure_run_id=1),
        )
        page = site.get(links(site.get("/runs"))[HOSTILE])
        assert words(page, "h1") == HOSTILE
        assert words(page).count(HOSTILE) >= 8
        assert not page.select("main script, main img")

    def test_notes_lead_to_web_addresses_and_nothing_else(self) -> None:
        assert list(split_notes("See https://a.example/x?y=(1). Or <b>HTTP://b</b>!")) == [
            Piece("See "),
            Piece("https://a.example/x?y=(1", "https://a.example/x?y=(1"),
            Piece("). Or <b>"),
            Piece("HTTP://b", "HTTP://b"),
            Piece("</b>!"),
        ]
        assert list(split_notes("javascript:alert(1) //x")) == [Piece("javascript:alert(1) //x")]
        assert list(split_notes("")) == []

    def test_links_of_notes_tell_nobody_where_they_came_from(self, site: Site) -> None:
        add_job(site, notes="https://wiki.example")
        link = site.get("/jobs/nightly").select_one(".notes a")
        assert link is not None
        assert link["rel"] == ["noreferrer", "noopener"]


class TestRuns:
    def test_the_newest_twenty_are_listed_then_a_hundred_then_the_list_of_all(
        self, site: Site
    ) -> None:
        add_job(site)
        site.add(*(make_run(number) for number in range(1, 131)), make_run(200, "other"))
        page = site.get("/jobs/nightly")
        rows = page.select(".runs tbody tr")
        assert [rows[0]["id"], rows[-1]["id"], len(rows)] == ["run-130", "run-111", 20]
        page = site.get(links(page)["Older runs"])
        assert len(page.select(".runs tbody tr")) == 100
        assert links(page)["Older runs"] == "/runs?job=nightly&before=31"

    def test_few_runs_have_no_older_ones(self, site: Site) -> None:
        add_job(site)
        site.add(make_run(1, state=RunState.SKIPPED, reason="One was running."))
        page = site.get("/jobs/nightly")
        assert "One was running." in words(page, ".runs")
        assert "Older runs" not in links(page)

    def test_the_chart_has_a_mark_a_run_and_a_table_that_says_the_same(self, site: Site) -> None:
        add_job(site)
        site.add(
            make_run(1, duration=8.0),
            make_run(2, state=RunState.FAILED, duration=40.0),
            make_run(3, state=RunState.MISSED),
            make_health(usual_duration=8.0, long_duration=9.0),
        )
        page = site.get("/jobs/nightly")
        titles = [words(mark, "title") for mark in page.select(".durations a")]
        assert titles[0] == "Run 1, succeeded, 8.0 s; 2027-03-01 12:00:01 UTC"
        assert titles[1].startswith(
            "Run 2, failed, 40 s, slower than usual, 5.0\N{MULTIPLICATION SIGN};"
        )
        assert titles[2].startswith("Run 3, missed;")
        table = words(page, ".as-table")
        assert (
            "2 failed 2027-03-01 12:00:02 UTC 40 s slower than usual, 5.0\N{MULTIPLICATION SIGN}"
            in table
        )

    @pytest.mark.parametrize(
        ("counts", "told"),
        [
            ({0.25: 20}, "20 runs: 95 % of them stayed within 250 ms."),
            (
                {0.25: 15, 5: 5},
                "20 runs: at least half of them stayed within 250 ms, 95 % within 5.0 s.",
            ),
            ({0.25: 15, None: 5}, "half of them stayed within 250 ms, some took more than a day."),
            ({None: 20}, "more than half of them took more than a day."),
        ],
    )
    def test_a_month_of_durations_in_a_sentence(
        self, site: Site, counts: dict[float | None, int], told: str
    ) -> None:
        add_job(site)
        columns = dict(zip([*DURATION_BOUNDS, None], DURATION_COLUMNS, strict=True))
        hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        buckets = {columns[bound]: count for bound, count in counts.items()}
        site.add(make_run(1), RunStats(job_id="nightly", hour=hour, **buckets))
        assert told in words(site.get("/jobs/nightly"), ".durations-month")

    def test_a_job_that_never_ran_has_an_explanation_instead(self, site: Site) -> None:
        add_job(site)
        text = words(site.get("/jobs/nightly"))
        assert "It has not run yet" in text
        assert "No run has taken any time yet" in text

    def test_it_takes_six_queries(self, site: Site) -> None:
        add_job(site)
        site.add(*(make_run(number) for number in range(1, 131)))
        frame = count_queries(site, "/jobs/nightly/run") - 1  # asks for the job alone
        assert count_queries(site, "/jobs/nightly") - frame <= 6


def count_queries(site: Site, url: str) -> int:
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    event.listen(site.database.engine, "before_cursor_execute", note)
    try:
        site.get(url)
    finally:
        event.remove(site.database.engine, "before_cursor_execute", note)
    return sum(statement.startswith(("SELECT", "WITH")) for statement in statements)


class TestActions:
    @pytest.fixture(autouse=True)
    def _job(self, site: Site) -> None:
        add_job(site)

    def job(self, site: Site) -> Job:
        with site.database.read() as session:
            return session.get_one(Job, "nightly")

    def runs(self, site: Site) -> list[Run]:
        with site.database.read() as session:
            return list(session.scalars(select(Run)))

    def test_run_now_queues_a_run_and_leaves_the_schedule(self, site: Site) -> None:
        response = site.post("/jobs/nightly/run")
        assert (response.status_code, response.location) == (303, "/jobs")
        (run,) = self.runs(site)
        assert (run.state, run.origin) == (RunState.QUEUED, Origin.MANUAL)
        assert self.job(site).next_run_time == SOON
        assert site.woken
        assert f"Run {run.id} of “nightly” is queued" in words(site.get("/jobs"), "#toasts")

    def test_in_place_an_action_answers_with_a_toast_and_wakes_the_page(self, site: Site) -> None:
        response = site.post("/jobs/nightly/run", in_place=True)
        assert response.status_code == 200
        assert response.headers["HX-Trigger"] == "refresh-live"
        assert "is queued" in response.text

    def test_a_second_run_at_once_is_refused_with_the_reason(self, site: Site) -> None:
        site.post("/jobs/nightly/run")
        response = site.post("/jobs/nightly/run", in_place=True)
        assert response.status_code == 409
        assert "already running" in response.text
        assert len(self.runs(site)) == 1

    def test_pausing_keeps_the_reason_and_resuming_takes_it_away(self, site: Site) -> None:
        site.post("/jobs/nightly/pause", reason=" Disk is full ")
        job = self.job(site)
        assert (job.paused_reason, job.next_run_time) == ("Disk is full", None)
        site.post("/jobs/nightly/resume")
        job = self.job(site)
        assert job.paused_at is None
        assert job.next_run_time is not None

    @pytest.mark.parametrize("in_place", [True, False])
    def test_nonsense_in_a_pause_is_told_beside_its_field(self, site: Site, in_place: bool) -> None:
        answer = site.post(
            "/jobs/nightly/pause", in_place=in_place, reason="Disk is full", until_time="<soon>"
        )
        assert answer.status_code == 422
        page = parse(answer)
        assert "“<soon>” is no time." in words(page, ".ask .field-errors")
        assert page.select_one("[name=reason]")["value"] == "Disk is full"  # type: ignore[index]
        assert (page.select_one("html") is None) is in_place
        past = site.post("/jobs/nightly/pause", in_place=in_place, until_time="2020-01-01 08:00")
        assert "has passed" in words(parse(past), ".ask .field-errors")
        assert self.job(site).paused_at is None

    def test_removing_keeps_the_runs_and_their_page_says_so(self, site: Site) -> None:
        site.add(make_run(1))
        response = site.post("/jobs/nightly/remove")
        assert (response.status_code, response.location) == (303, "/jobs")
        page = site.get("/jobs/nightly", status=404)
        assert "This job was removed" in words(page)
        assert links(page)["See its runs"] == "/runs?job=nightly"

    def test_a_page_that_shows_a_removed_job_is_told_in_place(self, site: Site) -> None:
        site.add(make_run(1))
        assert site.post("/jobs/nightly/remove", in_place=True).headers["HX-Redirect"] == "/jobs"
        response = site.client.get("/jobs/nightly", headers=HTMX)
        assert response.status_code == 200
        page = parse(response)
        assert "This job was removed" in words(page, "#job")
        assert page.select("#job[data-live]")  # it may come back

    def test_nothing_can_be_done_to_a_job_that_is_not_there(self, site: Site) -> None:
        for action in ("run", "pause", "resume", "remove"):
            response = site.post(f"/jobs/nobody/{action}")
            assert response.status_code == 404
            assert "There is no job “nobody”." in response.text
        page = site.get("/jobs/nobody", status=404)
        assert "No such job" in words(page)
        assert "See its runs" not in links(page)

    @pytest.mark.parametrize("action", ["run", "pause", "remove"])
    def test_without_javascript_the_question_is_a_page(self, site: Site, action: str) -> None:
        page = site.get(f"/jobs/nightly/{action}")
        form = page.select_one("main form")
        assert form is not None
        assert (form["method"], form["action"]) == ("post", f"/jobs/nightly/{action}")
        assert self.job(site).version == 1  # a GET changes nothing
        assert self.runs(site) == []
        response = site.client.post(
            f"/jobs/nightly/{action}",
            data={"csrf_token": site.token()},
            headers={"Referer": f"http://localhost/jobs/nightly/{action}"},
        )
        expected = "/jobs" if action == "remove" else "/jobs/nightly"
        assert (response.status_code, response.location) == (303, expected)

    def test_run_now_says_what_becomes_of_the_schedule(self, site: Site) -> None:
        assert f"the next run stays {SOON:%Y-%m-%d %H:%M:%S} UTC" in words(
            site.get("/jobs/nightly/run")
        )
        site.post("/jobs/nightly/pause")
        assert "The job stays paused" in words(site.get("/jobs/nightly/run"))

    @pytest.mark.parametrize(
        ("role", "allowed", "refused"),
        [
            (Role.VIEWER, [], ["run", "pause", "resume", "remove"]),
            (Role.OPERATOR, ["run", "pause", "resume"], ["remove"]),
            (Role.ADMIN, ["run", "pause", "resume", "remove"], []),
        ],
    )
    def test_pages_offer_what_a_role_may_do_and_no_more(
        self, site: Site, role: Role, allowed: list[str], refused: list[str]
    ) -> None:
        site.sign_in(role)
        names = {"run": "Run now", "pause": "Pause", "remove": "Remove"}
        offered = buttons(site.get("/jobs/nightly"))
        assert [name for name in names.values() if name in offered] == [
            names[action] for action in allowed if action in names
        ]
        for action in refused:
            assert site.post(f"/jobs/nightly/{action}").status_code == 403
        for action in allowed:
            assert site.post(f"/jobs/nightly/{action}").status_code == 303

    def test_an_action_without_the_pages_token_does_nothing(self, site: Site) -> None:
        assert site.client.post("/jobs/nightly/remove").status_code == 400
        assert self.job(site).id == "nightly"

    def test_actions_are_in_the_audit_log(self, site: Site) -> None:
        site.post("/jobs/nightly/pause", reason="x")
        with site.database.read() as session:
            (entry,) = session.scalars(select(Audit).where(Audit.action == "job.pause"))
        assert (entry.target, entry.outcome) == ("nightly", "done")
        assert entry.detail == {"reason": "x"}


def test_a_poll_is_answered_with_the_region_or_with_nothing_new(site: Site) -> None:
    add_job(site)
    etag = site.get("/jobs/nightly").select_one("#job")["data-etag"]  # type: ignore[index]
    poll = HTMX | {"If-None-Match": f'W/"{etag}"'}
    assert site.client.get("/jobs/nightly", headers=poll).status_code == 304
    site.add(make_run(1, state=RunState.RUNNING))
    page = parse(site.client.get("/jobs/nightly", headers=poll))
    assert page.select("#job[data-live='2']")
    assert "running" in words(page, ".head-states")


def unlock(key: SecretStr = SecretStr("hunter2")) -> None:  # noqa: B008 -- as people write it
    """Unlock."""


def greet(who: str = "world", times: int = 1, *, loud: bool = False) -> None:
    """Greet."""


class TestOtherParameters:
    """Running a job once with other parameters than its own."""

    OWN = "Ada"

    @pytest.fixture(autouse=True)
    def _greeting(self, site: Site, register: Callable[..., None]) -> None:
        register(greet, "test.greet")
        site.add(make_job("hello", task="test.greet", parameters={"who": self.OWN}))

    def run(self, site: Site) -> Run:
        with site.database.read() as session:
            return session.scalars(select(Run)).one()

    def test_the_fields_hold_the_jobs_own(self, site: Site) -> None:
        page = site.get("/jobs/hello/run")
        assert "The schedule is not changed; the next run stays" in words(page)
        values = {field["name"]: field["value"] for field in page.select("main input[value]")}
        assert values["parameters.who"] == "Ada"
        assert values["parameters.times"] == "1"
        asked = parse(site.client.get("/jobs/hello/run", headers=HTMX))
        assert links(asked, ".ask") == {"Other parameters for this run…": "/jobs/hello/run"}

    def test_defaults_are_shown_beside_what_the_job_sets(self, site: Site) -> None:
        shown = words(site.get("/jobs/hello"), ".parameters")
        assert shown == "who Ada times 1 by default loud false by default"

    def test_a_default_that_is_secret_is_not_shown(
        self, site: Site, register: Callable[..., None]
    ) -> None:
        register(unlock, "test.unlock")
        site.add(make_job("unlock", task="test.unlock"))
        page = site.get("/jobs/unlock")
        assert words(page, ".parameters") == "key the task's default"
        assert "hunter2" not in str(page)

    def test_one_run_gets_others_and_the_job_keeps_its_own(self, site: Site) -> None:
        fields: dict[str, Any] = {
            "parameters.who": "Grace <g>",
            "parameters.times": "3",
            "parameters.loud": "true",
        }
        assert site.post("/jobs/hello/run", **fields).status_code == 303
        assert self.run(site).parameters == {"who": "Grace <g>", "times": 3, "loud": True}
        page = site.get("/jobs/hello")
        assert "is queued with other parameters. The schedule is unchanged." in words(
            page, "#toasts"
        )
        with site.database.read() as session:
            job = session.get_one(Job, "hello")
            assert (job.parameters, job.version) == ({"who": "Ada"}, 1)

    def test_unchanged_fields_are_the_jobs_own_parameters(self, site: Site) -> None:
        fields: dict[str, Any] = {"parameters.who": "Ada", "parameters.times": "1"}
        site.post("/jobs/hello/run", **fields)
        assert self.run(site).parameters == {"who": "Ada"}
        assert "with other parameters" not in words(site.get("/jobs/hello"), "#toasts")

    @pytest.mark.parametrize("text", ["many", "1.5", "٣x", "<b>"])
    def test_what_stands_for_nothing_is_told_beside_its_field(self, site: Site, text: str) -> None:
        fields: dict[str, Any] = {"parameters.times": text, "parameters.who": "<kept>"}
        answer = site.post("/jobs/hello/run", **fields)
        assert answer.status_code == 422
        page = parse(answer)
        assert page.select_one("[name='parameters.times'][aria-invalid=true]") is not None
        assert page.select_one("[name='parameters.who']")["value"] == "<kept>"  # type: ignore[index]
        with site.database.read() as session:
            assert session.scalars(select(Run)).all() == []

    def test_a_task_without_parameters_asks_for_none(
        self, site: Site, register: Callable[..., None]
    ) -> None:
        register(lambda: None, "test.bare")
        site.add(make_job("bare", task="test.bare"))
        assert "Other parameters for this run…" not in links(site.get("/jobs/bare"))
        assert "with the job's own parameters." in words(site.get("/jobs/bare/run"))


class TestChanges:
    """What was done to a job, on its own page."""

    def test_changes_are_told_with_their_differences_and_runs_are_not(
        self, site: Site, register: Callable[..., None]
    ) -> None:
        register(lambda: None, "test.bare")
        add_job(site, "a", task="test.bare")
        trigger = {"type": "cron", "hour": "2", "minute": "30"}
        detail = {
            "before": {"name": "old <b>", "tags": [], "trigger": {"type": "interval", "hours": 1}},
            "after": {"name": "new", "tags": ["x"], "trigger": trigger},
        }
        entries = [
            Audit(actor="ann", action="job.add", detail={"job": {"name": "secret"}}),
            Audit(actor="bob", action="job.change", detail=detail),
            *(Audit(actor="cyd", action="job.run", detail={"run": n}) for n in range(9)),
            Audit(actor="dan", action="job.pause", detail={"reason": "<i>moving</i>"}),
        ]
        for entry in entries:
            entry.at, entry.target, entry.outcome = datetime.now(UTC), "a", "done"
        refused = Audit(actor="eve", action="job.remove", target="a", outcome="refused", detail={})
        refused.at = datetime.now(UTC)
        site.add(*entries, refused)
        page = site.get("/jobs/a")
        text = words(page, "[aria-labelledby=changes-title]")
        assert "dan paused it" in text
        assert "Reason <i>moving</i>" in text
        assert "Name old <b> → new" in text
        assert "Every day at 02:30" in text
        assert text.index("dan") < text.index("bob") < text.index("ann added it")
        assert "cyd" not in text
        assert "eve" not in text
        assert "secret" not in text
        assert links(page, "[aria-labelledby=changes-title]") == {"All": "/audit?target=a"}

    def test_a_removal_is_undone_from_its_entry(self, site: Site) -> None:
        add_job(site, "a")
        site.post("/jobs/a/remove")
        page = site.get("/audit?target=a")
        form = page.select_one("form[action='/jobs/a/restore']")
        assert form is not None
        entry = form.select_one("[name=entry]")
        assert entry is not None
        assert site.post("/jobs/a/restore", entry=str(entry["value"])).status_code == 303
        assert site.client.get("/jobs/a").status_code == 200
        site.sign_in(Role.OPERATOR)
        assert site.get("/audit?target=a").select_one("form[action='/jobs/a/restore']") is None

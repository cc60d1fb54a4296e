from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from sqlalchemy import event

from dashboard.history.timeline import Day
from dashboard.storage.models import Run, RunState, RunStats, SchedulerLife
from dashboard.web.timeline import LINKED, Axis, calendar, ticks
from tests.factories import new_run
from tests.rows import make_job
from tests.web.site import links, words

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.web.site import Site

MINUTE = timedelta(minutes=1)


def now() -> datetime:
    return datetime.now(UTC)


def ran(job: str, ago: timedelta, state: RunState = RunState.SUCCEEDED, **values: Any) -> Run:
    began = now() - ago
    ended = None if state is RunState.RUNNING else began + timedelta(seconds=5)
    moments = {"scheduled_at": began, "queued_at": began, "started_at": began, "finished_at": ended}
    return new_run(job, state=state, **(moments | values))


def due_in(job: str, delay: timedelta, **values: Any) -> Any:
    moment = (now() + delay).replace(microsecond=0)
    trigger = {"type": "interval", "minutes": 1, "start_date": moment.isoformat()}
    return make_job(job, trigger=trigger, next_run_time=moment, **values)


class TestPage:
    def test_without_anything_it_is_a_page_too(self, site: Site) -> None:
        page = site.get("/timeline")
        assert "Nothing in this stretch of time" in words(page)
        assert "There was a scheduler all the time." in words(page)
        assert not page.select(".as-table#runs-table, .as-table#fires-table")

    def test_runs_are_links_in_the_lane_of_their_job(self, site: Site) -> None:
        site.add(
            make_job("nightly", name="Nightly <b>", next_run_time=None),
            ran("nightly", 60 * MINUTE),
            ran("nightly", 30 * MINUTE, RunState.FAILED),
            ran("removed <i>", 20 * MINUTE, RunState.MISSED, started_at=None),
            ran("nightly", 9 * 60 * MINUTE),  # before the six hours that are shown
        )
        page = site.get("/timeline")
        assert "3 runs of 2 jobs" in words(page)
        assert links(page)["Nightly <b>"] == "/jobs/nightly"
        lanes = [words(lane, ".lane-name") for lane in page.select(".lane[role=listitem]")]
        assert lanes == [
            "Nightly <b> : 1 succeeded, 1 failed",
            "removed <i> : 1 missed",
        ]
        assert [mark["class"][1] for mark in page.select(".lane .bar")] == [
            "succeeded",
            "failed",
            "missed",
        ]
        assert page.select_one(".lane a title").get_text().startswith("Nightly <b>, run ")  # type: ignore[union-attr]

    def test_what_runs_since_before_is_there(self, site: Site) -> None:
        site.add(ran("long", 30 * 60 * MINUTE, RunState.RUNNING), ran("short", MINUTE))
        page = site.get("/timeline")
        assert "long : 1 running" in words(page)
        bar = page.select_one(".bar.running")
        assert bar is not None
        assert bar["x"] == "0"
        assert bar["width"] == "750"  # up to now, three quarters of the picture

    def test_expected_fires_of_jobs_that_may_fire(self, site: Site) -> None:
        site.add(
            due_in("soon", MINUTE),
            due_in("paused", MINUTE, paused_at=now(), paused_by="ann"),
            due_in("broken", MINUTE, broken_reason="gone"),
            due_in("later", timedelta(hours=5)),
        )
        page = site.get("/timeline")
        names = [words(lane, ".lane-name") for lane in page.select(".lane[role=listitem]")]
        assert names == ["soon : no runs here"]
        path = page.select_one(".lane .expected")
        assert path is not None
        assert 50 <= str(path["d"]).count("M") <= 60  # every two minutes of two hours
        assert "The next fire time of 1 job" in words(page)

    def test_many_runs_are_one_path_a_lane_and_outcome(self, site: Site) -> None:
        site.add(*(ran("busy", n * MINUTE / 10) for n in range(LINKED + 1)))
        page = site.get("/timeline")
        assert page.select(".lane a .bar") == []
        [path] = page.select(".lane > svg > path.bar")
        assert str(path["d"]).count("M") < 10  # what touches is one stretch

    def test_jobs_that_fire_together_are_named(self, site: Site) -> None:
        moment = (now() + 20 * MINUTE).replace(microsecond=0)
        site.add(*(make_job(f"job-{n}", next_run_time=moment) for n in range(4)))
        site.add(*(make_job(f"pair-{n}", next_run_time=moment + MINUTE) for n in range(2)))
        assert "4 jobs at" in words(site.get("/timeline"))
        assert "2 jobs at" not in words(site.get("/timeline"))

    @time_machine.travel(datetime.now(UTC), tick=False)  # a unit of the picture is half a minute
    def test_downtime_is_shaded_and_told(self, site: Site) -> None:
        life = {"process": "p", "host": "h", "pid": 1, "version": "1"}
        hours = [now() - timedelta(hours=back) for back in (5, 3, 2)]
        site.add(
            ran("nightly", 10 * MINUTE),
            SchedulerLife(began_at=hours[0], seen_at=hours[1], ended="lost", **life),
            SchedulerLife(began_at=hours[2], seen_at=now(), **life),
        )
        page = site.get("/timeline")
        shade = page.select_one(".lane .downtime")
        assert shade is not None
        assert (shade["x"], shade["width"]) == ("375.0", "125.0")
        assert "1 h in which nothing could start" in words(page)

    @time_machine.travel(datetime.now(UTC), tick=False)  # else another day may begin in the middle
    def test_the_calendar_counts_days_and_links_to_their_runs(self, site: Site) -> None:
        hour = now().replace(minute=0, second=0, microsecond=0)
        site.add(RunStats(job_id="", hour=hour, succeeded=7, failed=2, skipped=1, seconds=1.0))
        page = site.get("/timeline")
        [failed] = page.select(".day-failed")
        link = failed.find_parent("a")
        assert link is not None
        assert link.get_text(strip=True).startswith(f"{hour.date()}: 10 runs, 2 failed, 1 missed")
        assert len(site.get(str(link["href"])).select("h1")) == 1

    def test_a_search_chooses_the_jobs(self, site: Site) -> None:
        site.add(make_job("alpha"), make_job("beta"), ran("alpha", MINUTE), ran("beta", MINUTE))
        page = site.get("/timeline?view=24+h&q=alph")
        assert "1 run of 1 job" in words(page)
        assert links(page)["7 d"] == "/timeline?view=7+d&q=alph"

    @pytest.mark.parametrize("query", ["view=nonsense", "q=%00", "q=" + "x" * 5000, "view=&q=%22"])
    def test_nonsense_is_a_page(self, site: Site, query: str) -> None:
        assert site.get(f"/timeline?{query}").select_one("h1")

    def test_it_costs_a_bounded_number_of_queries(self, site: Site) -> None:
        site.add(*(make_job(f"job-{n:03}") for n in range(120)))
        site.add(*(ran(f"job-{n:03}", n * MINUTE) for n in range(120)))
        statements = []

        def note(_c: Any, _cur: Any, statement: str, *_rest: Any) -> None:
            statements.append(statement)

        event.listen(site.database.engine, "before_cursor_execute", note)
        try:
            page = site.get("/timeline")
        finally:
            event.remove(site.database.engine, "before_cursor_execute", note)
        assert len(page.select(".lane[role=listitem]")) == 50
        assert "70 jobs more had no room" in words(page)
        assert len(statements) <= 20


class TestGeometry:
    @pytest.mark.parametrize(
        ("hours", "first", "second"),
        [(1, "12:10", "12:20"), (8, "13:00", "14:00"), (30, "18:00", "Tue 2 Mar")],
    )
    def test_ticks_are_round_times_of_the_zone(self, hours: int, first: str, second: str) -> None:
        begin = datetime(2027, 3, 1, 12, 1, tzinfo=UTC)
        found = list(ticks(Axis(begin, begin + timedelta(hours=hours)), ZoneInfo("UTC")))
        assert [tick.text for tick in found][:2] == [first, second]
        assert len(found) <= 9

    def test_ticks_stay_round_when_the_clocks_change(self) -> None:
        zone = ZoneInfo("Europe/Helsinki")  # 03:00 becomes 04:00 on 28 March 2027
        begin = datetime(2027, 3, 27, 22, tzinfo=UTC)
        found = [tick.text for tick in ticks(Axis(begin, begin + timedelta(hours=12)), zone)]
        assert found[0] == "Sun 28 Mar"
        assert all(text.endswith(":00") for text in found[1:])

    def test_the_calendar_has_a_column_a_week_with_monday_on_top(self) -> None:
        first = date(2027, 3, 3)  # a Wednesday
        days = [Day(first + timedelta(days=n), n, 0, 0) for n in range(10)]
        cells = calendar(days)
        assert [(cell.column, cell.row) for cell in cells[:6]] == [
            (0, 2),
            (0, 3),
            (0, 4),
            (0, 5),
            (0, 6),
            (1, 0),
        ]
        assert [cell.level for cell in cells] == [0, 1, 1, 2, 2, 3, 3, 4, 4, 4]

    def test_nothing_lies_outside(self) -> None:
        begin = datetime(2027, 3, 1, tzinfo=UTC)
        axis = Axis(begin, begin + timedelta(hours=1))
        assert axis.at(begin - timedelta(days=1)) == 0
        assert axis.at(begin + timedelta(days=1)) == 1000


def test_the_page_needs_somebody_signed_in(site: Site) -> None:
    anybody: Callable[..., Any] = site.client.application.test_client().get
    assert anybody("/timeline").status_code == 303

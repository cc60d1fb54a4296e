from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import time_machine
from sqlalchemy import event, update

from dashboard.history.overview import HourCount
from dashboard.storage.models import (
    ALL_JOBS,
    JobHealth,
    Lease,
    Role,
    RunState,
    RunStats,
    SchedulerLife,
)
from dashboard.web.now import CHART_HEIGHT, SMALLEST, hour_bars
from tests.rows import make_job, make_run
from tests.web.site import buttons, links, words

if TYPE_CHECKING:
    from bs4 import BeautifulSoup

    from tests.web.site import Site

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def alive(site: Site) -> Site:
    """A site whose scheduler lives."""
    with site.database.write() as session:
        values = {"holder": "app-1:7:abc", "renewed_at": NOW, "until": NOW + 24 * HOUR}
        session.execute(update(Lease).values(**values))
    return site


def failing(job_id: str) -> list[Any]:
    return [
        make_job(job_id, name="Nightly <b>report</b>", next_run_time=NOW + HOUR),
        JobHealth(
            job_id=job_id,
            last_run_id=43,
            failure_run_id=42,
            failure_state=RunState.FAILED,
            failure_kind="abc",
            failing_since=NOW - 2 * HOUR,
            last_success_at=NOW - 3 * HOUR,
            consecutive_failures=4,
            last_error="ValueError: <script>alert(1)</script>",
            recent=[],
        ),
    ]


def title(page: BeautifulSoup) -> str:
    assert page.title is not None
    return page.title.text


def test_nothing_at_all(alive: Site) -> None:
    page = alive.get("/")
    assert [heading.text for heading in page.select("h1")] == ["Now"]
    assert "All clear No run has gone wrong so far." in words(page)
    assert "Nothing is running." in words(page)
    assert "No job fires within the hour." in words(page)
    assert title(page) == "Now · APScheduler Dashboard"
    assert words(page, "#pulse") == "Scheduler running"
    assert page.select(".banner") == []


def test_all_clear_says_since_when(alive: Site) -> None:
    failed = make_run(1, "j", state=RunState.FAILED, finished_at=NOW - 3 * HOUR)
    alive.add(failed, make_run(2, "j", finished_at=NOW - HOUR))
    page = alive.get("/")
    assert f"All clear since {NOW - HOUR:%Y-%m-%d %H:%M:%S} UTC ( 1 h ago )" in words(page)
    assert links(page)["run 1 of j"] == "/runs/1"


def test_a_failing_job_says_what_one_needs_to_know(alive: Site) -> None:
    alive.add(*failing("nightly"))
    page = alive.get("/")
    text = words(page, "#now")
    assert "Failing 1 job" in text
    assert "Nightly <b>report</b>" in text
    assert "ValueError: <script>alert(1)</script>" in text
    assert "2 h ago 4 failures 3 h ago" in text
    assert links(page)["Nightly <b>report</b>"] == "/jobs/nightly"
    assert links(page)["ValueError: <script>alert(1)</script>"] == "/runs/42"
    assert buttons(page) == ["Run now", "Acknowledge", "Snooze", "Pause"]
    assert "All clear" not in text


def test_viewers_see_problems_without_buttons(alive: Site) -> None:
    alive.add(*failing("nightly"))
    alive.sign_in(Role.VIEWER)
    assert buttons(alive.get("/")) == []


def test_the_number_of_problems_is_everywhere(alive: Site) -> None:
    alive.add(*failing("nightly"), make_job("late", next_run_time=NOW - HOUR))
    for url in ("/", "/jobs", "/system"):
        page = alive.get(url)
        assert title(page).startswith("(2) ")
        assert words(page, "#problem-count") == "2"
        icon = page.select_one("link[rel=icon]")
        assert icon is not None
        assert icon["href"] == "/favicon.svg?problems=2"


def test_every_kind_of_problem_has_its_list(alive: Site) -> None:
    alive.add(
        *failing("failing"),
        make_job("overdue", next_run_time=NOW - HOUR),
        make_job("broken", broken_reason="There is no task “x”."),
        make_job("slow", next_run_time=NOW + HOUR),
        make_run(9, "slow", state=RunState.RUNNING, started_at=NOW - HOUR),
        JobHealth(
            job_id="slow",
            recent=[],
            consecutive_failures=0,
            usual_duration=10.0,
            long_duration=12.0,
        ),
    )
    page = alive.get("/")
    headings = [heading.text for heading in page.select("#now h2")]
    assert headings[:4] == ["Failing", "Overdue", "Running unusually long", "Broken"]
    assert "There is no task “x”." in words(page)
    assert "/runs/9" in links(page).values()
    assert "4 problems" in words(page)


def test_a_dead_scheduler_is_shouted_about(site: Site) -> None:
    for url in ("/", "/jobs", "/runs", "/system"):
        page = site.get(url)
        assert "The scheduler is not running." in words(page, ".banner-bad")
        assert words(page, "#pulse") == "Scheduler is not running"
        assert title(page).startswith("(1) ")
    assert "All clear" not in words(site.get("/"))


def test_a_process_on_standby_says_so(alive: Site) -> None:
    state = alive.client.application.extensions["dashboard"]
    object.__setattr__(state, "process", "app-2:8:def")
    page = alive.get("/")
    assert "app-1:7:abc runs the jobs" in words(page, ".banner-info")
    assert words(page, "#pulse") == "Standby"


@time_machine.travel(NOW, tick=False)  # else another hour may begin in the middle
def test_counts_of_the_day_lead_to_the_runs(alive: Site) -> None:
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    alive.add(RunStats(job_id=ALL_JOBS, hour=hour, succeeded=1500, failed=2, skipped=3))
    page = alive.get("/")
    found = links(page)
    since = (hour - 23 * HOUR).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert found["1,500 succeeded"] == f"/runs?state=succeeded&since={since}"
    assert found["2 failed"] == f"/runs?state=failed&state=interrupted&since={since}"
    assert found["3 missed or skipped"] == f"/runs?state=missed&state=skipped&since={since}"
    assert f"{hour:%H:%M} 1500 2 3 0" in words(page, ".as-table")
    for url in found.values():
        assert alive.client.get(url).status_code in {200, 404}, url


def test_what_runs_and_what_waits(alive: Site) -> None:
    progress = {"done": 3, "total": 8, "text": "rows"}
    alive.add(
        make_run(1, "busy", state=RunState.RUNNING, started_at=NOW, progress=progress),
        make_run(2, "patient", state=RunState.QUEUED, queued_at=NOW - HOUR),
    )
    page = alive.get("/")
    assert "3 of 8 ·" in words(page)
    assert "1 run waiting for a free place, the oldest since 1 h ago" in words(page)
    region = page.select_one("#now")
    assert region is not None
    assert region["data-live"] == "2", "fast while something runs"


# -- the chart -------------------------------------------------------------------------------------


def test_bars_fill_the_height_and_small_parts_are_seen() -> None:
    quiet = HourCount(NOW, 0, 0, 0, 0)
    busy = HourCount(NOW, succeeded=9999, failed=1, missed=0, cancelled=0)
    small = HourCount(NOW, succeeded=0, failed=0, missed=1, cancelled=0)
    bars = hour_bars([quiet, busy, small])
    assert bars[0].parts == []
    assert [part.outcome for part in bars[1].parts] == ["succeeded", "failed"]
    assert bars[1].parts[0].height == pytest.approx(CHART_HEIGHT, abs=0.1)
    assert bars[1].parts[1].height == SMALLEST
    assert bars[2].parts[0].y == CHART_HEIGHT - SMALLEST
    assert [bar.x for bar in bars] == [0, 20, 40]


def test_no_runs_draw_no_bars() -> None:
    assert hour_bars([HourCount(NOW, 0, 0, 0, 0)])[0].parts == []


def test_a_downtime_says_from_when_until_when_and_what_was_missed(alive: Site) -> None:
    down, up = NOW - 3 * HOUR, NOW - 2 * HOUR
    values = {"process": "p", "host": "h", "pid": 1, "version": "1"}
    alive.add(
        SchedulerLife(began_at=NOW - 9 * HOUR, seen_at=down, ended="lost", **values),
        SchedulerLife(began_at=up, seen_at=NOW, **values),
        make_run(1, state=RunState.MISSED, scheduled_at=down + HOUR / 2, finished_at=up),
    )
    page = alive.get("/")
    text = words(page, "#now .banner-warn")
    assert "The scheduler was down for 1 h, from" in text
    assert f"until {up:%Y-%m-%d %H:%M:%S} UTC : its process died" in text.replace("UTC:", "UTC :")
    found = alive.get(links(page)["1 fire time missed"]).select("table.runs tbody tr[id]")
    assert [each["id"] for each in found] == ["run-1"]


def test_a_screen_on_the_wall_has_nothing_to_act_on(alive: Site) -> None:
    assert words(alive.get("/?tv=1"), "h1") == "All clear"
    alive.add(*failing("nightly"))
    page = alive.get("/?tv=1")
    assert words(page, "h1") == "1 problem"
    assert "Nightly <b>report</b> ValueError: <script>alert(1)</script>" in words(page)
    assert not page.select("button[type=submit], main a, main script")
    assert words(page, "#pulse") == "Scheduler running"
    live = page.select_one("#now")
    assert live is not None
    assert live["hx-get"] == "/?tv=1"
    part = alive.client.get("/?tv=1", headers={"HX-Request": "true"})
    assert 'class="wall-now"' in part.text


def test_it_takes_as_many_queries_for_many_problems_as_for_one(alive: Site) -> None:
    def queries() -> int:
        asked: list[str] = []

        def note(*args: Any) -> None:
            asked.append(args[2])

        engine = alive.database.engine
        event.listen(engine, "before_cursor_execute", note)
        alive.get("/")
        event.remove(engine, "before_cursor_execute", note)
        return len(asked)

    alive.add(*failing("one"))
    before = queries()
    for number in range(30):
        alive.add(*failing(f"job-{number}"))
    assert queries() == before <= 24

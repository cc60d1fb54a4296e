"""The list of jobs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flask import Blueprint, request, url_for

from dashboard.errors import DashboardError
from dashboard.history.joblist import COUNTED, ORDERS, list_jobs
from dashboard.history.jobsearch import REMOVED, SEARCHABLE, JobSearch
from dashboard.history.removed import UNDO_DAYS, list_removed
from dashboard.scheduling import triggers
from dashboard.storage.models import Health, JobState, Role
from dashboard.web.access import role
from dashboard.web.bulk import offered
from dashboard.web.filters import duration, percent
from dashboard.web.moments import Clock
from dashboard.web.rendering import live_etag, not_modified, piece, render
from dashboard.web.state import dashboard_state
from dashboard.web.strips import Strip, strip_of
from dashboard.web.views import read_views

if TYPE_CHECKING:
    from flask import Response

    from dashboard.history.joblist import ListedJob
    from dashboard.web.moments import Moment

blueprint = Blueprint("jobs", __name__)

CHIPS = ("failing", "paused", "running", "broken", "finished", REMOVED)
SORTS = {"name": "Name", "next": "Next run", "last": "Last run", "failures": "Failures"}


@blueprint.get("/jobs")
@role(Role.VIEWER)
def index() -> Response:
    """Show a page of the jobs that match the search, or its live part."""
    query = request.args.get("q", "").strip()
    sort = request.args.get("sort", "name")
    sort = sort if sort in ORDERS else "name"
    search = JobSearch.parse(query)
    if search.removed:
        return _removed(search, query)
    with dashboard_state().database.read() as session:
        etag = live_etag(session)
        if answer := not_modified(etag):
            return answer
        page = list_jobs(session, search, sort=sort, after=request.args.get("after"))
        views = read_views(session, "jobs")
    base = url_for("dashboard.jobs.index")
    clock = Clock.read()
    rows = [job_row(job, base, clock) for job in page.jobs]
    total = f"{COUNTED:,}+" if page.total > COUNTED else f"{page.total:,}"
    return render(
        "jobs/index.html",
        partial="jobs/_list.html",
        etag=etag,
        listed="jobs/_list.html",
        rows=rows,
        search=search,
        query=query,
        sort=sort,
        sorts=SORTS,
        chips=_chips(search, sort),
        searchable=SEARCHABLE,
        total=total,
        everything=f"All {total}{' that match' if query else ''}",
        exportable=True,
        running=any(job.running for job in page.jobs),
        bulk_actions=offered(),
        views=views,
        first=_url(query, sort) if request.args.get("after") else None,
        older=_url(query, sort, after=page.after) if page.after else None,
        sort_urls={name: _url(query, name) for name in SORTS},
    )


def _removed(search: JobSearch, query: str) -> Response:
    """Show the jobs that can be brought back."""
    before = request.args.get("before", type=int)
    with dashboard_state().database.read() as session:
        etag = live_etag(session)
        if answer := not_modified(etag):
            return answer
        page = list_removed(session, search, before=before)
    return render(
        "jobs/index.html",
        partial="jobs/_removed.html",
        etag=etag,
        listed="jobs/_removed.html",
        removals=page.removals,
        days=UNDO_DAYS,
        bulk_actions=offered(removed=True),
        everything="All that match",
        exportable=False,
        query=query,
        sort="name",
        chips=_chips(search, "name"),
        searchable=SEARCHABLE,
        first=_url(query, "name") if before else None,
        older=_url(query, "name", before=page.older) if page.older else None,
    )


@dataclass(frozen=True, slots=True)
class JobRow:
    """One row, ready to be drawn.

    Fifty of them are a page that many people look at all day, so the template only fills in: a
    macro or a filter for each value would take most of the page's time.
    """

    dom_id: str
    url: str
    job: ListedJob
    state: JobState
    health: Health
    schedule: str  # drawn
    problem: str  # why it is broken, or what is wrong with its trigger
    next_run: Moment | None
    paused: Moment | None
    last_run: Moment | None
    strip: Strip | None
    drawn_strip: str  # drawn once for the same runs, like the schedule
    success_rate: str  # of the runs in the strip
    usual: str

    @property
    def troubled(self) -> bool:
        """Whether its health is worth a word besides its state."""
        return self.health in {Health.FAILING, Health.OVERDUE}


@dataclass(frozen=True, slots=True)
class Chip:
    """A filter that one click sets."""

    word: str
    url: str
    current: bool


def job_row(job: ListedJob, base: str, clock: Clock) -> JobRow:
    """Prepare a row; `base` is the address of the list."""
    address = quote(job.id, safe="")
    schedule, problem = _describe(job.trigger, job.timezone)
    strip = strip_of(job.recent) if job.recent else None
    return JobRow(
        dom_id=f"job-{address}",
        url=f"{base}/{address}",
        job=job,
        state=job.state,
        health=job.health(clock.now),
        schedule=schedule,
        problem=job.broken_reason or problem,
        next_run=clock.write(job.due),
        paused=clock.write(job.paused_at),
        last_run=clock.write(job.last_finished_at),
        strip=strip,
        drawn_strip=piece("strip", strip) if strip else "",
        success_rate=percent(strip.success_rate) if strip else "",
        usual=duration(job.usual_duration),
    )


@lru_cache(maxsize=4096)
def _describe(trigger: str, timezone: str) -> tuple[str, str]:
    """Return the drawn trigger, and what is wrong with it."""
    data: dict[str, Any] = json.loads(trigger)
    try:
        schedule = triggers.kept(data, timezone=timezone)
    except DashboardError as error:
        return piece("schedule", "Unreadable trigger", trigger, timezone), str(error)
    return piece("schedule", schedule.sentence, schedule.raw, timezone), ""


def _chips(search: JobSearch, sort: str) -> list[Chip]:
    chips = [Chip("all", _url(str(search.with_state(None)), sort), not search.states)]
    chips += [
        Chip(state, _url(str(search.with_state(state)), sort), search.states == (state,))
        for state in CHIPS
    ]
    return chips


def _url(query: str, sort: str, **place: Any) -> str:
    return url_for(
        "dashboard.jobs.index", q=query or None, sort=None if sort == "name" else sort, **place
    )

"""The list of jobs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flask import Blueprint, request, url_for

from dashboard.errors import DashboardError
from dashboard.history.joblist import COUNTED, ORDERS, list_jobs
from dashboard.history.jobsearch import JobSearch
from dashboard.scheduling import triggers
from dashboard.storage.models import Health, JobState, Role
from dashboard.web.access import role
from dashboard.web.filters import absolute, duration, iso, percent, relative
from dashboard.web.rendering import live_etag, not_modified, render
from dashboard.web.state import dashboard_state
from dashboard.web.strips import Strip, strip_of

if TYPE_CHECKING:
    from flask import Response

    from dashboard.history.joblist import ListedJob

blueprint = Blueprint("jobs", __name__)

CHIPS = ("failing", "paused", "running", "broken", "finished")
SORTS = {"name": "Name", "next": "Next run", "last": "Last run", "failures": "Failures"}


@blueprint.get("/jobs")
@role(Role.VIEWER)
def index() -> Response:
    """Show a page of the jobs that match the search, or its live part."""
    query = request.args.get("q", "").strip()
    sort = request.args.get("sort", "name")
    sort = sort if sort in ORDERS else "name"
    search = JobSearch.parse(query)
    with dashboard_state().database.read() as session:
        etag = live_etag(session)
        if answer := not_modified(etag):
            return answer
        page = list_jobs(session, search, sort=sort, after=request.args.get("after"))
    base = url_for("dashboard.jobs.index")
    now = datetime.now(UTC)
    rows = [job_row(job, base, now) for job in page.jobs]
    return render(
        "jobs/index.html",
        partial="jobs/_list.html",
        etag=etag,
        rows=rows,
        search=search,
        query=query,
        sort=sort,
        sorts=SORTS,
        chips=_chips(search, sort),
        total=f"{COUNTED:,}+" if page.total > COUNTED else f"{page.total:,}",
        running=any(job.running for job in page.jobs),
        first=_url(query, sort) if request.args.get("after") else None,
        older=_url(query, sort, after=page.after) if page.after else None,
        sort_urls={name: _url(query, name) for name in SORTS},
    )


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time, in all the ways a row writes it."""

    iso: str
    relative: str
    absolute: str


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
    sentence: str
    raw: str
    problem: str  # why it is broken, or what is wrong with its trigger
    next_run: Moment | None
    paused: Moment | None
    last_run: Moment | None
    strip: Strip | None
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


def job_row(job: ListedJob, base: str, now: datetime) -> JobRow:
    """Prepare a row; `base` is the address of the list."""
    address = quote(job.id, safe="")
    sentence, raw, problem = _describe(job.trigger, job.timezone)
    strip = strip_of(job.recent) if job.recent else None
    return JobRow(
        dom_id=f"job-{address}",
        url=f"{base}/{address}",
        job=job,
        state=job.state,
        health=job.health(now),
        sentence=sentence,
        raw=raw,
        problem=job.broken_reason or problem,
        next_run=_moment(job.due, now),
        paused=_moment(job.paused_at, now),
        last_run=_moment(job.last_finished_at, now),
        strip=strip,
        success_rate=percent(strip.success_rate) if strip else "",
        usual=duration(job.usual_duration),
    )


def _moment(moment: datetime | None, now: datetime) -> Moment | None:
    if moment is None:
        return None
    return Moment(iso(moment), relative(moment, now), absolute(moment))


@lru_cache(maxsize=4096)
def _describe(trigger: str, timezone: str) -> tuple[str, str, str]:
    """Return the trigger as a sentence, in short, and what is wrong with it."""
    data: dict[str, Any] = json.loads(trigger)
    try:
        schedule = triggers.load(data, timezone=timezone)
    except DashboardError as error:
        return "Unreadable trigger", trigger, str(error)
    return schedule.sentence, schedule.raw, ""


def _chips(search: JobSearch, sort: str) -> list[Chip]:
    chips = [Chip("all", _url(str(search.with_state(None)), sort), not search.states)]
    chips += [
        Chip(state, _url(str(search.with_state(state)), sort), search.states == (state,))
        for state in CHIPS
    ]
    return chips


def _url(query: str, sort: str, *, after: str | None = None) -> str:
    return url_for(
        "dashboard.jobs.index", q=query or None, sort=None if sort == "name" else sort, after=after
    )

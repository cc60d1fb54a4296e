"""The list of jobs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from flask import Blueprint, request, url_for

from dashboard.errors import DashboardError
from dashboard.history.joblist import COUNTED, ORDERS, list_jobs
from dashboard.history.jobsearch import REMOVED, SEARCHABLE, JobSearch
from dashboard.history.removed import UNDO_DAYS, list_removed
from dashboard.scheduling import triggers
from dashboard.storage.models import Health, Role
from dashboard.web.access import has_role, reach_of, role
from dashboard.web.bulk import offered
from dashboard.web.filters import duration, percent
from dashboard.web.moments import Clock, write
from dashboard.web.rendering import draw_macro, live_etag, not_modified, render
from dashboard.web.state import dashboard_state
from dashboard.web.strips import Strip, strip_of
from dashboard.web.views import read_views

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import tzinfo

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
    total = f"{COUNTED:,}+" if page.total > COUNTED else f"{page.total:,}"
    return render(
        "jobs/index.html",
        partial="jobs/_list.html",
        etag=etag,
        listed="jobs/_list.html",
        rows=list_rows(page.jobs),
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
class Schedule:
    """A trigger in words and as APScheduler writes it, and what is wrong with it."""

    sentence: str
    raw: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class JobRow:
    """One row, ready to be drawn."""

    dom_id: str
    url: str
    job: ListedJob
    tags: list[str]
    health: Health
    schedule: Schedule
    problem: str  # why it is broken, or what is wrong with its trigger
    next_run: Moment | None
    paused: Moment | None
    last_run: Moment | None
    strip: Strip | None
    success_rate: str  # of the runs in the strip
    usual: str
    picks: bool  # whether whoever looks may act on some jobs at least
    acts: bool  # whether they may act on this one

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


class _Onlooker(NamedTuple):
    """What the rows of a page have in common."""

    list_url: str
    zone: tzinfo
    picks: bool


def list_rows(listed: Iterable[ListedJob]) -> list[str]:
    """Return the rows of jobs, drawn.

    Fifty of them are a page that many people look at all day, while few jobs change: a row is drawn
    once as long as it looks the same.
    """
    clock, jobs = Clock.read(), list(listed)
    picks = has_role("operator")
    onlooker = _Onlooker(url_for("dashboard.jobs.index"), clock.zone, picks)
    reach = reach_of(job.id for job in jobs) if picks else ()
    return [
        _draw_row(
            job,
            job.health(clock.now),
            clock.ago(job.due),
            clock.ago(job.paused_at),
            clock.ago(job.last_finished_at),
            onlooker,
            acts=job.id in reach,
        )
        for job in jobs
    ]


@lru_cache(maxsize=2048)
def _draw_row(
    job: ListedJob,
    health: Health,
    due: str,
    paused: str,
    finished: str,
    onlooker: _Onlooker,
    *,
    acts: bool,
) -> str:
    """Draw a row; `due`, `paused` and `finished` say how long ago, or how soon, that is."""
    address = quote(job.id, safe="")
    schedule = _schedule(job.trigger, job.timezone)
    strip = strip_of(job.recent) if job.recent else None
    row = JobRow(
        dom_id=f"job-{address}",
        url=f"{onlooker.list_url}/{address}",
        job=job,
        tags=json.loads(job.tags),
        health=health,
        schedule=schedule,
        problem=job.broken_reason or schedule.problem,
        next_run=write(job.due, due, onlooker.zone),
        paused=write(job.paused_at, paused, onlooker.zone),
        last_run=write(job.last_finished_at, finished, onlooker.zone),
        strip=strip,
        success_rate=percent(strip.success_rate) if strip else "",
        usual=duration(job.usual_duration),
        picks=onlooker.picks,
        acts=acts,
    )
    return draw_macro("jobs/_row.html", "job_row", row)


@lru_cache(maxsize=2048)
def _schedule(trigger: str, timezone: str) -> Schedule:
    data: dict[str, Any] = json.loads(trigger)
    try:
        kept = triggers.kept(data, timezone=timezone)
    except DashboardError as error:
        return Schedule("Unreadable trigger", trigger, str(error))
    return Schedule(kept.sentence, kept.raw)


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

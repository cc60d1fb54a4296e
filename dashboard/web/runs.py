"""All runs of all jobs, newest first; the address says which of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from flask import Blueprint, redirect, request, url_for

from dashboard.errors import FieldError, Invalid, by_field
from dashboard.history.run_list import LOOK_THROUGH, RunFilter, RunPage, list_runs
from dashboard.storage.models import MOST_COALESCED, Origin, Role, RunState
from dashboard.tasks import all_tasks
from dashboard.web.access import has_role, reach_of, role
from dashboard.web.charts import duration_bar
from dashboard.web.filters import absolute, count, duration, iso
from dashboard.web.moments import Clock, write
from dashboard.web.rendering import draw_macro, live_etag, not_modified, render
from dashboard.web.run_filter import PARAMETERS, read_place, read_run_filter
from dashboard.web.state import dashboard_state
from dashboard.web.times import MOMENT_HELP
from dashboard.web.views import read_views
from dashboard.web.zones import display_zone

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import tzinfo

    from werkzeug.wrappers import Response

    from dashboard.history.run_list import ListedRun
    from dashboard.storage.models import Run
    from dashboard.web.charts import Bar
    from dashboard.web.moments import Moment
    from dashboard.web.views import Views

blueprint = Blueprint("runs", __name__)

LABELS = {
    "state": "State",
    "job": "Job id",
    "task": "Task",
    "origin": "Origin",
    "executor": "Executor",
    "tag": "Tag",
    "fingerprint": "Error",
    "q": "Search",
    "since": "From",
    "until": "To",
    "ended": "Ended since",
}
PERIODS = (("", "Any time"), ("1h", "1 hour"), ("24h", "24 hours"), ("7d", "7 days"))


ORIGINS = {
    Origin.SCHEDULE: "Schedule",
    Origin.MANUAL: "By hand",
    Origin.RETRY: "Retry",
    Origin.BACKFILL: "Backfill",
}

LONGEST_WHY = 240
"""Characters of an error or a reason that a row shows."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as lists of runs show it, ready to be drawn."""

    run: ListedRun
    url: str
    job_url: str
    scheduled: Moment
    delay: str  # from its time to its start; empty before
    duration: str  # so far, while it is running; empty before
    running_since: str
    bar: Bar | None
    origin: str
    why: str  # it did not simply succeed
    with_job: bool  # whether it names its job
    acts: bool  # whether whoever looks may act


@dataclass(frozen=True, slots=True)
class Given:
    """One filter that is in force, and the address of the list without it."""

    name: str
    label: str
    text: str
    url: str


@blueprint.get("/runs")
@role(Role.VIEWER)
def index() -> Response:
    """List the runs that the address asks for."""
    if not all(text.strip() for text in request.args.values()):
        return redirect(_url())  # a form sends its empty fields along; addresses are to be shared
    try:
        wanted = read_run_filter(request.args, zone=display_zone(), now=datetime.now(UTC))
        before, after = read_place(request.args)
    except Invalid as error:
        response = _render(None, RunFilter(), errors=error.errors)
        response.status_code = error.status
        return response
    with dashboard_state().database.read() as session:
        etag = live_etag(session)
        unchanged = not_modified(etag)
        if unchanged:
            return unchanged
        page = list_runs(session, wanted, before=before, after=after)
        views = read_views(session, "runs")
    if after is not None and page.newer is None:
        return redirect(_url())  # the newest page is shown whole, and live
    newest = before is None and after is None
    return _render(page, wanted, views=views, etag=etag, newest=newest)


class _Onlooker(NamedTuple):
    """What the rows of a page have in common."""

    runs_url: str
    jobs_url: str
    zone: tzinfo
    with_job: bool


def table_rows(listed: Iterable[ListedRun], *, with_job: bool = True) -> list[str]:
    """Return runs as the macro `runs_table` wants them, drawn; `with_job`: they name their job.

    Fifty of them are a page that many people look at, while what has finished stays as it is: a row
    is drawn once as long as it looks the same.
    """
    clock, runs = Clock.read(), list(listed)
    onlooker = _Onlooker(
        url_for("dashboard.runs.index"), url_for("dashboard.jobs.index"), clock.zone, with_job
    )
    reach = reach_of(run.job_id for run in runs) if has_role("operator") else ()
    return [
        _draw_row(
            run,
            clock.ago(run.scheduled_at),
            _length(_took(run, clock)),
            onlooker,
            acts=run.job_id in reach,
        )
        for run in runs
    ]


@lru_cache(maxsize=2048)
def _draw_row(run: ListedRun, ago: str, took: str, onlooker: _Onlooker, *, acts: bool) -> str:
    """Draw a row; `ago`: how long ago its time was; `took`: its duration, so far."""
    since = _running_since(run)
    row = RunRow(
        run=run,
        url=f"{onlooker.runs_url}/{run.id}",
        job_url=f"{onlooker.jobs_url}/{quote(run.job_id, safe='')}",
        scheduled=write(run.scheduled_at, ago, onlooker.zone),
        delay=_length(delay_of(run)),
        duration=took,
        running_since=iso(since) if since else "",
        bar=duration_bar(run.duration, run.usual_duration, run.long_duration),
        origin=ORIGINS[run.origin],
        why=_why(run, onlooker.zone) or _waits(run, onlooker.zone),
        with_job=onlooker.with_job,
        acts=acts,
    )
    return draw_macro("runs/_row.html", "run_row", row)


def _took(run: ListedRun, clock: Clock) -> float | None:
    """Return the seconds a run took, or has taken so far."""
    since = _running_since(run)
    return (clock.now - since).total_seconds() if since else run.duration


def _running_since(run: ListedRun) -> datetime | None:
    return run.started_at if run.state is RunState.RUNNING else None


def _waits(run: ListedRun, zone: tzinfo) -> str:
    """Say what a retry waits for."""
    if run.state is not RunState.QUEUED or run.not_before is None:
        return ""
    return f"It is tried again at {absolute(run.not_before, zone)}."


def _length(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)


def _why(run: ListedRun, zone: tzinfo) -> str:
    """Say why a run did not simply succeed, or what else there is to know of it."""
    told = _clip(run.error_message if run.error_type else run.reason)
    if not run.coalesced:
        return told
    since = f", the first at {absolute(run.coalesced_since, zone)}" if run.coalesced_since else ""
    others = count(run.coalesced, "earlier fire time", most=MOST_COALESCED)
    return f"{told} Stands for {others} as well{since}.".strip()


def _clip(text: str | None) -> str:
    text = text or ""
    return text if len(text) <= LONGEST_WHY else f"{text[:LONGEST_WHY]}…"


def delay_of(run: Run | ListedRun) -> float | None:
    """Return the seconds from a run's time to its start; None before it started."""
    if run.started_at is None:
        return None
    return max((run.started_at - run.scheduled_at).total_seconds(), 0.0)


def _render(
    page: RunPage | None,
    wanted: RunFilter,
    *,
    views: Views | None = None,
    etag: str | None = None,
    newest: bool = False,
    errors: Iterable[FieldError] = (),
) -> Response:
    """Render the list; `page` is None when the filter cannot be understood."""
    return render(
        "runs/page.html",
        partial="runs/_runs.html",
        etag=etag if newest else None,
        found=page,
        views=views,
        rows=table_rows(page.runs) if page else [],
        newest=newest,
        active=page is not None and any(run.finished_at is None for run in page.runs),
        url_newer=_url(after=page.newer) if page and page.newer is not None else None,
        url_older=_url(before=page.older) if page and page.older is not None else None,
        looked_through=LOOK_THROUGH,
        filtered=bool(wanted) or page is None,
        chosen=[state.value for state in wanted.states],
        given=list(_given()),
        errors=by_field(errors),
        args=request.args,
        states=list(RunState),
        origins=list(Origin),
        executors=dashboard_state().settings.executors,
        tasks=[task.name for task in all_tasks()],
        periods=[(text, label, _url_with("since", text)) for text, label in PERIODS],
        moment_help=MOMENT_HELP,
        clear_url=url_for("dashboard.runs.index"),
        exports=_exports(),
    )


def _exports() -> list[tuple[str, str]]:
    """Return the formats in which what is filtered can be had as a file, and where."""
    export = partial(url_for, "dashboard.run_export.export", **_filters())
    return [(kind.upper(), export(format=kind)) for kind in ("csv", "json")]


def _filters() -> dict[str, Any]:
    """Return the parameters of the address that filter, without those that page."""
    return {
        name: values
        for name in PARAMETERS
        if (values := [text for text in request.args.getlist(name) if text.strip()])
    }


def _url(**place: Any) -> str:
    """Return the address of the same list at another place."""
    return url_for("dashboard.runs.index", **_filters(), **place)


def _url_with(name: str, text: str) -> str:
    """Return the address of the list with one filter changed; an empty text drops it."""
    return url_for("dashboard.runs.index", **_filters() | {name: text or None})


def _given() -> Iterable[Given]:
    for name, values in _filters().items():
        yield Given(name, LABELS[name], ", ".join(values), _url_with(name, ""))

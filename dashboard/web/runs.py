"""All runs of all jobs, newest first; the address says which of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flask import Blueprint, redirect, request, url_for

from dashboard.errors import FieldError, Invalid
from dashboard.history.run_list import LOOK_THROUGH, RunFilter, RunPage, list_runs
from dashboard.scheduling.executors import EXECUTOR_NAMES
from dashboard.storage.models import Origin, Role, RunState
from dashboard.tasks import all_tasks
from dashboard.web.access import role
from dashboard.web.charts import duration_bar
from dashboard.web.filters import display_zone
from dashboard.web.rendering import live_etag, not_modified, render
from dashboard.web.run_filter import MOMENT_HELP, PARAMETERS, read_place, read_run_filter
from dashboard.web.state import dashboard_state

if TYPE_CHECKING:
    from collections.abc import Iterable

    from werkzeug.wrappers import Response

    from dashboard.history.run_list import ListedRun
    from dashboard.storage.models import Run
    from dashboard.web.charts import Bar

blueprint = Blueprint("runs", __name__)

LABELS = {
    "state": "State",
    "job": "Job id",
    "task": "Task",
    "origin": "Origin",
    "executor": "Executor",
    "fingerprint": "Error",
    "q": "Search",
    "since": "From",
    "until": "To",
}
PERIODS = (("", "Any time"), ("1h", "1 hour"), ("24h", "24 hours"), ("7d", "7 days"))


@dataclass(frozen=True, slots=True)
class Row:
    """A run as lists of runs show it."""

    run: Run
    url: str
    job_url: str
    delay: float | None  # seconds from its time to its start
    bar: Bar | None


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
    if after is not None and page.newer is None:
        return redirect(_url())  # the newest page is shown whole, and live
    return _render(page, wanted, etag=etag, newest=before is None and after is None)


def table_rows(listed: Iterable[ListedRun]) -> list[Row]:
    """Return runs as the macro `runs_table` wants them."""
    # Two addresses a row, a hundred a page: asking Flask for each would be a third of the time.
    runs, jobs = url_for("dashboard.runs.index"), url_for("dashboard.jobs.index")
    return [
        Row(
            run=one.run,
            url=f"{runs}/{one.run.id}",
            job_url=f"{jobs}/{quote(one.run.job_id, safe='')}",
            delay=delay_of(one.run),
            bar=duration_bar(one.run.duration, one.usual_duration, one.long_duration),
        )
        for one in listed
    ]


def delay_of(run: Run) -> float | None:
    """Return the seconds from a run's time to its start; None before it started."""
    if run.started_at is None:
        return None
    return max((run.started_at - run.scheduled_at).total_seconds(), 0.0)


def _render(
    page: RunPage | None,
    wanted: RunFilter,
    *,
    etag: str | None = None,
    newest: bool = False,
    errors: Iterable[FieldError] = (),
) -> Response:
    """Render the list; `page` is None when the filter cannot be understood."""
    complaints: dict[str, list[str]] = {}
    for error in errors:
        complaints.setdefault(error.field, []).append(error.message)
    return render(
        "runs/page.html",
        partial="runs/_runs.html",
        etag=etag if newest else None,
        found=page,
        rows=table_rows(page.runs) if page else [],
        newest=newest,
        active=page is not None and any(one.run.finished_at is None for one in page.runs),
        url_newer=_url(after=page.newer) if page and page.newer is not None else None,
        url_older=_url(before=page.older) if page and page.older is not None else None,
        looked_through=LOOK_THROUGH,
        filtered=bool(wanted) or bool(complaints),
        chosen=[state.value for state in wanted.states],
        given=list(_given()),
        errors=complaints,
        args=request.args,
        states=list(RunState),
        origins=list(Origin),
        executors=EXECUTOR_NAMES,
        tasks=[task.name for task in all_tasks()],
        periods=[(text, label, _url_with("since", text)) for text, label in PERIODS],
        moment_help=MOMENT_HELP,
        clear_url=url_for("dashboard.runs.index"),
    )


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

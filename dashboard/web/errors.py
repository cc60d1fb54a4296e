"""Errors: runs that failed in the same way, counted together, and what people decide about them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from flask import Blueprint, request, url_for

from dashboard.errors import FieldError, Invalid
from dashboard.history.error_list import (
    JOBS,
    LOOK_THROUGH,
    MARKS,
    SORTS,
    count_cells,
    get_error,
    jobs_that_met,
    list_errors,
    period_starts,
    sample_run,
)
from dashboard.history.run_list import RunFilter, list_runs
from dashboard.services import errormarks
from dashboard.storage.models import Role
from dashboard.texts import is_storable
from dashboard.web.access import current_actor, may, role
from dashboard.web.filters import absolute, iso
from dashboard.web.moments import Clock
from dashboard.web.questions import answer, question
from dashboard.web.rendering import draw_macro, live_etag, not_modified, render
from dashboard.web.runs import table_rows
from dashboard.web.state import dashboard_state
from dashboard.web.times import CHOICES, read_until
from dashboard.web.tracebacks import read_traceback
from dashboard.web.zones import display_zone

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import tzinfo

    from flask import Response
    from werkzeug.wrappers import Response as AnyResponse

    from dashboard.history.error_list import ListedError
    from dashboard.storage.models import ErrorGroup

blueprint = Blueprint("errors", __name__)

LONGEST_TEXT = 200
FEW_RUNS = 20
"""Runs shown of one error."""

SORT_LABELS = {"last": "Last seen", "first": "First seen", "count": "Most runs"}


@blueprint.get("/errors")
@role(Role.VIEWER)
def index() -> Response:
    """List the errors that the address asks for."""
    mark, sort = _choice("show", MARKS), _choice("sort", tuple(SORTS))
    text = request.args.get("q", "").strip()[:LONGEST_TEXT]
    after = request.args.get("after")
    now = datetime.now(UTC)
    with dashboard_state().database.read() as session:
        etag = live_etag(session)
        if unchanged := not_modified(etag):
            return unchanged
        sought = text if is_storable(text) else text.encode("ascii", "replace").decode()
        page = list_errors(
            session, now, mark=mark, text=sought.replace("\0", "?"), sort=sort, after=after
        )
    columns = _columns(now)
    address: dict[str, Any] = {
        "q": text or None,
        "show": None if mark == "open" else mark,
        "sort": None if sort == "last" else sort,
    }
    return render(
        "errors/page.html",
        partial="errors/_list.html",
        etag=None if after else etag,
        found=page,
        rows=_list_rows(page.errors, columns),
        query=text,
        mark=mark,
        sort=sort,
        marks=[(word, _url(address | {"show": word})) for word in MARKS],
        sorts=[
            (word, label, _url(address | {"sort": word})) for word, label in SORT_LABELS.items()
        ],
        columns=columns,
        looked_through=LOOK_THROUGH,
        url_first=_url(address) if after else None,
        url_next=_url(address | {"after": page.after}) if page.after else None,
    )


@blueprint.get("/errors/<fingerprint>")
@role(Role.VIEWER)
def show(fingerprint: str) -> Response:
    """Show one error: where it comes from, which jobs meet it, its last runs."""
    now = datetime.now(UTC)
    with dashboard_state().database.read() as session:
        etag = live_etag(session)
        if unchanged := not_modified(etag):
            return unchanged
        group = get_error(session, fingerprint)
        cells = count_cells(session, [fingerprint], now)[fingerprint]
        jobs = jobs_that_met(session, fingerprint)
        found = list_runs(session, RunFilter(fingerprint=fingerprint), limit=FEW_RUNS)
        sample = sample_run(session, found.runs[0].id if found.runs else group.last_run_id)
    return render(
        "errors/error.html",
        partial="errors/_error.html",
        etag=etag,
        group=group,
        cells=cells,
        jobs=jobs,
        most_jobs=JOBS,
        rows=table_rows(found.runs),
        older=found.older,
        run=sample,
        parts=read_traceback(sample.traceback) if sample and sample.traceback else [],
    )


@blueprint.get("/errors/<fingerprint>/<any(acknowledge, ignore):action>")
@role(Role.OPERATOR)
def ask(fingerprint: str, action: str) -> Response:
    """Ask for the reason, and for what ends it: in the page's dialog, or on a page of its own."""
    return _question(fingerprint, action)


@blueprint.post("/errors/<fingerprint>/acknowledge")
@role(Role.OPERATOR)
def acknowledge(fingerprint: str) -> AnyResponse:
    """Note that somebody knows an error."""
    with dashboard_state().change() as session:
        group = errormarks.acknowledge_error(
            session, fingerprint, reason=request.form.get("reason"), actor=current_actor()
        )
        return _done(group, "is acknowledged until it comes back after a success.")


@blueprint.post("/errors/<fingerprint>/ignore")
@role(Role.OPERATOR)
def ignore(fingerprint: str) -> AnyResponse:
    """Put an error aside for a while."""
    try:
        until = errormarks.Until(
            at=read_until(request.form, display_zone(), datetime.now(UTC)),
            times=_number("times"),
            per_hour=_number("per_hour"),
        )
        with dashboard_state().change() as session:
            group = errormarks.ignore_error(
                session,
                fingerprint,
                until=until,
                reason=request.form.get("reason"),
                actor=current_actor(),
            )
    except Invalid as error:
        return _question(fingerprint, "ignore", error)
    return _done(group, "is ignored." if until == errormarks.Until() else "is ignored for now.")


@blueprint.post("/errors/<fingerprint>/reopen")
@role(Role.OPERATOR)
def reopen(fingerprint: str) -> AnyResponse:
    """Forget what was decided about an error."""
    with dashboard_state().change() as session:
        group = errormarks.reopen_error(session, fingerprint, actor=current_actor())
        return _done(group, "is open again.")


@dataclass(frozen=True, slots=True)
class Column:
    """A period that the list has counts for."""

    label: str
    since: str
    ended: str  # the same, for an address


def _columns(now: datetime) -> tuple[Column, ...]:
    return tuple(
        Column(f"{period[:-1]} {period[-1]}", absolute(since), quote(iso(since)))
        for period, since in period_starts(now).items()
    )


class Onlooker(NamedTuple):
    """What the rows of a page have in common."""

    errors_url: str
    runs_url: str
    jobs_url: str
    zone: tzinfo
    acts: bool
    columns: tuple[Column, ...]


def _list_rows(listed: Iterable[ListedError], columns: tuple[Column, ...]) -> list[str]:
    """Return the rows of errors, drawn; a row is drawn once as long as it looks the same."""
    clock = Clock.read()
    onlooker = Onlooker(
        url_for("dashboard.errors.index"),
        url_for("dashboard.runs.index"),
        url_for("dashboard.jobs.index"),
        clock.zone,
        may("operator"),
        columns,
    )
    return [
        _draw_row(error, tuple(clock.ago(moment) for moment in error.moments), onlooker)
        for error in listed
    ]


@lru_cache(maxsize=1024)
def _draw_row(error: ListedError, ago: tuple[str, ...], onlooker: Onlooker) -> str:  # noqa: ARG001
    """Draw a row; `ago`: how long ago its moments were, which the row says."""
    return draw_macro("errors/_row.html", "error_row", error, onlooker)


def _question(fingerprint: str, action: str, error: Invalid | None = None) -> Response:
    with dashboard_state().database.read() as session:
        group = get_error(session, fingerprint)
    return question(
        "errors",
        error,
        group=group,
        action=action,
        choices=CHOICES,
        longest_reason=errormarks.LONGEST_REASON,
    )


def _done(group: ErrorGroup, what: str) -> AnyResponse:
    name = group.error if len(group.error) <= 80 else f"{group.error[:80]}…"  # noqa: PLR2004 -- a toast's worth
    url = url_for("dashboard.errors.show", fingerprint=group.fingerprint)
    return answer(url, f"“{name}” {what}")


def _number(name: str) -> int | None:
    text = request.form.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 12):  # noqa: PLR2004 -- more than enough
        raise Invalid([FieldError(name, f"“{text[:50]}” is no whole number.")])
    return int(text)


def _choice(name: str, allowed: tuple[str, ...]) -> str:
    """Return a word of the address; one that is not known counts as missing."""
    word = request.args.get(name, "")
    return word if word in allowed else allowed[0]


def _url(address: dict[str, Any]) -> str:
    return url_for("dashboard.errors.index", **address)

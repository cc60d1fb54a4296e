"""`/runs`: what happened, and what is done about it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from flask import Blueprint, url_for
from pydantic import Field
from pydantic.functional_validators import AfterValidator

from dashboard.errors import Invalid
from dashboard.history import queries, run_list
from dashboard.history.run_list import RunFilter
from dashboard.services import runs
from dashboard.storage.models import ACTIVE, ID_LENGTH, LARGEST_ID, Origin, Role, RunState
from dashboard.web.access import current_actor, role
from dashboard.web.api.operations import Made, Streamed, operation
from dashboard.web.api.shapes import SOME, Asked, Cursor, Limit, Log, LogLine, Run, RunList
from dashboard.web.state import dashboard_state
from dashboard.web.times import MOMENT_HELP, read_moment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

    from dashboard.storage.db import Database

blueprint = Blueprint("runs", __name__)

RUN = "/runs/<int:run_id>"


def _is_moment(text: str) -> str:
    read_moment(text, UTC, datetime.now(UTC))
    return text


Word = Annotated[str | None, Field(min_length=1, max_length=ID_LENGTH)]
Moment = Annotated[
    str | None,
    AfterValidator(lambda text: text and _is_moment(text)),
    Field(description=f"{MOMENT_HELP}, or RFC 3339; without an offset in UTC."),
]


class RunQuery(Asked):
    """Which runs are wanted; everything given must hold."""

    task: Word = None
    state: Annotated[list[RunState], Field(description="Any one.", default_factory=list)]
    origin: Origin | None = None
    since: Annotated[Moment, Field(description="Queued then or later.")] = None
    until: Annotated[Moment, Field(description="Queued before then.")] = None
    limit: Limit = SOME
    after: Cursor = None


class AllRunsQuery(RunQuery):
    """Which runs of all jobs are wanted; everything given must hold."""

    job: Annotated[Word, Field(description="The id of a job.")] = None


class LogQuery(Asked):
    """Which lines are wanted."""

    after: Annotated[int, Field(ge=0, le=LARGEST_ID, description="Those after this one.")] = 0
    limit: Annotated[int, Field(ge=1, le=queries.LOG_PAGE)] = queries.LOG_PAGE


@blueprint.get("/runs")
@role(Role.VIEWER)
@operation("List runs", answer=RunList, query=AllRunsQuery)
def index(session: Session, query: AllRunsQuery) -> RunList | Streamed:
    """List runs, the newest first.

    A filter that no index answers looks at a bounded number of runs at a time, so a page may hold
    fewer than asked for though there are more; `next` goes on from there.
    """
    return list_page(session, query, job_id=query.job)


@blueprint.get(RUN)
@role(Role.VIEWER)
@operation("Get a run", answer=Run)
def show(session: Session, run_id: int) -> Run:
    """Tell everything about one run but its log."""
    return Run.of(runs.get_run(session, run_id), queries.list_steps(session, run_id))


@blueprint.get(RUN + "/log")
@role(Role.VIEWER)
@operation("Read the log of a run", answer=Log, query=LogQuery)
def log(session: Session, run_id: int, query: LogQuery) -> Log:
    """Give lines of a run's log. While the run goes on there is always a `next`: ask again."""
    run = runs.get_run(session, run_id)
    lines = queries.list_log(session, run_id, after=query.after, limit=query.limit)
    goes_on = run.state in ACTIVE or len(lines) == query.limit
    last = lines[-1].seq if lines else query.after
    return Log(
        items=[LogLine.model_validate(line, from_attributes=True) for line in lines],
        next=last if goes_on else None,
        dropped=run.log_dropped,
    )


@blueprint.post(RUN + "/retry")
@role(Role.OPERATOR)
@operation("Retry a run", answer=Run, status=202, changes=True, conflicts=True)
def retry(session: Session, run_id: int) -> Made:
    """Run once more what a run was, as the next attempt of the same fire time."""
    again = runs.retry_run(session, run_id, actor=current_actor())
    return Made(Run.of(again, []), run_location(again.id))


@blueprint.post(RUN + "/cancel")
@role(Role.OPERATOR)
@operation("Cancel a run", answer=Run, status=202, changes=True, conflicts=True)
def cancel(session: Session, run_id: int) -> Made:
    """End a run that is queued, or ask one that is running to end; look again for how it went."""
    run = runs.cancel_run(session, run_id, actor=current_actor())
    return Made(Run.of(run, queries.list_steps(session, run_id)), run_location(run_id))


def list_page(session: Session, query: RunQuery, *, job_id: str | None) -> RunList | Streamed:
    """Return a page of runs, of one job or of all.

    A long page is read and sent in parts: a run may hold 200 KB, and a slow client shall hold
    neither all of them in memory nor the database.
    """
    page = run_list.list_runs(
        session, _filter(query, job_id), before=_before(query.after), limit=query.limit
    )
    ids = [run.id for run in page.runs]
    following = None if page.older is None else str(page.older)
    if len(ids) > SOME:
        return Streamed(_pieces(dashboard_state().database, ids, following))
    return RunList(items=_read_runs(session, ids), next=following)


def _pieces(database: Database, ids: list[int], following: str | None) -> Iterator[str]:
    yield '{"items":['
    separator = ""
    for part in (ids[start : start + SOME] for start in range(0, len(ids), SOME)):
        with database.read() as session:
            runs_of_part = _read_runs(session, part)
        for run in runs_of_part:
            yield separator + run.model_dump_json()
            separator = ","
    yield f'],"next":{json.dumps(following)}}}'


def _read_runs(session: Session, ids: list[int]) -> list[Run]:
    return [Run.of(run, steps) for run, steps in queries.get_runs(session, ids)]


def _filter(query: RunQuery, job_id: str | None) -> RunFilter:
    now = datetime.now(UTC)
    since, until = (text and read_moment(text, UTC, now) for text in (query.since, query.until))
    if since and until and since >= until:
        raise Invalid.one("until", "This is not after the beginning.")
    return RunFilter(
        states=frozenset(query.state),
        job_id=job_id,
        task=query.task,
        origin=query.origin,
        since=since or None,
        until=until or None,
    )


def run_location(run_id: int) -> str:
    """Return the address of a run."""
    return url_for("dashboard.api.runs.show", run_id=run_id)


def _before(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not re.fullmatch(r"\d{1,19}", cursor, re.ASCII) or int(cursor) > LARGEST_ID:
        raise Invalid.one("after", "This leads to no page of the list.")
    return int(cursor)

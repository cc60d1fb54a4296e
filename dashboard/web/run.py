"""One run: when it ran, how it went, what it said."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, redirect, request, url_for

from dashboard.errors import Invalid
from dashboard.history import queries
from dashboard.history.verdicts import is_slow
from dashboard.services import runs
from dashboard.storage.models import ACTIVE, LARGEST_ID, MOST_COALESCED, PROBLEMS, Role, RunState
from dashboard.web.access import current_actor, has_role, reach_of, role
from dashboard.web.job import show_parameters
from dashboard.web.questions import answer
from dashboard.web.rendering import done, live_etag, not_modified, render, wants_partial
from dashboard.web.run_filter import LONGEST_TEXT
from dashboard.web.runs import delay_of
from dashboard.web.state import dashboard_state
from dashboard.web.tracebacks import read_traceback

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy.orm import Session
    from werkzeug.wrappers import Response as AnyResponse

    from dashboard.history.queries import RunDetail
    from dashboard.storage.models import Run, RunLog, RunStep

blueprint = Blueprint("run", __name__)

RUN = f"/runs/<int(max={LARGEST_ID}):run_id>"

LOG_LINES = 500
"""Lines of the log shown at once; earlier ones on demand."""

_LEVELS = frozenset(queries.LogLevel)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, fit for a `<progress>` element."""

    done: float
    total: float | None  # None: nobody knows
    text: str

    @property
    def share(self) -> float | None:
        """From 0 to 1, whatever the task counted."""
        if not self.total or self.total < 0:
            return None
        return min(max(self.done / self.total, 0.0), 1.0)


@dataclass(frozen=True, slots=True)
class Step:
    """One named step as it is shown."""

    step: RunStep
    state: RunState
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Log:
    """A part of a run's log, and where it goes on."""

    run: Run
    lines: Sequence[RunLog]
    search: str
    least: queries.LogLevel | None
    earlier: int | None  # lines before this number are not shown
    last: int  # lines after this number are yet to come
    goes_on: bool
    partial_end: bool  # later lines exist that are not shown here

    @property
    def wanted(self) -> dict[str, str]:
        """What is asked of the lines, as it stands in an address."""
        asked = {"q": self.search, "level": self.least.value if self.least else ""}
        return {name: value for name, value in asked.items() if value}

    @property
    def words(self) -> str:
        """What is asked of the lines, after the word “line”; empty for all of them."""
        words = [f"of level {self.least} or above"] if self.least else []
        return " ".join([*words, *([f"with “{self.search}”"] if self.search else [])])


@blueprint.get(RUN)
@role(Role.VIEWER)
def show(run_id: int) -> Response:
    """Show one run."""
    with dashboard_state().database.read() as session:
        etag = live_etag(session)
        unchanged = not_modified(etag)
        if unchanged:
            return unchanged
        detail = queries.get_run(session, run_id)
        steps = queries.list_steps(session, run_id)
        attempts = _attempts(session, detail)
        # The log has a poll of its own, which fetches new lines only.
        lines = None if wants_partial() else _read_log(session, detail.run, request.args)
    return render(
        "run/page.html",
        partial="run/_run.html",
        etag=etag,
        log=lines,
        attempts=attempts,
        **_about(detail, steps),
    )


@blueprint.get(f"{RUN}/log")
@role(Role.VIEWER)
def log(run_id: int) -> AnyResponse:
    """Give lines of a run's log: all as a file, or those that a page does not show yet."""
    if request.args.get("download"):
        return _download(run_id)
    if not wants_partial():
        wanted: dict[str, Any] = {
            name: request.args[name] for name in ("q", "level", "before") if name in request.args
        }
        return redirect(url_for("dashboard.run.show", run_id=run_id, **wanted, _anchor="log"))
    with dashboard_state().database.read() as session:
        lines = _read_log(session, queries.get_run(session, run_id).run, request.args)
    if "after" in request.args:
        if lines.goes_on and not lines.lines and not lines.run.log_dropped:
            return Response(status=204)
        return render("run/_log_tail.html", log=lines)
    return render(
        "run/_log_earlier.html" if "before" in request.args else "run/_log.html", log=lines
    )


@blueprint.post(f"{RUN}/retry")
@role(Role.OPERATOR)
def retry(run_id: int) -> AnyResponse:
    """Run once more what a run was, and go to the new run."""
    with dashboard_state().change() as session:
        again = runs.retry_run(session, run_id, actor=current_actor())
        url = url_for("dashboard.run.show", run_id=again.id)
        message = f"Run {again.id} is queued: attempt {again.attempt} of run {run_id}."
        if again.id == run_id:
            message = f"Run {run_id} begins now."
    return done(url, message, leave=True)


@blueprint.get(f"{RUN}/cancel")
@role(Role.OPERATOR)
def ask_cancel(run_id: int) -> Response:
    """Ask on a page of its own whether to cancel a run."""
    with dashboard_state().database.read() as session:
        run = runs.get_run(session, run_id)
    return render("run/question.html", run=run, active=run.state in ACTIVE)


@blueprint.post(f"{RUN}/cancel")
@role(Role.OPERATOR)
def cancel(run_id: int) -> AnyResponse:
    """End a run that is queued or running."""
    with dashboard_state().change() as session:
        run = runs.cancel_run(session, run_id, actor=current_actor())
        asked = run.state is RunState.RUNNING
    message = f"Run {run_id} is asked to end." if asked else f"Run {run_id} is cancelled."
    return answer(url_for("dashboard.run.show", run_id=run_id), message)


def _attempts(session: Session, detail: RunDetail) -> list[queries.Attempt]:
    """Return the attempts that this run is one of; none where it is the only one there can be."""
    run = detail.run
    alone = run.attempt == 1 and run.state not in PROBLEMS
    found = [] if alone else queries.list_attempts(session, run)
    return found if len(found) > 1 else []


def _overrun(detail: RunDetail, now: datetime) -> float | None:
    """Return the timeout that a running run has exceeded, in seconds."""
    run, timeout = detail.run, detail.timeout
    if run.state is not RunState.RUNNING or run.started_at is None or timeout is None:
        return None
    return timeout if (now - run.started_at).total_seconds() > timeout else None


def _about(detail: RunDetail, steps: Sequence[RunStep]) -> dict[str, Any]:
    run, now = detail.run, datetime.now(UTC)
    active = run.state in ACTIVE
    usual = detail.usual_duration
    return {
        "detail": detail,
        "acts": has_role("operator") and run.job_id in reach_of([run.job_id]),
        "run": run,
        "active": active,
        "overrun": _overrun(detail, now),
        "delay": delay_of(run),
        "slow": is_slow(run.duration, usual, detail.long_duration),
        "times_usual": run.duration / usual if run.duration and usual else None,
        "steps": [_step(step, now, active=active) for step in steps],
        "progress": _progress(run),
        "parts": read_traceback(run.traceback) if run.traceback else [],
        "parameters": show_parameters(run),
        "same_error_cap": queries.SAME_ERROR_CAP,
        "most_coalesced": MOST_COALESCED,
    }


def _step(step: RunStep, now: datetime, *, active: bool) -> Step:
    """Return a step as it is shown: one that never ended was cut off with its run."""
    if step.state is RunState.RUNNING and not active:
        return Step(step, RunState.INTERRUPTED, None)
    end = step.finished_at or now
    return Step(step, step.state, max((end - step.started_at).total_seconds(), 0.0))


def _progress(run: Run) -> Progress | None:
    kept = run.progress
    return Progress(kept["done"], kept["total"], kept["text"]) if kept else None


def _read_log(session: Session, run: Run, args: Mapping[str, str]) -> Log:
    """Read the part of the log that an address asks for; without `after` or `before` its end."""
    search = args.get("q", "").strip()[:LONGEST_TEXT]
    if "\0" in search:
        raise Invalid.one("q", "No line of a log holds such characters.")
    level = args.get("level", "")
    least = queries.LogLevel(level) if level in _LEVELS else None
    after, before = _number(args, "after"), _number(args, "before")
    some = bool(search or least)
    limit = queries.LOG_PAGE if some or after is not None else LOG_LINES
    lines = queries.list_log(
        session,
        run.id,
        after=after,
        before=before,
        containing=search or None,
        least=least,
        limit=limit,
    )
    full = len(lines) == limit
    first = lines[0].seq if lines else 1
    more = full if some else first > 1
    return Log(
        run=run,
        lines=lines,
        search=search,
        least=least,
        earlier=first if more and after is None else None,
        last=lines[-1].seq if lines else after or 0,
        goes_on=before is None and (run.state in ACTIVE or (after is not None and full)),
        partial_end=before is not None,
    )


def _number(args: Mapping[str, str], name: str) -> int | None:
    """Return a line number of the address; anything that is none counts as missing."""
    text = args.get(name, "")
    return min(int(text), LARGEST_ID) if text.isascii() and text.isdigit() else None


def _download(run_id: int) -> Response:
    """Stream the whole log as text, in short reads: a slow client must not hold the database."""
    database = dashboard_state().database
    with database.read() as session:
        dropped = queries.get_run(session, run_id).run.log_dropped

    def pieces() -> Iterator[str]:
        after = 0
        while True:
            with database.read() as session:
                lines = queries.list_log(session, run_id, after=after)
            if not lines:
                break
            yield "".join(_as_text(line) for line in lines)
            after = lines[-1].seq
        if dropped:
            yield f"… {dropped:,} more lines were beyond the limit of one run and not kept.\n"

    headers = {"Content-Disposition": f'attachment; filename="run-{run_id}.log"'}
    return Response(pieces(), mimetype="text/plain", headers=headers)


def _as_text(line: RunLog) -> str:
    return f"{line.at:%Y-%m-%dT%H:%M:%S.%f}Z {line.level:<8} {line.logger}: {line.text}\n"

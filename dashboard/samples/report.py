"""A task that writes down how the last hours went, for people who read files and mail."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from pydantic import Field
from sqlalchemy import func, select

from dashboard.runcontext import current_run
from dashboard.samples.places import current_settings, folder_in_data, keep_newest, write_whole
from dashboard.storage.db import Database
from dashboard.storage.models import PROBLEMS, Run, RunState
from dashboard.tasks import task

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

MOST_ROWS = 20
_LINE_LENGTH = 200


@dataclass(frozen=True, slots=True)
class SlowRun:
    """One of the runs that took longest."""

    job: str
    run_id: int
    started_at: datetime | None
    seconds: float


@dataclass(frozen=True, slots=True)
class FailingJob:
    """A job with failures, and the newest of them."""

    job: str
    failures: int
    run_id: int
    error: str


@dataclass(frozen=True, slots=True)
class Report:
    """How a stretch of time went."""

    since: datetime
    until: datetime
    counts: dict[str, int]
    slowest: list[SlowRun]
    failing: list[FailingJob]

    @property
    def runs(self) -> int:
        """All runs that were queued in that time."""
        return sum(self.counts.values())


@task(name="dashboard.report")
def write_report(
    hours: Annotated[int, Field(description="How far to look back.", ge=1, le=744)] = 24,
    keep: Annotated[int, Field(description="Reports to keep.", ge=1, le=1000)] = 48,
) -> dict[str, object]:
    """Write a report of the last hours into the folder `reports` of the data folder.

    It counts runs by state and lists the failing jobs and the slowest runs, as a page of HTML and
    as plain text.
    """
    run = current_run()
    until = datetime.now(UTC)
    with (
        run.step("Read the history"),
        closing(Database(current_settings().database_url)) as database,
        database.read() as session,
    ):
        report = read_report(session, until - timedelta(hours=hours), until)
    with run.step("Write the files"):
        folder = folder_in_data("reports")
        stem = f"report-{until:%Y%m%d-%H%M%S}"
        for ending in ("html", "txt"):
            write_whole(folder / f"{stem}.{ending}", rendered(report, ending))
            keep_newest(folder, f"report-*.{ending}", keep)
    run.log(rendered(report, "txt"))
    return {
        "file": str(folder / f"{stem}.html"),
        "runs": report.runs,
        "failing jobs": len(report.failing),
    }


def read_report(session: Session, since: datetime, until: datetime) -> Report:
    """Read how the runs queued since then went; costs as much as there are runs in that time."""
    before = select(Run.id).where(Run.queued_at < since).order_by(Run.id.desc()).limit(1)
    first = session.scalar(before) or 0
    by_state = select(Run.state, func.count()).where(Run.id > first).group_by(Run.state)
    present = dict(session.execute(by_state).all())
    return Report(
        since=since,
        until=until,
        counts={state: present[state] for state in RunState if state in present},
        slowest=_slowest(session, first),
        failing=_failing(session, first),
    )


def _slowest(session: Session, first: int) -> list[SlowRun]:
    query = (
        select(Run.job_name, Run.id, Run.started_at, Run.duration)
        .where(Run.id > first, Run.duration.is_not(None))
        .order_by(Run.duration.desc(), Run.id)
        .limit(MOST_ROWS)
    )
    return [
        SlowRun(name, run_id, started_at, duration or 0.0)
        for name, run_id, started_at, duration in session.execute(query)
    ]


def _failing(session: Session, first: int) -> list[FailingJob]:
    newest = func.max(Run.id)
    query = (
        select(newest, func.count())
        .where(Run.id > first, Run.state.in_(PROBLEMS))
        .group_by(Run.job_id)
        .order_by(func.count().desc(), newest.desc())
        .limit(MOST_ROWS)
    )
    failures = dict(session.execute(query).all())
    runs = {run.id: run for run in session.scalars(select(Run).where(Run.id.in_(failures)))}
    return [
        FailingJob(runs[run_id].job_name, count, run_id, _error_line(runs[run_id]))
        for run_id, count in failures.items()
    ]


def _error_line(run: Run) -> str:
    text = ": ".join(part for part in (run.error_type, run.error_message) if part)
    line = " ".join((text or run.reason or run.state).split())
    return line if len(line) <= _LINE_LENGTH else f"{line[: _LINE_LENGTH - 1]}…"


def rendered(report: Report, ending: str) -> str:
    """Return the report as `html`, with everything from outside escaped, or as `txt`."""
    environment = Environment(
        loader=PackageLoader("dashboard.samples", "."),
        autoescape=select_autoescape(["html.jinja"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(f"report.{ending}.jinja").render(report=report)

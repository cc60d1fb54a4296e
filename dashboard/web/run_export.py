"""Runs as a file: all that a filter asks for, read and sent in parts, whatever there is of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request

from dashboard.errors import Invalid
from dashboard.history import queries
from dashboard.history.run_list import list_runs
from dashboard.storage.models import Role
from dashboard.tasks import shown_parameters
from dashboard.web.access import role
from dashboard.web.api.shapes import Run as RunShape
from dashboard.web.run_filter import read_run_filter
from dashboard.web.state import dashboard_state
from dashboard.web.tables import csv_line
from dashboard.web.zones import display_zone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dashboard.history.run_list import RunFilter
    from dashboard.storage.db import Database
    from dashboard.storage.models import Run, RunStep

blueprint = Blueprint("run_export", __name__)

SOME = 100
"""Runs in memory at a time; one may hold 200 KB."""

COLUMNS = (
    "id",
    "job_id",
    "job_name",
    "task",
    "origin",
    "attempt",
    "state",
    "reason",
    "scheduled_at",
    "queued_at",
    "started_at",
    "finished_at",
    "duration",
    "executor",
    "host",
    "requested_by",
    "coalesced",
    "coalesced_since",
    "coalesced_times",
    "error_type",
    "error_message",
    "fingerprint",
    "parameters",
    "result",
)
"""What a line of the CSV tells; moments are UTC, durations seconds."""


@blueprint.get("/runs/export")
@role(Role.VIEWER)
def export() -> Response:
    """Send the runs that the address asks for, the newest first, as CSV or JSON."""
    kind = request.args.get("format", "csv")
    if kind not in {"csv", "json"}:
        raise Invalid.one("format", "Choose one of: csv, json.")
    wanted = read_run_filter(request.args, zone=display_zone(), now=datetime.now(UTC))
    found = _parts(dashboard_state().database, wanted)
    name = f"runs-{datetime.now(UTC):%Y%m%d-%H%M%S}.{kind}"
    return Response(
        write_csv(found) if kind == "csv" else write_json(found),
        content_type=f"{'text/csv' if kind == 'csv' else 'application/json'}; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _parts(database: Database, wanted: RunFilter) -> Iterator[list[tuple[Run, list[RunStep]]]]:
    """Yield the runs in parts, each read by a short transaction of its own."""
    before: int | None = None
    while True:
        with database.read() as session:
            page = list_runs(session, wanted, before=before, limit=SOME)
            part = queries.get_runs(session, [run.id for run in page.runs])
        yield list(part)
        if page.older is None:
            return
        before = page.older


def write_csv(parts: Iterable[list[tuple[Run, list[RunStep]]]]) -> Iterator[str]:
    """Write runs as lines of CSV."""
    yield csv_line(COLUMNS)
    for part in parts:
        yield "".join(_line(run) for run, _steps in part)


def _line(run: Run) -> str:
    told = {name: getattr(run, name) for name in COLUMNS}
    told["parameters"] = shown_parameters(run.task, run.parameters)
    return csv_line([_cell(value) for value in told.values()])


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    if isinstance(value, list):
        return " ".join(_cell(each) for each in value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value


def write_json(parts: Iterable[list[tuple[Run, list[RunStep]]]]) -> Iterator[str]:
    """Write runs as one JSON document, each in the form that the API gives it."""
    yield '{"items":['
    separator = ""
    for part in parts:
        for run, steps in part:
            yield separator + RunShape.of(run, steps).model_dump_json()
            separator = ",\n"
    yield "]}\n"

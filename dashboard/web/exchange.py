"""Jobs as files: out, and in again by way of a page that first says what would happen."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, make_response, request, url_for

from dashboard.documents import LARGEST, UnusableFile, decoded
from dashboard.errors import FieldError, Invalid
from dashboard.history.jobsearch import JobSearch
from dashboard.scheduling import triggers
from dashboard.services.crontabs import Reading, account_name, read_crontab
from dashboard.services.imports import Action, StalePlan, carry_out, plan_import
from dashboard.services.jobfiles import KINDS, jobs_to_write, read_jobs, write_jobs
from dashboard.storage.models import Role
from dashboard.web.access import current_actor, role
from dashboard.web.editor import zone_names
from dashboard.web.filters import count
from dashboard.web.rendering import done, render
from dashboard.web.state import dashboard_state

if TYPE_CHECKING:
    from werkzeug.wrappers import Response as AnyResponse

    from dashboard.documents import FileProblem
    from dashboard.services.imports import Plan, Step
    from dashboard.services.jobfiles import JobFile

blueprint = Blueprint("exchange", __name__)

LARGEST_UPLOAD = 4_000_000
"""Bytes of a request with a file: the largest file, sent back with longer line ends."""

SOURCES = {
    "jobs": "Jobs, as an export writes them",
    "crontab": "A person's crontab (crontab -l)",
    "system": "A system's crontab (/etc/crontab, /etc/cron.d)",
}

SHOWN = 200
"""Jobs and problems listed of one kind; a page with ten thousand helps nobody."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What a person sent: a file, or text in the form's field."""

    content: bytes = b""
    name: str = ""
    kind: str = "jobs"
    timezone: str = ""
    leave_out: bool = False

    @classmethod
    def of_request(cls) -> Upload:
        """Read the form; a file that was chosen counts more than the text."""
        form, file = request.form, request.files.get("file")
        chosen = file is not None and bool(file.filename)
        text = form.get("text", "").replace("\r\n", "\n").encode(errors="surrogatepass")
        return cls(
            content=file.read() if file is not None and chosen else text,
            name=(file.filename or "") if file is not None and chosen else "",
            kind=form.get("kind", "jobs"),
            timezone=form.get("timezone", "").strip() or dashboard_state().settings.timezone,
            leave_out="leave_out" in form,
        )

    def read(self) -> JobFile:
        """Return the jobs; raises `UnusableFile`."""
        if not self.content.strip():
            raise UnusableFile.because("Choose a file, or paste its text.")
        if self.kind not in SOURCES:
            raise UnusableFile.because(f"Choose one of: {', '.join(SOURCES.values())}.")
        if self.kind == "jobs":
            return read_jobs(self.content)
        return read_crontab(
            self.content,
            Reading(self.timezone, account_name(), self.kind == "system", self.leave_out),
        )

    @property
    def text(self) -> str:
        """The text for the form's field, if it is text at all."""
        try:
            return decoded(self.content)
        except UnusableFile:
            return ""


@blueprint.get("/jobs/export")
@role(Role.VIEWER)
def export() -> Response:
    """Send the jobs that match a search, or those named by `id`, as a file."""
    query, ids = request.args.get("q", ""), request.args.getlist("id")
    return _download(query, ids, request.args.get("format", "yaml"))


@blueprint.post("/jobs/export")
@role(Role.OPERATOR, for_each=True)
def export_selected() -> Response:
    """Send the jobs that are selected in the list, or all that match, as a file."""
    form = request.form
    ids = [] if "all" in form else form.getlist("job")
    if not ids and "all" not in form:
        raise Invalid.one("job", "Choose at least one job.")
    return _download(form.get("q", ""), ids, "yaml")


def _download(query: str, ids: list[str], kind: str) -> Response:
    search = JobSearch.parse(query)
    if kind not in KINDS:
        raise Invalid.one("format", f"Choose one of: {', '.join(KINDS)}.")
    if search.complaints:
        raise Invalid(FieldError("q", complaint) for complaint in search.complaints)
    if search.removed:
        raise Invalid.one("q", "Removed jobs are in no file; bring them back first.")
    database = dashboard_state().database
    found = jobs_to_write(database, search=search, ids=ids)
    name = f"jobs-{datetime.now(UTC):%Y%m%d-%H%M%S}.{kind}"
    return Response(
        write_jobs(database, kind, found),
        content_type=f"{KINDS[kind]}; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@blueprint.get("/jobs/import")
@role(Role.ADMIN)
def ask() -> Response:
    """Ask for a file."""
    return _page(Upload(timezone=dashboard_state().settings.timezone))


@blueprint.post("/jobs/import")
@role(Role.ADMIN)
def preview() -> Response:
    """Say what importing a file would do; nothing is done."""
    upload = Upload.of_request()
    try:
        file = upload.read()
    except UnusableFile as error:
        return _page(upload, problems=error.problems)
    return _plan_page(upload, file)


@blueprint.post("/jobs/import/confirm")
@role(Role.ADMIN)
def confirm() -> AnyResponse:
    """Import a file whose plan the person has seen, if it is still what would happen."""
    state, upload = dashboard_state(), Upload.of_request()
    try:
        file = upload.read()
        with state.database.read() as session:
            plan = plan_import(session, file, settings=state.settings)
        with state.change() as session:
            carry_out(
                session,
                plan,
                actor=current_actor(),
                settings=state.settings,
                digest=request.form.get("digest", ""),
            )
    except UnusableFile as error:
        return _page(upload, problems=error.problems)
    except StalePlan as error:
        return _plan_page(upload, file, stale=str(error))
    return done(url_for("dashboard.jobs.index"), f"Imported: {summary(plan)}.", leave=True)


def summary(plan: Plan) -> str:
    """Count what a plan does, in a few words."""
    words = {
        Action.ADD: "{} added",
        Action.CHANGE: "{} changed",
        Action.KEEP: "{} left as they are",
        Action.LEAVE_OUT: "{} left out",
    }
    counted = {action: len(plan.of(action)) for action in words}
    parts = [words[action].format(f"{number:,}") for action, number in counted.items() if number]
    return ", ".join(parts) or "nothing in it"


@dataclass(frozen=True, slots=True)
class Shown:
    """One kind of thing that would happen, and the first of the jobs it would happen to."""

    title: str
    action: Action
    steps: list[Step]
    more: int


def _plan_page(upload: Upload, file: JobFile, *, stale: str = "") -> Response:
    state = dashboard_state()
    with state.database.read() as session:
        plan = plan_import(session, file, settings=state.settings)
    return _page(upload, problems=plan.problems, plan=plan, stale=stale)


def _page(
    upload: Upload,
    *,
    problems: list[FileProblem] | None = None,
    plan: Plan | None = None,
    stale: str = "",
) -> Response:
    problems = problems or []
    response = make_response(
        render(
            "exchange/import.html",
            upload=upload,
            largest=LARGEST,
            sources=SOURCES,
            zones=zone_names(),
            problems=problems[:SHOWN],
            more_problems=max(0, len(problems) - SHOWN),
            plan=plan,
            parts=_parts(plan) if plan else [],
            stale=stale,
            in_words=in_words,
            schedule_of=schedule_of,
        )
    )
    if problems:
        response.status_code = UnusableFile.status
    elif stale:
        response.status_code = StalePlan.status
    return response


def _parts(plan: Plan) -> list[Shown]:
    titles = {
        Action.ADD: ("will be added", "will be added"),
        Action.CHANGE: ("will be changed", "will be changed"),
        Action.KEEP: ("is as the file wants it", "are as the file wants them"),
        Action.LEAVE_OUT: ("is finished and left out", "are finished and left out"),
    }
    parts = []
    for action, (one, many) in titles.items():
        steps = plan.of(action)
        title = f"{count(len(steps), 'job')} {one if len(steps) == 1 else many}"
        if steps:
            parts.append(Shown(title, action, steps[:SHOWN], max(0, len(steps) - SHOWN)))
    return parts


def schedule_of(step: Step) -> str:
    """Say in a sentence when a job that would be added runs."""
    zone = dashboard_state().settings.timezone
    schedule = triggers.load(step.wanted.data["trigger"], timezone=zone)
    return f"{schedule.sentence} ({schedule.timezone})"


def in_words(value: Any) -> str:
    """Write one side of a difference for people."""
    if value is None or value in ("", [], {}):
        return "(empty)"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)

"""The form for a new job and for changing one, with a preview of its trigger beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from zoneinfo import available_timezones

from flask import Blueprint, request, url_for

from dashboard.errors import DuplicateId, FieldError, Invalid, StaleEdit
from dashboard.services import jobs
from dashboard.services.jobdata import check_change, check_new, id_from_name
from dashboard.storage.models import ID_LENGTH, Role
from dashboard.tasks import shown_parameters
from dashboard.web import optionforms, triggerforms
from dashboard.web.access import current_actor, may, role
from dashboard.web.changes import changed_keys, differences, meanwhile, merged
from dashboard.web.forms import (
    JobForm,
    Texts,
    all_faults,
    completed,
    job_data,
    job_texts,
    new_texts,
    posted_texts,
    with_defaults,
)
from dashboard.web.outlook import outlook
from dashboard.web.rendering import done, render
from dashboard.web.secretfields import without_kept
from dashboard.web.state import dashboard_state
from dashboard.web.zones import viewer_zone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flask import Response
    from werkzeug.wrappers import Response as AnyResponse

    from dashboard.storage.models import Job
    from dashboard.web.changes import Difference

blueprint = Blueprint("editor", __name__)


COPY = " (copy)"


@dataclass(frozen=True, slots=True)
class Opened:
    """What a form showed when it was opened; it carries both with it until it is saved.

    Only opening the form anew makes them new. Otherwise an error shown in between would make a
    stale edit a fresh one, and somebody else's change would be lost.
    """

    version: int
    texts: Texts

    @property
    def as_json(self) -> str:
        """The texts for a hidden field."""
        return json.dumps(self.texts, ensure_ascii=False)


@blueprint.get("/jobs/new")
@role(Role.ADMIN, for_each=True)
def new() -> Response:
    """Show the form for a new job; `?task=` chooses its task already, `?clone=` copies a job."""
    if clone := request.args.get("clone"):
        return _answer(_form(_cloned(clone), None))
    texts = new_texts(dashboard_state().settings) | {"task": request.args.get("task", "")}
    return _answer(_form(with_defaults(texts), None))


@blueprint.post("/jobs/new")
@role(Role.ADMIN, for_each=True)
def create() -> AnyResponse:
    """Add the job, or show the form again with what is wrong."""
    state = dashboard_state()
    texts = _typed(None)
    data, faults = job_data(texts)
    try:
        _raise_all(faults, lambda: check_new(data, state.settings, datetime.now(UTC)))
        with state.change() as session:
            job = jobs.create_job(session, data, actor=current_actor(), settings=state.settings)
    except Invalid as error:
        return _answer(_form(texts, None, error.errors), status=error.status)
    except DuplicateId as error:
        taken = FieldError("id", str(error))
        return _answer(_form(texts, None, [taken]), status=error.status)
    return done(_job_url(job.id), f"Created “{job.name}”.", leave=True)


@blueprint.get("/jobs/<job_id>/edit")
@role(Role.OPERATOR)
def edit(job_id: str) -> Response:
    """Show the form with a job as it is; operators see its trigger only."""
    job = _job(job_id)
    texts = job_texts(job)
    return _answer(_form(texts, job), job=job, opened=Opened(job.version, texts))


@blueprint.post("/jobs/<job_id>/edit")
@role(Role.OPERATOR)
def change(job_id: str) -> AnyResponse:
    """Save what was changed in the form, and nothing else."""
    state, job = dashboard_state(), _job(job_id)
    opened = _opened(job)
    texts = completed(posted_texts(request.form), opened.texts)
    keys = changed_keys(opened.texts, texts)
    if not keys:
        return done(_job_url(job.id), "Nothing was changed.", kind="info", leave=True)
    data, faults = job_data(texts, keys)
    try:
        _raise_all(faults, lambda: check_change(job, data, state.settings, datetime.now(UTC)))
        with state.change() as session:
            changed = jobs.change_job(
                session,
                job_id,
                data,
                version=opened.version,
                actor=current_actor(),
                settings=state.settings,
            )
    except Invalid as error:
        form = _form(texts, job, error.errors)
        return _answer(form, status=error.status, job=job, opened=opened)
    except StaleEdit:
        return _stale(job_id, opened.texts, texts)
    return done(_job_url(job.id), f"Saved “{changed.name}”.", leave=True)


@blueprint.post("/jobs/new/fields")
@blueprint.post("/jobs/<job_id>/edit/fields")
@role(Role.OPERATOR, for_each=True)
def fields(job_id: str | None = None) -> Response:
    """Show the fields of the task and the trigger chosen, keeping what was typed elsewhere."""
    job = None if job_id is None else _job(job_id)
    texts, focus = _typed(job), ""
    for whole in triggerforms.editor(texts).editors():
        if whole.is_combination and whole.path == request.form.get("add"):
            texts = triggerforms.with_child(texts, whole.path)
            focus = triggerforms.editor(texts, whole.path).children[-1].choice.name
    if path := request.form.get("remove"):
        texts = triggerforms.without_child(texts, path)
        focus = f"{path.rpartition('.triggers.')[0]}.add"
    form = replace(_form(with_defaults(texts), job), focus=focus)
    response = _answer(form, job=job, opened=None if job is None else _opened(job))
    response.headers["HX-Trigger"] = "preview-due"  # once the new fields are in the page
    return response


@blueprint.post("/jobs/new/preview")
@blueprint.post("/jobs/<job_id>/edit/preview")
@role(Role.VIEWER)
def preview(job_id: str | None = None) -> Response:
    """Say what the trigger in the form would do, and what saving would change."""
    job = None if job_id is None else _job(job_id)
    form = _form(_typed(job), job)
    opened = None if job is None else _opened(job)
    return _answer(form, partial="editor/_preview.html", job=job, opened=opened)


def _job(job_id: str) -> Job:
    with dashboard_state().database.read() as session:
        return jobs.get_job(session, job_id)


def _cloned(job_id: str) -> Texts:
    """Return the texts of a new job that is like another, under a name and an id of its own."""
    with dashboard_state().database.read() as session:
        job = jobs.get_job(session, job_id)
        name = f"{job.name[: ID_LENGTH - len(COPY)]}{COPY}"
        new_id = jobs.free_id(session, id_from_name(name))
    return with_defaults(without_kept(job_texts(job)) | {"name": name, "id": new_id})


def _job_url(job_id: str) -> str:
    return url_for("dashboard.job.show", job_id=job_id)


def _form(texts: Texts, job: Job | None, faults: Iterable[FieldError] = ()) -> JobForm:
    """Return the form for a new job, or for one that exists as far as the person may change it."""
    settings = dashboard_state().settings
    return JobForm(
        texts,
        is_new=job is None,
        faults=tuple(faults),
        trigger_only=job is not None and not may(Role.ADMIN, job.tags),
        search=request.form.get("search", ""),
        executors=settings.executors,
        usual=optionforms.new_texts(settings),
    )


def _typed(job: Job | None) -> Texts:
    """Return what the form holds while it is being filled in."""
    known = new_texts(dashboard_state().settings) if job is None else job_texts(job)
    return completed(posted_texts(request.form), known)


def _opened(job: Job) -> Opened:
    """Return what the form that was sent says of its opening; if it does not, that it was now."""
    version = request.form.get("version", 0, type=int)
    try:
        kept = json.loads(request.form.get("base", ""))
    except (ValueError, RecursionError):
        kept = None
    readable = isinstance(kept, dict) and all(isinstance(text, str) for text in kept.values())
    trusted = readable and version != job.version
    return Opened(version, kept if trusted else job_texts(job))


def _stale(job_id: str, base: Texts, mine: Texts) -> Response:
    """Show what somebody else changed, and the form with mine put over it, ready to be saved."""
    job = _job(job_id)
    now = Opened(job.version, job_texts(job))
    form = _form(merged(base, now.texts, mine), job)
    stale = meanwhile(base, now.texts, mine)
    return _answer(form, status=StaleEdit.status, job=job, opened=now, stale=stale)


def _raise_all(faults: list[FieldError], check: Callable[[], object]) -> None:
    """Raise the form's own faults, if there are any, together with those that `check` finds."""
    if not faults:
        return
    try:
        check()
    except Invalid as invalid:
        faults = all_faults(faults, invalid.errors)
    raise Invalid(faults)


def _answer(
    form: JobForm,
    *,
    partial: str = "editor/_form.html",
    status: int = 200,
    job: Job | None = None,
    opened: Opened | None = None,
    stale: list[Difference] | None = None,
) -> Response:
    """Draw the form with what its trigger would do."""
    state = dashboard_state()
    with state.database.read() as session:
        ahead = outlook(
            session,
            form,
            settings=state.settings,
            viewer_zone=str(viewer_zone() or ""),
            job_id=job.id if job else "",
        )
    response = render(
        "editor/edit.html",
        partial=partial,
        form=form,
        job=job,
        kept_parameters=_kept_parameters(job) if job else "",
        opened=opened,
        stale=stale,
        changes=[] if opened is None else differences(opened.texts, form.texts),
        outlook=ahead,
        zones=zone_names(),
        **_urls(job),
    )
    response.status_code = status
    return response


def _kept_parameters(job: Job) -> str:
    shown = shown_parameters(job.task, job.parameters)
    return json.dumps(shown, ensure_ascii=False, indent=2)


def _urls(job: Job | None) -> dict[str, str]:
    """Return where the form goes: to be saved, for other fields, for its preview."""
    names: dict[str, Any] = {} if job is None else {"job_id": job.id}
    save = "create" if job is None else "change"
    ways = {"save_url": save, "fields_url": "fields", "preview_url": "preview"}
    return {key: url_for(f"dashboard.editor.{view}", **names) for key, view in ways.items()}


@cache
def zone_names() -> tuple[str, ...]:
    """Return the names of time zones that are offered: `Area/City` and UTC, none of the aliases."""
    return ("UTC", *sorted(name for name in available_timezones() if _is_place(name)))


def _is_place(name: str) -> bool:
    return "/" in name and not name.startswith(("Etc/", "SystemV/", "US/", "posix/", "right/"))

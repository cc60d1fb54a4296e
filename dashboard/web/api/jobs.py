"""`/jobs`: jobs, and what is done to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from flask import Blueprint, url_for
from pydantic import AwareDatetime, ConfigDict, Field
from pydantic.functional_validators import AfterValidator

from dashboard.errors import FieldError, Invalid, JobNotFound
from dashboard.history import queries
from dashboard.history.joblist import is_cursor, list_jobs
from dashboard.history.jobsearch import STATES, JobSearch
from dashboard.services import joboptions, jobs
from dashboard.settings import EXECUTOR_NAME
from dashboard.storage.models import ID_LENGTH, RETRY_WAIT, Role
from dashboard.tasks import LONGEST_TIMEOUT, MOST_RETRIES
from dashboard.texts import is_storable
from dashboard.web.access import current_actor, role
from dashboard.web.api.operations import Made, Streamed, operation
from dashboard.web.api.runs import RunQuery, list_page, run_location
from dashboard.web.api.shapes import (
    SOME,
    Asked,
    Cursor,
    Job,
    JobList,
    Limit,
    Parameters,
    Run,
    RunList,
    without_defaults,
)
from dashboard.web.api.triggershapes import Trigger
from dashboard.web.state import dashboard_state

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

blueprint = Blueprint("jobs", __name__)


def _known_state(word: str) -> str:
    if word not in STATES:
        raise ValueError(f"There is no state “{word[:50]}”. There are: {', '.join(STATES)}.")
    return word


class JobQuery(Asked):
    """Which jobs are wanted; everything given must hold."""

    q: Annotated[
        str,
        Field(max_length=1000, description="As on the page: `state:failing task:report nightly`."),
    ] = ""
    state: Annotated[
        list[
            Annotated[
                str, AfterValidator(_known_state), Field(json_schema_extra={"enum": list(STATES)})
            ]
        ],
        Field(description="States and healths, all of which must hold.", default_factory=list),
    ]
    tag: Annotated[
        list[Annotated[str, Field(min_length=1)]],
        Field(description="Tags, all of which it must have.", default_factory=list),
    ]
    limit: Limit = SOME
    after: Cursor = None


class _Options(Asked):
    """What may be said of a new job and of one that is changed; what is left out stays."""

    executor: Annotated[str, Field(json_schema_extra={"pattern": f"^({EXECUTOR_NAME})$"})] = ""
    coalesce: bool = True
    max_instances: Annotated[int, Field(ge=1, le=joboptions.MAX_INSTANCES)] = 1
    misfire_grace_time: Annotated[
        int | None,
        Field(ge=1, le=joboptions.MAX_GRACE, description="Seconds; null: never too late."),
    ] = None
    slow_after: Annotated[
        float | None,
        Field(
            gt=0,
            le=LONGEST_TIMEOUT,
            description="Seconds from which a run is running unusually long; null: 3 times what is"
            " usual.",
        ),
    ] = None
    timeout: Annotated[
        float | None,
        Field(gt=0, le=LONGEST_TIMEOUT, description="Seconds a run may take; null: no limit."),
    ] = None
    retries: Annotated[
        int, Field(ge=0, le=MOST_RETRIES, description="Attempts after one that failed.")
    ] = 0
    retry_wait: Annotated[
        int,
        Field(
            ge=1,
            le=joboptions.MAX_RETRY_WAIT,
            description="Seconds before the first retry; each further wait is twice as long.",
        ),
    ] = RETRY_WAIT
    max_runs: Annotated[
        int | None,
        Field(
            ge=1, le=joboptions.MAX_RUNS, description="Scheduled runs after which it is finished."
        ),
    ] = None
    stop_on_success: bool = False
    stop_on_failure: bool = False
    end_at: Annotated[
        AwareDatetime | None, Field(description="The last moment at which it may fire.")
    ] = None
    owner: Annotated[str, Field(max_length=ID_LENGTH)] = ""
    runbook: Annotated[
        str, Field(max_length=joboptions.RUNBOOK_LENGTH, description="A web address.")
    ] = ""
    tags: Annotated[
        list[Annotated[str, Field(max_length=joboptions.TAG_LENGTH)]],
        Field(max_length=joboptions.TAGS, default_factory=list),
    ]
    notes: Annotated[str, Field(max_length=joboptions.NOTES_LENGTH)] = ""


class JobToAdd(_Options):
    """A new job. Without an id it gets one made from its name, without a name its task's."""

    task: Annotated[str, Field(min_length=1)]
    trigger: Trigger
    parameters: Annotated[dict[str, Any], Field(default_factory=dict)]
    id: Annotated[str | None, Field(min_length=1, max_length=ID_LENGTH)] = None
    name: Annotated[str | None, Field(min_length=1, max_length=ID_LENGTH)] = None


class JobChange(_Options):
    """The fields to change, and the version that was looked at when deciding so."""

    model_config = ConfigDict(json_schema_extra=without_defaults)

    version: Annotated[int, Field(ge=1)]
    name: Annotated[str, Field(min_length=1, max_length=ID_LENGTH)] = ""
    task: Annotated[str, Field(min_length=1)] = ""
    parameters: Annotated[Parameters, Field(default_factory=dict)]
    trigger: Trigger | None = None


class RunToStart(Asked):
    """How to run a job now."""

    parameters: Annotated[
        dict[str, Any] | None, Field(description="For this run, instead of the job's own.")
    ] = None


class Pause(Asked):
    """Why a job is paused, and until when."""

    reason: Annotated[str | None, Field(max_length=2000)] = None
    until: Annotated[
        AwareDatetime | None, Field(description="When it resumes by itself; null: it does not.")
    ] = None


@blueprint.get("/jobs")
@role(Role.VIEWER)
@operation("List jobs", answer=JobList, query=JobQuery)
def index(session: Session, query: JobQuery) -> JobList:
    """List the jobs that match, by name."""
    search = JobSearch.parse(query.q)
    errors = [FieldError("q", complaint) for complaint in search.complaints]
    if query.after is not None and not is_cursor(query.after):
        errors.append(FieldError("after", "This leads to no page of the list."))
    if errors:
        raise Invalid(errors)
    search = search.narrowed(states=query.state, tags=query.tag)
    page = list_jobs(session, search, after=query.after, limit=query.limit, count=False)
    found = queries.get_jobs(session, [job.id for job in page.jobs])
    return JobList(items=[Job.of(detail) for detail in found], next=page.after)


@blueprint.post("/jobs")
@role(Role.ADMIN, for_each=True)
@operation("Add a job", answer=Job, body=JobToAdd, status=201, changes=True, conflicts=True)
def add(session: Session, body: JobToAdd) -> Made:
    """Add a job. It fires from now on as its trigger says."""
    settings = dashboard_state().settings
    job = jobs.create_job(session, _given(body), actor=current_actor(), settings=settings)
    return Made(_job(session, job.id), url_for("dashboard.api.jobs.show", job_id=job.id))


@blueprint.get("/jobs/<job_id>")
@role(Role.VIEWER)
@operation("Get a job", answer=Job)
def show(session: Session, job_id: str) -> Job:
    """Tell everything about one job."""
    return _job(session, job_id)


@blueprint.patch("/jobs/<job_id>")
@role(Role.OPERATOR)
@operation("Change a job", answer=Job, body=JobChange, changes=True, conflicts=True)
def change(session: Session, job_id: str, body: JobChange) -> Job:
    """Change the fields given, if the job still has the version named; else 409.

    A paused job stays paused. Operators may change the trigger, admins everything.
    """
    jobs.change_job(
        session,
        job_id,
        _given(body, leave_out={"version"}),
        version=body.version,
        actor=current_actor(),
        settings=dashboard_state().settings,
    )
    return _job(session, job_id)


@blueprint.delete("/jobs/<job_id>")
@role(Role.ADMIN)
@operation("Remove a job", answer=None, status=204, changes=True)
def remove(session: Session, job_id: str) -> None:
    """Remove a job. Its runs stay; what was queued of it is cancelled."""
    jobs.remove_job(session, job_id, actor=current_actor())


@blueprint.post("/jobs/<job_id>/run")
@role(Role.OPERATOR)
@operation("Run a job now", answer=Run, body=RunToStart, status=202, changes=True, conflicts=True)
def run(session: Session, job_id: str, body: RunToStart) -> Made:
    """Queue one run. The schedule does not change."""
    queued = jobs.run_now(
        session,
        job_id,
        parameters=body.parameters,
        actor=current_actor(),
        vault=dashboard_state().settings.vault,
    )
    return Made(Run.of(queued, []), run_location(queued.id))


@blueprint.post("/jobs/<job_id>/pause")
@role(Role.OPERATOR)
@operation("Pause a job", answer=Job, body=Pause, changes=True)
def pause(session: Session, job_id: str, body: Pause) -> Job:
    """Keep a job from firing. Pausing a paused job changes nothing but `until`, where given."""
    who = current_actor()
    jobs.pause_job(session, job_id, reason=body.reason, until=body.until, actor=who)
    return _job(session, job_id)


@blueprint.post("/jobs/<job_id>/resume")
@role(Role.OPERATOR)
@operation("Resume a job", answer=Job, changes=True)
def resume(session: Session, job_id: str) -> Job:
    """Let a paused job fire again. Fire times that passed meanwhile are not made up for."""
    jobs.resume_job(session, job_id, actor=current_actor())
    return _job(session, job_id)


@blueprint.get("/jobs/<job_id>/runs")
@role(Role.VIEWER)
@operation("List the runs of a job", answer=RunList, query=RunQuery)
def list_runs(session: Session, job_id: str, query: RunQuery) -> RunList | Streamed:
    """List the runs of one job, the newest first; of a removed job too, as long as they are kept.

    A filter that no index answers looks at a bounded number of runs at a time, so a page may hold
    fewer than asked for though there are more; `next` goes on from there.
    """
    known = is_storable(job_id) and queries.is_known(session, job_id)
    if not known:
        raise JobNotFound(job_id)
    return list_page(session, query, job_id=job_id)


def _job(session: Session, job_id: str) -> Job:
    session.flush()
    return Job.of(queries.get_job(session, job_id))


def _given(body: Asked, *, leave_out: set[str] | None = None) -> dict[str, Any]:
    """Return the fields that were sent, as they were sent."""
    return body.model_dump(exclude_unset=True, exclude=leave_out)

"""What jobs and runs look like to programs, and the lists they come in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from dashboard.history.verdicts import job_health
from dashboard.services.jobs import job_state
from dashboard.storage.models import MOST_COALESCED, Health, JobState, Origin, RunState
from dashboard.tasks import shown_parameters
from dashboard.vault import MASK

if TYPE_CHECKING:
    from dashboard.history.queries import JobDetail
    from dashboard.storage.models import JobHealth, RunStep
    from dashboard.storage.models import Run as RunRow

SOME = 50
MOST = 500

Limit = Annotated[int, Field(ge=1, le=MOST, description="How many, at most.")]
Cursor = Annotated[
    str | None,
    Field(max_length=1000, description="The `next` of the page before; without it, the first."),
]
Parameters = Annotated[
    dict[str, Any],
    Field(description=f"Secrets among them are told as “{MASK}”; sent, it keeps the present one."),
]
Next = Annotated[
    str | None, Field(description="Give it as `after` for the next page; null: this is the last.")
]


def _without_stand_ins(schema: dict[str, Any]) -> None:
    """Leave out defaults that only say that a field was not sent."""
    for field in schema.get("properties", {}).values():
        if field.get("default", "") in (None, ""):
            field.pop("default", None)


def without_defaults(schema: dict[str, Any]) -> None:
    """Leave out all defaults, of a change: there, what is not sent stays as it is."""
    for field in schema.get("properties", {}).values():
        field.pop("default", None)


class Asked(BaseModel):
    """What a program sends: nothing but what is declared."""

    model_config = ConfigDict(
        extra="forbid", allow_inf_nan=False, json_schema_extra=_without_stand_ins
    )


class Nothing(Asked):
    """No parameters at all."""


class LastRun(BaseModel):
    """How the newest finished run of a job went."""

    id: int
    state: RunState
    scheduled_at: AwareDatetime | None
    finished_at: AwareDatetime | None
    duration_seconds: float | None


class Job(BaseModel):
    """A task, its parameters and a trigger."""

    id: str
    name: str
    task: str
    parameters: Parameters
    trigger: Annotated[dict[str, Any], Field(description="In its normal form; see Trigger.")]
    timezone: Annotated[str, Field(description="The zone in force, named by the trigger or not.")]
    executor: str
    coalesce: bool
    max_instances: int
    misfire_grace_time: Annotated[int | None, Field(description="Seconds; null: never too late.")]
    slow_after: Annotated[
        float | None, Field(description="Seconds from which a run is running unusually long.")
    ]
    timeout: Annotated[float | None, Field(description="Seconds; null: no limit.")]
    retries: int
    retry_wait: Annotated[int, Field(description="Seconds before the first retry.")]
    max_runs: int | None
    stop_on_success: bool
    stop_on_failure: bool
    end_at: AwareDatetime | None
    tags: list[str]
    notes: str
    owner: str
    runbook: str
    state: JobState
    health: Health
    next_run_time: AwareDatetime | None
    paused_at: AwareDatetime | None
    paused_by: str | None
    paused_reason: str | None
    resume_at: AwareDatetime | None
    broken_reason: str | None
    finished_reason: str | None
    last_run: LastRun | None
    consecutive_failures: int
    failing_since: AwareDatetime | None
    version: Annotated[int, Field(description="Rises with every change; a PATCH names it.")]
    created_at: AwareDatetime
    created_by: str
    updated_at: AwareDatetime
    updated_by: str

    @classmethod
    def of(cls, detail: JobDetail) -> Job:
        """Return a job as programs see it."""
        job, health = detail.job, detail.health
        columns = {name: getattr(job, name) for name in cls.model_fields if hasattr(job, name)}
        columns["parameters"] = shown_parameters(job.task, job.parameters)
        return cls.model_construct(
            **columns,
            state=job_state(job, running=detail.running),
            health=job_health(job, health, datetime.now(UTC)),
            last_run=_last_run(health),
            consecutive_failures=health.consecutive_failures if health else 0,
            failing_since=health.failing_since if health else None,
        )


class RunError(BaseModel):
    """Why a run failed."""

    type: str
    message: str | None
    traceback: str | None
    fingerprint: Annotated[str | None, Field(description="The same for the same error elsewhere.")]


class Progress(BaseModel):
    """How far a run is: `done` of `total`, which may not be known."""

    done: float
    total: float | None
    text: str


class Step(BaseModel):
    """One named step of a run."""

    name: str
    state: RunState
    started_at: AwareDatetime
    finished_at: AwareDatetime | None
    error: str | None


class Run(BaseModel):
    """One firing of a job."""

    id: int
    job_id: str
    job_name: str
    task: str
    parameters: Parameters
    origin: Origin
    attempt: int
    state: RunState
    reason: Annotated[str | None, Field(description="Why missed, skipped, interrupted, cancelled.")]
    scheduled_at: AwareDatetime
    coalesced: Annotated[
        int,
        Field(description=f"Earlier fire times it stands for; {MOST_COALESCED}: or more."),
    ]
    coalesced_times: Annotated[list[AwareDatetime], Field(description="Each of them.")]
    queued_at: AwareDatetime
    not_before: Annotated[
        AwareDatetime | None, Field(description="A queued retry waits for this moment.")
    ]
    started_at: AwareDatetime | None
    finished_at: AwareDatetime | None
    duration_seconds: float | None
    executor: str
    host: str | None
    requested_by: str | None
    result: str | None
    error: RunError | None
    progress: Progress | None
    steps: list[Step]

    @classmethod
    def of(cls, run: RunRow, steps: list[RunStep]) -> Run:
        """Return a run as programs see it."""
        columns = {name: getattr(run, name) for name in cls.model_fields if hasattr(run, name)}
        return cls.model_construct(
            **columns
            | {
                "parameters": shown_parameters(run.task, run.parameters),
                "coalesced_times": run.coalesced_times or [],
                "duration_seconds": run.duration,
                "error": _error(run),
                "progress": Progress(**run.progress) if run.progress else None,
                "steps": [_step(step) for step in steps],
            }
        )


class JobList(BaseModel):
    """Some jobs, by name."""

    items: list[Job]
    next: Next


class RunList(BaseModel):
    """Some runs, the newest first.

    A page may hold fewer than asked for though there are more: a filter that no index answers looks
    at a bounded number of runs at a time. `next` goes on from there.
    """

    items: list[Run]
    next: Next


class LogLine(BaseModel):
    """One line that a run printed or logged."""

    seq: int
    at: AwareDatetime
    level: str
    logger: str
    text: str


class Log(BaseModel):
    """Lines of a run's log, in their order."""

    items: list[LogLine]
    next: Annotated[
        int | None,
        Field(description="Give it as `after` for what follows; null: there will be no more."),
    ]
    dropped: Annotated[int, Field(description="Lines beyond the limit of one run, not kept.")]


def _last_run(health: JobHealth | None) -> LastRun | None:
    if health is None or health.last_run_id is None or health.last_state is None:
        return None
    newest = next((run for run in health.recent if run[0] == health.last_run_id), None)
    _id, _state, seconds, scheduled_at = newest or (None, None, None, None)
    return LastRun(
        id=health.last_run_id,
        state=health.last_state,
        scheduled_at=datetime.fromisoformat(scheduled_at) if scheduled_at else None,
        finished_at=health.last_finished_at,
        duration_seconds=seconds,
    )


def _error(run: RunRow) -> RunError | None:
    if run.error_type is None:
        return None
    return RunError(
        type=run.error_type,
        message=run.error_message,
        traceback=run.traceback,
        fingerprint=run.fingerprint,
    )


def _step(step: RunStep) -> Step:
    return Step(
        name=step.name,
        state=step.state,
        started_at=step.started_at,
        finished_at=step.finished_at,
        error=step.error,
    )

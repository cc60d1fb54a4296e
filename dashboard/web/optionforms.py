"""The options of a job in its form: those that have good defaults, folded away in groups."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dashboard.scheduling.wallclock import zone_named
from dashboard.storage.models import RETRY_WAIT as USUAL_WAIT
from dashboard.web.formfields import Field

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dashboard.settings import Settings
    from dashboard.storage.models import Job
    from dashboard.tasks import Task

FLAGS = ("coalesce", "stop_on_success", "stop_on_failure")

EXECUTOR = Field(
    "executor",
    "Executor",
    "select",
    "Where its runs go. Threads share the dashboard's process: right for tasks that wait for"
    " network or disk. Processes are for tasks that compute: they cannot slow the others down."
    " Celery sends them to workers, which may be other machines.",
)
COALESCE = Field(
    "coalesce",
    "Coalesce",
    "checkbox",
    "When several fire times have piled up, after downtime say, they become one run. Otherwise"
    " each of them gets a run of its own.",
)
MAX_INSTANCES = Field(
    "max_instances",
    "Max instances",
    "integer",
    "So many runs of this job may be queued or running at once. A fire time beyond that is"
    " recorded as skipped, and nothing runs for it.",
    required=True,
)
MISFIRE_GRACE_TIME = Field(
    "misfire_grace_time",
    "Misfire grace time",
    "integer",
    "A run that could not begin within so many seconds of its fire time is recorded as missed."
    " Empty: it runs however late it is.",
)
SLOW_AFTER = Field(
    "slow_after",
    "Unusually long after",
    "number",
    "A run that has been running for more seconds than this is on Now, and alerts tell of it. It"
    " goes on. Empty: 3 times what is usual, if that is longer than nearly all runs.",
)
TIMEOUT = Field(
    "timeout",
    "Timeout",
    "number",
    "A run that takes more seconds than this has failed. A worker process is killed then, with all"
    " that it has started; a thread cannot be, so its task is asked to end and goes on until it"
    " does. Empty: no limit.",
)
RETRIES = Field(
    "retries",
    "Retries",
    "integer",
    "A run that failed or was interrupted is tried again so many times before the job counts as"
    " failing. Empty or 0: never.",
)
RETRY_WAIT = Field(
    "retry_wait",
    "First wait",
    "integer",
    "Seconds before the first retry. Each further wait is twice as long, up to an hour.",
)
MAX_RUNS = Field(
    "max_runs",
    "Finish after runs",
    "integer",
    "After so many scheduled runs it fires no more. Runs by hand and retries are not counted, nor"
    " is what was missed or skipped. Empty: it goes on.",
)
STOP_ON_SUCCESS = Field(
    "stop_on_success",
    "Finish after the first success",
    "checkbox",
    "It fires until a run succeeds, and what is queued of it then is cancelled.",
)
STOP_ON_FAILURE = Field(
    "stop_on_failure",
    "Finish after the first failure",
    "checkbox",
    "It fires until a run fails, with its last retry if it has any.",
)
END_AT = Field(
    "end_at",
    "Finish at",
    "moment",
    "It does not fire after this moment, by the clocks of the job's time zone or with an offset"
    " such as +02:00. Empty: it goes on.",
)
OPTIONS = (EXECUTOR, COALESCE, MAX_INSTANCES, MISFIRE_GRACE_TIME)
TROUBLE = (SLOW_AFTER, TIMEOUT, RETRIES, RETRY_WAIT)
STOPS = (MAX_RUNS, STOP_ON_SUCCESS, STOP_ON_FAILURE, END_AT)


@dataclass(frozen=True, slots=True)
class Group:
    """Fields that are folded away together; while they are, `words` say how they stand."""

    title: str
    words: str
    fields: tuple[Field, ...]


def groups(
    texts: Mapping[str, str],
    task: Task | None,
    *,
    usual: Mapping[str, str],
    executors: Iterable[str],
    is_new: bool,
) -> tuple[Group, ...]:
    """Return the groups of a job's form; a new job's fields tell what the task says.

    `usual` is what the options of a new job are: the help of each option tells it as the default.
    """
    trouble = TROUBLE
    choices = tuple((name, name) for name in executors)
    timeout, retries = texts.get("timeout", ""), texts.get("retries", "")
    if is_new:
        choices = (("", "as the task says"), *choices)
        timeout = timeout or (f"{task.timeout:g}" if task and task.timeout else "")
        retries = retries or (str(task.retries) if task else "")
        trouble = (
            SLOW_AFTER,
            replace(TIMEOUT, placeholder=timeout, help=_task_decides(TIMEOUT)),
            replace(RETRIES, placeholder=retries, help=_task_decides(RETRIES)),
            RETRY_WAIT,
        )
    options = (replace(EXECUTOR, choices=choices), *OPTIONS[1:])
    defaults = _defaults(task, usual)
    return (
        Group("Options", _options_in_words(texts), _with_defaults(options, defaults)),
        Group(
            "When it takes long or fails",
            _trouble_in_words(texts, timeout, retries),
            _with_defaults(trouble, defaults),
        ),
        Group("When it ends", _stops_in_words(texts), _with_defaults(STOPS, defaults)),
    )


def _defaults(task: Task | None, usual: Mapping[str, str]) -> dict[str, str]:
    """Return in words what each option is where nobody has chosen; what the task says counts."""
    defaults = {
        name: {"true": "on", "false": "off"}.get(text, text or "none")
        for name, text in usual.items()
    }
    if task is not None:
        defaults["executor"] = task.executor
        defaults["timeout"] = f"{task.timeout:g}" if task.timeout else "none"
        defaults["retries"] = str(task.retries)
    return defaults


def _with_defaults(fields: Iterable[Field], defaults: Mapping[str, str]) -> tuple[Field, ...]:
    return tuple(
        replace(field, help=f"{field.help} Default: {defaults[field.name]}.")
        if field.name in defaults
        else field
        for field in fields
    )


def _task_decides(field: Field) -> str:
    return f"{field.help.partition(' Empty')[0]} Empty: as the task says."


def _options_in_words(texts: Mapping[str, str]) -> str:
    executor, coalesce, instances, grace = (texts.get(option.name, "") for option in OPTIONS)
    words = (
        executor or "executor as the task says",
        "coalesce" if coalesce == "true" else "no coalesce",
        f"max instances {instances or '?'}",
        f"misfire grace time {grace} s" if grace else "never too late",
    )
    return ", ".join(words)


def _trouble_in_words(texts: Mapping[str, str], timeout: str, retries: str) -> str:
    slow_after = texts.get("slow_after", "")
    words = (
        *([f"unusually long after {slow_after} s"] if slow_after else []),
        f"timeout {timeout} s" if timeout else "no timeout",
        f"retries {retries}" if retries not in {"", "0"} else "no retries",
    )
    return ", ".join(words)


def _stops_in_words(texts: Mapping[str, str]) -> str:
    runs, success, failure, end = (texts.get(stop.name, "") for stop in STOPS)
    words = [
        word
        for word, wanted in (
            (f"after {runs} runs", runs),
            ("after the first success", success == "true"),
            ("after the first failure", failure == "true"),
            (f"at {end}", end),
        )
        if wanted
    ]
    return " or ".join(words) or "with its trigger"


def new_texts(settings: Settings) -> dict[str, str]:
    """Return what the options of a new job show."""
    return {
        "coalesce": "true",
        "max_instances": "1",
        "misfire_grace_time": str(settings.misfire_grace),
        "retry_wait": str(USUAL_WAIT),
        "stop_on_success": "false",
        "stop_on_failure": "false",
    }


def job_texts(job: Job) -> dict[str, str]:
    """Return what the options of a job show."""
    grace, runs = job.misfire_grace_time, job.max_runs
    end = job.end_at.astimezone(zone_named(job.timezone)) if job.end_at else None
    return {
        "executor": job.executor,
        "coalesce": "true" if job.coalesce else "false",
        "max_instances": str(job.max_instances),
        "misfire_grace_time": "" if grace is None else str(grace),
        "slow_after": "" if job.slow_after is None else f"{job.slow_after:.12g}",
        "timeout": "" if job.timeout is None else f"{job.timeout:.12g}",
        "retries": str(job.retries),
        "retry_wait": str(job.retry_wait),
        "max_runs": "" if runs is None else str(runs),
        "stop_on_success": "true" if job.stop_on_success else "false",
        "stop_on_failure": "true" if job.stop_on_failure else "false",
        "end_at": "" if end is None else f"{end:%Y-%m-%d %H:%M:%S}",
    }

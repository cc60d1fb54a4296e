"""What makes a valid job: the one set of checks behind form, API and command line.

Input is the JSON form of a job, all of it or the fields to change. All complaints are collected,
each with the path of its field, so that a form can show every one at once.
"""

from __future__ import annotations

import re
import unicodedata
from functools import partial
from typing import TYPE_CHECKING, Any

from dashboard.errors import FieldError, Invalid
from dashboard.scheduling import triggers
from dashboard.services import joboptions
from dashboard.settings import CELERY
from dashboard.storage.models import ID_LENGTH
from dashboard.tasks import Task, UnknownTask, get_task, shown_parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from dashboard.settings import Settings
    from dashboard.storage.models import Job
    from dashboard.vault import Vault

FIELDS = (
    "id",
    "name",
    "task",
    "parameters",
    "trigger",
    "executor",
    "coalesce",
    "max_instances",
    "misfire_grace_time",
    "slow_after",
    "timeout",
    "retries",
    "retry_wait",
    "max_runs",
    "stop_on_success",
    "stop_on_failure",
    "end_at",
    "tags",
    "notes",
    "owner",
    "runbook",
)
RESERVED_IDS = ("new", "import", "export", ".", "..")


def check_new(
    data: Mapping[str, Any], settings: Settings, now: datetime, *, like: Job | None = None
) -> dict[str, Any]:
    """Return the values of a new job's columns, or of those of `like` that is to become so.

    `id` is None when none was given. Raises `Invalid` with every complaint.
    """
    checks = _Checks(data, settings, now)
    task = checks.task(data.get("task"))
    checks.run("id", lambda: _optional_id(data.get("id")))
    checks.run("name", lambda: _name(data.get("name") or (task.name if task else "job")))
    checks.parameters(task, data.get("parameters"), like)
    checks.schedule(data.get("trigger"))
    checks.options(joboptions.of_new_job(data, task, settings.misfire_grace))
    checks.end_at(data.get("end_at"), settings.timezone)
    return checks.values_or_raise()


def check_change(
    job: Job, data: Mapping[str, Any], settings: Settings, now: datetime
) -> dict[str, Any]:
    """Return the values of the columns of `job` that `data` changes.

    Parameters are checked again when the task changes, the trigger's next fire time only when the
    trigger does. Raises `Invalid` with every complaint.
    """
    checks = _Checks(data, settings, now)
    if "id" in data and data["id"] not in (None, "", job.id):
        checks.complain("id", "The id of a job cannot be changed; make a new job instead.")
    if not {"task", "parameters"}.isdisjoint(data):  # all else of a broken job can be changed
        task = checks.task(data.get("task", job.task))
        kept = shown_parameters(job.task, job.parameters)
        checks.parameters(task, data.get("parameters", kept), job)
    if "trigger" in data:
        finished = job.next_run_time is None and job.paused_at is None
        checks.schedule(data["trigger"], unless=None if finished else job)
    if "name" in data:
        checks.run("name", lambda: _name(data["name"]))
    checks.options(data)
    if "end_at" in data:
        checks.end_at(data["end_at"], job.timezone)
    return checks.values_or_raise()


class _Checks:
    """Collects values and complaints."""

    def __init__(self, data: Mapping[str, Any], settings: Settings, now: datetime) -> None:
        self._settings = settings
        self._now = now
        self._values: dict[str, Any] = {}
        self._errors = [
            FieldError(
                str(name)[:ID_LENGTH], f"There is no such field. There are: {', '.join(FIELDS)}."
            )
            for name in data
            if name not in FIELDS
        ]

    def complain(self, field: str, message: str) -> None:
        self._errors.append(FieldError(field, message))

    def run(self, field: str, check: Callable[[], Any]) -> None:
        """Keep what `check` returns, or its complaint; `ValueError` is about `field` itself."""
        try:
            self._values[field] = check()
        except Invalid as error:
            self._errors += error.errors
        except ValueError as error:
            self.complain(field, str(error))

    def options(self, given: Mapping[str, Any]) -> None:
        """Check those of the options that are given."""
        for name, check in joboptions.CHECKS.items():
            if name in given:
                self.run(name, partial(check, given[name]))
        if "executor" in given:
            self.run("executor", lambda: _executor(given["executor"], self._settings))

    def end_at(self, given: object, timezone: str) -> None:
        """Check the last moment to fire, by the clocks of the trigger's zone."""
        zone = str(self._values.get("timezone", timezone))
        self.run("end_at", lambda: joboptions.end_at(given, zone))

    def task(self, name: object) -> Task | None:
        if not isinstance(name, str) or not name:
            self.complain("task", "Choose a task.")
            return None
        try:
            task = get_task(name)
        except UnknownTask as error:
            self.complain("task", str(error))
            return None
        self._values["task"] = task.name
        return task

    def parameters(self, task: Task | None, given: object, job: Job | None) -> None:
        """Check the parameters; secrets that are kept are those of `job`, for the same task."""
        kept = job.parameters if job and task and task.name == job.task else {}
        self.run("parameters", lambda: _parameters(task, given, kept, self._settings.vault))

    def schedule(self, data: object, *, unless: Job | None = None) -> None:
        """Check the trigger and work out its first fire time from now on.

        One that says the same as that of `unless` changes nothing. Any other begins anew: a start
        that was made up for the old one would let an interval of a second wait for the hour it
        replaces.
        """
        if not isinstance(data, dict):
            self.complain("trigger", "Choose a trigger.")
            return
        try:
            zone = self._settings.timezone
            if unless is not None and triggers.says_the_same(
                data, unless.trigger, timezone=zone, stored_timezone=unless.timezone
            ):
                return
            schedule = triggers.load(triggers.unanchored(data), timezone=zone)
            schedule = triggers.anchored(schedule, self._now)
            self._values["next_run_time"] = triggers.require_future(schedule, self._now)
            self._values["trigger"] = schedule.data
            self._values["timezone"] = schedule.timezone
        except Invalid as error:
            self._errors += error.errors

    def values_or_raise(self) -> dict[str, Any]:
        if self._errors:
            raise Invalid(self._errors)
        return self._values


def _parameters(
    task: Task | None, given: object, kept: Mapping[str, Any], vault: Vault
) -> dict[str, Any]:
    if given is None:
        given = {}
    if not isinstance(given, dict):
        message = "Parameters are an object of names and values."
        raise ValueError(message)
    return task.parameters.validate(given, vault=vault, kept=kept) if task else {}


def _optional_id(value: object) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        message = "A job id is text."
        raise ValueError(message)
    if len(value) > ID_LENGTH:
        message = f"A job id has at most {ID_LENGTH} characters; this one has {len(value)}."
        raise ValueError(message)
    if not value.isprintable() or value != value.strip():
        message = "A job id has only printable characters, and no space at its ends."
        raise ValueError(message)
    if "/" in value or "\\" in value or value in RESERVED_IDS:
        message = "A job id has no slash, and is none of: new, import, export, . and .."
        raise ValueError(message)
    return value


def id_from_name(name: str) -> str:
    """Make an id that is easy to read and type from a job's name."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    words = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:60].strip("-")
    return words if words and words not in RESERVED_IDS else "job"


def _name(value: object) -> str:
    if not isinstance(value, str):
        message = "A name is text."
        raise ValueError(message)
    name = value.strip()
    if not 1 <= len(name) <= ID_LENGTH:
        message = f"A name has 1 to {ID_LENGTH} characters."
        raise ValueError(message)
    if not name.isprintable():
        message = "A name is one line of printable characters."
        raise ValueError(message)
    return name


def _executor(value: object, settings: Settings) -> str:
    if value in settings.executors:
        return str(value)
    message = f"Choose one of: {', '.join(settings.executors)}."
    if isinstance(value, str) and value.partition(":")[0] == CELERY:
        needed = "CELERY_QUEUES" if settings.celery_broker else "CELERY_BROKER"
        message = f"“{value[:50]}” is not set up here: it needs the setting DASHBOARD_{needed}."
    raise ValueError(message)

"""`job`: what people do with jobs, without a browser."""

from __future__ import annotations

import json
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click
from pydantic import TypeAdapter

from dashboard.cli.common import (
    answer,
    command_actor,
    moment,
    opened,
    settings_of,
    storage_options,
    table,
    tasks_option,
    with_tasks,
)
from dashboard.cli.files import content_of, export, import_
from dashboard.documents import UnusableFile, decoded, read_json, read_yaml
from dashboard.durations import read_duration
from dashboard.errors import FieldError, Invalid
from dashboard.fields import Unreadable
from dashboard.history import queries
from dashboard.history.joblist import matching_ids
from dashboard.history.jobsearch import JobSearch
from dashboard.scheduling import triggers
from dashboard.services import audit, jobs
from dashboard.storage.models import ACTIVE, RunState
from dashboard.tasks import get_task, shown_parameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from dashboard.history.queries import JobDetail
    from dashboard.storage.db import Database
    from dashboard.web.api.shapes import Job, Run

LOOK_SECONDS = 0.5
_UNITS = {"days": 86_400, "hours": 3600, "minutes": 60, "seconds": 1}
_LENGTH = TypeAdapter(timedelta)

_parameters_option = click.option(
    "--param",
    "texts",
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter, written as in the form; repeatable.",
)


@click.group()
def job() -> None:
    """Look after jobs."""


job.add_command(export)
job.add_command(import_)


@job.command("list")
@click.option("--search", default="", help="Only jobs that match, as the page Jobs searches.")
@storage_options
def list_(search: str, *, as_json: bool, **options: Any) -> None:
    """List jobs by id."""
    wanted = JobSearch.parse(search)
    if wanted.complaints:
        raise click.UsageError(" ".join(wanted.complaints))
    with opened(**options) as database, database.read() as session:
        found = queries.get_jobs(session, matching_ids(session, wanted))
    shown = [_told(detail) for detail in found]
    lines = table(
        ("ID", "NAME", "STATE", "HEALTH", "NEXT RUN", "SCHEDULE"),
        [
            (each.id, each.name, each.state, each.health, moment(each.next_run_time), _raw(each))
            for each in shown
        ],
    )
    answer(as_json, lines, [each.model_dump(mode="json") for each in shown])


@job.command("show")
@click.argument("job_id", metavar="ID")
@storage_options
def show(job_id: str, *, as_json: bool, **options: Any) -> None:
    """Show a job."""
    with opened(**options) as database:
        _answer_job(database, job_id, as_json=as_json)


@job.command("add")
@click.argument("file", required=False, type=click.Path(allow_dash=True, dir_okay=False))
@click.option("--task", help="The task's name.")
@click.option("--id", "job_id", help="The job's id (made from its name).")
@click.option("--name", help="The job's name (the task's).")
@click.option("--every", help="An interval: 90 (seconds), 5m, 1h 30m.")
@click.option("--cron", help="A crontab line without its command: '0 3 * * mon'.")
@click.option("--at", help="One moment: 2026-12-24T18:00.")
@click.option("--zone", help="The trigger's time zone (the dashboard's own).")
@_parameters_option
@click.option("--tag", "tags", multiple=True, help="A tag; repeatable.")
@click.option("--notes", help="For those who look after it.")
@tasks_option
@storage_options
def add(file: str | None, *, as_json: bool, **options: Any) -> None:
    """Add a job: from FILE, which holds what the API takes as JSON or YAML, or from options."""
    names = ("task", "job_id", "name", "every", "cron", "at", "zone", "texts", "tags", "notes")
    given = {name: value for name in names if (value := options.pop(name))}
    if file is not None and given:
        raise click.UsageError("Give a file, or options that describe the job, not both.")
    settings = settings_of(**options)
    with_tasks(settings)
    data = _described(given) if file is None else _read(file)
    with opened(**options) as database:
        with audit.transaction(database) as session:
            made = jobs.create_job(session, data, actor=command_actor(), settings=settings)
        _answer_job(database, made.id, as_json=as_json, done=f"Added {made.id}.")


@job.command("run")
@click.argument("job_id", metavar="ID")
@_parameters_option
@click.option("--wait", is_flag=True, help="Wait for its end; a run that fails exits with 1.")
@tasks_option
@storage_options
def run(job_id: str, texts: tuple[str, ...], *, wait: bool, as_json: bool, **options: Any) -> None:
    """Run a job now; its schedule does not change. A dashboard has to be running."""
    settings = settings_of(**options)
    if texts:
        with_tasks(settings)
    with opened(**options) as database:
        with audit.transaction(database) as session:
            parameters = None
            if texts:
                kept = jobs.get_job(session, job_id)
                parameters = shown_parameters(kept.task, kept.parameters)
                parameters |= _parameters(kept.task, texts)
            asked = jobs.run_now(
                session,
                job_id,
                parameters=parameters,
                actor=command_actor(),
                vault=settings.vault,
            )
        state = _wait(database, asked.id) if wait else asked.state
        with database.read() as session:
            told = _told_run(session, asked.id)
    answer(as_json, f"Run {asked.id}: {state}.", told.model_dump(mode="json"))
    if wait and state is not RunState.SUCCEEDED:
        sys.exit(1)


@job.command("pause")
@click.argument("job_id", metavar="ID")
@click.option("--reason", help="Shown to everybody on the job's page.")
@storage_options
def pause(job_id: str, reason: str | None, *, as_json: bool, **options: Any) -> None:
    """Keep a job from firing until somebody resumes it."""
    with opened(**options) as database:
        with audit.transaction(database) as session:
            jobs.pause_job(session, job_id, reason=reason, actor=command_actor())
        _answer_job(database, job_id, as_json=as_json, done=f"Paused {job_id}.")


@job.command("resume")
@click.argument("job_id", metavar="ID")
@storage_options
def resume(job_id: str, *, as_json: bool, **options: Any) -> None:
    """Let a paused job fire again."""
    with opened(**options) as database:
        with audit.transaction(database) as session:
            jobs.resume_job(session, job_id, actor=command_actor())
        _answer_job(database, job_id, as_json=as_json, done=f"Resumed {job_id}.")


@job.command("remove")
@click.argument("job_id", metavar="ID")
@storage_options
def remove(job_id: str, *, as_json: bool, **options: Any) -> None:
    """Remove a job; its runs stay."""
    with opened(**options) as database, audit.transaction(database) as session:
        jobs.remove_job(session, job_id, actor=command_actor())
    answer(as_json, f"Removed {job_id}.", {"id": job_id, "removed": True})


def _answer_job(database: Database, job_id: str, *, as_json: bool, done: str = "") -> None:
    """Show a job as it is now, after what was `done`."""
    with database.read() as session:
        detail = queries.get_job(session, job_id)
    told = _told(detail).model_dump(mode="json")
    answer(as_json, done or _facts(told), told)


def _told(detail: JobDetail) -> Job:
    """Return a job as the API would; other commands need not wait for the pages to be imported."""
    from dashboard.web.api.shapes import Job  # noqa: PLC0415

    return Job.of(detail)


def _told_run(session: Session, run_id: int) -> Run:
    """Return a run as the API would."""
    from dashboard.web.api.shapes import Run  # noqa: PLC0415

    return Run.of(queries.get_run(session, run_id).run, [])


def _facts(told: dict[str, Any]) -> str:
    sentence = _sentence(told["trigger"], told["timezone"])
    shown = told | {"trigger": f"{sentence} {json.dumps(told['trigger'])}".strip()}
    width = max(map(len, shown)) + 2
    lines = []
    for name, value in shown.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if value not in (None, "", [], {}):
            lines.append(f"{name.replace('_', ' '):<{width}}{text}")
    return "\n".join(lines)


def _sentence(trigger: dict[str, Any], timezone: str) -> str:
    try:
        return triggers.load(trigger, timezone=timezone).sentence
    except Invalid:
        return ""


def _raw(shown: Job) -> str:
    try:
        return triggers.load(shown.trigger, timezone=shown.timezone).raw
    except Invalid:
        return "unreadable"


def _wait(database: Database, run_id: int) -> RunState:
    """Wait for the end of a run, however long it takes, and return how it ended."""
    while True:
        with database.read() as session:
            state = queries.get_run(session, run_id).run.state
        if state not in ACTIVE:
            return state
        time.sleep(LOOK_SECONDS)


def _read(file: str) -> dict[str, Any]:
    text = decoded(content_of(file))
    value = (read_json if text.lstrip().startswith("{") else read_yaml)(text).value
    if not isinstance(value, dict):
        raise UnusableFile.because("A job has fields: task, trigger, parameters.")
    return value


def _described(given: dict[str, Any]) -> dict[str, Any]:
    """Return a job as the API takes it, from options."""
    whens = [name for name in ("every", "cron", "at") if name in given]
    if "task" not in given or len(whens) != 1:
        raise click.UsageError("Give a file, or --task and one of --every, --cron and --at.")
    data: dict[str, Any] = {
        name: given[name] for name in ("task", "name", "notes") if name in given
    }
    data["trigger"] = _trigger(whens[0], given[whens[0]])
    if "zone" in given:
        data["trigger"]["timezone"] = given["zone"]
    if "job_id" in given:
        data["id"] = given["job_id"]
    if "tags" in given:
        data["tags"] = list(given["tags"])
    if "texts" in given:
        data["parameters"] = _parameters(given["task"], given["texts"])
    return data


def _trigger(kind: str, text: str) -> dict[str, Any]:
    if kind == "cron":
        return {"type": "cron", "crontab": text}
    if kind == "at":
        return {"type": "date", "run_date": text}
    try:
        length = _LENGTH.validate_python(read_duration(text))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--every") from None
    seconds = length.total_seconds()
    if seconds < 1 or seconds % 1:
        raise click.BadParameter("Whole seconds, one at least.", param_hint="--every")
    trigger: dict[str, Any] = {"type": "interval"}
    for unit, size in _UNITS.items():
        count, seconds = divmod(int(seconds), size)
        if count:
            trigger[unit] = count
    return trigger


def _parameters(task: str, texts: Sequence[str]) -> dict[str, Any]:
    """Read `name=value` as the form of that task reads its fields; raises `Invalid`."""
    known = {field.name: field for field in get_task(task).parameters.fields}
    values: dict[str, Any] = {}
    errors = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name not in known:
            names = ", ".join(known) or "none"
            raise click.BadParameter(
                f"“{text}” is not NAME=VALUE with a parameter of {task}: {names}.",
                param_hint="--param",
            )
        try:
            values |= known[name].read(value)
        except Unreadable as problem:
            errors.append(FieldError(f"parameters.{name}", str(problem)))
    if errors:
        raise Invalid(errors)
    return values

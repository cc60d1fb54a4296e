"""`job export` and `job import`: jobs as files."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from dashboard.cli.common import (
    answer,
    command_actor,
    fail,
    opened,
    settings_of,
    storage_options,
    tasks_option,
    with_tasks,
)
from dashboard.documents import LARGEST, UnusableFile
from dashboard.history.jobsearch import JobSearch
from dashboard.services import audit
from dashboard.services.crontabs import Reading, account_name, read_crontab
from dashboard.services.imports import Action, carry_out, plan_import
from dashboard.services.jobfiles import KINDS, jobs_to_write, read_jobs, write_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dashboard.services.imports import Plan, Step
    from dashboard.services.jobfiles import JobFile
    from dashboard.settings import Settings

_KIND = {".yaml": "yaml", ".yml": "yaml", ".json": "json"}
_HEADINGS = {
    Action.ADD: "Would add",
    Action.CHANGE: "Would change",
    Action.KEEP: "Would leave as they are",
    Action.LEAVE_OUT: "Would leave out, for they are finished",
}


@click.command("export")
@click.argument("file", default="-", type=click.Path(allow_dash=True, dir_okay=False))
@click.option("--search", default="", help="Only jobs that match, as the page Jobs searches.")
@click.option("--id", "ids", multiple=True, help="Only this job; repeatable.")
@click.option("--format", "kind", type=click.Choice(list(KINDS)), help="yaml, unless FILE tells.")
@storage_options
def export(
    file: str, search: str, ids: tuple[str, ...], kind: str | None, *, as_json: bool, **options: Any
) -> None:
    """Write jobs to FILE, or to standard output.

    With --json the jobs are written as JSON.
    """
    kind = kind or ("json" if as_json else _kind_of(file))
    wanted = JobSearch.parse(search)
    if wanted.complaints:
        raise click.UsageError(" ".join(wanted.complaints))
    with opened(**options) as database:
        found = jobs_to_write(database, search=wanted, ids=ids)
        pieces = write_jobs(database, kind, found)
        if file == "-":
            for piece in pieces:
                click.echo(piece, nl=False)
        else:
            _write_whole(Path(file), pieces)
            click.echo(f"Wrote {len(found):,} jobs to {file}.", err=True)


def _write_whole(path: Path, pieces: Iterator[str]) -> None:
    """Write a file that appears whole or not at all: parameters may be nobody else's business."""
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(pieces)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


@click.command("import")
@click.argument("file", type=click.Path(allow_dash=True, dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Only say what would happen.")
@click.option("--crontab", is_flag=True, help="FILE is a crontab; so is one named *.crontab.")
@click.option("--system", is_flag=True, help="Its lines name an account, as in /etc/crontab.")
@click.option("--zone", help="The zone of the crontab's machine (the dashboard's own).")
@click.option("--leave-out", is_flag=True, help="Leave out lines that cannot be converted.")
@tasks_option
@storage_options
def import_(file: str, *, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Add and change jobs as FILE says, all of them or none; `-` is standard input.

    Jobs that are not in the file stay as they are. A crontab's lines become jobs that run programs.
    """
    crontab = _CrontabOptions(*(options.pop(name) for name in _CrontabOptions._fields))
    settings = settings_of(**options)
    try:
        with_tasks(settings)
        jobs = _read(file, crontab, settings)
        with opened(**options) as database:
            with database.read() as session:
                plan = plan_import(session, jobs, settings=settings)
            if not dry_run:
                with audit.transaction(database) as session:
                    carry_out(session, plan, actor=command_actor(), settings=settings)
    except UnusableFile as error:
        _refuse(error, as_json=as_json)
    if plan.problems:
        _refuse(UnusableFile(plan.problems), as_json=as_json)
    for warning in plan.warnings:
        click.echo(f"Warning: {warning}", err=True)
    answer(as_json, _dry(plan) if dry_run else _done(plan), _as_json(plan, dry_run=dry_run))


class _CrontabOptions(NamedTuple):
    crontab: bool
    system: bool
    zone: str | None
    leave_out: bool


def _read(file: str, options: _CrontabOptions, settings: Settings) -> JobFile:
    path = Path(file)
    if options.crontab or options.system or "crontab" in {path.name, path.suffix[1:]}:
        zone = options.zone or settings.timezone
        reading = Reading(zone, account_name(), options.system, options.leave_out)
        return read_crontab(content_of(file), reading)
    if options.zone or options.leave_out:
        raise click.UsageError("--zone and --leave-out are for crontabs.")
    return read_jobs(content_of(file), _KIND.get(path.suffix.lower(), ""))


def _kind_of(file: str) -> str:
    if file == "-":
        return "yaml"
    kind = _KIND.get(Path(file).suffix.lower())
    if kind is None:
        raise click.UsageError("A file ends with .yaml, .yml or .json; or say --format.")
    return kind


def content_of(file: str) -> bytes:
    """Read a file, or as much of it as shows that it is too long."""
    try:
        with click.open_file(file, "rb") as stream:
            content: bytes = stream.read(LARGEST + 1)
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}")
    return content


def _refuse(error: UnusableFile, *, as_json: bool) -> None:
    """Say everything that is wrong, and end with 1."""
    problems = [
        {"line": each.line, "field": each.field, "message": each.message} for each in error.problems
    ]
    if as_json:
        answer(as_json, "", {"problems": problems})
    for problem in error.problems:
        click.echo(f"Error: {problem}", err=True)
    click.echo("Nothing was imported.", err=True)
    sys.exit(1)


def _dry(plan: Plan) -> str:
    lines = []
    for action, heading in _HEADINGS.items():
        steps = plan.of(action)
        if steps:
            lines.append(f"{heading}: {len(steps):,}")
            lines += [line for step in steps for line in _lines(step)]
    return "\n".join(lines) or "There are no jobs in this file."


def _lines(step: Step) -> Iterator[str]:
    yield f"  {step.id}  ({step.name})"
    for each in step.differences:
        before, after = (
            json.dumps(side, ensure_ascii=False, default=str) for side in (each.before, each.after)
        )
        yield f"    {each.field}: {before} -> {after}"


def _done(plan: Plan) -> str:
    counted = [len(plan.of(action)) for action in Action]
    added, changed, kept, left = counted
    text = f"Added {added:,}, changed {changed:,}, left {kept:,} as they were."
    return text + (f" Left out {left:,} that are finished." if left else "")


def _as_json(plan: Plan, *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "jobs": [
            {
                "id": step.id,
                "action": step.action,
                "differences": [
                    {"field": each.field, "before": each.before, "after": each.after}
                    for each in step.differences
                ],
            }
            for step in plan.steps
        ],
        "warnings": plan.warnings,
    }

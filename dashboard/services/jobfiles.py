"""Jobs as a file: what an export writes and an import reads.

    format: apscheduler-dashboard/jobs
    version: 1
    jobs:
    - id: nightly-report
      task: reports.daily
      trigger: {type: cron, crontab: 0 3 * * *, timezone: Europe/Berlin}

Written is what people set, sorted by id, and nothing that changes by itself, so that two exports
differ only by what somebody did. A field left out has its default; see docs/COMMANDS.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sqlalchemy import select

from dashboard.documents import (
    FileProblem,
    UnusableFile,
    decoded,
    looks_like_json,
    read_json,
    read_yaml,
    to_json,
    to_yaml,
)
from dashboard.errors import JobNotFound
from dashboard.history.joblist import matching_ids
from dashboard.history.jobsearch import JobSearch
from dashboard.scheduling import triggers
from dashboard.scheduling.answers import Answers
from dashboard.services.jobdata import FIELDS
from dashboard.services.jobs import require_own
from dashboard.storage.models import HOST, RETRY_WAIT, Job
from dashboard.tasks import shown_parameters
from dashboard.texts import is_storable, storable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dashboard.documents import Document, Path
    from dashboard.storage.db import Database

FORMAT = "apscheduler-dashboard/jobs"
VERSION = 1
MOST_JOBS = 5_000
"""Jobs of a file. They are written in one transaction, during which nobody else writes to SQLite:
this many take about a second, changed ones some seconds; others give up waiting after fifteen."""
KINDS = {"yaml": "application/yaml", "json": "application/json"}

_HEAD = {"format": FORMAT, "version": VERSION}
_STATE_FIELDS = ("paused", "paused_reason", "resume_at", "finished")
_DEFAULTS: dict[str, Any] = {
    "parameters": {},
    "slow_after": None,
    "retry_wait": RETRY_WAIT,
    "max_runs": None,
    "stop_on_success": False,
    "stop_on_failure": False,
    "end_at": None,
    "tags": [],
    "notes": "",
    "owner": "",
    "runbook": "",
}
"""Fields that are left out where they have their default, which is the same in any dashboard."""
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Wanted:
    """A job as a file wants it."""

    data: dict[str, Any]
    """The fields of a job as `create_job` takes them."""
    paused: bool | None = None
    """None leaves a job that exists as it is."""
    paused_reason: str | None = None
    resume_at: datetime | None = None
    """When a pause ends by itself. One whose end has come says nothing any more."""
    finished: bool = False
    partial: bool = False
    """Whether a field that is left out stays as it is in a job that exists."""
    lines: Mapping[str, int] = field(default_factory=dict)
    """Where each field stands in the file, by its path; "" is the job itself."""

    def pausing(self, now: datetime) -> bool | None:
        """Say whether the job is to be paused from `now` on; None leaves it as it is."""
        over = self.resume_at is not None and self.resume_at <= now
        return None if over else self.paused

    def line_of(self, path: str) -> int | None:
        """Return the line of a field, or of the nearest part around it."""
        while path and path not in self.lines:
            path = path.rpartition(".")[0]
        return self.lines.get(path)

    def problem(self, path: str, message: str) -> FileProblem:
        """Complain about a field of this job."""
        name = self.data.get("id")
        shown = f"job “{name}”" if isinstance(name, str) and name else "a job"
        where = storable(f"{shown}, {path}" if path else shown)
        return FileProblem(message, self.line_of(path), where)


@dataclass(frozen=True, slots=True)
class JobFile:
    """The jobs of a file, and what is odd about it without being wrong."""

    jobs: list[Wanted]
    warnings: list[str] = field(default_factory=list)


# ---------------------------------------------------------------------------------------- writing


def job_document(job: Job) -> dict[str, Any]:
    """Return a job as it stands in a file: what people set, and whether it is paused or over."""
    values = {name: getattr(job, name) for name in FIELDS}
    values["parameters"] = shown_parameters(job.task, job.parameters)
    values["trigger"] = portable_trigger(job.trigger, job.timezone)
    document = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in values.items()
        if name not in _DEFAULTS or value != _DEFAULTS[name]
    }
    if job.paused_at is not None:
        document["paused"] = True
        if job.paused_reason:
            document["paused_reason"] = job.paused_reason
        if job.resume_at is not None:
            document["resume_at"] = job.resume_at.isoformat()
    elif job.next_run_time is None and job.broken_reason is None:
        document["finished"] = True
    return document


def portable_trigger(trigger: Any, timezone: str) -> Any:
    """Return a stored trigger as a person would give it, its zone said where it was implied.

    Otherwise 03:00 would be another moment in a dashboard with another default zone.
    """
    if not isinstance(trigger, dict):
        return trigger  # broken, and shown as it is
    plain = triggers.unanchored(trigger)
    parts = plain.get("triggers")
    if isinstance(parts, list):
        return plain | {"triggers": [portable_trigger(part, timezone) for part in parts]}
    return {"type": plain.get("type")} | {"timezone": timezone} | plain


def jobs_to_write(
    database: Database, *, search: JobSearch | None = None, ids: Sequence[str] = ()
) -> list[str]:
    """Return the ids of the jobs that match, or of those named, sorted.

    Jobs of a host's own scheduler are in no file: only the host's code can add them. Raises
    `JobNotFound` for a named one that does not exist, `Conflict` for one that is the host's.
    """
    with database.read() as session:
        if not ids:
            host = set(session.scalars(select(Job.id).where(Job.executor == HOST)))
            return [
                found for found in matching_ids(session, search or JobSearch()) if found not in host
            ]
        for job_id in ids:
            job = session.get(Job, job_id) if is_storable(job_id) else None
            if job is None:
                raise JobNotFound(job_id)
            require_own(job)
    return sorted(set(ids))


def write_jobs(database: Database, kind: str, ids: Sequence[str]) -> Iterator[str]:
    """Write jobs piece by piece as `yaml` or `json`; one that is gone meanwhile is left out.

    Each piece is read in a transaction of its own, so that a slow reader holds none open.
    """
    documents = _documents(database, ids)
    return _as_yaml(documents) if kind == "yaml" else _as_json(documents)


def _documents(database: Database, ids: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, len(ids), _CHUNK):
        with database.read() as session:
            chunk = select(Job).where(Job.id.in_(ids[start : start + _CHUNK]))
            jobs = sorted(session.scalars(chunk), key=lambda job: job.id)
            yield [job_document(job) for job in jobs]


def _as_yaml(chunks: Iterable[list[dict[str, Any]]]) -> Iterator[str]:
    empty = True
    yield to_yaml(_HEAD, begins=True)
    for chunk in chunks:
        yield ("jobs:\n" if empty else "") + to_yaml(chunk)
        empty = False
    yield ("jobs: []\n" if empty else "") + "...\n"


def _as_json(chunks: Iterable[list[dict[str, Any]]]) -> Iterator[str]:
    separator = "\n"
    yield to_json(_HEAD).removesuffix("\n}") + ',\n  "jobs": ['
    for chunk in chunks:
        for document in chunk:
            yield separator + _indented(to_json(document))
            separator = ",\n"
    yield ("" if separator == "\n" else "\n  ") + "]\n}\n"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.split("\n"))


# ---------------------------------------------------------------------------------------- reading


def read_jobs(content: bytes, kind: str = "") -> JobFile:
    """Read a file of jobs, `yaml` or `json`, or whichever it looks like.

    Its form is checked here; whether the jobs are possible is for `plan_import`. Raises
    `UnusableFile`.
    """
    text = decoded(content)
    as_json = kind == "json" or (not kind and looks_like_json(text))
    document = read_json(text) if as_json else read_yaml(text)
    entries = _entries(document)
    problems: list[FileProblem] = []
    jobs = [_wanted(document, number, entry, problems) for number, entry in enumerate(entries)]
    problems += _twice(jobs)
    if problems:
        raise UnusableFile(problems)
    warnings = []
    if not document.ends:
        warnings.append(
            "The file begins with “---” but does not end with “...” as exports do:"
            " is it whole, or was it cut off?"
        )
    return JobFile(jobs, warnings)


def _entries(document: Document) -> list[Any]:
    top, lines = document.value, document.lines
    if not isinstance(top, dict):
        message = (
            f"A file of jobs begins with “format: {FORMAT}”, “version: {VERSION}” and “jobs:”."
        )
        raise UnusableFile.because(message, lines.get(()))
    if top.get("format") != FORMAT:
        message = f"“format” says what the file is; it has to be {FORMAT}."
        raise UnusableFile([FileProblem(message, lines.get(("format",)), "format")])
    if type(top.get("version")) is not int or top["version"] != VERSION:
        message = f"This dashboard reads version {VERSION} of the format."
        raise UnusableFile([FileProblem(message, lines.get(("version",)), "version")])
    known = {*_HEAD, "jobs"}
    unknown = [name for name in top if name not in known]
    if unknown:
        message = f"There is no such field. There are: {', '.join(sorted(known))}."
        raise UnusableFile(FileProblem(message, lines.get((name,)), name) for name in unknown)
    jobs = top.get("jobs")
    if not isinstance(jobs, list):
        message = "“jobs” is a list of jobs."
        raise UnusableFile([FileProblem(message, lines.get(("jobs",)), "jobs")])
    if len(jobs) > MOST_JOBS:
        raise UnusableFile.because(f"{len(jobs):,} jobs; at most {MOST_JOBS:,} are read at once.")
    return jobs


def _wanted(document: Document, number: int, entry: Any, problems: list[FileProblem]) -> Wanted:
    if not isinstance(entry, dict):
        line = document.lines.get(("jobs", number))
        problems.append(FileProblem("A job has fields: id, task, trigger.", line, "jobs"))
        return Wanted({})
    data = {name: value for name, value in entry.items() if name not in _STATE_FIELDS}
    paused, reason = entry.get("paused"), entry.get("paused_reason")
    finished = entry.get("finished", False)
    lines = _lines_of(document, ("jobs", number), entry)
    resume_at, faults = _moment(entry.get("resume_at"))
    wanted = Wanted(data, paused, reason, resume_at, finished, lines=lines)
    if not isinstance(data.get("id"), str) or not data["id"]:
        message = "A job in a file needs an id, so that reading it again means the same job."
        problems.append(wanted.problem("id", message))
    for name, value in (("paused", paused), ("finished", finished)):
        if value is not None and not isinstance(value, bool):
            problems.append(wanted.problem(name, "This is true or false."))
    if reason is not None and not (isinstance(reason, str) and paused is True):
        message = "This is text, and goes with “paused: true”."
        problems.append(wanted.problem("paused_reason", message))
    if entry.get("resume_at") is not None and paused is not True:
        faults = ["This goes with “paused: true”."]
    problems += [wanted.problem("resume_at", message) for message in faults]
    return wanted


def _moment(given: Any) -> tuple[datetime | None, list[str]]:
    """Read when a pause ends, in UTC unless it has an offset."""
    answers = Answers({"resume_at": given}, "job")
    moment = answers.moment("resume_at", ZoneInfo("UTC"))
    return moment, [error.message for error in answers.errors]


def _lines_of(document: Document, place: Path, part: Any, path: str = "") -> dict[str, int]:
    """Return the lines of a part of the file and of all within it, by their paths in the job."""
    found = {path: document.lines[place]}
    inner = part.items() if isinstance(part, dict) else enumerate(part)
    for key, value in inner:
        below, name = (*place, key), f"{path}.{key}" if path else str(key)
        if isinstance(value, (dict, list)):
            found |= _lines_of(document, below, value, name)
        else:
            found[name] = document.lines[below]
    return found


def _twice(jobs: Iterable[Wanted]) -> Iterator[FileProblem]:
    """Complain about ids that several jobs have."""
    seen: dict[Any, Wanted] = {}
    for wanted in jobs:
        name = wanted.data.get("id")
        if not isinstance(name, str) or not name:
            continue
        if name in seen:
            first = seen[name].line_of("id")
            yield wanted.problem("id", f"The job on line {first} has this id too.")
        seen.setdefault(name, wanted)

"""What the options of a job may be: each check takes what was given and returns what is kept.

Input is JSON or what stands in a form's field. A check raises `ValueError` with a sentence.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dashboard.scheduling.answers import Answers
from dashboard.scheduling.wallclock import zone_named
from dashboard.settings import THREADS
from dashboard.storage.models import ID_LENGTH, RETRY_WAIT
from dashboard.tasks import LONGEST_TIMEOUT, MOST_RETRIES
from dashboard.texts import is_storable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from dashboard.tasks import Task

MAX_INSTANCES = 1000
MAX_GRACE = 31_536_000
MAX_RETRY_WAIT = 86_400
MAX_RUNS = 1_000_000_000
NOTES_LENGTH = 20_000
RUNBOOK_LENGTH = 2000
TAG_LENGTH = 50
TAGS = 20


def flag(value: object) -> bool:
    """Check a yes or no."""
    if not isinstance(value, bool):
        message = "This is true or false."
        raise ValueError(message)
    return value


def whole(value: object, least: int, most: int) -> int:
    """Check a whole number."""
    message = f"This is a whole number from {least:,} to {most:,}."
    if isinstance(value, str) and re.fullmatch(r"\s*\d{1,12}\s*", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(message)
    return value


def max_instances(value: object) -> int:
    """Check how many runs there may be at once."""
    return whole(value, 1, MAX_INSTANCES)


def grace(value: object) -> int | None:
    """Check how late a run may start, in seconds; empty: however late."""
    return None if is_empty(value) else whole(value, 1, MAX_GRACE)


def seconds(value: object) -> float | None:
    """Check how long a run may take or usually takes at most; empty: however long."""
    if is_empty(value):
        return None
    message = f"This is a number of seconds above 0 and up to {LONGEST_TIMEOUT:,}."
    if isinstance(value, str) and re.fullmatch(r"\s*\d{1,12}(\.\d{1,6})?\s*", value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(message)
    if not (math.isfinite(value) and 0 < value <= LONGEST_TIMEOUT):
        raise ValueError(message)
    return float(value)


def retries(value: object) -> int:
    """Check how often a run is tried again; empty: never."""
    return 0 if is_empty(value) else whole(value, 0, MOST_RETRIES)


def retry_wait(value: object) -> int:
    """Check the seconds before the first retry; empty: the usual ones."""
    return RETRY_WAIT if is_empty(value) else whole(value, 1, MAX_RETRY_WAIT)


def max_runs(value: object) -> int | None:
    """Check after how many scheduled runs the job is finished; empty: it goes on."""
    return None if is_empty(value) else whole(value, 1, MAX_RUNS)


def end_at(value: object, timezone: str) -> datetime | None:
    """Check the last moment at which the job may fire, by default by the clocks of `timezone`."""
    answers = Answers({"end_at": value}, "job")
    moment = answers.moment("end_at", zone_named(timezone))
    if answers.errors:
        raise ValueError(answers.errors[0].message)
    return moment


def tags(value: object) -> list[str]:
    """Check the words to find the job by."""
    if not isinstance(value, list) or not all(isinstance(tag, str) for tag in value):
        message = "Tags are a list of words."
        raise ValueError(message)
    found = sorted({tag.strip() for tag in value} - {""})
    if len(found) > TAGS:
        message = f"A job has at most {TAGS} tags."
        raise ValueError(message)
    for tag in found:
        if len(tag) > TAG_LENGTH or not tag.isprintable() or re.search(r"[\s,:\"]", tag):
            message = (
                f"A tag is one word of at most {TAG_LENGTH} characters, without , : or quotes."
            )
            raise ValueError(message)
    return found


def notes(value: object) -> str:
    """Check what people wrote about the job."""
    if not isinstance(value, str) or len(value) > NOTES_LENGTH:
        message = f"Notes are text of at most {NOTES_LENGTH:,} characters."
        raise ValueError(message)
    if not is_storable(value):
        message = "Notes contain a character that cannot be stored."
        raise ValueError(message)
    return value.replace("\r\n", "\n")


def owner(value: object) -> str:
    """Check who is responsible for the job."""
    text = "" if value is None else value
    if not isinstance(text, str) or len(text.strip()) > ID_LENGTH or not text.isprintable():
        message = f"An owner is one line of at most {ID_LENGTH} printable characters."
        raise ValueError(message)
    return text.strip()


def runbook(value: object) -> str:
    """Check the address of what to do when the job fails: it becomes a link for everybody."""
    if is_empty(value):
        return ""
    message = f"A runbook is a web address (https://…) of at most {RUNBOOK_LENGTH:,} characters."
    if not isinstance(value, str) or len(value) > RUNBOOK_LENGTH:
        raise ValueError(message)
    text = value.strip()
    if not text.isprintable() or re.search(r"[\s\"<>\\]", text):
        raise ValueError(message)
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(message)
    return text


def is_empty(value: object) -> bool:
    """Say whether nothing was given: null, or an empty field."""
    return value is None or (isinstance(value, str) and not value.strip())


CHECKS: dict[str, Callable[[Any], Any]] = {
    "coalesce": flag,
    "max_instances": max_instances,
    "misfire_grace_time": grace,
    "slow_after": seconds,
    "timeout": seconds,
    "retries": retries,
    "retry_wait": retry_wait,
    "max_runs": max_runs,
    "stop_on_success": flag,
    "stop_on_failure": flag,
    "tags": tags,
    "notes": notes,
    "owner": owner,
    "runbook": runbook,
}
"""Every option but `executor` and `end_at`, which depend on settings and the job's time zone."""

STOPS = ("max_runs", "stop_on_success", "stop_on_failure", "end_at")
"""The options that say when a job is finished."""


LEFT_OPEN = ("executor", "timeout", "retries", "tags", "notes")
"""Options of a new job that an empty field leaves to their default."""


def of_new_job(data: Mapping[str, Any], task: Task | None, misfire_grace: int) -> dict[str, Any]:
    """Return what was given for each option of a new job, or else its default, unchecked.

    Null means the same as an empty field, except for a timeout: there it means that there is none.
    """
    options = {
        "executor": task.executor if task else THREADS,
        "coalesce": True,
        "max_instances": 1,
        "misfire_grace_time": misfire_grace,
        "slow_after": None,
        "timeout": task.timeout if task else None,
        "retries": task.retries if task else 0,
        "retry_wait": RETRY_WAIT,
        "max_runs": None,
        "stop_on_success": False,
        "stop_on_failure": False,
        "tags": [],
        "notes": "",
        "owner": "",
        "runbook": "",
    }
    for name in options.keys() & data.keys():
        left_open = name in LEFT_OPEN and is_empty(data[name])
        if not left_open or (name == "timeout" and data[name] is None):
            options[name] = data[name]
    return options

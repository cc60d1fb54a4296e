"""Jobs of a host's own scheduler as rows, so that the same queries serve every page."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dashboard.scheduling import triggers
from dashboard.scheduling.stocktriggers import zone_name
from dashboard.storage.models import HOST, ID_LENGTH, Job
from dashboard.texts import fitted, is_storable, storable, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apscheduler.job import Job as StockJob
    from apscheduler.triggers.base import BaseTrigger

FIRE_TIMES = 10
"""Fire times that are looked up ahead."""

TEXT_BYTES = 1000
"""Of each argument of a job: any object can be one, and its text of any length."""

UNSAFE = re.compile(r"[^\w.@:+ -]|^\s|\s$|^\.+$|^new$")
"""What an id of ours cannot have. The tilde is not safe either: it marks what was written anew."""


@dataclass(frozen=True, slots=True)
class HostKey:
    """Which job of which job store."""

    jobstore: str
    job_id: str

    @property
    def row_id(self) -> str:
        """The id of its row: its own where that can be one, else written in safe characters."""
        given = self.job_id
        if given and is_storable(given) and given.isprintable() and not UNSAFE.search(given):
            safe = given
        else:
            raw = given.encode("utf-8", "backslashreplace").decode()
            safe = "~" + quote(raw, safe=" ").replace("~", "%7E").replace("%", "~")
        if self.jobstore != "default":
            safe = f"{HostKey('default', self.jobstore).row_id}~.{safe}"
        if len(safe) > ID_LENGTH:
            digest = hashlib.sha256(
                f"{self.jobstore}\0{given}".encode(errors="replace")
            ).hexdigest()
            safe = f"{safe[: ID_LENGTH - 18]}~-{digest[:16]}"
        return safe


def key_of(job: StockJob) -> HostKey:
    """Return the key of a job that its scheduler returned."""
    return HostKey(job._jobstore_alias or "default", job.id)  # noqa: SLF001 -- it has no public name


def columns_of(job: StockJob) -> dict[str, Any]:
    """Return what a job says of itself as columns of its row, all but when it runs next."""
    return {
        "name": _line(job.name) or _line(job.id) or "job",
        "task": _line(job.func_ref or getattr(job.func, "__qualname__", repr(job.func))),
        "parameters": _parameters(job),
        "timezone": _zone(job.trigger),
        "executor": HOST,
        "coalesce": bool(job.coalesce),
        "max_instances": job.max_instances,
        "misfire_grace_time": job.misfire_grace_time,
    }


def write_trigger(trigger: BaseTrigger, next_run_time: datetime | None) -> dict[str, Any]:
    """Write a trigger down: in words, as APScheduler writes it, and when it fires next."""
    text = _line(trigger)
    try:
        sentence = triggers.from_trigger(trigger).sentence
    except (ValueError, TypeError):
        sentence = text
    moments = islice(_fire_times(trigger, next_run_time), FIRE_TIMES)
    return {
        "type": HOST,
        "text": text,
        "sentence": sentence,
        "fire_times": [moment.astimezone(UTC).isoformat() for moment in moments],
    }


def must_write_trigger(row: Job, trigger: BaseTrigger, next_run_time: datetime | None) -> bool:
    """Say whether a row's trigger has changed or knows too few fire times ahead.

    Asking a trigger for ten times costs more than everything else of a firing.
    """
    if row.trigger.get("type") != HOST or row.trigger["text"] != _line(trigger):
        return True
    if next_run_time is None:
        return False
    known = row.trigger["fire_times"]
    moment = next_run_time.astimezone(UTC).isoformat()
    return moment not in known or (len(known) == FIRE_TIMES and moment > known[FIRE_TIMES // 2])


def _fire_times(trigger: BaseTrigger, moment: datetime | None) -> Iterator[datetime]:
    """Ask a trigger as its scheduler does: for the time that follows another.

    A combination is not asked: a stock AndTrigger may search for ever.
    """
    while moment is not None:
        yield moment
        if hasattr(trigger, "triggers"):
            return
        moment = trigger.get_next_fire_time(moment, moment)


def _parameters(job: StockJob) -> dict[str, Any]:
    """Write the arguments as text: they are objects of the host, and need not be JSON."""
    named = {str(name): _argument(value) for name, value in job.kwargs.items()}
    return {str(at): _argument(value) for at, value in enumerate(job.args, 1)} | named


def _argument(value: object) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value if value is None or abs(value) < 1e15 else str(value)  # noqa: PLR2004 -- JSON's
    return fitted(storable(value if isinstance(value, str) else _represented(value)), TEXT_BYTES)


def _represented(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 -- anybody's __repr__
        return f"<{type(value).__name__}>"


def _line(value: object) -> str:
    """Return a text that fits a column, on one line."""
    return " ".join(storable(text_of(value)).split())[:ID_LENGTH]


def _zone(trigger: BaseTrigger) -> str:
    try:
        return zone_name(trigger.timezone)
    except (AttributeError, ValueError):
        return "UTC"

"""How values read: moments, durations, states. One place converts from UTC.

Absolute times are `YYYY-MM-DD HH:MM:SS` with the zone, in the zone of whoever looks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from dashboard.durations import in_words, length
from dashboard.web.zones import display_zone

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo

MINUTE, HOUR, DAY = 60, 3600, 86_400
_CODE = re.compile(r"`{1,2}([^`\n]+)`{1,2}")
NONE = "–"  # noqa: RUF001 -- an en dash, as typographers set it


@dataclass(frozen=True, slots=True)
class Look:
    """How a state looks: an icon (its shape), a word, and a tone (its colour)."""

    icon: str
    word: str
    tone: str


LOOKS: Mapping[str, Look] = {
    # runs
    "queued": Look("hourglass", "queued", "quiet"),
    "running": Look("player-play", "running", "info"),
    "succeeded": Look("circle-check", "succeeded", "good"),
    "failed": Look("circle-x", "failed", "bad"),
    "missed": Look("clock-pause", "missed", "warn"),
    "skipped": Look("player-skip-forward", "skipped", "warn"),
    "interrupted": Look("plug", "interrupted", "bad"),
    "cancelled": Look("ban", "cancelled", "quiet"),
    # jobs
    "scheduled": Look("calendar-time", "scheduled", "quiet"),
    "paused": Look("player-pause", "paused", "warn"),
    "broken": Look("tool", "broken", "bad"),
    "finished": Look("check", "finished", "quiet"),
    # health
    "healthy": Look("circle-check", "healthy", "good"),
    "failing": Look("alert-triangle", "failing", "bad"),
    "overdue": Look("clock", "overdue", "warn"),
    "slow": Look("hourglass", "running long", "warn"),
    "unknown": Look("circle-dashed", "unknown", "quiet"),
    # the audit log
    "done": Look("check", "done", "good"),
    "refused": Look("ban", "refused", "bad"),
    # deliveries of alerts
    "waiting": Look("hourglass", "waiting", "quiet"),
    "sending": Look("loader", "sending", "info"),
    "sent": Look("circle-check", "sent", "good"),
    "in doubt": Look("help", "in doubt", "warn"),
    # the scheduler
    "standby": Look("clock-pause", "standby", "warn"),
    "stopped": Look("player-stop", "stopped", "bad"),
}


def look(state: str) -> Look:
    """Return the look of a state; a word nobody has styled still shows, quietly."""
    return LOOKS.get(state) or Look("circle-dot", state, "quiet")


def absolute(moment: datetime | None, zone: tzinfo | None = None) -> str:
    """Write a moment out, with its zone."""
    if moment is None:
        return NONE
    local = moment.astimezone(zone or display_zone())
    return f"{local.isoformat(' ', 'seconds')[:19]} {local.tzname()}"


def clock_time(moment: datetime | None) -> str:
    """Write the time of day of a moment, for lists whose day is plain."""
    return NONE if moment is None else moment.astimezone(display_zone()).isoformat()[11:19]


def iso(moment: datetime) -> str:
    """Write a moment for machines: UTC, to the second."""
    return f"{moment.astimezone(UTC).isoformat()[:19]}Z"


def relative(moment: datetime | None, now: datetime | None = None) -> str:
    """Say how long ago a moment was, or how soon it will be."""
    if moment is None:
        return NONE
    seconds = (moment - (now or datetime.now(UTC))).total_seconds()
    if abs(seconds) < 1:
        return "now"
    if seconds < 0:
        return f"{_rounded(-seconds)} ago"
    # What is ahead is planned with: “in 1 d” would say the same of all fire times of a day.
    return f"in {length(int(seconds)) if seconds >= HOUR else _rounded(seconds)}"


def _rounded(seconds: float) -> str:
    """Write a length of time in its largest unit, rounded down."""
    for size, unit in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def duration(seconds: float | None) -> str:
    """Write a length of time, if it is known."""
    return NONE if seconds is None else in_words(seconds)


def at_most(seconds: float | None) -> str:
    """Write a length of time as a bound: `at most 3 s`, `under 1 ms`."""
    text = duration(seconds)
    return text if text.startswith("under") else f"at most {text}"


def code_pieces(text: str) -> list[tuple[str, bool]]:
    """Cut a description into plain text and what stands between backticks, which is code."""
    pieces = _CODE.split(text)
    return [(piece, at % 2 == 1) for at, piece in enumerate(pieces) if piece]


def count(number: int, word: str, plural: str | None = None, *, most: int | None = None) -> str:
    """Write a number with its noun: `1 job`, `1,204 jobs`; `most` is where counting ends."""
    told = f"{number:,} {word if number == 1 else plural or word + 's'}"
    return told if most is None or number < most else f"at least {told}"


def percent(share: float | None) -> str:
    """Write a share; only what is complete is 100 %."""
    if share is None:
        return NONE
    rounded = round(share * 100)
    return f"{min(rounded, 99) if share < 1 else rounded} %"


def file_size(size: float | None) -> str:
    """Write a number of bytes."""
    if size is None:
        return NONE
    for unit in ("B", "KB", "MB"):
        if size < 1000:  # noqa: PLR2004 -- the step between SI units
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


FILTERS = {
    "absolute": absolute,
    "at_most": at_most,
    "clock_time": clock_time,
    "code_pieces": code_pieces,
    "iso": iso,
    "relative": relative,
    "duration": duration,
    "quoted": partial(quote, safe=""),
    "percent": percent,
    "file_size": file_size,
}

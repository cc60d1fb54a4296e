"""Times as people type them: `24h` is that long ago or ahead, else a date, or a date and time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from dashboard.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo

MOMENT_HELP = "24h, 7d, 2027-03-01 or 2027-03-01 14:30"

CHOICES = (
    ("1h", "1 hour"),
    ("4h", "4 hours"),
    ("12h", "12 hours"),
    ("1d", "1 day"),
    ("7d", "1 week"),
)
"""Times ahead that forms offer, as `read_until` reads them and in words."""

FARTHEST = timedelta(days=366)
"""How far ahead an end may be."""

_LENGTH = re.compile(r"(\d{1,6})\s*(min|m|h|d|w)", re.IGNORECASE)
_UNITS = {"m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LONGEST_LENGTH = timedelta(days=36_500)
_YEARS = range(1970, 9999)
"""What a change of zone can bear."""


def read_moment(text: str, zone: tzinfo, now: datetime) -> datetime:
    """Read `24h` (ago), a date, or a date and time. Raises `ValueError` with a sentence."""
    text = text.strip()
    if (length := _length(re.sub(r"\s+ago$", "", text, flags=re.IGNORECASE))) is not None:
        return max(now - length, datetime(1970, 1, 2, tzinfo=UTC))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"This is no time. Write {MOMENT_HELP}.") from None
    if moment.year not in _YEARS:
        raise ValueError("No run is that far away.")
    return _in_utc(moment, zone)


def read_until(form: Mapping[str, str], zone: tzinfo, now: datetime) -> datetime | None:
    """Return the end that a form's fields `until` (a choice) or `until_time` (typed) ask for.

    What is typed comes first. None means no time at all. Raises `Invalid`.
    """
    text = form.get("until_time", "").strip() or form.get("until", "").strip()
    if not text:
        return None
    try:
        moment = _ahead(text, zone, now)
    except ValueError:
        message = f"“{text[:50]}” is no time. Write 90min, 4h, 2d or 2027-03-01 08:00."
        raise Invalid.one("until", message) from None
    if not now < moment <= now + FARTHEST:
        message = f"“{text[:50]}” has passed, or is more than a year ahead."
        raise Invalid.one("until", message)
    return moment


def _ahead(text: str, zone: tzinfo, now: datetime) -> datetime:
    if (length := _length(text)) is not None:
        return now + length
    moment = datetime.fromisoformat(text)
    if moment.year not in _YEARS:
        raise ValueError(text)
    return _in_utc(moment, zone)


def _length(text: str) -> timedelta | None:
    """Read a length such as `90min` or `2d`; None for anything else."""
    found = _LENGTH.fullmatch(text)
    if found is None:
        return None
    return min(timedelta(**{_UNITS[found[2].lower()]: int(found[1])}), _LONGEST_LENGTH)


def _in_utc(moment: datetime, zone: tzinfo) -> datetime:
    """Return a moment in UTC; one without an offset is by the clocks of `zone`."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)

"""Times ahead, as forms ask for them: `4h`, `2027-03-01 08:00`, or nothing for no end."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from dashboard.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo

CHOICES = (
    ("1h", "1 hour"),
    ("4h", "4 hours"),
    ("12h", "12 hours"),
    ("1d", "1 day"),
    ("7d", "1 week"),
)

LONGEST = timedelta(days=366)

_LENGTH = re.compile(r"(\d{1,6})\s*(min|m|h|d|w)", re.IGNORECASE)
_UNITS = {"m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def read_until(form: Mapping[str, str], zone: tzinfo, now: datetime) -> datetime | None:
    """Return the end that a form's fields `until` (a choice) or `until_time` (typed) ask for.

    What is typed comes first. None means no time at all. Raises `Invalid`.
    """
    text = form.get("until_time", "").strip() or form.get("until", "").strip()
    if not text:
        return None
    try:
        moment = _moment(text, zone, now)
    except ValueError:
        message = f"“{text[:50]}” is no time. Write 90min, 4h, 2d or 2027-03-01 08:00."
        raise Invalid.one("until", message) from None
    if not now < moment <= now + LONGEST:
        message = f"“{text[:50]}” has passed, or is more than a year ahead."
        raise Invalid.one("until", message)
    return moment


def _moment(text: str, zone: tzinfo, now: datetime) -> datetime:
    if length := _LENGTH.fullmatch(text):
        return now + min(timedelta(**{_UNITS[length[2].lower()]: int(length[1])}), 2 * LONGEST)
    moment = datetime.fromisoformat(text)
    if not 1970 < moment.year < 9999:  # noqa: PLR2004 -- what a change of zone can bear
        raise ValueError(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)

"""The answers of a trigger form, read one by one: JSON from a script or strings from a page.

Every reader returns a value that can be worked with and notes what is wrong with the answer, so
that a person sees all complaints at once, each beside its field.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from dashboard.errors import FieldError, Invalid
from dashboard.scheduling.cronfields import quoted
from dashboard.scheduling.wallclock import moment_of, zone_named

if TYPE_CHECKING:
    from collections.abc import Mapping

FIRST_YEAR = 1970
LONGEST = 400
LONGEST_WHOLE = 12

_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?) ?(Z|[+-]\d\d:?\d\d)?)?",
    re.ASCII | re.IGNORECASE,
)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MOMENT_HELP = "use a date and time such as 2026-12-01 09:00 or 2026-12-01T09:00:00+02:00"
_OUTSIDE = f"must lie between the years {FIRST_YEAR} and 9999"


def complaint(path: str, message: str) -> FieldError:
    """Make a message that goes on from the name of its field into a sentence of its own."""
    return FieldError(path, f"{message[0].upper()}{message[1:]}.")


class Answers:
    """What somebody gave for one trigger; blank answers count as not given."""

    def __init__(self, data: Mapping[Any, Any], field: str) -> None:
        self._field = field
        self._asked: set[str] = set()
        self._given = {
            name: value
            for name, value in data.items()
            if value is not None and not (isinstance(value, str) and not value.strip())
        }
        self.errors: list[FieldError] = []

    def path(self, name: str) -> str:
        """Return the path of one of the fields."""
        return f"{self._field}.{name}"

    def wrong(self, name: str, message: str) -> None:
        """Note a complaint; an empty name means the trigger as a whole."""
        self.errors.append(complaint(self.path(name) if name else self._field, message))

    def get(self, name: str) -> Any:
        """Return an answer as it was given, None if it was not."""
        self._asked.add(name)
        return self._given.get(name)

    def text(self, name: str) -> str | None:
        """Read a text of limited length; whole numbers are welcome as text."""
        value = self.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value) if abs(value) < 10**LONGEST_WHOLE else "9" * LONGEST_WHOLE
        if value is None:
            return None
        if not isinstance(value, str):
            self.wrong(name, "must be a text")
        elif len(value) > LONGEST:
            self.wrong(name, f"is too long: at most {LONGEST} characters")
        else:
            return value.strip()
        return None

    def flag(self, name: str) -> bool:
        """Read true or false; false if it was not given."""
        given = self.get(name)
        if given is not None and not isinstance(given, bool):
            self.wrong(name, "must be true or false")
        return given is True

    def whole(self, name: str, low: int, high: int, default: int = 0) -> int:
        """Read a whole number; a form's text is read too, a yes or no is none."""
        value = self.get(name)
        if value is None:
            return default
        if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,12}\s*", value):
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.wrong(name, f"must be a whole number from {low:,} to {high:,}")
            return default
        return value

    def zone(self, name: str, default: str) -> tuple[str, ZoneInfo, bool]:
        """Read a time zone; also tells whether it was given."""
        value = self.get(name)
        if value is not None and not isinstance(value, str):
            self.wrong(name, "must be the name of a time zone, such as Europe/Berlin")
            return "UTC", ZoneInfo("UTC"), False
        chosen = default if value is None else value.strip()
        try:
            return chosen, zone_named(chosen), value is not None
        except ValueError as error:
            self.wrong(name, f"“{quoted(chosen)}” {error}")
            return "UTC", ZoneInfo("UTC"), False

    def wall_or_moment(self, name: str) -> datetime | None:
        """Read a date and time, aware if an offset was given."""
        value = self.get(name)
        if isinstance(value, date):  # YAML files hold real dates
            value = value.isoformat()
        if value is None:
            return None
        if not isinstance(value, str):
            self.wrong(name, _MOMENT_HELP)
            return None
        found = _read_moment(value.strip())
        if found is None:
            self.wrong(name, f"“{quoted(value)}” is not understood; {_MOMENT_HELP}")
            return None
        return self._in_calendar(name, found)

    def _in_calendar(self, name: str, found: datetime) -> datetime | None:
        """Refuse what is out of the calendar, or falls out of it when turned into UTC."""
        try:
            if found.tzinfo is not None:
                found.astimezone(UTC)
            if found.year >= FIRST_YEAR:
                return found
        except OverflowError:
            pass
        self.wrong(name, _OUTSIDE)
        return None

    def moment(self, name: str, zone: ZoneInfo) -> datetime | None:
        """Read a date and time; without an offset it is wall time in the zone.

        What comes back is aware, with the offset it was given with or that of the zone, so that
        writing it down again gives the same text.
        """
        found = self.wall_or_moment(name)
        if found is None or found.tzinfo is not None:
            return found
        try:
            placed = moment_of(zone, found).astimezone(zone)
        except OverflowError:
            self.wrong(name, _OUTSIDE)
            return None
        return datetime.fromisoformat(placed.isoformat())

    def day(self, name: str) -> date | None:
        """Read a date without a time."""
        value = self.get(name)
        if isinstance(value, date) and not isinstance(value, datetime):
            value = value.isoformat()
        if value is None:
            return None
        is_day = isinstance(value, str) and _DAY.fullmatch(value.strip())
        found = _read_moment(value.strip()) if is_day else None
        if found is None:
            self.wrong(name, "must be a date such as 2026-12-01")
            return None
        return found.date() if self._in_calendar(name, found) else None

    def finish(self, kind: str) -> None:
        """Complain about answers nobody asked for, and raise `Invalid` if anything is wrong."""
        for name in [name for name in self._given if name not in self._asked][:10]:
            self.wrong(quoted(name) if isinstance(name, str) else "?", f"is not a field of {kind}")
        if self.errors:
            raise Invalid(self.errors)


def _read_moment(text: str) -> datetime | None:
    match = _MOMENT.fullmatch(text)
    if match is None:
        return None
    day, time, offset = match.groups()
    try:
        return datetime.fromisoformat(f"{day}T{time or '00:00'}{(offset or '').upper()}")
    except ValueError:  # 30 February, 25:00
        return None

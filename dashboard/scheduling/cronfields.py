"""The expressions of one cron field, in APScheduler's notation and in that of a crontab line."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LAST = -1

_NOTHING: Mapping[str, int] = MappingProxyType({})
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_POSITIONS = {"1st": 1, "2nd": 2, "3rd": 3, "4th": 4, "5th": 5, "last": LAST}

_STAR = re.compile(r"\*(?:/(?P<step>[0-9]+))?")
_SPAN = re.compile(r"(?P<first>[0-9]+|[a-z]+)(?:-(?P<last>[0-9]+|[a-z]+))?(?:/(?P<step>[0-9]+))?")
_POSITION = re.compile(r"(?P<nth>1st|2nd|3rd|4th|5th|last) +(?P<weekday>[a-z]+)")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The numbers and names that a field knows, and how ranges may be written in it."""

    name: str
    low: int
    high: int
    names: Mapping[str, int] = field(default_factory=lambda: _NOTHING)
    unix: bool = False
    wraps: bool = False

    @property
    def label(self) -> str:
        """The field's name in a sentence."""
        return self.name.replace("_", " ")

    @property
    def allowed(self) -> str:
        """What may stand in the field, for error messages."""
        numbers = f"{self.low} to {self.high}"
        if not self.names:
            return numbers
        spelled = list(self.names)
        return f"{numbers} or {spelled[0]} to {spelled[-1]}"


@dataclass(frozen=True, slots=True)
class Span:
    """The numbers from `first` to `last` in steps; `starred` when written with a `*`."""

    first: int
    last: int
    step: int = 1
    starred: bool = False


@dataclass(frozen=True, slots=True)
class Position:
    """The nth weekday of a month; without a weekday, the month's last day."""

    nth: int
    weekday: int | None = None


@dataclass(frozen=True, slots=True)
class CronField:
    """One field, understood: its normal text, its numbers, and days such as `last fri`."""

    name: str
    text: str
    values: frozenset[int]
    spans: tuple[Span, ...] = ()
    positions: tuple[Position, ...] = ()
    given: bool = True

    @property
    def every(self) -> bool:
        """True when the field restricts nothing."""
        return self.text in {"*", "*/1"}

    @property
    def starred(self) -> bool:
        """True for `*` and `*/n`: of an hour it means that elapsed time counts."""
        return len(self.spans) == 1 and self.spans[0].starred and not self.positions

    @property
    def restricted(self) -> bool:
        """True as crontab has it: a field that begins with `*` counts as unrestricted."""
        return not self.text.startswith("*")


VOCABULARIES = {
    "year": Vocabulary("year", 1970, 9999),
    "month": Vocabulary("month", 1, 12, {name: n for n, name in enumerate(MONTHS, 1)}),
    "day": Vocabulary("day", 1, 31),
    "week": Vocabulary("week", 1, 53),
    "day_of_week": Vocabulary("day_of_week", 0, 6, {name: n for n, name in enumerate(WEEKDAYS)}),
    "hour": Vocabulary("hour", 0, 23),
    "minute": Vocabulary("minute", 0, 59),
    "second": Vocabulary("second", 0, 59),
}
# What a field means that is not given and stands after the last one given, as in APScheduler.
MINIMUMS = {
    "year": "*",
    "month": "1",
    "day": "1",
    "week": "*",
    "day_of_week": "*",
    "hour": "0",
    "minute": "0",
    "second": "0",
}


def parse(name: str, text: str) -> CronField:
    """Read a field in APScheduler's notation; raises `ValueError` with a message for people.

    Stock APScheduler overlooks whatever follows a name (`mon-fri/2`, `last fri 5pm`). Here a part
    that is not understood whole is refused.
    """
    vocabulary = VOCABULARIES[name]
    spans: list[Span] = []
    positions: list[Position] = []
    parts = _split(text)
    for part in parts:
        position = _read_position(part) if name == "day" else None
        if position is None:
            spans.append(read_span(part, vocabulary))
        else:
            positions.append(position)
    values = _numbers(spans)
    normal = ",".join(parts)
    return CronField(name, normal, values, tuple(spans), tuple(positions))


@cache
def implied(name: str, *, every: bool) -> CronField:
    """Return a field that was not given: every value, or the smallest.

    Kept, as to write out all years takes ten times as long as to read a trigger.
    """
    return replace(parse(name, "*" if every else MINIMUMS[name]), given=False)


def parse_unix(text: str, vocabulary: Vocabulary, number: Callable[[int], int]) -> CronField:
    """Read a field of a crontab line; `number` turns its numbers into APScheduler's."""
    parts = _split(text)
    spans = tuple(read_span(part, vocabulary) for part in parts)
    values = frozenset(number(value) for value in _numbers(spans))
    return CronField(vocabulary.name, ",".join(parts), values, spans)


def _numbers(spans: list[Span] | tuple[Span, ...]) -> frozenset[int]:
    return frozenset().union(*(range(span.first, span.last + 1, span.step) for span in spans))


def _split(text: str) -> list[str]:
    parts = [_tidy(part) for part in text.lower().split(",")]
    if not all(parts):
        raise ValueError("has a comma without a value beside it")
    return parts


def _tidy(part: str) -> str:
    """Fold white space, and write numbers without leading zeros."""
    return re.sub(r"[0-9]+", lambda match: str(int(match[0])), " ".join(part.split()))


def _read_position(part: str) -> Position | None:
    if part == "last":
        return Position(LAST)
    match = _POSITION.fullmatch(part)
    if match is None:
        return None
    names = VOCABULARIES["day_of_week"].names
    if match["weekday"] not in names:
        raise ValueError(f"“{quoted(part)}” names no weekday; use {', '.join(WEEKDAYS)}")
    return Position(_POSITIONS[match["nth"]], names[match["weekday"]])


def read_span(part: str, vocabulary: Vocabulary) -> Span:
    """Read one part of a field's list: `*`, `*/5`, `7`, `mon`, `1-5`, `mon-fri`, `10-50/10`."""
    low, high = vocabulary.low, vocabulary.high
    if star := _STAR.fullmatch(part):
        return Span(low, high, _step(star["step"], high - low, vocabulary), starred=True)
    match = _SPAN.fullmatch(part)
    if match is None:
        raise _unreadable(part, vocabulary)
    if match["step"] and not match["first"].isdigit() and not vocabulary.unix:
        raise ValueError(
            f"“{quoted(part)}” has a step after a name; write the range with numbers instead"
        )
    first = _value(match["first"], vocabulary)
    last = high if match["step"] else first
    if match["last"]:
        last = _value(match["last"], vocabulary)
    if last < first and vocabulary.wraps:
        last += 7
    if last < first:
        raise ValueError(f"“{quoted(part)}” runs backwards; write it as two ranges")
    return Span(first, last, _step(match["step"], last - first, vocabulary))


def _value(text: str, vocabulary: Vocabulary) -> int:
    value = vocabulary.names.get(text, int(text) if text.isdigit() else None)
    if value is None:
        raise _unreadable(text, vocabulary)
    if not vocabulary.low <= value <= vocabulary.high:
        raise ValueError(f"“{quoted(text)}” is out of range; use {vocabulary.allowed}")
    return value


def _unreadable(part: str, vocabulary: Vocabulary) -> ValueError:
    return ValueError(
        f"“{quoted(part)}” is not understood; use {vocabulary.allowed},"
        " lists (1,2), ranges (1-5) and steps (*/5)"
    )


def _step(text: str | None, widest: int, vocabulary: Vocabulary) -> int:
    """Read a step; unlike crontab, APScheduler refuses one that only ever hits the first value."""
    step = int(text) if text else 1
    if step == 0:
        raise ValueError("has a step of 0; a step is at least 1")
    if not vocabulary.unix and step > max(widest, 1):
        raise ValueError(
            f"has a step of {quoted(str(step))}, which is more than the range it steps through"
        )
    return step


def quoted(text: str) -> str:
    """Shorten what somebody typed for an error message, and keep out what cannot be printed."""
    shown = "".join(character if character.isprintable() else "?" for character in text[:40])
    return shown + "…" if len(text) > len(shown) else shown

"""Crontab lines, with the meaning they have in a Unix crontab."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboard.scheduling.cron import CronPattern
from dashboard.scheduling.cronfields import (
    MONTHS,
    Vocabulary,
    implied,
    parse_unix,
    quoted,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SHORTCUTS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

_SUNDAY_FIRST = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_WEEK = 7
_VOCABULARIES = (
    Vocabulary("minute", 0, 59, unix=True),
    Vocabulary("hour", 0, 23, unix=True),
    Vocabulary("day", 1, 31, unix=True),
    Vocabulary("month", 1, 12, {name: n for n, name in enumerate(MONTHS, 1)}, unix=True),
    Vocabulary(
        "day_of_week",
        0,
        7,
        {name: n for n, name in enumerate(_SUNDAY_FIRST)},
        unix=True,
        wraps=True,
    ),
)


def parse_crontab(text: str) -> CronPattern:
    """Read five fields or a shortcut such as `@daily`; raises `ValueError` with a message.

    0 and 7 are Sunday, ranges of weekdays may run over the end of the week, and where day of month
    and day of week are both restricted either may match.
    """
    line = " ".join(text.lower().split())
    parts = SHORTCUTS.get(line, line).split()
    if line.startswith("@") and line not in SHORTCUTS:
        raise ValueError(_unknown_shortcut(line))
    if len(parts) != len(_VOCABULARIES):
        raise ValueError(_miscounted(parts))
    fields = {name: implied(name, every=name != "second") for name in ("year", "week", "second")}
    errors = []
    for vocabulary, part in zip(_VOCABULARIES, parts, strict=True):
        try:
            fields[vocabulary.name] = parse_unix(part, vocabulary, _number_in(vocabulary))
        except ValueError as error:
            errors.append(f"{vocabulary.label}: {error}")
    if errors:
        raise ValueError("; ".join(errors))
    either = fields["day"].restricted and fields["day_of_week"].restricted
    return CronPattern(fields, either=either, crontab=line)


def _number_in(vocabulary: Vocabulary) -> Callable[[int], int]:
    return _from_monday if vocabulary.name == "day_of_week" else _itself


def _from_monday(weekday: int) -> int:
    """Turn Unix's weekday, 0 and 7 being Sunday, into Python's, 0 being Monday."""
    return (weekday - 1) % _WEEK


def _itself(value: int) -> int:
    return value


def _unknown_shortcut(line: str) -> str:
    if line.startswith("@reboot"):
        return (
            "“@reboot” names no time: it means once when the machine starts, which a scheduler"
            " cannot know; choose a time, or run the job by hand"
        )
    return f"“{quoted(line)}” is not known; use one of {', '.join(SHORTCUTS)}"


def _miscounted(parts: list[str]) -> str:
    wanted = "a crontab line has five fields: minute, hour, day of month, month, day of week"
    if len(parts) < len(_VOCABULARIES):
        return f"{wanted}; here there are {len(parts)}"
    return f"{wanted}; here there are {len(parts)}. Leave out seconds, user names and commands"

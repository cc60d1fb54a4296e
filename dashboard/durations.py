"""Durations as people write and read them, and as JSON keeps them (ISO 8601)."""

from __future__ import annotations

import re
from datetime import timedelta
from itertools import pairwise

from pydantic import TypeAdapter

EXAMPLES = "for example 90 (seconds), 1:30:00 or 5m"

_UNIT_SECONDS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
_SECONDS = r"(\d{1,15}(?:\.\d{1,6})?)"
_PLAIN = re.compile(_SECONDS)
_CLOCK = re.compile(rf"(\d{{1,12}}):([0-5]?\d):(?=[0-5]?\d(?!\d)){_SECONDS}")
_UNITS = re.compile(
    rf"(?=\d)(?:(\d{{1,9}})d)?\s*(?:(\d{{1,12}})h)?\s*(?:(\d{{1,12}})m(?:in)?)?\s*(?:{_SECONDS}s)?"
)
_ISO = TypeAdapter(timedelta)


def read_duration(text: str) -> str:
    """Read seconds, `h:mm:ss`, units (`1h 30m`) or ISO 8601 and return ISO 8601.

    ISO 8601 itself is not checked here. Raises `ValueError` with a sentence, also for `5:00`, by
    which some mean minutes and some hours.
    """
    text = text.strip()
    if text.upper().startswith(("P", "-P", "+P")):
        return text.upper()
    amount = text.removeprefix("-").strip().lower()
    parts: tuple[str, ...]
    if plain := _PLAIN.fullmatch(amount):
        parts = ("0", "0", "0", plain[1])
    elif clock := _CLOCK.fullmatch(amount):
        parts = ("0", *clock.groups())
    elif units := _UNITS.fullmatch(amount):
        parts = tuple(part or "0" for part in units.groups())
    else:
        raise ValueError(f"Must be a duration, {EXAMPLES}.")
    days, hours, minutes = (int(part) for part in parts[:3])
    seconds, _point, fraction = parts[3].partition(".")
    try:
        length = timedelta(days, int(seconds), int(fraction.ljust(6, "0")), 0, minutes, hours)
    except OverflowError:
        raise ValueError("Must be shorter than 999,999,999 days.") from None
    return str(_ISO.dump_python(-length if text.startswith("-") else length, mode="json"))


def show_duration(text: str) -> str:
    """Turn ISO 8601 into units, `PT1H30M` into `1h 30m`; anything else stays as it is."""
    try:
        length = _ISO.validate_python(text)
    except ValueError:
        return text
    seconds, microseconds = divmod(abs(length) // timedelta(microseconds=1), 1_000_000)
    words = []
    for unit, size in _UNIT_SECONDS.items():
        count, seconds = divmod(seconds, size)
        point = f".{microseconds:06}".rstrip("0") if unit == "s" and microseconds else ""
        if count or point:
            words.append(f"{count}{point}{unit}")
    return ("-" if length < timedelta() else "") + (" ".join(words) or "0s")


def in_words(seconds: float) -> str:
    """Write a length of time with two units at most: `400 ms`, `12 s`, `3 min 20 s`, `2 d 4 h`."""
    if seconds < 0.0005:  # noqa: PLR2004 -- what would round to nothing
        return "under 1 ms"
    # Each bound is where rounding would reach the next form: 59.6 s is a minute.
    for below, form in ((0.9995, "{:.0f} ms"), (9.95, "{:.1f} s"), (59.5, "{:.0f} s")):
        if seconds < below:
            return form.format(seconds * 1000 if form.endswith("ms") else seconds)
    return length(seconds)


def length(seconds: float) -> str:
    """Write a length of time that somebody has chosen, likewise, but nothing below a second."""
    seconds = round(seconds)
    units = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    for (large, large_name), (small, small_name) in pairwise(units):
        if seconds >= large:
            rest = seconds % large // small
            tail = f" {rest} {small_name}" if rest else ""
            return f"{seconds // large} {large_name}{tail}"
    return f"{seconds} s" if seconds else "under 1 s"

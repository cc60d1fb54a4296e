"""The filter of the list of runs as an address has it: `?state=failed&job=nightly&since=24h`."""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, TypeVar

from dashboard.errors import FieldError, Invalid
from dashboard.history.run_list import RunFilter
from dashboard.storage.models import ID_LENGTH, LARGEST_ID, Origin, RunState
from dashboard.web.times import read_moment

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, tzinfo

    from werkzeug.datastructures import MultiDict

Value = TypeVar("Value")
Words = TypeVar("Words", bound=enum.StrEnum)

LONGEST_TEXT = 200

PARAMETERS = (
    "state",
    "job",
    "task",
    "origin",
    "executor",
    "tag",
    "fingerprint",
    "q",
    "since",
    "until",
    "ended",
)
"""The names that filter; `before` and `after` only page."""


def read_run_filter(args: MultiDict[str, str], *, zone: tzinfo, now: datetime) -> RunFilter:
    """Return the filter that an address asks for; times without an offset are those of `zone`.

    Raises `Invalid` with a complaint for every parameter at fault.
    """
    reader = _Reader(args)
    wanted = RunFilter(
        states=frozenset(reader.states()),
        job_id=reader.one("job", lambda text: _text(text, ID_LENGTH)),
        task=reader.one("task", lambda text: _text(text, ID_LENGTH)),
        origin=reader.one("origin", lambda text: _word(text, Origin, "origin")),
        executor=reader.one("executor", lambda text: _text(text, ID_LENGTH)),
        tag=reader.one("tag", lambda text: _text(text.strip(), ID_LENGTH)),
        fingerprint=reader.one("fingerprint", lambda text: _text(text, ID_LENGTH)),
        text=reader.one("q", lambda text: _text(text.strip(), LONGEST_TEXT)),
        since=reader.one("since", lambda text: read_moment(text, zone, now)),
        until=reader.one("until", lambda text: read_moment(text, zone, now)),
        ended=reader.one("ended", lambda text: read_moment(text, zone, now)),
    )
    if wanted.since and wanted.until and wanted.since >= wanted.until:
        reader.complain("until", "This is not after the beginning.")
    reader.raise_complaints()
    return wanted


def read_place(args: MultiDict[str, str]) -> tuple[int | None, int | None]:
    """Return the run ids `before` and `after` of an address, at most one of which is given.

    Raises `Invalid`.
    """
    reader = _Reader(args)
    before, after = reader.one("before", _run_id), reader.one("after", _run_id)
    if before is not None and after is not None:
        reader.complain("before", "A page is either before one run or after another, not both.")
    reader.raise_complaints()
    return before, after


class _Reader:
    """Reads parameters one by one and collects what is wrong with them."""

    def __init__(self, args: MultiDict[str, str]) -> None:
        self._args = args
        self._errors: list[FieldError] = []

    def complain(self, name: str, message: str) -> None:
        self._errors.append(FieldError(name, message))

    def raise_complaints(self) -> None:
        if self._errors:
            raise Invalid(self._errors)

    def one(self, name: str, read: Callable[[str], Value]) -> Value | None:
        """Return what `read` makes of a parameter; None where it is missing or empty."""
        text = self._args.get(name, "")
        if not text.strip():
            return None
        try:
            return read(text)
        except ValueError as error:
            self.complain(name, str(error))
            return None

    def states(self) -> list[RunState]:
        """Return the states, given several times or separated by commas."""
        words = [word.strip() for text in self._args.getlist("state") for word in text.split(",")]
        try:
            return [_word(word, RunState, "state") for word in words if word]
        except ValueError as error:
            self.complain("state", str(error))
            return []


def _text(text: str, limit: int) -> str:
    if len(text) > limit:
        raise ValueError(f"This is longer than the {limit} characters that are possible.")
    if not text.isprintable():
        raise ValueError("This holds characters that cannot be printed.")
    return text


def _word(text: str, kind: type[Words], noun: str) -> Words:
    try:
        return kind(text.strip().lower())
    except ValueError:
        known = ", ".join(kind)
        raise ValueError(f"“{text[:50]}” is no {noun}. There are: {known}.") from None


def _run_id(text: str) -> int:
    if not re.fullmatch(r"\d{1,19}", text, re.ASCII) or int(text) > LARGEST_ID:
        raise ValueError("This address leads to no page of the list.")
    return int(text)

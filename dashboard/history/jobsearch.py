"""What people type to find jobs: `state:failing task:report tag:billing nightly`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dashboard.storage.models import Health, JobState

if TYPE_CHECKING:
    from collections.abc import Iterable

STATES = (*JobState, *Health)
"""The states of jobs and their health."""

REMOVED = "removed"
"""The word for jobs that are gone, and can be brought back for a while."""

SEARCHABLE = (*STATES, REMOVED)
"""What people may name after `state:`."""


@dataclass(frozen=True, slots=True)
class JobSearch:
    """What `state:failing task:report tag:billing nightly` asks for; everything must hold."""

    words: tuple[str, ...] = ()  # parts of the name or the id
    states: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()  # parts of the task's name
    tags: tuple[str, ...] = ()
    complaints: tuple[str, ...] = ()  # what could not be understood

    @classmethod
    def parse(cls, query: str) -> JobSearch:
        """Read a query as people type it; quotes keep spaces together."""
        kinds: dict[str, list[str]] = {"state": [], "task": [], "tag": [], "": []}
        complaints = []
        for term in _terms(query.replace("\0", "")):
            kind, colon, value = term.partition(":")
            if not colon or kind not in kinds or not value:
                kinds[""].append(term)
            elif kind == "state" and value.lower() not in SEARCHABLE:
                complaints.append(f"“{value}” is no state; there are {', '.join(SEARCHABLE)}.")
            else:
                kinds[kind].append(value.lower() if kind == "state" else value)
        return cls(
            words=tuple(kinds[""]),
            states=tuple(kinds["state"]),
            tasks=tuple(kinds["task"]),
            tags=tuple(kinds["tag"]),
            complaints=tuple(complaints),
        )

    @property
    def removed(self) -> bool:
        """Whether it asks for jobs that were removed, which are another list."""
        return REMOVED in self.states

    def __str__(self) -> str:
        """Write the search as it would be typed."""
        terms = [f"state:{state}" for state in self.states]
        terms += [_quoted(f"task:{task}") for task in self.tasks]
        terms += [_quoted(f"tag:{tag}") for tag in self.tags]
        return " ".join(terms + [_quoted(word) for word in self.words])

    def with_state(self, state: str | None) -> JobSearch:
        """Return the same search for another state, or for any."""
        return replace(self, states=(state,) if state else (), complaints=())

    def narrowed(self, *, states: Iterable[str], tags: Iterable[str]) -> JobSearch:
        """Return the same search for jobs that are in these states too, and have these tags."""
        return replace(self, states=(*self.states, *states), tags=(*self.tags, *tags))


def _terms(query: str) -> list[str]:
    """Split a query at spaces outside of double quotes; an open quote is a letter like others."""
    lexer = shlex.shlex(query, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.quotes, lexer.escape, lexer.commenters = True, '"', "", ""
    try:
        return [term for term in lexer if term]
    except ValueError:
        return query.split()


def _quoted(term: str) -> str:
    return f'"{term}"' if any(character.isspace() for character in term) else term

"""The strip of a job's last runs: a bar each; height is duration, shape and colour the outcome.

All bars of one outcome are a single SVG path, so that fifty strips on a page stay cheap.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

RUNS = 30
STEP = 5
HEIGHT = 24
LOWEST = 4

# What did not go well differs in shape, not in colour alone: an exclamation mark of full height for
# what went wrong, a dash in mid-air for what never ran.
MARK = " 0v17m0 3v4"
DASH = " 11v3"
OUTLINES = {"failed": MARK, "interrupted": MARK}


@dataclass(frozen=True, slots=True)
class Strip:
    """A strip ready to be drawn: a path to be stroked for each outcome, and the same in words."""

    paths: tuple[tuple[str, str], ...]
    text: str
    runs: int
    success_rate: float


@lru_cache(maxsize=1024)
def strip_of(recent: str) -> Strip | None:
    """Draw the JSON of `job_health.recent`, remembered: most jobs run less often than we look."""
    runs = json.loads(recent)
    return draw_strip(runs) if runs else None


def draw_strip(recent: Sequence[Sequence[Any]]) -> Strip:
    """Draw `[run id, state, seconds or None, …]`, oldest first, from the left."""
    runs = recent[-RUNS:]
    scale = (HEIGHT - LOWEST) / (max((run[2] or 0 for run in runs), default=0) or 1)
    paths: dict[str, list[str]] = {}
    x = STEP // 2
    for run in runs:
        state = run[1]
        if state == "succeeded":
            shape = f"M{x} {HEIGHT}v-{LOWEST + int((run[2] or 0) * scale)}"
        else:
            shape = f"M{x}{OUTLINES.get(state, DASH)}"
        paths.setdefault(state, []).append(shape)
        x += STEP
    counts = ", ".join(f"{len(shapes)} {state}" for state, shapes in paths.items())
    return Strip(
        paths=tuple((state, "".join(shapes)) for state, shapes in paths.items()),
        text=f"Last {len(runs)} runs: {counts}; the newest {runs[-1][1]}.",
        runs=len(runs),
        success_rate=success_rate(runs) or 0.0,
    )


def success_rate(recent: Sequence[Sequence[Any]]) -> float | None:
    """Return the share of the last runs that succeeded; None when there are none."""
    runs = recent[-RUNS:]
    return sum(run[1] == "succeeded" for run in runs) / len(runs) if runs else None

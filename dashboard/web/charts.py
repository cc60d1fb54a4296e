"""The geometry of charts that templates draw as SVG: plain numbers, no markup.

Horizontal positions are percentages, vertical ones pixels: the drawing fills whatever width there
is, while marks and letters keep their size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dashboard.history.verdicts import SLOW_FACTOR, is_slow, slow_from

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dashboard.history.run_list import ListedRun

HEIGHT = 150.0
"""Pixels from no duration at all to the top of the scale."""

BAR_WIDTH = 48
"""Pixels of the bar beside a duration."""

HEADROOM = 8.0
"""Pixels above the top of the scale, so that the highest mark is not cut."""

FEWEST_SLOTS = 24
"""A few runs stand side by side as in a full chart, not a hand's breadth apart."""

LONG_TAIL = 20
"""When the longest run took this many times what is usual, the scale becomes logarithmic."""

BEGINNING_OF_LOG = 0.5
"""The logarithmic scale begins at this share of what is usual; below it, it is straight."""

WIDEST_LOG = 1e6
"""How many times shorter than the longest a run may be and still be told from nothing."""

LINES = 4
"""Grid lines above the base, at most."""

ROUND_DURATIONS = (
    *(digit * 10**power for power in range(-3, 1) for digit in (1, 2, 5)),
    *(10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400),
)
"""Seconds that people call round, for grid lines."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One run in the chart."""

    run: ListedRun
    x: float  # percent
    y: float
    slow: bool  # unusually slow
    times_usual: float | None


@dataclass(frozen=True, slots=True)
class GridLine:
    """A horizontal line and the duration it stands for."""

    seconds: float
    y: float


@dataclass(frozen=True, slots=True)
class DurationChart:
    """Durations of runs, oldest at the left, with what is usual for them."""

    height: float
    base: float  # y of no duration; runs that never started stand there
    marks: list[Mark]
    grid: list[GridLine]
    usual: GridLine | None
    long: GridLine | None  # with `usual` the edges of the usual band
    slow: GridLine | None  # from here up a run counts as slow
    logarithmic: bool


@dataclass(frozen=True, slots=True)
class _Scale:
    """From seconds to pixels."""

    top: float  # seconds
    straight_to: float | None  # None: straight to the top, else logarithmic above

    def y(self, seconds: float) -> float:
        return round(HEADROOM + HEIGHT * (1 - self._share(min(seconds, self.top))), 1)

    def _share(self, seconds: float) -> float:
        if self.straight_to is None:
            return seconds / self.top
        return math.log1p(seconds / self.straight_to) / math.log1p(self.top / self.straight_to)

    def line(self, seconds: float | None) -> GridLine | None:
        """Return the line at a duration, unless it lies above the top."""
        if seconds is None or seconds > self.top:
            return None
        return GridLine(seconds, self.y(seconds))


@dataclass(frozen=True, slots=True)
class Bar:
    """A duration beside what is usual, in pixels of one length."""

    width: float
    usual: float
    slow: bool


def duration_bar(seconds: float | None, usual: float | None, long: float | None) -> Bar | None:
    """Lay out one duration; the whole BAR_WIDTH is SLOW_FACTOR times what is usual."""
    if seconds is None or not usual:
        return None
    width = BAR_WIDTH * min(seconds / (usual * SLOW_FACTOR), 1.0)
    return Bar(round(width, 1), round(BAR_WIDTH / SLOW_FACTOR, 1), is_slow(seconds, usual, long))


def duration_chart(
    runs: Sequence[ListedRun], *, usual: float | None, long: float | None
) -> DurationChart | None:
    """Lay out `runs`, newest first as lists are; None when none of them took any time."""
    seconds = [run.duration for run in runs if run.duration is not None]
    if not seconds or max(seconds) <= 0:
        return None
    scale = _scale(max(seconds), usual, long)
    slots = max(len(runs), FEWEST_SLOTS)
    marks = [
        Mark(
            run=run,
            x=round(100 * (slots - place - 0.5) / slots, 2),
            y=scale.y(run.duration or 0.0),
            slow=is_slow(run.duration, usual, long),
            times_usual=run.duration / usual if run.duration and usual else None,
        )
        for place, run in enumerate(runs)
    ]
    return DurationChart(
        height=HEIGHT + 2 * HEADROOM,
        base=HEIGHT + HEADROOM,
        marks=marks[::-1],
        grid=[GridLine(step, scale.y(step)) for step in _grid(scale)],
        usual=scale.line(usual),
        long=scale.line(long),
        slow=scale.line(slow_from(usual, long)),
        logarithmic=scale.straight_to is not None,
    )


def _scale(longest: float, usual: float | None, long: float | None) -> _Scale:
    top = max(longest, (long or 0.0) * 1.1, (usual or 0.0) * 1.5)
    if usual and longest > LONG_TAIL * usual:
        return _Scale(top, max(usual * BEGINNING_OF_LOG, top / WIDEST_LOG))
    return _Scale(top, None)


def _grid(scale: _Scale) -> list[float]:
    """Choose round durations for the grid: evenly spaced, or on a logarithmic scale well apart."""
    if scale.straight_to is None:
        days = math.ceil(scale.top / 86_400 / LINES) * 86_400
        step = next((step for step in ROUND_DURATIONS if scale.top / step <= LINES), days)
        return [step * number for number in range(1, int(scale.top / step) + 1)]
    chosen: list[float] = []
    nearest = HEIGHT + HEADROOM
    for step in ROUND_DURATIONS:
        y = scale.y(step)
        if step <= scale.top and nearest - y >= HEIGHT / (LINES + 1):
            chosen.append(step)
            nearest = y
    return chosen

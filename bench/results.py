"""What a benchmark found, and how it is shown."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WHOLE = 100
"""Numbers from here on are shown without decimals."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure is meant to reach: at least, or at most, so much."""

    at_least: float | None = None
    at_most: float | None = None

    def is_met(self, value: float) -> bool:
        """Say whether `value` reaches it."""
        above = self.at_least is None or value >= self.at_least
        return above and (self.at_most is None or value <= self.at_most)

    def __str__(self) -> str:
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return f"<= {self.at_most:g}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table."""

    benchmark: str
    what: str
    value: float
    unit: str
    target: Target | None = None
    detail: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without one."""
        return None if self.target is None else self.target.is_met(self.value)


def table(figures: Sequence[Figure]) -> str:
    """Draw the figures as a table for people."""
    rows = [("benchmark", "what", "value", "target", "met", "detail")]
    rows += [
        (
            figure.benchmark,
            figure.what,
            f"{_number(figure.value)} {figure.unit}".strip(),
            "" if figure.target is None else str(figure.target),
            {True: "yes", False: "NO", None: ""}[figure.met],
            figure.detail,
        )
        for figure in figures
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def json_line(figure: Figure) -> str:
    """Return one figure as one line of JSON."""
    return json.dumps(asdict(figure) | {"met": figure.met})


def median(values: Sequence[float]) -> float:
    """Return the middle one, which a disturbed round does not move."""
    return statistics.median(values)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that `percent` per cent do not exceed."""
    ordered = sorted(values)
    return ordered[round((len(ordered) - 1) * percent / 100)]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= WHOLE else f"{value:.2f}"

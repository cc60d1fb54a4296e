"""How long the runs of a job took over weeks, from the buckets that are counted while runs end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, select

from dashboard.storage.models import DURATION_BOUNDS, DURATION_COLUMNS, RunStats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

DAYS = 30
"""Days that are looked at; 24 rows each."""

FEWEST = 20
"""Runs of which 95 % is a number worth telling."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How long runs took: half of them at most `half` seconds, 95 % at most `most`.

    None is more than the largest bucket holds, a day.
    """

    runs: int
    half: float | None
    most: float | None


def read_spread(session: Session, job_id: str, now: datetime) -> Spread | None:
    """Return how long the runs of a job took lately; None when too few did to tell."""
    asked = {"job": job_id, "since": now - timedelta(days=DAYS)}
    counts = [int(number or 0) for number in session.connection().execute(_COUNTS, asked).one()]
    runs = sum(counts)
    if runs < FEWEST:
        return None
    return Spread(runs, half=within(counts, 0.5), most=within(counts, 0.95))


def within(counts: Sequence[int], share: float) -> float | None:
    """Return the least bound, in seconds, that so large a share of runs stayed within.

    None when it is beyond the last one.
    """
    wanted = share * sum(counts)
    reached = zip(DURATION_BOUNDS, accumulate(counts), strict=False)
    return next((bound for bound, upto in reached if upto >= wanted), None)


_COUNTS = select(*(func.sum(RunStats.__table__.c[name]) for name in DURATION_COLUMNS)).where(
    RunStats.job_id == bindparam("job"), RunStats.hour >= bindparam("since")
)

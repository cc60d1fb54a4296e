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


@dataclass(frozen=True, slots=True)
class Spread:
    """How long runs took: about half of them up to `half` seconds, about 95 % up to `most`."""

    runs: int
    half: float
    most: float


def read_spread(session: Session, job_id: str, now: datetime) -> Spread | None:
    """Return how long the runs of a job took lately; None when none took any time."""
    asked = {"job": job_id, "since": now - timedelta(days=DAYS)}
    counts = [int(number or 0) for number in session.connection().execute(_COUNTS, asked).one()]
    runs = sum(counts)
    if not runs:
        return None
    return Spread(runs, half=percentile(counts, 0.5), most=percentile(counts, 0.95))


def percentile(counts: Sequence[int], share: float) -> float:
    """Return the seconds within which about that share of runs ended.

    Within a bucket they are taken to lie evenly, as Prometheus does; beyond the last bound nothing
    is known but that bound.
    """
    wanted = share * sum(counts)
    below = 0.0
    before = 0
    for bound, upto in zip(DURATION_BOUNDS, accumulate(counts), strict=False):
        if upto >= wanted and upto > before:
            return below + (bound - below) * (wanted - before) / (upto - before)
        below, before = bound, upto
    return DURATION_BOUNDS[-1]


_COUNTS = select(*(func.sum(RunStats.__table__.c[name]) for name in DURATION_COLUMNS)).where(
    RunStats.job_id == bindparam("job"), RunStats.hour >= bindparam("since")
)

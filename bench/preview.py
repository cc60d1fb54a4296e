"""Looking ahead in the editor: what a preview of ten fire times costs."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bench.results import Figure, percentile
from dashboard.scheduling import triggers
from dashboard.scheduling.preview import preview

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bench.scale import Scale

AFTER = datetime(2027, 3, 1, 12, tzinfo=UTC)
HELSINKI = {"timezone": "Europe/Helsinki"}
EVEN_HOURS = {"type": "cron", "hour": "*/2"}
MONDAYS = {"type": "cron", "day_of_week": "mon"}

CORPUS: tuple[Mapping[str, Any], ...] = (
    {"type": "interval", "seconds": 1},
    {"type": "interval", "minutes": 10, **HELSINKI},
    {"type": "interval", "weeks": 1, "start_date": "2020-01-01T00:00:00+00:00"},
    {"type": "cron", "crontab": "* * * * *"},
    {"type": "cron", "crontab": "*/15 9-17 * * mon-fri", **HELSINKI},
    {"type": "cron", "crontab": "30 2 * * *", **HELSINKI},
    {"type": "cron", "crontab": "0 0 13 * 5"},
    {"type": "cron", "crontab": "@monthly", **HELSINKI},
    {"type": "cron", "hour": "0", **HELSINKI},
    {"type": "cron", "day": "last", "hour": "23", "minute": "59"},
    {"type": "cron", "day": "3rd fri", "hour": "17", **HELSINKI},
    {"type": "cron", "month": "2", "day": "29", "hour": "12"},
    {"type": "cron", "month": "7", "week": "1"},
    {"type": "cron", "month": "2", "day": "31"},
    {"type": "date", "run_date": "2027-06-01T08:00:00+00:00"},
    {"type": "calendarinterval", "months": 1, "hour": 4, **HELSINKI},
    {"type": "calendarinterval", "years": 1, "start_date": "2024-02-29"},
    {"type": "or", "triggers": [EVEN_HOURS, MONDAYS, {"type": "cron", "day": "1", "hour": "8"}]},
    {"type": "and", "triggers": [EVEN_HOURS, MONDAYS]},
    {"type": "and", "triggers": [EVEN_HOURS, {"type": "cron", "hour": "1"}]},
)


def measure(scale: Scale) -> Iterator[Figure]:
    """Read and preview each trigger of the corpus several times, as the editor does."""
    seconds = {
        number: [_look_ahead(data) for _ in range(scale.previews)]
        for number, data in enumerate(CORPUS)
    }
    every = [taken for group in seconds.values() for taken in group]
    slowest = max(seconds, key=lambda number: percentile(seconds[number], 50))
    yield Figure(
        "preview",
        f"10 fire times of {len(CORPUS)} triggers: p95",
        percentile(every, 95) * 1000,
        "ms",
        None,
        f"median {percentile(every, 50) * 1000:.1f} ms; slowest, with"
        f" {percentile(seconds[slowest], 50) * 1000:.0f} ms: {dict(CORPUS[slowest])}",
    )


def _look_ahead(data: Mapping[str, Any]) -> float:
    began = time.perf_counter()
    preview(triggers.load(data), count=10, after=AFTER)
    return time.perf_counter() - began

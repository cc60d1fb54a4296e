"""Looking ahead in the editor: what a preview costs, of usual triggers and the worst there are."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bench.results import Figure, Target, percentile
from dashboard.scheduling import triggers
from dashboard.scheduling.preview import preview

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bench.scale import Scale

TARGET = Target(at_most=50)
LONGEST = 200
"""Characters told of the slowest trigger."""

AFTER = datetime(2027, 3, 1, 12, tzinfo=UTC)
HELSINKI, TOKYO = "Europe/Helsinki", "Asia/Tokyo"
EVEN_HOURS = {"type": "cron", "hour": "*/2"}
MONDAYS = {"type": "cron", "day_of_week": "mon"}


def _cron(zone: str, **fields: Any) -> dict[str, Any]:
    return {"type": "cron", "timezone": zone, **fields}


def _either(*triggers: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "or", "triggers": list(triggers)}


def _both(*triggers: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "and", "triggers": list(triggers)}


USUAL: tuple[Mapping[str, Any], ...] = (
    {"type": "interval", "seconds": 1},
    {"type": "interval", "minutes": 10, "timezone": HELSINKI},
    {"type": "interval", "weeks": 1, "start_date": "2020-01-01T00:00:00+00:00"},
    {"type": "cron", "crontab": "* * * * *"},
    {"type": "cron", "crontab": "*/15 9-17 * * mon-fri", "timezone": HELSINKI},
    {"type": "cron", "crontab": "30 2 * * *", "timezone": HELSINKI},
    {"type": "cron", "crontab": "0 0 13 * 5"},
    {"type": "cron", "crontab": "@monthly", "timezone": HELSINKI},
    {"type": "cron", "hour": "0", "timezone": HELSINKI},
    {"type": "cron", "day": "last", "hour": "23", "minute": "59"},
    {"type": "cron", "day": "3rd fri", "hour": "17", "timezone": HELSINKI},
    {"type": "cron", "month": "2", "day": "29", "hour": "12"},
    {"type": "cron", "month": "7", "week": "1"},
    {"type": "cron", "month": "2", "day": "31"},
    {"type": "date", "run_date": "2027-06-01T08:00:00+00:00"},
    {"type": "calendarinterval", "months": 1, "hour": 4, "timezone": HELSINKI},
    {"type": "calendarinterval", "years": 1, "start_date": "2024-02-29"},
    {"type": "or", "triggers": [EVEN_HOURS, MONDAYS, {"type": "cron", "day": "1", "hour": "8"}]},
    {"type": "and", "triggers": [EVEN_HOURS, MONDAYS]},
    {"type": "and", "triggers": [EVEN_HOURS, {"type": "cron", "hour": "1"}]},
)
NEVER = _both(_cron(TOKYO, hour=9), _cron(HELSINKI, hour=9, minute=30))
HARD: tuple[Mapping[str, Any], ...] = (
    _cron(HELSINKI, week=1, month=7),
    _cron(HELSINKI, year=9999, hour="*"),
    _either(*(_cron(HELSINKI, month=2, day=29, day_of_week=n % 7, hour=n) for n in range(19))),
    NEVER,
    _either(*[NEVER] * 6),
    _both(_either(*[NEVER] * 5), _cron(TOKYO, second="*")),
    _both(_cron(TOKYO, second="*/2"), _cron(HELSINKI, second="1-59/2")),
    _both({"type": "interval", "seconds": 86_399}, _cron(HELSINKI, hour=3)),
    _both({"type": "interval", "seconds": 61}, {"type": "cron", "minute": "*"}),
    _both({"type": "calendarinterval", "months": 1, "days": 1}, _cron(HELSINKI, day=13, hour=6)),
)
"""Triggers whose next fire time is far to seek, or nowhere."""

CORPUS = (*USUAL, *HARD)


def measure(scale: Scale) -> Iterator[Figure]:
    """Read and preview each trigger of the corpus several times, as the editor does."""
    seconds = {
        number: [_look_ahead(data) for _ in range(scale.previews)]
        for number, data in enumerate(CORPUS)
    }
    every = [taken for group in seconds.values() for taken in group]
    slowest = max(seconds, key=lambda number: percentile(seconds[number], 95))
    yield Figure(
        "preview",
        f"the slowest of {len(CORPUS)} triggers: p95",
        percentile(seconds[slowest], 95) * 1000,
        "ms",
        TARGET,
        json.dumps(CORPUS[slowest])[:LONGEST],
    )
    yield Figure(
        "preview",
        "all of them: p95",
        percentile(every, 95) * 1000,
        "ms",
        None,
        f"median {percentile(every, 50) * 1000:.1f} ms, for 10 fire times each",
    )


def _look_ahead(data: Mapping[str, Any]) -> float:
    began = time.perf_counter()
    preview(triggers.load(data), count=10, after=AFTER)
    return time.perf_counter() - began

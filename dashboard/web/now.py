"""The page Now: what is wrong, what runs, what comes next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from flask import Blueprint, request, url_for

from dashboard.history.overview import SOON, read_overview
from dashboard.history.problems import SHOWN
from dashboard.history.system import QUEUED
from dashboard.storage.models import Role
from dashboard.web.access import reach_of, role
from dashboard.web.rendering import draw_macro, live_etag, not_modified, render
from dashboard.web.shell import scheduler_now, shell_of
from dashboard.web.state import dashboard_state

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flask import Response

    from dashboard.history.overview import HourCount, Overview

blueprint = Blueprint("now", __name__)

CHART_HEIGHT = 96
"""Units of the highest bar."""

SMALLEST = 2.0
"""Units of a part of a bar that counts only a few runs among many: it must be seen."""


@blueprint.get("/")
@role(Role.VIEWER)
def show() -> Response:
    """Show the page, or its live part; with `tv=1` as a screen on the wall."""
    tv = request.args.get("tv") == "1"
    now = datetime.now(UTC)
    with dashboard_state().database.read() as session:
        etag = live_etag(session)
        if answer := not_modified(etag):
            return answer
        overview = read_overview(session, now, alive=scheduler_now(session).alive)
        shell_of(session)
    return render(
        "now/tv.html" if tv else "now/index.html",
        partial="now/_tv.html" if tv else "now/_live.html",
        etag=etag,
        overview=overview,
        reach=reach_of(_jobs_shown(overview)),
        at=now,
        chart=hour_bars(overview.hours),
        day=day_counts(overview.hours),
        day_began=overview.hours[0].hour,
        shown=SHOWN,
        soon=SOON,
        queued_cap=QUEUED,
        draw_actions=partial(_draw_actions, url_for("dashboard.now.show")),
    )


@lru_cache(maxsize=1024)
def _draw_actions(home: str, job_id: str, run: bool) -> str:  # noqa: ARG001, FBT001
    """Draw the buttons of a row, once: hundreds of addresses are most of such a page's time.

    `home` is where this dashboard lies; a process may have several.
    """
    return draw_macro("now/_actions.html", "actions", job_id, run)


def _jobs_shown(overview: Overview) -> Iterator[str]:
    for problem in (*overview.problems.open, *overview.problems.silenced):
        yield problem.job_id
    for active in overview.running:
        yield active.job_id


@dataclass(frozen=True, slots=True)
class Part:
    """One colour of a bar: an outcome, and where it is drawn."""

    outcome: str
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One hour of the chart."""

    x: int
    count: HourCount
    until: datetime
    parts: list[Part]


BAR_STEP = 20


def hour_bars(hours: Sequence[HourCount]) -> list[Bar]:
    """Lay the hours out as stacked bars, the highest one filling the height."""
    most = max((hour.total for hour in hours), default=0)
    return [
        Bar(
            x=index * BAR_STEP,
            count=hour,
            until=hour.hour + timedelta(hours=1),
            parts=_stack(hour, CHART_HEIGHT / most if most else 0.0),
        )
        for index, hour in enumerate(hours)
    ]


def _stack(hour: HourCount, scale: float) -> list[Part]:
    """Pile up the outcomes of an hour from the bottom, what went wrong on top."""
    parts = []
    top = float(CHART_HEIGHT)
    for outcome in ("succeeded", "cancelled", "missed", "failed"):
        if number := getattr(hour, outcome):
            height = max(number * scale, SMALLEST)
            top -= height
            parts.append(Part(outcome, round(top, 1), round(height, 1)))
    return parts


def day_counts(hours: Sequence[HourCount]) -> dict[str, int]:
    """Add the hours up, by outcome."""
    return {
        outcome: sum(getattr(hour, outcome) for hour in hours)
        for outcome in ("succeeded", "failed", "missed", "cancelled")
    }

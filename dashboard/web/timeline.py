"""The timeline: lanes of past runs and expected fires on one axis, and a calendar of days.

Geometry is computed here, in thousandths of the width; templates draw it as SVG. All runs of one
lane and outcome are a single path, so that ten thousand of them stay a page that opens at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from flask import Blueprint, request, url_for

from dashboard.history.joblist import list_jobs
from dashboard.history.jobsearch import JobSearch
from dashboard.history.timeline import DAYS, LANES, MOST_RUNS
from dashboard.services.timeline import read_timeline
from dashboard.storage.models import Role
from dashboard.web.access import role
from dashboard.web.rendering import live_etag, not_modified, render
from dashboard.web.state import dashboard_state
from dashboard.web.zones import display_zone

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import tzinfo

    from flask import Response

    from dashboard.history.timeline import Day, Lane, LaneRun
    from dashboard.services.timeline import Timeline

blueprint = Blueprint("timeline", __name__)

WIDTH = 1000
"""Units of the whole stretch, past and future."""

NARROWEST = 2
"""Units of a run that took no time worth drawing."""

LINKED = 600
"""So many runs are drawn one by one, each a link; more become one path a lane and outcome."""

LISTED = 100
"""Runs in the table that says the same; Runs has them all."""

TICKS = 8
"""Marks on the axis, at most."""

STEPS = (60, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800)
"""Seconds between marks that people can read off."""

SHAPES = {"failed": (1, 18), "interrupted": (1, 18), "missed": (8, 4), "skipped": (8, 4)}
"""Top and height of an outcome in a lane of 20: what went wrong is tall, what never ran a dash."""

ORDINARY = (4, 12)


@dataclass(frozen=True, slots=True)
class View:
    """How much time is shown."""

    word: str
    back: timedelta
    ahead: timedelta


VIEWS = (
    View("1 h", timedelta(hours=1), timedelta(minutes=20)),
    View("6 h", timedelta(hours=6), timedelta(hours=2)),
    View("24 h", timedelta(hours=24), timedelta(hours=8)),
    View("7 d", timedelta(days=7), timedelta(days=2)),
)
USUAL = VIEWS[1]


@dataclass(frozen=True, slots=True)
class Choice:
    """A link to another view."""

    word: str
    url: str
    current: bool


@dataclass(frozen=True, slots=True)
class Mark:
    """One run, drawn by itself."""

    run: LaneRun
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class DrawnLane:
    """One job as it is drawn."""

    lane: Lane
    marks: list[Mark]
    paths: list[tuple[str, str]]  # outcome and path, when there are too many for marks
    expected: str  # a path
    text: str  # the same in words


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark of the axis."""

    x: float  # percent
    text: str


@dataclass(frozen=True, slots=True)
class Cell:
    """A day of the calendar."""

    day: Day
    column: int
    row: int
    level: int  # 0 (nothing ran) to 4 (as much as on the busiest day)
    until: datetime


@blueprint.get("/timeline")
@role(Role.VIEWER)
def show() -> Response:
    """Show the page, or its live part."""
    view = next((view for view in VIEWS if view.word == request.args.get("view")), USUAL)
    query = request.args.get("q", "").strip()[:500]
    with dashboard_state().database.read() as session:
        etag = live_etag(session)
        if answer := not_modified(etag):
            return answer
        only = None
        if query:
            found = list_jobs(session, JobSearch.parse(query), limit=LANES, count=False)
            only = [job.id for job in found.jobs]
        timeline = read_timeline(
            session, now=datetime.now(UTC), back=view.back, ahead=view.ahead, only=only
        )
    axis = Axis(timeline.since, timeline.until)
    return render(
        "timeline/index.html",
        partial="timeline/_live.html",
        etag=etag,
        timeline=timeline,
        lanes=draw_lanes(timeline, axis),
        ticks=list(ticks(axis, display_zone())),
        now_at=axis.percent(timeline.now),
        downtimes=[
            (gap, axis.percent(gap.since), axis.percent(gap.until) - axis.percent(gap.since))
            for gap in timeline.downtimes
        ],
        cells=calendar(timeline.days),
        choices=_choices(view, query),
        query=query,
        view=view,
        listed=newest(timeline),
        coming=coming(timeline),
        most_runs=MOST_RUNS,
        weeks=DAYS // 7,
    )


@dataclass(frozen=True, slots=True)
class Axis:
    """The stretch of time that is drawn."""

    since: datetime
    until: datetime

    def at(self, moment: datetime) -> int:
        """Return where a moment lies, in units, never outside."""
        share = (moment - self.since) / (self.until - self.since)
        return round(min(max(share, 0.0), 1.0) * WIDTH)

    def percent(self, moment: datetime) -> float:
        """Return the same in percent, for what is not drawn in units."""
        return self.at(moment) * 100 / WIDTH


def draw_lanes(timeline: Timeline, axis: Axis) -> list[DrawnLane]:
    """Lay out every lane: runs one by one while they are few, else as paths."""
    linked = timeline.history.runs <= LINKED
    return [
        DrawnLane(
            lane=lane,
            marks=[_mark(run, axis, timeline.now) for run in lane.runs] if linked else [],
            paths=[] if linked else _paths(lane.runs, axis, timeline.now),
            expected="".join(
                f"M{axis.at(moment)} 4v12" for moment in timeline.expected[lane.job_id]
            ),
            text=_in_words(lane),
        )
        for lane in timeline.history.lanes
    ]


def _mark(run: LaneRun, axis: Axis, now: datetime) -> Mark:
    y, height = SHAPES.get(run.state, ORDINARY)
    x = axis.at(run.began)
    return Mark(run, x, y, max(NARROWEST, axis.at(run.ended or now) - x), height)


def _paths(runs: Sequence[LaneRun], axis: Axis, now: datetime) -> list[tuple[str, str]]:
    """Draw the runs of a lane as one path an outcome; what touches grows together."""
    stretches: dict[str, list[list[int]]] = {}
    for run in runs:
        mark = _mark(run, axis, now)
        begin, end = mark.x, mark.x + mark.width
        known = stretches.setdefault(run.state.value, [])
        if known and begin <= known[-1][1]:
            known[-1][1] = max(end, known[-1][1])
        else:
            known.append([begin, end])
    drawn = []
    for state, parts in stretches.items():
        y, height = SHAPES.get(state, ORDINARY)
        path = "".join(f"M{begin} {y}h{end - begin}v{height}H{begin}z" for begin, end in parts)
        drawn.append((state, path))
    return drawn


def _in_words(lane: Lane) -> str:
    """Say what a lane shows: `12 succeeded, 1 failed`."""
    counts: dict[str, int] = {}
    for run in lane.runs:
        counts[run.state.value] = counts.get(run.state.value, 0) + 1
    return ", ".join(f"{number} {state}" for state, number in counts.items()) or "no runs here"


def ticks(axis: Axis, zone: tzinfo) -> Iterator[Tick]:
    """Mark the axis at round times of the zone in which the page shows times."""
    length = (axis.until - axis.since).total_seconds()
    step = next((step for step in STEPS if length / step <= TICKS), STEPS[-1])
    midnight = axis.since.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    # Counted on the clock on the wall, so that the marks stay round after the clocks change.
    wall = midnight.replace(tzinfo=None)
    while True:
        moment = wall.replace(tzinfo=zone)
        if moment >= axis.until:
            return
        if moment >= axis.since:
            is_day = step >= STEPS[-2] or (wall.hour, wall.minute) == (0, 0)
            yield Tick(axis.percent(moment), f"{wall:%a %-d %b}" if is_day else f"{wall:%H:%M}")
        wall += timedelta(seconds=step)


def calendar(days: Sequence[Day]) -> list[Cell]:
    """Lay the days out as a calendar: a column a week, Monday on top."""
    most = max((day.total for day in days), default=0)
    first = days[0].day.weekday() if days else 0
    return [
        Cell(
            day=day,
            column=(first + index) // 7,
            row=(first + index) % 7,
            level=-(-day.total * 4 // most) if day.total else 0,
            until=datetime(day.day.year, day.day.month, day.day.day, tzinfo=UTC)
            + timedelta(days=1),
        )
        for index, day in enumerate(days)
    ]


def newest(timeline: Timeline) -> list[tuple[Lane, LaneRun]]:
    """Return the newest runs of all lanes for the table."""
    runs = [(lane, run) for lane in timeline.history.lanes for run in lane.runs]
    return sorted(runs, key=lambda pair: pair[1].began, reverse=True)[:LISTED]


def coming(timeline: Timeline) -> list[tuple[Lane, datetime]]:
    """Return the next fire time of every lane for the table."""
    fires = [
        (lane, timeline.expected[lane.job_id][0])
        for lane in timeline.history.lanes
        if timeline.expected[lane.job_id]
    ]
    return sorted(fires, key=lambda pair: pair[1])


def _choices(current: View, query: str) -> list[Choice]:
    return [
        Choice(
            view.word,
            url_for("dashboard.timeline.show", view=view.word, q=query or None),
            view is current,
        )
        for view in VIEWS
    ]

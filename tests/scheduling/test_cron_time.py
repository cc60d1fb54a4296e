"""The wall times of cron against a minute-by-minute walk through a zone's real time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import takewhile
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dashboard.scheduling import wallclock
from dashboard.scheduling.firetimes import Effort
from dashboard.scheduling.triggers import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MINUTE = timedelta(minutes=1)
YEARS = [
    ("Europe/Helsinki", 2027),
    ("America/New_York", 2027),
    ("Australia/Lord_Howe", 2027),  # by half an hour
    ("Africa/Casablanca", 2027),  # back for Ramadan
    ("America/Santiago", 2027),  # at midnight
    ("Pacific/Apia", 2011),  # without 30 December
]


@cache
def readings(zone: str, year: int) -> list[tuple[datetime, datetime]]:
    """All minutes of a year that have a clock change within two days, as (moment, wall time)."""
    here = datetime(year, 1, 1, tzinfo=UTC)
    tz = ZoneInfo(zone)
    minutes = [here + n * MINUTE for n in range(365 * 24 * 60)]
    walls = [moment.astimezone(tz).replace(tzinfo=None) for moment in minutes]
    near: set[int] = set()
    for n in range(1, len(walls)):
        if walls[n] - walls[n - 1] != MINUTE:
            near.update(range(n - 2880, min(n + 2880, len(walls))))
    return [(minutes[n], walls[n]) for n in sorted(near)]


def windows(zone: str, year: int) -> Iterator[list[tuple[datetime, datetime]]]:
    """The unbroken runs of those minutes."""
    run: list[tuple[datetime, datetime]] = []
    for minute in readings(zone, year):
        if run and minute[0] - run[-1][0] != MINUTE:
            yield run
            run = []
        run.append(minute)
    yield run


def by_hand(
    run: Iterable[tuple[datetime, datetime]],
    matches: Callable[[datetime], bool],
    *,
    elapsed: bool,
) -> list[datetime]:
    """Fire at every minute whose wall time matches; or, with fixed hours, when the latest time
    that the clocks have ever shown comes to or passes a matching one."""
    found = []
    latest: datetime | None = None
    for moment, wall in run:
        if elapsed or latest is None:
            due = matches(wall)
        else:
            passed = (wall - latest) // MINUTE
            due = any(matches(latest + n * MINUTE) for n in range(1, passed + 1))
        if due:
            found.append(moment)
        latest = wall if latest is None else max(latest, wall)
    return found


def fires(data: dict[str, Any], start: datetime, end: datetime) -> list[datetime]:
    upcoming = load(data).trigger.upcoming(start, Effort(10**6))
    return list(takewhile(lambda moment: moment <= end, upcoming))


def unix(line: str) -> Callable[[datetime], bool]:
    """A crontab line as cronsim reads it."""
    sim = CronSim(line, datetime(2027, 1, 1, tzinfo=UTC))

    def matches(wall: datetime) -> bool:
        weekdays = {number % 7 for number in sim.weekdays if isinstance(number, int)}
        day, weekday = wall.day in sim.days, wall.isoweekday() % 7 in weekdays
        return (
            wall.minute in sim.minutes
            and wall.hour in sim.hours
            and wall.month in sim.months
            and ((day and weekday) if sim.day_and else (day or weekday))
        )

    return matches


LINES = [
    "* * * * *",
    "*/15 * * * *",
    "30 * * * *",
    "0 */2 * * *",
    "45 */3 * * *",
    "0 0 * * *",
    "30 1 * * *",
    "0 2 * * *",
    "30 2 * * *",
    "0 3 * * *",
    "30 3 * * *",
    "59 23 * * *",
    "*/20 1-3 * * *",
    "*/7 0-23 * * *",
    "10,40 0,1,2,3 * * *",
    "0 0 * * sun",
    "30 2 */2 * 0-3",
    "15 1 28-31 * 7",
    "5 23-23 * 3,10,11 *",
]


@pytest.mark.parametrize(("zone", "year"), YEARS)
@pytest.mark.parametrize("line", LINES)
def test_fires_as_the_clocks_of_the_zone_go(zone: str, year: int, line: str) -> None:
    elapsed = line.split()[1].startswith("*")
    matches = unix(line)
    data = {"type": "cron", "crontab": line, "timezone": zone}
    for run in windows(zone, year):
        # The walk itself begins a minute early: what came before may have been a change.
        expected = by_hand(run, matches, elapsed=elapsed)
        assert fires(data, run[0][0], run[-1][0]) == expected


@settings(max_examples=60, phases=[Phase.generate])
@given(
    zone=st.sampled_from(YEARS),
    minutes=st.sets(st.integers(0, 59), min_size=1, max_size=4),
    hours=st.sets(st.integers(0, 4) | st.integers(22, 23), min_size=1, max_size=4),
    weekdays=st.sets(st.integers(0, 6), min_size=1),
)
def test_any_fixed_times_fire_once_for_each_wall_time(
    zone: tuple[str, int], minutes: set[int], hours: set[int], weekdays: set[int]
) -> None:
    data = {
        "type": "cron",
        "minute": ",".join(map(str, minutes)),
        "hour": ",".join(map(str, hours)),
        "day_of_week": ",".join(map(str, weekdays)),
        "timezone": zone[0],
    }

    def matches(wall: datetime) -> bool:
        return wall.minute in minutes and wall.hour in hours and wall.weekday() in weekdays

    for run in windows(*zone):
        expected = by_hand(run, matches, elapsed=False)
        assert fires(data, run[0][0], run[-1][0]) == expected


@pytest.mark.parametrize(
    ("zone", "line"),
    [
        ("Europe/Helsinki", "0 0 * * *"),
        ("Africa/Casablanca", "*/30 * * * 1-5"),
    ],
)
def test_a_whole_year_has_no_more_and_no_less(zone: str, line: str) -> None:
    tz = ZoneInfo(zone)
    start, end = datetime(2027, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
    minutes = [start + n * MINUTE for n in range(366 * 24 * 60) if start + n * MINUTE <= end]
    walk = [(moment, moment.astimezone(tz).replace(tzinfo=None)) for moment in minutes]
    expected = by_hand(walk, unix(line), elapsed=line.split()[1].startswith("*"))
    assert fires({"type": "cron", "crontab": line, "timezone": zone}, start, end) == expected


def local_times(data: dict[str, Any], start: str, count: int) -> list[str]:
    schedule = load(data)
    tz = ZoneInfo(schedule.timezone)
    moment = datetime.fromisoformat(start).replace(tzinfo=tz).astimezone(UTC)
    found = []
    for _ in range(count):
        fire_time = schedule.at_or_after(moment)
        assert fire_time is not None
        found.append(fire_time.astimezone(tz).isoformat(timespec="minutes"))
        moment = fire_time + timedelta(microseconds=1)
    return found


def test_the_midnight_after_a_spring_change_is_not_lost() -> None:
    data = {"type": "cron", "hour": 0, "timezone": "Europe/Helsinki"}
    assert local_times(data, "2027-03-28", 3) == [
        "2027-03-28T00:00+02:00",
        "2027-03-29T00:00+03:00",
        "2027-03-30T00:00+03:00",
    ]


def test_a_skipped_time_fires_at_the_first_moment_after_the_gap() -> None:
    data = {"type": "cron", "hour": 3, "minute": 30, "timezone": "Europe/Helsinki"}
    assert local_times(data, "2027-03-27", 3) == [
        "2027-03-27T03:30+02:00",
        "2027-03-28T04:00+03:00",
        "2027-03-29T03:30+03:00",
    ]


def test_a_range_of_hours_over_the_gap_skips_nothing() -> None:
    data = {"type": "cron", "hour": "2-5", "timezone": "Europe/Helsinki"}
    assert local_times(data, "2027-03-28", 4) == [
        "2027-03-28T02:00+02:00",
        "2027-03-28T04:00+03:00",  # for 03:00 and for 04:00
        "2027-03-28T05:00+03:00",
        "2027-03-29T02:00+03:00",
    ]


def test_a_repeated_time_fires_the_first_time_only() -> None:
    data = {"type": "cron", "hour": 3, "minute": 30, "timezone": "Europe/Helsinki"}
    assert local_times(data, "2027-10-31", 2) == [
        "2027-10-31T03:30+03:00",
        "2027-11-01T03:30+02:00",
    ]


@pytest.mark.parametrize("hour", ["*", "*/1"])
def test_every_hour_goes_on_through_both_changes(hour: str) -> None:
    data = {"type": "cron", "hour": hour, "minute": 30, "timezone": "Europe/Helsinki"}
    assert local_times(data, "2027-10-31T02:00", 4) == [
        "2027-10-31T02:30+03:00",
        "2027-10-31T03:30+03:00",
        "2027-10-31T03:30+02:00",
        "2027-10-31T04:30+02:00",
    ]
    assert local_times(data, "2027-03-28T02:00", 2) == [
        "2027-03-28T02:30+02:00",
        "2027-03-28T04:30+03:00",
    ]


def test_every_second_of_fixed_hours_leaves_the_second_pass_out() -> None:
    data = {
        "type": "cron",
        "hour": "0-23",
        "second": "*",
        "minute": "*",
        "timezone": "Europe/Paris",
    }
    schedule = load(data)
    change = datetime(2027, 10, 31, 1, tzinfo=UTC)
    assert schedule.at_or_after(change) == change + timedelta(hours=1)
    assert schedule.at_or_after(change + timedelta(minutes=30)) == change + timedelta(hours=1)


def test_a_calendar_interval_follows_the_same_rule() -> None:
    data = {
        "type": "calendarinterval",
        "days": 1,
        "hour": 3,
        "minute": 30,
        "start_date": "2027-03-27",
        "timezone": "Europe/Helsinki",
    }
    assert local_times(data, "2027-03-27", 3) == [
        "2027-03-27T03:30+02:00",
        "2027-03-28T04:00+03:00",
        "2027-03-29T03:30+03:00",
    ]


def test_an_interval_counts_elapsed_time() -> None:
    start = "2027-03-27T12:00:00+02:00"
    data = {"type": "interval", "days": 1, "start_date": start, "timezone": "Europe/Helsinki"}
    assert local_times(data, "2027-03-27T12:00", 2) == [
        "2027-03-27T12:00+02:00",
        "2027-03-28T13:00+03:00",
    ]


def test_a_given_wall_time_that_does_not_exist_means_the_end_of_the_gap() -> None:
    data = {"type": "date", "run_date": "2027-03-28 03:30", "timezone": "Europe/Helsinki"}
    assert load(data).data["run_date"] == "2027-03-28T04:00:00+03:00"


def test_a_given_wall_time_that_comes_twice_means_the_first() -> None:
    data = {"type": "date", "run_date": "2027-10-31T03:30", "timezone": "Europe/Helsinki"}
    assert load(data).data["run_date"] == "2027-10-31T03:30:00+03:00"


@pytest.mark.parametrize("zone", ["Europe/Dublin", "Asia/Beirut", "Africa/Cairo", "America/Nuuk"])
def test_changes_are_found_to_the_second(zone: str) -> None:
    tz = ZoneInfo(zone)
    found = wallclock.changes(tz, 2027)
    assert len(found) == 2
    for change in found:
        before = (change.at - timedelta(seconds=1)).astimezone(tz)
        assert before.utcoffset() == change.before
        assert change.at.astimezone(tz).utcoffset() == change.after
        assert change.before != change.after


def test_a_zone_without_changes_has_none() -> None:
    assert wallclock.changes(ZoneInfo("Asia/Tokyo"), 2027) == ()
    assert wallclock.changes(ZoneInfo("UTC"), 2027) == ()

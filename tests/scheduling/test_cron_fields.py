"""The eight fields of cron, compared with APScheduler's own trigger."""

from __future__ import annotations

from calendar import isleap
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

import pytest
from apscheduler.triggers.cron import CronTrigger

from dashboard.errors import Invalid
from dashboard.scheduling.cron import SEARCH_YEARS
from dashboard.scheduling.triggers import load

START = datetime(2026, 11, 22, 0, 30, tzinfo=UTC)
LIMITS = {
    "year": (2025, 2040),
    "month": (1, 12),
    "day": (1, 31),
    "week": (1, 53),
    "day_of_week": (0, 6),
    "hour": (0, 23),
    "minute": (0, 59),
    "second": (0, 59),
}
SPECIAL = {
    "month": ["jan", "feb-apr", "SEP"],
    "day": ["last", "1st mon", "2nd tue", "3rd wed", "4th thu", "5th fri", "last  Sat"],
    "day_of_week": ["mon", "mon-fri", "Sat-Sun"],
}


def random_part(random: Random, name: str) -> str:
    low, high = LIMITS[name]
    first, last = sorted(random.choices(range(low, high + 1), k=2))
    choices = [
        str(first),
        f"{first}-{last}",
        f"{first}-{high}/{max(1, (high - first) // 3)}",
        "*",
        f"*/{random.randint(1, high - low)}",
        *SPECIAL.get(name, []),
    ]
    return random.choice([choice for choice in choices if choice != f"{high}-{high}/1"])


def random_fields(random: Random) -> dict[str, str]:
    names = random.sample(list(LIMITS), k=random.randint(1, 4))
    if "week" in names:  # stock needs seconds to find nothing in week 1 of July
        names = [name for name in names if name not in {"month", "day"}]
    return {
        name: ",".join(random_part(random, name) for _ in range(random.choice([1, 1, 2])))
        for name in names
    }


@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_the_stock_trigger_in_utc(seed: int) -> None:
    random = Random(seed)
    for _ in range(60):
        fields = random_fields(random)
        moment = START + timedelta(seconds=random.randint(0, 100_000_000))
        ours, stock = load({"type": "cron", **fields}), CronTrigger(**fields, timezone=UTC)
        previous = None
        for _ in range(3):
            expected = stock.get_next_fire_time(previous, moment)
            assert ours.trigger.get_next_fire_time(previous, moment) == expected, fields
            if expected is None:
                break
            previous = moment = expected


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("hour", "24", "“24” is out of range; use 0 to 23."),
        ("hour", 25, "“25” is out of range; use 0 to 23."),
        ("hour", -1, "“-1” is not understood; use 0 to 23"),
        ("minute", "60", "use 0 to 59"),
        ("second", "0-60", "“60” is out of range; use 0 to 59."),
        ("day", "0", "use 1 to 31"),
        ("day", "last fri 5pm", "“last fri 5pm” is not understood"),
        ("day", "1st foo", "“1st foo” names no weekday"),
        ("day", "6th mon", "is not understood"),
        ("week", "54", "use 1 to 53"),
        ("month", "13", "use 1 to 12 or jan to dec"),
        ("month", "january", "is not understood"),
        ("year", "1969", "use 1970 to 9999"),
        ("year", "10000", "use 1970 to 9999"),
        ("day_of_week", "7", "use 0 to 6 or mon to sun"),
        ("day_of_week", "mon-fri/2", "has a step after a name"),
        ("day_of_week", "mon;x", "is not understood"),
        ("day_of_week", "mon x", "is not understood"),
        ("day_of_week", "sun-mon", "runs backwards"),
        ("hour", "*/24", "step of 24"),
        ("hour", "*/0", "step of 0"),
        ("hour", "8-10/5", "step of 5"),
        ("hour", "1--100000000", "is not understood"),
        ("hour", "1,", "comma"),
        ("hour", "9 10", "is not understood"),
        pytest.param("minute", ",".join(["1"] * 10_000), "Is too long", id="minute-long"),
        pytest.param("minute", 10**5000, "is out of range", id="minute-huge"),
        pytest.param("minute", ["1"] * 10_000, "Must be a text.", id="minute-list"),
        ("minute", True, "Must be a text."),
        pytest.param("minute", "\ud800\x00", "“??” is not understood", id="minute-surrogate"),
    ],
)
def test_refuses_what_cannot_be(name: str, text: Any, message: str) -> None:
    with pytest.raises(Invalid) as raised:
        load({"type": "cron", name: text})
    [error] = raised.value.errors
    assert error.field == f"trigger.{name}"
    assert message in error.message


def test_complains_about_all_fields_at_once() -> None:
    data = {"type": "cron", "hour": "25", "minute": "x", "timezone": "Mars", "colour": "red"}
    with pytest.raises(Invalid) as raised:
        load(data)
    fields = [error.field for error in raised.value.errors]
    assert sorted(fields) == [
        "trigger.colour",
        "trigger.hour",
        "trigger.minute",
        "trigger.timezone",
    ]


@pytest.mark.parametrize("fields", [{}, {"hour": ""}, {"hour": " ", "minute": None}])
def test_no_field_at_all_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match=r"at least one field; for every second give second = \*"):
        load({"type": "cron", **fields})


def test_every_second_can_be_asked_for() -> None:
    schedule = load({"type": "cron", "second": "*"})
    assert schedule.at_or_after(START + timedelta(microseconds=1)) == START + timedelta(seconds=1)


def test_numbers_may_be_numbers() -> None:
    assert load({"type": "cron", "hour": 9, "minute": "05"}).data == {
        "type": "cron",
        "hour": "9",
        "minute": "5",
    }


def test_what_never_matches_is_found_out_and_remembered() -> None:
    schedule = load({"type": "cron", "week": 1, "month": 7})
    assert schedule.at_or_after(START) is None
    assert schedule.at_or_after(START + timedelta(days=40_000)) is None
    assert schedule.at_or_after(START) is None


def test_a_rare_day_is_found() -> None:
    schedule = load({"type": "cron", "month": 2, "day": 29, "day_of_week": "mon"})
    found = []
    moment: datetime | None = datetime(2080, 1, 1, tzinfo=UTC)
    for _ in range(3):
        assert moment is not None
        moment = schedule.at_or_after(moment)
        assert moment is not None
        found.append(moment.year)
        moment += timedelta(days=1)
    assert found == [2112, 2140, 2168]
    assert schedule.at_or_after(START) == datetime(2044, 2, 29, tzinfo=UTC)


def test_the_calendar_ends_in_9999() -> None:
    schedule = load({"type": "cron", "year": 9999, "hour": "*", "timezone": "America/New_York"})
    first = schedule.at_or_after(START)
    assert first == datetime(9999, 1, 1, 5, tzinfo=UTC)
    assert schedule.at_or_after(datetime(9999, 12, 31, 23, 30, tzinfo=UTC)) is None


def test_a_search_of_a_hundred_years_misses_no_date() -> None:
    """Every combination of month, day, weekday and ISO week comes back within 40 years."""
    years: dict[tuple[int, int, int, int], list[int]] = {}
    for year in range(2000, 2400):
        for month, day in [(1, 1), (1, 2), (1, 3), (1, 4), (2, 29), (12, 29), (12, 30), (12, 31)]:
            if (month, day) == (2, 29) and not isleap(year):
                continue
            _, week, weekday = date(year, month, day).isocalendar()
            years.setdefault((month, day, weekday, week), []).append(year)
    for combination, found in years.items():
        following = [*found[1:], found[0] + 400]
        gaps = [later - earlier for earlier, later in zip(found, following, strict=True)]
        assert max(gaps) <= 40 < SEARCH_YEARS, combination


def test_start_and_end_bound_it_inclusively() -> None:
    data = {
        "type": "cron",
        "minute": 0,
        "start_date": "2026-12-01 09:00",
        "end_date": "2026-12-01T10:00",
    }
    schedule = load(data)
    found = schedule.at_or_after(START)
    assert found == datetime(2026, 12, 1, 9, tzinfo=UTC)
    assert schedule.at_or_after(found + timedelta(seconds=1)) == found + timedelta(hours=1)
    assert schedule.at_or_after(found + timedelta(seconds=3601)) is None

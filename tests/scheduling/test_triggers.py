"""Triggers from JSON: what is accepted, in which normal form, and what is refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.combining import AndTrigger, OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from dashboard.errors import Invalid
from dashboard.scheduling.triggers import (
    anchored,
    from_trigger,
    load,
    require_future,
    says_the_same,
    unanchored,
)

NOW = datetime(2026, 11, 22, 0, 30, tzinfo=UTC)
DAILY = {"type": "cron", "hour": "9"}


def errors_of(data: Any) -> dict[str, str]:
    with pytest.raises(Invalid) as raised:
        load(data)
    return {error.field: error.message for error in raised.value.errors}


def nested(depth: int) -> dict[str, Any]:
    return {"type": "or", "triggers": [nested(depth - 1)]} if depth else DAILY


class Foreign(BaseTrigger):
    def get_next_fire_time(
        self, _previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        return now


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        (
            {"type": "interval", "minutes": "5", "hours": "", "weeks": 0, "jitter": "0"},
            {"type": "interval", "minutes": 5},
        ),
        (
            {"type": "interval", "seconds": 5.0, "jitter": "30", "timezone": "Europe/Berlin"},
            {"type": "interval", "seconds": 5, "timezone": "Europe/Berlin", "jitter": 30},
        ),
        (
            {"type": "interval", "days": 1, "start_date": "2026-12-01 09:00:00"},
            {"type": "interval", "days": 1, "start_date": "2026-12-01T09:00:00+00:00"},
        ),
        (
            {"type": "interval", "days": 1, "start_date": "2026-12-01T09:00:00.5z"},
            {"type": "interval", "days": 1, "start_date": "2026-12-01T09:00:00.500000+00:00"},
        ),
        (
            {"type": "interval", "days": 1, "end_date": "2026-12-01T09:00+0530"},
            {"type": "interval", "days": 1, "end_date": "2026-12-01T09:00:00+05:30"},
        ),
        (
            {"type": "cron", "hour": "09, 17", "day_of_week": " MON-Fri ", "minute": None},
            {"type": "cron", "day_of_week": "mon-fri", "hour": "9,17"},
        ),
        (
            {"type": "cron", "crontab": " 0 9  * * MON-FRI "},
            {"type": "cron", "crontab": "0 9 * * mon-fri"},
        ),
        (
            {"type": "date", "run_date": "2026-12-01T09:00", "timezone": "Europe/Helsinki"},
            {
                "type": "date",
                "run_date": "2026-12-01T09:00:00+02:00",
                "timezone": "Europe/Helsinki",
            },
        ),
        (
            {"type": "date", "run_date": datetime(2026, 12, 1, 9, tzinfo=UTC)},
            {"type": "date", "run_date": "2026-12-01T09:00:00+00:00"},
        ),
        (
            {"type": "date", "run_date": date(2026, 12, 1)},
            {"type": "date", "run_date": "2026-12-01T00:00:00+00:00"},
        ),
        (
            {"type": "calendarinterval", "months": "1", "hour": "2", "start_date": "2026-12-31"},
            {"type": "calendarinterval", "months": 1, "hour": 2, "start_date": "2026-12-31"},
        ),
        (
            {"type": "calendarinterval", "days": 1, "end_date": date(2026, 12, 31)},
            {"type": "calendarinterval", "days": 1, "end_date": "2026-12-31"},
        ),
        (
            {"type": "and", "triggers": ({"type": "cron", "hour": 9}, DAILY), "jitter": 5},
            {"type": "and", "triggers": [DAILY, DAILY], "jitter": 5},
        ),
    ],
)
def test_normal_form(given: dict[str, Any], normal: dict[str, Any]) -> None:
    schedule = load(given)
    assert schedule.data == normal
    assert load(schedule.data).data == normal


def test_the_zone_in_force() -> None:
    assert load(DAILY).timezone == "UTC"
    assert load(DAILY, timezone="Europe/Berlin").timezone == "Europe/Berlin"
    assert (
        load(DAILY | {"timezone": "Asia/Tokyo"}, timezone="Europe/Berlin").timezone == "Asia/Tokyo"
    )
    assert "timezone" not in load(DAILY, timezone="Europe/Berlin").data


def test_a_combination_takes_the_zone_its_parts_agree_on() -> None:
    tokyo, paris = DAILY | {"timezone": "Asia/Tokyo"}, DAILY | {"timezone": "Europe/Paris"}
    assert load({"type": "or", "triggers": [tokyo, tokyo]}).timezone == "Asia/Tokyo"
    assert load({"type": "or", "triggers": [tokyo, paris]}).timezone == "UTC"
    inherited = load({"type": "or", "timezone": "Asia/Tokyo", "triggers": [DAILY]})
    assert inherited.at_or_after(NOW) == datetime(2026, 11, 23, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "data",
    [None, 5, "cron", [], [DAILY], True, 1.5],
)
def test_what_is_no_object_is_refused(data: Any) -> None:
    assert errors_of(data) == {"trigger": "Must be a trigger: an object with a “type”."}


@pytest.mark.parametrize("kind", [None, "", "weekly", 5, ["cron"], {}])
def test_an_unknown_type_is_refused(kind: Any) -> None:
    message = "Must be one of interval, cron, date, calendarinterval, and, or."
    assert errors_of({"type": kind}) == {"trigger.type": message}


@pytest.mark.parametrize(
    ("data", "field", "message"),
    [
        ({}, "trigger", "at least 1 second"),
        ({"seconds": 0}, "trigger", "at least 1 second"),
        ({"seconds": "0", "minutes": ""}, "trigger", "at least 1 second"),
        ({"seconds": -5}, "trigger.seconds", "whole number from 0 to"),
        ({"hours": 2, "minutes": "-1"}, "trigger.minutes", "whole number from 0 to"),
        ({"seconds": float("nan")}, "trigger.seconds", "whole number"),
        ({"seconds": float("inf")}, "trigger.seconds", "whole number"),
        ({"seconds": 1.5}, "trigger.seconds", "whole number"),
        ({"seconds": "1e3"}, "trigger.seconds", "whole number"),
        ({"seconds": "٣"}, "trigger.seconds", "whole number"),
        ({"seconds": True}, "trigger.seconds", "whole number"),
        ({"seconds": [1]}, "trigger.seconds", "whole number"),
        ({"weeks": 10**30}, "trigger.weeks", "whole number from 0 to 5,217"),
        ({"days": 36_525, "seconds": 1}, "trigger", "more than 100 years"),
        ({"days": 1, "jitter": -1}, "trigger.jitter", "from 0 to 86,400"),
        ({"days": 1, "jitter": 86_401}, "trigger.jitter", "from 0 to 86,400"),
        ({"days": 1, "jitter": float("nan")}, "trigger.jitter", "whole number"),
        ({"days": 1, "day": 1}, "trigger.day", "not a field of an interval trigger"),
        ({"days": 1, "timezone": "Mars/Base"}, "trigger.timezone", "not a known time zone"),
        ({"days": 1, "timezone": "Europe"}, "trigger.timezone", "not a known time zone"),
        ({"days": 1, "timezone": "../etc/passwd"}, "trigger.timezone", "not a known time zone"),
        ({"days": 1, "timezone": "x" * 10_000}, "trigger.timezone", "not a known time zone"),
        ({"days": 1, "timezone": 5}, "trigger.timezone", "name of a time zone"),
        ({"days": 1, "start_date": "tomorrow"}, "trigger.start_date", "“tomorrow” is not"),
        ({"days": 1, "start_date": "2026-02-30"}, "trigger.start_date", "is not understood"),
        ({"days": 1, "start_date": "2026-02-03 25:00"}, "trigger.start_date", "is not understood"),
        ({"days": 1, "start_date": 1764579600}, "trigger.start_date", "se a date and time"),
        ({"days": 1, "start_date": "1969-12-31"}, "trigger.start_date", "1970 and 9999"),
        ({"days": 1, "end_date": "9999-12-31 23:00-05:00"}, "trigger.end_date", "1970 and 9999"),
        (
            {"days": 1, "start_date": "2026-12-02", "end_date": "2026-12-01"},
            "trigger.end_date",
            "before the start date",
        ),
    ],
)
def test_refused_intervals(data: dict[str, Any], field: str, message: str) -> None:
    errors = errors_of({"type": "interval", **data})
    assert list(errors) == [field]
    assert message in errors[field]


@pytest.mark.parametrize(
    ("data", "field", "message"),
    [
        ({"type": "date"}, "trigger.run_date", "Is needed"),
        ({"type": "date", "run_date": " "}, "trigger.run_date", "Is needed"),
        ({"type": "date", "run_date": "soon"}, "trigger.run_date", "“soon” is not understood"),
        ({"type": "date", "run_date": True}, "trigger.run_date", "se a date and time"),
        (
            {"type": "date", "run_date": "2026-12-01", "jitter": 5},
            "trigger.jitter",
            "not a field of a date trigger",
        ),
        ({"type": "calendarinterval"}, "trigger", "at least 1 day"),
        ({"type": "calendarinterval", "months": -1}, "trigger.months", "from 0 to 1,200"),
        ({"type": "calendarinterval", "days": 1, "hour": 24}, "trigger.hour", "from 0 to 23"),
        (
            {"type": "calendarinterval", "days": 1, "start_date": "2026-12-01T09:00"},
            "trigger.start_date",
            "Must be a date such as",
        ),
        (
            {"type": "calendarinterval", "days": 1, "start_date": "1969-12-01"},
            "trigger.start_date",
            "1970 and 9999",
        ),
        (
            {
                "type": "calendarinterval",
                "days": 1,
                "start_date": "2026-12-02",
                "end_date": "2026-12-01",
            },
            "trigger.end_date",
            "before the start date",
        ),
        ({"type": "and"}, "trigger.triggers", "list of at least one"),
        ({"type": "or", "triggers": []}, "trigger.triggers", "list of at least one"),
        ({"type": "or", "triggers": DAILY}, "trigger.triggers", "list of at least one"),
        ({"type": "or", "triggers": [DAILY] * 10_000}, "trigger.triggers", "at most 20"),
        (
            {"type": "or", "triggers": [{"type": "or", "triggers": [DAILY] * 18}, DAILY]},
            "trigger.triggers.1",
            "at most 20",
        ),
        (
            {"type": "or", "triggers": [DAILY, DAILY | {"minute": "x"}]},
            "trigger.triggers.1.minute",
            "is not understood",
        ),
        ({"type": "or", "triggers": [5]}, "trigger.triggers.0", "Must be a trigger"),
        (
            {"type": "and", "triggers": [DAILY | {"jitter": 5}]},
            "trigger.triggers.0.jitter",
            "elongs to the combination",
        ),
    ],
)
def test_other_refusals(data: dict[str, Any], field: str, message: str) -> None:
    errors = errors_of(data)
    assert list(errors) == [field]
    assert message in errors[field]


def test_nesting_has_a_limit() -> None:
    assert load(nested(5)).at_or_after(NOW) == datetime(2026, 11, 22, 9, tzinfo=UTC)
    assert errors_of(nested(6)) == {
        "trigger" + ".triggers.0" * 5 + ".triggers": "Are nested too deep: at most 5 levels."
    }
    assert len(errors_of(nested(500))) == 1


def test_all_complaints_come_at_once_under_the_given_path() -> None:
    data = {"type": "interval", "hours": "x", "timezone": "Mars", "start_date": "then", "odd": 1}
    with pytest.raises(Invalid) as raised:
        load(data, field="job.trigger")
    assert {error.field for error in raised.value.errors} == {
        "job.trigger.hours",
        "job.trigger.timezone",
        "job.trigger.start_date",
        "job.trigger.odd",
    }


def test_an_interval_counts_from_its_start() -> None:
    schedule = load({"type": "interval", "minutes": 7, "start_date": "2026-11-22T00:00Z"})
    assert schedule.at_or_after(NOW) == NOW + timedelta(minutes=5)
    assert schedule.at_or_after(NOW - timedelta(days=9)) == NOW - timedelta(minutes=30)


def test_anchoring_gives_an_interval_a_start_on_a_whole_second() -> None:
    now = NOW.replace(microsecond=250_000)
    schedule = anchored(load({"type": "interval", "minutes": 5, "timezone": "Asia/Tokyo"}), now)
    assert schedule.data["start_date"] == "2026-11-22T09:35:01+09:00"
    assert schedule.at_or_after(now) == NOW + timedelta(minutes=5, seconds=1)
    assert anchored(schedule, now + timedelta(days=1)) is schedule


def test_anchoring_starts_a_calendar_interval_on_the_zone_s_today() -> None:
    now = datetime(2026, 11, 22, 16, 0, tzinfo=UTC)
    data = {"type": "calendarinterval", "days": 2, "hour": 5}
    schedule = anchored(load(data, timezone="Asia/Tokyo"), now)
    assert schedule.data == data | {"start_date": "2026-11-23", "anchored": True}
    assert schedule.timezone == "Asia/Tokyo"
    assert schedule.at_or_after(now) == datetime(2026, 11, 22, 20, tzinfo=UTC)


def test_anchoring_reaches_into_combinations_and_leaves_the_rest() -> None:
    every = {"type": "interval", "hours": 1}
    schedule = load({"type": "or", "triggers": [every, DAILY], "jitter": 5})
    data = anchored(schedule, NOW).data
    begun = every | {"start_date": "2026-11-22T01:30:00+00:00", "anchored": True}
    assert data["triggers"] == [begun, DAILY]
    assert unanchored(data) == schedule.data
    assert data["jitter"] == 5
    daily = load(DAILY)
    assert anchored(daily, NOW) is daily


BERLIN = {"timezone": "Europe/Berlin"}


@pytest.mark.parametrize(
    ("given", "stored", "same"),
    [
        (DAILY, DAILY, True),
        (DAILY | {"timezone": "UTC"}, DAILY, False),
        (DAILY | BERLIN, DAILY, True),
        (DAILY, DAILY | BERLIN, False),
        (DAILY, DAILY | {"timezone": "UTC"}, True),
        ({"type": "or", "triggers": [DAILY], **BERLIN}, {"type": "or", "triggers": [DAILY]}, True),
        ({"type": "or", "triggers": [DAILY | BERLIN]}, {"type": "or", "triggers": [DAILY]}, True),
        (DAILY, {"type": "or", "triggers": 5}, False),
        (DAILY, "unreadable", False),
    ],
)
def test_the_same_trigger_written_otherwise(given: Any, stored: Any, *, same: bool) -> None:
    """The dashboard's zone is UTC now; it was that of Berlin when the job was saved."""
    found = says_the_same(given, stored, timezone="UTC", stored_timezone="Europe/Berlin")
    assert found is same


@pytest.mark.parametrize(
    ("data", "field", "message"),
    [
        ({"type": "date", "run_date": "2026-11-21"}, "trigger.run_date", "The run date is past"),
        ({"type": "cron", "year": 2020}, "trigger.year", "The year is past."),
        ({"type": "cron", "day": 31, "month": 2}, "trigger.day", "no fire time within 100 years"),
        ({"type": "cron", "week": 1, "month": 7}, "trigger.week", "no fire time within 100 years"),
        ({"type": "cron", "crontab": "0 0 31 2 *"}, "trigger.crontab", "within 100 years"),
        (
            {"type": "cron", "hour": 9, "end_date": "2026-11-22 03:00"},
            "trigger.end_date",
            "The end date lies before",
        ),
        (
            {"type": "interval", "hours": 1, "end_date": "2026-11-22T01:00"},
            "trigger.end_date",
            "The end date lies before",
        ),
        (
            {"type": "calendarinterval", "months": 1, "end_date": "2026-11-22"},
            "trigger.end_date",
            "The end date lies before",
        ),
        (
            {
                "type": "and",
                "triggers": [{"type": "cron", "hour": 9}, {"type": "cron", "hour": 10}],
            },
            "trigger.triggers",
            "do not fire together within 100 years",
        ),
        (
            {
                "type": "and",
                "triggers": [DAILY, {"type": "cron", "hour": 9, "timezone": "Asia/Tokyo"}],
            },
            "trigger.triggers",
            "takes too long to search for",
        ),
        (
            {"type": "and", "triggers": [DAILY, {"type": "cron", "year": 2020}]},
            "trigger.triggers.1.year",
            "The year is past",
        ),
        (
            {"type": "or", "triggers": [{"type": "cron", "year": 2020}]},
            "trigger.triggers",
            "None of these triggers fires again",
        ),
    ],
)
def test_a_future_is_required(data: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(Invalid) as raised:
        require_future(load(data), NOW)
    [error] = raised.value.errors
    assert error.field == field
    assert message in error.message


def test_the_first_fire_time_is_told() -> None:
    assert require_future(load(DAILY), NOW) == datetime(2026, 11, 22, 9, tzinfo=UTC)
    assert require_future(load({"type": "interval", "hours": 1}), NOW) == NOW + timedelta(hours=1)


def test_triggers_that_rarely_meet_are_found() -> None:
    monday, even = {"type": "cron", "day_of_week": "mon"}, {"type": "cron", "hour": "*/2"}
    schedule = load({"type": "and", "triggers": [even, monday]})
    first = schedule.at_or_after(NOW)
    assert first == datetime(2026, 11, 23, tzinfo=UTC)
    assert schedule.at_or_after(first + timedelta(seconds=1)) == first + timedelta(days=7)


def test_intervals_and_cron_meet() -> None:
    every = {"type": "interval", "hours": 7, "start_date": "2026-11-22T00:00Z"}
    midnight = {"type": "cron", "hour": 0}
    schedule = load({"type": "and", "triggers": [every, midnight]})
    assert schedule.at_or_after(NOW) == datetime(2026, 11, 29, tzinfo=UTC)


def test_wall_times_of_one_zone_do_not_meet_at_the_end_of_a_gap() -> None:
    parts = [{"type": "cron", "hour": 3, "minute": minute} for minute in (15, 45)]
    schedule = load({"type": "and", "triggers": parts, "timezone": "Europe/Helsinki"})
    assert schedule.at_or_after(NOW) is None


def test_a_part_that_never_fires_does_not_hide_the_others() -> None:
    never = {"type": "and", "triggers": [DAILY, DAILY | {"hour": 8, "timezone": "Asia/Tokyo"}]}
    daily = load({"type": "or", "triggers": [never, never, {"type": "or", "triggers": [DAILY]}]})
    first = daily.at_or_after(NOW)
    assert first == datetime(2026, 11, 22, 9, tzinfo=UTC)
    week = first + timedelta(days=7)
    assert daily.last_at_or_before(week + timedelta(hours=1), since=first) == week


def test_a_part_that_ends_before_it_starts_is_refused() -> None:
    ended = {"type": "interval", "hours": 1, "end_date": "2026-11-22T01:00"}
    schedule = load({"type": "or", "triggers": [DAILY, ended]})
    assert schedule.at_or_after(NOW) is not None
    with pytest.raises(Invalid) as raised:
        require_future(schedule, NOW)
    assert [error.field for error in raised.value.errors] == ["trigger.triggers.1.end_date"]


def test_any_of_fires_once_at_a_common_moment() -> None:
    schedule = load({"type": "or", "triggers": [DAILY, DAILY, {"type": "cron", "hour": "9,10"}]})
    first = schedule.at_or_after(NOW)
    assert first == datetime(2026, 11, 22, 9, tzinfo=UTC)
    assert schedule.at_or_after(first + timedelta(seconds=1)) == first + timedelta(hours=1)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"months": 1, "start_date": "2027-01-31"}, ["01-31", "03-31", "05-31", "07-31"]),
        ({"years": 1, "start_date": "2024-02-29"}, ["02-29", "02-29", "02-29"]),
        ({"months": 1, "days": 1, "start_date": "2027-01-30"}, ["01-30", "03-31", "06-01"]),
        ({"weeks": 2, "start_date": "2026-11-23"}, ["11-23", "12-07", "12-21"]),
        ({"days": 10, "end_date": "2026-12-05", "start_date": "2026-11-23"}, ["11-23", "12-03"]),
    ],
)
def test_calendar_intervals_agree_with_the_stock_trigger(
    data: dict[str, Any], expected: list[str]
) -> None:
    schedule = load({"type": "calendarinterval", **data})
    stock = CalendarIntervalTrigger(**data, timezone="UTC")
    moment = stock.get_next_fire_time(None, NOW)
    found = []
    for _ in range(40):
        if moment is None:
            break
        assert schedule.at_or_after(moment - timedelta(seconds=1)) == moment
        found.append(f"{moment:%m-%d}")
        moment = stock.get_next_fire_time(moment, moment)
    assert found[: len(expected)] == expected


def test_a_walked_row_of_dates_can_be_asked_backwards() -> None:
    data = {"type": "calendarinterval", "months": 1, "days": 1, "start_date": "2000-01-01"}
    schedule = load(data)
    late = schedule.at_or_after(datetime(2026, 1, 1, tzinfo=UTC))
    assert schedule.at_or_after(datetime(2000, 1, 5, tzinfo=UTC)) == datetime(
        2000, 2, 2, tzinfo=UTC
    )
    assert late == schedule.at_or_after(datetime(2026, 1, 1, tzinfo=UTC))


def test_the_newest_missed_fire_time_is_found_without_counting_all() -> None:
    schedule = load({"type": "interval", "seconds": 1, "start_date": "2026-11-22T00:30Z"})
    later = NOW + timedelta(days=7, milliseconds=300)
    assert schedule.last_at_or_before(later, since=NOW) == NOW + timedelta(days=7)
    daily = load({"type": "cron", "hour": "9,17"})
    assert daily.last_at_or_before(later, since=NOW) == datetime(2026, 11, 28, 17, tzinfo=UTC)
    assert daily.last_at_or_before(NOW + timedelta(hours=1), since=NOW) is None


def test_moments_in_any_zone_are_understood() -> None:
    local = NOW.astimezone(ZoneInfo("Asia/Tokyo"))
    schedule = load(DAILY, timezone="Asia/Tokyo")
    found = schedule.at_or_after(local)
    assert found == schedule.at_or_after(NOW) == datetime(2026, 11, 23, 0, tzinfo=UTC)
    assert found is not None
    assert found.tzinfo is UTC
    assert schedule.last_at_or_before(local + timedelta(days=2), since=local) == found + timedelta(
        1
    )


def test_apscheduler_is_answered_in_the_trigger_s_zone() -> None:
    trigger = load(DAILY, timezone="Asia/Tokyo").trigger
    first = trigger.get_next_fire_time(None, NOW)
    assert first is not None
    assert first.isoformat() == "2026-11-23T09:00:00+09:00"
    following = trigger.get_next_fire_time(first, NOW + timedelta(days=30))
    assert following == first + timedelta(days=1)


def test_jitter_is_told_but_not_applied() -> None:
    schedule = load(DAILY | {"jitter": 60})
    assert schedule.jitter == 60
    assert load(DAILY).jitter is None
    assert schedule.at_or_after(NOW) == datetime(2026, 11, 22, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("stock", "data"),
    [
        (
            CronTrigger(hour="*/2", day="last fri", timezone="Europe/Helsinki", jitter=5),
            {
                "type": "cron",
                "day": "last fri",
                "hour": "*/2",
                "timezone": "Europe/Helsinki",
                "jitter": 5,
            },
        ),
        (
            IntervalTrigger(minutes=90, start_date=NOW, timezone=UTC),
            {
                "type": "interval",
                "hours": 1,
                "minutes": 30,
                "start_date": "2026-11-22T00:30:00+00:00",
                "timezone": "UTC",
            },
        ),
        (
            DateTrigger(NOW),
            {"type": "date", "run_date": "2026-11-22T00:30:00+00:00", "timezone": "UTC"},
        ),
        (
            CalendarIntervalTrigger(
                months=2, hour=3, start_date=date(2026, 1, 31), timezone="Asia/Tokyo"
            ),
            {
                "type": "calendarinterval",
                "months": 2,
                "hour": 3,
                "start_date": "2026-01-31",
                "timezone": "Asia/Tokyo",
            },
        ),
        (
            OrTrigger([AndTrigger([CronTrigger(hour=9, timezone="UTC")])], jitter=3),
            {
                "type": "or",
                "triggers": [{"type": "and", "triggers": [DAILY | {"timezone": "UTC"}]}],
                "jitter": 3,
            },
        ),
    ],
    ids=["cron", "interval", "date", "calendarinterval", "or"],
)
def test_stock_triggers_are_taken_over(stock: BaseTrigger, data: dict[str, Any]) -> None:
    schedule = from_trigger(stock)
    assert schedule.data == data
    assert from_trigger(schedule.trigger) == schedule


@pytest.mark.parametrize(
    "stock",
    [
        Foreign(),
        IntervalTrigger(seconds=-5, timezone=UTC),
        IntervalTrigger(seconds=0.5, timezone=UTC),
        CronTrigger(hour=9, timezone=datetime.now().astimezone().tzinfo),
    ],
    ids=["foreign", "negative", "fraction", "nameless-zone"],
)
def test_what_cannot_be_taken_over_is_refused(stock: BaseTrigger) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_trigger(stock)

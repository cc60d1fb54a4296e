"""Triggers in words."""

from __future__ import annotations

from typing import Any

import pytest

from dashboard.scheduling.triggers import load

DAILY = {"type": "cron", "hour": 9}


def cron(**fields: Any) -> dict[str, Any]:
    return {"type": "cron", **fields}


def crontab(line: str) -> dict[str, Any]:
    return {"type": "cron", "crontab": line}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"type": "interval", "minutes": 5}, "Every 5 minutes"),
        ({"type": "interval", "seconds": 1}, "Every second"),
        ({"type": "interval", "seconds": 3600}, "Every hour"),
        ({"type": "interval", "minutes": 90}, "Every 1 hour and 30 minutes"),
        ({"type": "interval", "days": 10}, "Every 10 days"),
        ({"type": "interval", "weeks": 2}, "Every 2 weeks"),
        (
            {"type": "interval", "days": 1, "hours": 2, "seconds": 3},
            "Every 1 day, 2 hours and 3 seconds",
        ),
        (
            {"type": "interval", "days": 1, "timezone": "Europe/Berlin"},
            "Every day, counted as 24 hours",
        ),
        (
            {"type": "interval", "hours": 1, "end_date": "2027-01-01"},
            "Every hour, until 2027-01-01 00:00",
        ),
        ({"type": "date", "run_date": "2026-12-01T09:00"}, "Once, on 2026-12-01 at 09:00"),
        ({"type": "date", "run_date": "2026-12-01T09:00:30"}, "Once, on 2026-12-01 at 09:00:30"),
        (
            {"type": "date", "run_date": "2026-12-01T09:00Z", "timezone": "Asia/Tokyo"},
            "Once, on 2026-12-01 at 18:00",
        ),
        (
            {"type": "calendarinterval", "months": 1, "hour": 2, "start_date": "2026-12-15"},
            "Every month on day 15 at 02:00",
        ),
        (
            {"type": "calendarinterval", "months": 1, "start_date": "2026-12-31"},
            "Every month on day 31 at 00:00 (left out where that day does not exist)",
        ),
        (
            {"type": "calendarinterval", "years": 2, "second": 5, "start_date": "2026-12-01"},
            "Every 2 years on 1 December at 00:00:05",
        ),
        (
            {"type": "calendarinterval", "weeks": 2, "start_date": "2026-11-23"},
            "Every 2 weeks on Monday at 00:00",
        ),
        (
            {"type": "calendarinterval", "months": 13, "days": 8, "end_date": "2040-01-01"},
            "Every 1 year, 1 month and 8 days at 00:00, until 2040-01-01",
        ),
        (crontab("0 9 * * 1-5"), "At 09:00 on weekdays (Mon-Fri)"),
        (crontab("0 9 1 * mon"), "At 09:00 on day 1 of the month and on Mondays"),
        (
            crontab("0 9 */2 * mon"),
            "At 09:00 on Mondays that fall on every 2nd day of the month (from day 1)",
        ),
        (crontab("30 2 * * *"), "Every day at 02:30"),
        (crontab("@hourly"), "Every hour"),
        (crontab("@weekly"), "At 00:00 on Sundays"),
        (crontab("@yearly"), "At 00:00 on day 1 of the month in January"),
        (crontab("* * * * *"), "Every minute"),
        (crontab("*/5 * * * *"), "Every 5 minutes"),
        (crontab("*/5 9-17 * * *"), "Every 5 minutes between 09:00 and 17:59"),
        (crontab("15 9-17 * * *"), "Every hour from 09:15 to 17:15"),
        (crontab("15 */6 * * *"), "Every 6 hours at minute 15"),
        (crontab("0 */6 * * *"), "Every 6 hours"),
        (crontab("0 0-6,20-23 * * *"), "At minute 0 of hours 0-6 and 20-23"),
        (crontab("5,35 */2 * * *"), "At minutes 5 and 35 of every 2nd hour"),
        (crontab("5,35 * * * *"), "At minutes 5 and 35 of every hour"),
        (
            crontab("*/7 * * * *"),
            "At minutes 0, 7, 14, 21, 28, 35, 42, 49 and 1 more of every hour",
        ),
        (
            crontab("0,30 8,20 * * sat,sun"),
            "At 08:00, 08:30, 20:00 and 20:30 on weekends (Sat-Sun)",
        ),
        (cron(hour="*/5"), "Every day at 00:00, 05:00, 10:00, 15:00 and 20:00"),
        (cron(minute=30), "Every hour at minute 30"),
        (cron(second="*"), "Every second"),
        (cron(second="*/10"), "Every 10 seconds"),
        (cron(second="5,10"), "At seconds 5 and 10 of every minute"),
        (
            cron(second="*/10", minute="1-5", hour="3,4"),
            "Every 10 seconds of minutes 1-5 of hours 3 and 4",
        ),
        (cron(second="*", hour="3-4"), "Every second between 03:00 and 04:59"),
        (cron(hour=9, second=30), "At second 30 of every minute between 09:00 and 09:59"),
        (cron(hour=9, minute=0, second=30), "Every day at 09:00:30"),
        (cron(day=5), "At 00:00 on day 5 of the month"),
        (cron(day="last"), "At 00:00 on the last day of the month"),
        (
            cron(day="1st mon,last fri,13"),
            "At 00:00 on day 13, the 1st Monday and the last Friday of the month",
        ),
        (cron(day=13, day_of_week="fri"), "At 00:00 on Fridays that fall on day 13 of the month"),
        (cron(week="1-3"), "Every day at 00:00 in ISO weeks 1-3"),
        (
            cron(month="jan-mar,jul", day=1),
            "At 00:00 on day 1 of the month in January-March and July",
        ),
        (cron(year=2030), "At 00:00 on day 1 of the month in January in 2030"),
        (
            cron(year="*/2", month=1),
            "At 00:00 on day 1 of the month in January in every 2nd year from 1970 on",
        ),
        (cron(hour=9, day_of_week="tue,thu"), "At 09:00 on Tuesdays and Thursdays"),
        (
            cron(hour=9, start_date="2026-12-01", end_date="2026-12-31T12:00:01"),
            "Every day at 09:00, from 2026-12-01 00:00, until 2026-12-31 12:00:01",
        ),
        (
            {"type": "and", "triggers": [cron(hour="*/2"), cron(day_of_week="mon")]},
            "Only when all of these agree: every 2 hours; at 00:00 on Mondays",
        ),
        (
            {"type": "or", "triggers": [DAILY, DAILY | {"timezone": "Asia/Tokyo"}]},
            "Any of these: every day at 09:00; every day at 09:00 (Asia/Tokyo)",
        ),
        (
            {"type": "or", "triggers": [DAILY, {"type": "and", "triggers": [DAILY]}]},
            "Any of these: every day at 09:00; (only when all of these agree: every day at 09:00)",
        ),
        (
            {"type": "or", "triggers": [DAILY] * 10},
            "Any of these: " + "every day at 09:00; " * 8 + "and 2 more",
        ),
    ],
)
def test_sentence(data: dict[str, Any], sentence: str) -> None:
    assert load(data).sentence == sentence


@pytest.mark.parametrize(
    ("data", "raw"),
    [
        ({"type": "interval", "weeks": 1, "minutes": 5}, "interval 1w 5m"),
        (crontab("0 9 * * 1-5"), "cron 0 9 * * 1-5"),
        (cron(hour=9, day_of_week="mon"), "cron day_of_week=mon hour=9"),
        ({"type": "date", "run_date": "2026-12-01"}, "date 2026-12-01T00:00:00+00:00"),
        (
            {"type": "calendarinterval", "years": 1, "months": 2, "hour": 9},
            "calendarinterval 1y 2mo 09:00:00",
        ),
        ({"type": "or", "triggers": [DAILY, DAILY]}, "or(cron hour=9, cron hour=9)"),
    ],
)
def test_short_form(data: dict[str, Any], raw: str) -> None:
    assert load(data).raw == raw

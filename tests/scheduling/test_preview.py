"""What a trigger is going to do, and what its author is warned of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from time import process_time
from typing import Any

import pytest

from bench.preview import CORPUS
from dashboard.scheduling.preview import MOST_TIMES, MOST_WARNINGS, Preview, preview
from dashboard.scheduling.triggers import load

NOW = datetime(2026, 11, 22, 0, 30, tzinfo=UTC)
DAILY = {"type": "cron", "hour": 9}


def show(data: dict[str, Any], **options: Any) -> Preview:
    return preview(load(data), after=NOW, **options)


def warned(data: dict[str, Any], **options: Any) -> dict[str, list[Any]]:
    """The places of the warnings, by code."""
    found: dict[str, list[Any]] = {}
    for warning in show(data, **options).warnings:
        found.setdefault(warning.code, []).append(warning.at)
        assert warning.message[0].isupper()
        assert warning.message.endswith(".")
    return found


def message(data: dict[str, Any], code: str, **options: Any) -> str:
    [found] = [warning for warning in show(data, **options).warnings if warning.code == code][:1]
    return found.message


def helsinki(**fields: Any) -> dict[str, Any]:
    return {"type": "cron", "timezone": "Europe/Helsinki", **fields}


def zoned(zone: str, **fields: Any) -> dict[str, Any]:
    return {"type": "cron", "timezone": zone, **fields}


def both(*triggers: dict[str, Any]) -> dict[str, Any]:
    return {"type": "and", "triggers": list(triggers)}


def either(*triggers: dict[str, Any]) -> dict[str, Any]:
    return {"type": "or", "triggers": list(triggers)}


def test_shows_the_sentence_and_the_next_fire_times_in_the_zone() -> None:
    shown = show(helsinki(crontab="0 9 * * 1-5"), count=2)
    assert shown.sentence == "At 09:00 on weekdays (Mon-Fri)"
    assert [moment.isoformat() for moment in shown.fire_times] == [
        "2026-11-23T09:00:00+02:00",
        "2026-11-24T09:00:00+02:00",
    ]
    assert not shown.exhausted


def test_an_interval_begins_as_it_would_if_saved_now() -> None:
    assert show({"type": "interval", "hours": 5}, count=1).fire_times == [NOW + timedelta(hours=5)]


def test_the_end_of_a_schedule_is_told() -> None:
    shown = show(DAILY | {"end_date": "2026-11-24"}, count=10)
    assert len(shown.fire_times) == 2
    assert shown.exhausted
    assert shown.warnings == []


def test_the_number_of_fire_times_is_limited() -> None:
    assert len(show({"type": "interval", "hours": 5}, count=10**6).fire_times) == MOST_TIMES


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (
            {"type": "date", "run_date": "2026-11-21"},
            "the run date is past: 2026-11-21 00:00:00 (UTC)",
        ),
        ({"type": "cron", "day": 31, "month": 2}, "no day matches"),
        ({"type": "cron", "year": 2020}, "the year is past"),
        (DAILY | {"end_date": "2026-11-22T02:00"}, "the end date lies before"),
        (
            {"type": "interval", "hours": 1, "end_date": "2026-11-22T01:00"},
            "the end date lies before",
        ),
        (
            {"type": "and", "triggers": [DAILY, {"type": "cron", "hour": 10}]},
            "do not fire together",
        ),
    ],
)
def test_warns_of_what_never_fires(data: dict[str, Any], reason: str) -> None:
    shown = show(data)
    assert shown.fire_times == []
    assert shown.exhausted
    [warning] = shown.warnings
    assert warning.code == "never_fires"
    assert reason in warning.message


def test_warns_of_times_that_are_skipped_or_repeated() -> None:
    assert warned(helsinki(hour=3, minute=30)) == {
        "dst_skipped": ["2027-03-28T03:30:00", "2028-03-26T03:30:00"],
        "dst_repeated": ["2027-10-31T03:30:00", "2028-10-29T03:30:00"],
    }
    assert message(helsinki(hour=3, minute=30), "dst_skipped") == (
        "On 2027-03-28 the clocks of Europe/Helsinki go from 03:00 to 04:00:"
        " 03:30 does not exist, and it runs at 04:00 instead."
    )
    assert message(helsinki(hour=3, minute=30), "dst_repeated") == (
        "On 2027-10-31 the clocks of Europe/Helsinki go from 04:00 to 03:00:"
        " 03:30 comes twice, and it runs the first time only."
    )


def test_warns_once_a_date() -> None:
    found = warned(helsinki(hour="3", minute="*/5"))
    assert found["dst_skipped"] == ["2027-03-28T03:00:00", "2028-03-26T03:00:00"]
    both = {"type": "or", "triggers": [helsinki(hour=3), helsinki(hour=3, minute=30)]}
    assert len(warned(both)["dst_skipped"]) == 2


@pytest.mark.parametrize(
    "data",
    [
        helsinki(hour=5),
        helsinki(minute="*/5"),
        helsinki(hour="*/2"),  # even hours are not touched
        {"type": "cron", "hour": 3},
        helsinki(hour=3, end_date="2027-03-01"),
        helsinki(hour=3, day_of_week="mon"),
        helsinki(hour=3, start_date="2029-03-01"),
        {"type": "interval", "minutes": 30, "timezone": "Europe/Helsinki"},
        {"type": "date", "run_date": "2027-03-28 05:00", "timezone": "Europe/Helsinki"},
        {"type": "and", "triggers": [helsinki(hour=3), helsinki(hour=3, day=1)]},
        {
            "type": "and",
            "triggers": [
                helsinki(hour=3),
                {"type": "interval", "hours": 25, "start_date": "2026-11-22T01:00Z"},
            ],
        },
    ],
)
def test_does_not_warn_of_clock_changes_that_do_not_matter(data: dict[str, Any]) -> None:
    assert warned(data) == {}


def test_other_triggers_are_warned_of_clock_changes_too() -> None:
    zone = {"timezone": "Europe/Helsinki"}
    calendar = {"type": "calendarinterval", "days": 1, "hour": 3, "minute": 30, **zone}
    assert len(warned(calendar)["dst_skipped"]) == 2
    once = {"type": "date", "run_date": "2027-03-28 03:30", **zone}
    assert warned(once) == {"dst_skipped": ["2027-03-28T03:30:00"]}
    twice = {"type": "date", "run_date": "2027-10-31 03:30", **zone}
    assert warned(twice) == {"dst_repeated": ["2027-10-31T03:30:00"]}
    half_past = helsinki(hour=3, minute=30)
    assert len(warned(both(helsinki(hour="2-4", minute="*"), half_past))["dst_skipped"]) == 2


def test_steps_of_hours_lose_a_skipped_hour_and_get_a_repeated_one_twice() -> None:
    odd = helsinki(hour="*/3")
    assert "there is no run for it" in message(odd, "dst_skipped")
    assert "it runs both times" in message(odd, "dst_repeated")
    assert warned({"type": "or", "triggers": [odd, DAILY]}) == warned(odd)
    assert warned(both(odd, helsinki(minute="*", hour="*/3"))) == warned(odd)


def test_a_code_has_a_limited_number_of_warnings() -> None:
    zones = ["Europe/Helsinki", "America/New_York", "Africa/Cairo", "America/Santiago"]
    zones += ["Australia/Lord_Howe", "Asia/Beirut", "Asia/Jerusalem", "America/Havana"]
    parts = [{"type": "cron", "hour": "0-3", "minute": "*/15", "timezone": zone} for zone in zones]
    found = warned({"type": "or", "triggers": parts})
    assert len(found["dst_skipped"]) == MOST_WARNINGS
    assert len(found["dst_repeated"]) <= MOST_WARNINGS
    assert found["dst_skipped"] == sorted(found["dst_skipped"])


def test_warns_of_every_second() -> None:
    assert warned({"type": "cron", "second": "*"}) == {"very_frequent": [None]}
    assert warned({"type": "interval", "seconds": 1}, count=1) == {"very_frequent": [None]}
    assert warned({"type": "interval", "seconds": 2}) == {}
    assert warned({"type": "cron", "second": "0,1"}) == {}


@pytest.mark.parametrize(
    ("usual", "text"),
    [
        (5.5, "after 5 seconds, but this task usually takes 5.5 seconds"),
        (60, "after 5 seconds, but this task usually takes 1 minute:"),
        (600, "usually takes 10 minutes"),
        (3900, "usually takes 1:05:00 hours"),
    ],
)
def test_warns_of_firing_before_a_run_usually_is_over(usual: float, text: str) -> None:
    assert text in message(
        {"type": "interval", "seconds": 5}, "very_frequent", usual_duration=usual
    )


def test_does_not_warn_when_a_run_is_over_in_time() -> None:
    assert warned({"type": "interval", "seconds": 5}, usual_duration=5) == {}


CODE = "day_and_weekday"


def test_warns_that_day_and_weekday_must_both_match() -> None:
    assert warned({"type": "cron", "day": 13, "day_of_week": "fri"}) == {CODE: [None]}
    assert warned({"type": "cron", "day": "*", "day_of_week": "fri"}) == {}
    assert "match both." in message({"type": "cron", "day": 13, "day_of_week": "fri"}, CODE)
    part = {"type": "cron", "day": 13, "day_of_week": "fri"}
    assert warned({"type": "or", "triggers": [DAILY, part, part]}) == {CODE: [None]}


def test_says_that_a_crontab_line_fires_on_either_day() -> None:
    assert "match either." in message({"type": "cron", "crontab": "0 0 13 * fri"}, CODE)
    assert warned({"type": "cron", "crontab": "0 0 */2 * fri"}) == {}  # begins with a star
    assert warned({"type": "cron", "crontab": "0 0 13 * *"}) == {}


def test_warns_of_the_busiest_moment() -> None:
    crowd = {NOW.replace(day=23, hour=9, minute=0): 14, NOW.replace(day=24, hour=9, minute=0): 30}
    data = {"type": "cron", "hour": 9}
    shown = show(data, others=lambda moment: crowd.get(moment.astimezone(UTC), 0))
    [warning] = shown.warnings
    assert warning.code == "busy_moment"
    assert warning.at == datetime(2026, 11, 24, 9, tzinfo=UTC)
    assert warning.message == "30 other jobs fire at the same moment, 2026-11-24 09:00:00 UTC."
    assert warned(data, others=lambda _moment: 3) == {}
    assert "busy_moment" not in warned({"type": "cron", "year": 2020}, others=lambda _moment: 99)


@pytest.mark.parametrize("data", CORPUS, ids=range(len(CORPUS)))
def test_answers_at_once_whatever_it_is_asked(data: dict[str, Any]) -> None:
    """Measured 20 ms at most; a second would be a search without an end."""
    schedule = load(data)
    started = process_time()
    preview(schedule, after=NOW, count=100, usual_duration=1.0)
    assert process_time() - started < 1


def test_a_list_that_would_take_too_long_is_cut_and_says_so() -> None:
    shown = show(
        both({"type": "interval", "seconds": 61}, {"type": "cron", "minute": "*"}), count=100
    )
    assert 10 < len(shown.fire_times) < 100
    assert not shown.exhausted
    assert all(moment.second == 0 for moment in shown.fire_times)

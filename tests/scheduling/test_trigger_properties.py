"""What holds for every trigger that can be written, and for everything else that may be sent."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from dashboard.errors import FieldError, Invalid
from dashboard.scheduling.claims import claim_due
from dashboard.scheduling.firetimes import Effort
from dashboard.scheduling.jobstore import ScheduleCache
from dashboard.scheduling.preview import preview
from dashboard.scheduling.triggers import anchored, load, require_future
from dashboard.storage.models import Job, Run
from tests.rows import make_job

if TYPE_CHECKING:
    from dashboard.storage.db import Database

TICK = timedelta(microseconds=1)
ZONES = ["UTC", "Europe/Helsinki", "Australia/Lord_Howe", "America/New_York", "Asia/Kolkata"]

moments = st.datetimes(
    datetime(2024, 1, 1),  # noqa: DTZ001
    datetime(2032, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
walls = moments.map(lambda moment: f"{moment:%Y-%m-%dT%H:%M:%S}")


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with any of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


def cron_parts(low: int, high: int, *special: str) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    pairs = st.lists(number, min_size=2, max_size=2, unique=True).map(sorted)
    part = st.one_of(
        number.map(str),
        st.just("*"),
        st.integers(1, high - low).map("*/{}".format),
        pairs.map(lambda pair: f"{pair[0]}-{pair[1]}"),
        st.sampled_from(special) if special else st.nothing(),
    )
    return st.lists(part, min_size=1, max_size=3).map(",".join)


zones = {"timezone": st.sampled_from(ZONES)}
common = {**zones, "jitter": st.integers(0, 86_400)}
fields = {
    "year": cron_parts(2024, 2034),
    "month": cron_parts(1, 12, "jan", "feb-apr"),
    "day": cron_parts(1, 31, "last", "2nd tue", "last fri"),
    "week": cron_parts(1, 53),
    "day_of_week": cron_parts(0, 6, "mon-fri", "sun"),
    "hour": cron_parts(0, 23),
    "minute": cron_parts(0, 59),
    "second": cron_parts(0, 59),
}
lines = st.tuples(
    cron_parts(0, 59),
    cron_parts(0, 23),
    cron_parts(1, 31),
    cron_parts(1, 12, "jan", "oct-dec"),
    cron_parts(0, 7, "sun", "fri-mon"),
).map(" ".join)


def of(kind: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, **data}


intervals = st.tuples(
    some(
        weeks=st.integers(0, 5),
        days=st.integers(0, 40),
        hours=st.integers(0, 50),
        **common,
    ),
    st.just({}) | st.builds(dict, start_date=walls) | st.builds(dict, end_date=walls),
    st.fixed_dictionaries({"minutes": st.integers(0, 90), "seconds": st.integers(1, 90)}),
).map(lambda parts: of("interval", parts[0] | parts[1] | parts[2]))
crons = st.tuples(some(**fields).filter(bool), some(start_date=walls, **common)).map(
    lambda pair: of("cron", pair[0] | pair[1])
)
crontabs = st.tuples(lines, some(end_date=walls, **common)).map(
    lambda pair: of("cron", {"crontab": pair[0]} | pair[1])
)
dates = st.tuples(walls, some(**zones)).map(
    lambda pair: of("date", {"run_date": pair[0]} | pair[1])
)
calendar_intervals = st.tuples(
    some(
        years=st.integers(0, 3),
        months=st.integers(0, 14),
        weeks=st.integers(0, 3),
        hour=st.integers(0, 23),
        minute=st.integers(0, 59),
        start_date=moments.map(lambda moment: f"{moment:%Y-%m-%d}"),
        **common,
    ),
    st.integers(1, 400),
).map(lambda pair: of("calendarinterval", pair[0] | {"days": pair[1]}))
simple = st.one_of(intervals, crons, crontabs, dates, calendar_intervals)


def without_jitter(data: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name != "jitter"}


def combinations(
    parts: st.SearchStrategy[dict[str, Any]],
) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(
        st.sampled_from(["and", "or"]),
        st.lists(parts.map(without_jitter), min_size=1, max_size=3),
        some(**common),
    ).map(lambda triple: of(triple[0], {"triggers": triple[1]} | triple[2]))


triggers = st.recursive(simple, combinations, max_leaves=6)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(data=triggers, zone=st.sampled_from(ZONES))
def test_the_normal_form_is_stable_json(data: dict[str, Any], zone: str) -> None:
    schedule = load(data, timezone=zone)
    assert load(json.loads(json.dumps(schedule.data)), timezone=zone).data == schedule.data
    assert load(schedule.data, timezone=schedule.timezone).data == schedule.data


@given(data=triggers, zone=st.sampled_from(ZONES), now=moments)
def test_there_are_always_words_for_it(data: dict[str, Any], zone: str, now: datetime) -> None:
    schedule = load(data, timezone=zone)
    for one in (schedule, anchored(schedule, now)):
        assert one.sentence[0].isupper() or one.sentence[0].isdigit()
        assert "  " not in one.sentence
        assert one.raw


@given(data=triggers, now=moments)
def test_a_loaded_copy_fires_at_the_same_times(data: dict[str, Any], now: datetime) -> None:
    schedule = anchored(load(data), now)
    try:
        first = require_future(schedule, now)
    except Invalid:
        return
    copy = load(schedule.data, timezone=schedule.timezone)
    assert copy.at_or_after(now) == schedule.at_or_after(now) == first


@given(data=triggers, now=moments, ahead=st.timedeltas(timedelta(0), timedelta(days=40)))
def test_fire_times_do_not_depend_on_when_they_are_asked_for(
    data: dict[str, Any], now: datetime, ahead: timedelta
) -> None:
    schedule = anchored(load(data), now)
    found = schedule.at_or_after(now)
    if found is None:
        return
    assert found >= now
    assert found.tzinfo is UTC
    assert schedule.at_or_after(found) == found
    assert schedule.trigger.fires_at(found)
    between = min(found, now + ahead)
    assert schedule.at_or_after(between) == found


@given(data=triggers, now=moments, count=st.integers(1, 30))
def test_a_preview_is_what_will_happen(data: dict[str, Any], now: datetime, count: int) -> None:
    schedule = anchored(load(data), now)
    shown = preview(schedule, count=count, after=now)
    expected: list[datetime] = []
    found = schedule.at_or_after(now)
    while found is not None and len(expected) < count:
        expected.append(found)
        found = schedule.at_or_after(found + TICK)
    if len(shown.fire_times) < len(expected):  # it gave up, where single questions go on
        assert shown.fire_times == expected[: len(shown.fire_times)]
        assert not shown.exhausted
    else:
        assert shown.fire_times == expected
        assert not shown.exhausted or len(expected) < count
    assert ("never_fires" in {warning.code for warning in shown.warnings}) == (not expected)
    zone = ZoneInfo(schedule.timezone)
    assert all(moment.tzinfo is zone for moment in shown.fire_times)


@settings(max_examples=40)
@given(data=triggers.map(without_jitter), now=moments)
def test_the_scheduler_does_what_the_preview_showed(
    database: Database, data: dict[str, Any], now: datetime
) -> None:
    schedule = anchored(load(data), now)
    shown = preview(schedule, count=6, after=now).fire_times
    try:
        first = require_future(schedule, now)
    except Invalid:  # nobody could save it
        first = None
    assume(first)
    job = make_job(
        trigger=schedule.data,
        timezone=schedule.timezone,
        next_run_time=first,
        max_instances=100,
        runs_counted=0,
    )
    with database.write() as session:
        session.execute(delete(Run))
        session.execute(delete(Job))
        session.add(job)
    schedules = ScheduleCache()
    for _ in shown:
        with database.write() as session:
            due = session.scalar(select(Job.next_run_time))
            if due is not None:
                claim_due(session.connection(), due, schedules.of)
    with database.read() as session:
        claimed = list(session.scalars(select(Run.scheduled_at).order_by(Run.scheduled_at)))
    assert claimed == shown


@given(data=triggers, now=moments, span=st.timedeltas(timedelta(0), timedelta(days=3)))
def test_the_newest_missed_fire_time_is_the_last_of_all(
    data: dict[str, Any], now: datetime, span: timedelta
) -> None:
    schedule = anchored(load(data), now)
    effort = Effort(20_000)
    all_of_them = list(islice(schedule.trigger.upcoming(now, effort), 400))
    assume(all_of_them and not effort.spent)
    since, end = all_of_them[0], min(all_of_them[0] + span, all_of_them[-1])
    expected = max(moment for moment in all_of_them if moment <= end)
    assert schedule.last_at_or_before(end, since=since) == expected
    assert schedule.last_at_or_before(since - TICK, since=since) is None


def complaints_about(data: Any) -> list[FieldError]:
    try:
        load(data)
    except Invalid as invalid:
        return invalid.errors
    return []


@given(
    data=json_values, kind=st.sampled_from(["interval", "cron", "date", "calendarinterval", "or"])
)
def test_anything_else_is_refused_with_a_path_and_a_sentence(data: Any, kind: str) -> None:
    values: list[Any] = [data, {"type": kind, **data} if isinstance(data, dict) else [data]]
    for value in values:
        for error in complaints_about(value):
            assert error.field.split(".")[0] == "trigger"
            assert error.message.endswith(".")
            assert error.message.encode()


@given(
    name=st.sampled_from([*fields, "crontab", "start_date", "timezone", "jitter"]),
    text=st.text(alphabet="0123456789*/-, @abcdefijlmnorstuwyZ:+T", max_size=25),
)
def test_any_text_in_a_field_is_read_or_refused(name: str, text: str) -> None:
    other = "hour" if name == "minute" else "minute"
    data = {"type": "cron", other: "0", name: text}
    errors = complaints_about(data)
    assert {error.field for error in errors} <= {f"trigger.{name}", "trigger.minute"}
    if not errors:
        schedule = load(data)
        assert load(schedule.data).data == schedule.data
        assert schedule.sentence

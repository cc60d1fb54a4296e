"""Crontab lines mean what they mean in a Unix crontab."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from random import Random

import pytest
from cronsim import CronSim, CronSimError

from dashboard.errors import Invalid
from dashboard.scheduling.crontab import SHORTCUTS
from dashboard.scheduling.firetimes import Effort
from dashboard.scheduling.triggers import load

START = datetime(2026, 11, 22, 0, 30, tzinfo=UTC)
NAMES = {
    3: ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    4: ["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
}
LIMITS = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)]


def next_times(line: str, count: int = 3, start: datetime = START) -> list[datetime]:
    trigger = load({"type": "cron", "crontab": line}).trigger
    return list(islice(trigger.upcoming(start, Effort()), count))


def random_part(random: Random, field: int) -> str:
    low, high = LIMITS[field]
    if random.random() < 0.15:
        return random.choice(["*", f"*/{random.randint(1, high + 3)}"])
    # Of a range with one value, such as 3-3/2, cronsim makes an open one; crontab does not.
    first, last = sorted(random.sample(range(low, high + 1), k=2))
    names = NAMES.get(field)
    spelled = str(first)
    if names and random.random() < 0.3:
        return random.choice(names).upper()
    kind = random.random()
    if kind < 0.5:
        return spelled
    if kind < 0.8:
        return f"{first}-{last}"
    if kind < 0.9:
        return f"{first}-{last}/{random.randint(1, 9)}"
    return f"{first}/{random.randint(1, 9)}"


def random_line(random: Random) -> str:
    return " ".join(
        "*"
        if random.random() < 0.35
        else ",".join(random_part(random, field) for _ in range(random.choice([1, 1, 1, 2, 3])))
        for field in range(5)
    )


@pytest.mark.parametrize("seed", range(10))
def test_agrees_with_cronsim(seed: int) -> None:
    random = Random(seed)
    for _ in range(300):
        line = random_line(random)
        start = START + timedelta(minutes=random.randint(0, 4_000_000))
        try:
            expected = list(islice(CronSim(line, start), 3))
        except CronSimError:
            assert next_times(line) == [], line
            continue
        found = next_times(line, start=start + timedelta(microseconds=1))
        assert found == expected, line


@pytest.mark.parametrize(
    ("line", "same"),
    [
        ("0 9 * * 1", "0 9 * * mon"),
        ("0 9 * * 0", "0 9 * * sun"),
        ("0 9 * * 7", "0 9 * * sun"),
        ("0 9 * * sun-mon", "0 9 * * sun,mon"),
        ("0 9 * * fri-mon", "0 9 * * 0,1,5,6"),
        ("0 9 * * 6-7", "0 9 * * sat,sun"),
        ("0 9 * * 5-1", "0 9 * * 0,1,5,6"),
        ("0 9 * * fri-tue/2", "0 9 * * fri,sun,tue"),
        ("0 9 * * MON-FRI", "0 9 * * 1-5"),
        ("  0  9\t* JAN *  ", "0 9 * 1 *"),
        *SHORTCUTS.items(),
        ("@Daily", "0 0 * * *"),
    ],
)
def test_means_the_same(line: str, same: str) -> None:
    assert next_times(line, 20) == next_times(same, 20)


def test_monday_is_monday() -> None:
    assert next_times("0 9 * * 1", 1) == [datetime(2026, 11, 23, 9, tzinfo=UTC)]


def test_day_or_weekday_when_both_are_restricted() -> None:
    days = [moment.day for moment in next_times("0 9 1 * mon", 4)]
    assert days == [23, 30, 1, 7]


def test_day_and_weekday_when_one_begins_with_a_star() -> None:
    found = next_times("0 9 */2 * mon", 5)
    assert all(moment.weekday() == 0 and moment.day % 2 for moment in found)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("60 * * * *", "Minute: “60” is out of range; use 0 to 59."),
        ("* 24 * * *", "Hour: “24” is out of range; use 0 to 23."),
        ("* * 0 * *", "Day: “0” is out of range; use 1 to 31."),
        ("* * * 13 *", "Month: “13” is out of range; use 1 to 12 or jan to dec."),
        ("* * * * 8", "Day of week: “8” is out of range; use 0 to 7 or sun to sat."),
        ("* * * * mon;x", "Day of week: “mon;x” is not understood"),
        ("* * * foo *", "Month: “foo” is not understood"),
        ("5-1 * * * *", "Minute: “5-1” runs backwards; write it as two ranges."),
        ("1--100000000 * * * *", "Minute: “1--100000000” is not understood"),
        ("*/0 * * * *", "Minute: has a step of 0"),
        ("1,,2 * * * *", "Minute: has a comma without a value"),
        ("* * * *", "five fields"),
        ("* * * * * *", "five fields"),
        ("0 9 * * 1 /usr/bin/backup", "Leave out seconds, user names and commands."),
        ("@reboot", "“@reboot” names no time"),
        ("@fortnightly", "“@fortnightly” is not known; use one of @yearly"),
        ("٣ * * * *", "is not understood"),
        ("? * * * *", "is not understood"),
        ("* * L * *", "is not understood"),
        ("* " * 300, "too long"),
    ],
)
def test_refuses_what_it_does_not_understand_whole(line: str, message: str) -> None:
    with pytest.raises(Invalid) as raised:
        load({"type": "cron", "crontab": line})
    [error] = raised.value.errors
    assert error.field == "trigger.crontab"
    assert message in error.message


def test_complains_about_every_field_of_a_line() -> None:
    with pytest.raises(Invalid) as raised:
        load({"type": "cron", "crontab": "61 25 * * 8"})
    [error] = raised.value.errors
    assert all(name in error.message for name in ("Minute", "hour", "day of week"))


def test_cannot_be_mixed_with_fields() -> None:
    with pytest.raises(Invalid) as raised:
        load({"type": "cron", "crontab": "@daily", "hour": 3})
    assert [error.field for error in raised.value.errors] == ["trigger.hour"]

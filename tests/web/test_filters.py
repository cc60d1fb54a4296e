from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from flask import Flask

from dashboard.settings import load_settings
from dashboard.storage.models import Health, JobState, RunState
from dashboard.web import filters
from dashboard.web.state import EXTENSION, DashboardState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from enum import StrEnum
    from pathlib import Path

    from dashboard.storage.db import Database

NOON = datetime(2027, 3, 1, 12, 0, 5, 900_000, tzinfo=UTC)


@pytest.fixture
def berlin(tmp_path: Path, database: Database) -> Iterator[None]:
    app = Flask("berlin")
    settings = load_settings(data=tmp_path, timezone="Europe/Berlin")
    app.extensions[EXTENSION] = DashboardState(settings, database, wake=lambda: None)
    with app.app_context():
        yield


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_absolute_times_name_the_zone(berlin: None) -> None:
    del berlin
    assert filters.absolute(NOON) == "2027-03-01 13:00:05 CET"
    assert filters.absolute(NOON + timedelta(days=90)) == "2027-05-30 14:00:05 CEST"
    assert filters.clock_time(NOON) == "13:00:05"
    assert filters.iso(NOON) == "2027-03-01T12:00:05Z"
    assert filters.absolute(None) == filters.clock_time(None) == filters.NONE


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "now"),
        (-0.9, "now"),
        (-1, "1 s ago"),
        (-59.9, "59 s ago"),
        (-60, "1 min ago"),
        (-3599, "59 min ago"),
        (-3600, "1 h ago"),
        (-86_400 * 3 - 5, "3 d ago"),
        (5, "in 5 s"),
        (7200, "in 2 h"),
        (9000, "in 2 h 30 min"),
        (86_400 + 5 * 3600 + 60, "in 1 d 5 h"),
    ],
)
def test_relative_times(seconds: float, text: str) -> None:
    assert filters.relative(NOON + timedelta(seconds=seconds), NOON) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, filters.NONE),
        (0, "under 1 ms"),
        (0.0004, "under 1 ms"),
        (0.25, "250 ms"),
        (0.9996, "1.0 s"),
        (1, "1.0 s"),
        (9.96, "10 s"),
        (12.4, "12 s"),
        (59.6, "1 min"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (3660, "1 h 1 min"),
        (86_400 + 3600 * 4 + 59, "1 d 4 h"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert filters.duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0001, "under 1 ms"), (0.01, "at most 10 ms"), (90, "at most 1 min 30 s")],
)
def test_bounds_of_durations(seconds: float, text: str) -> None:
    assert filters.at_most(seconds) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(None, filters.NONE), (0, "0 %"), (0.5, "50 %"), (0.999, "99 %"), (1, "100 %")],
)
def test_only_what_is_complete_is_100_percent(share: float | None, text: str) -> None:
    assert filters.percent(share) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(None, filters.NONE), (0, "0 B"), (999, "999 B"), (1_200_000, "1.2 MB"), (5e12, "5000.0 GB")],
)
def test_sizes(size: float | None, text: str) -> None:
    assert filters.file_size(size) == text


def test_counts() -> None:
    assert filters.count(1, "job") == "1 job"
    assert filters.count(1204, "job") == "1,204 jobs"
    assert filters.count(2, "entry", "entries") == "2 entries"


@pytest.mark.parametrize("states", [RunState, JobState, Health])
def test_every_state_has_a_look_of_its_own(states: type[StrEnum]) -> None:
    looks = [filters.LOOKS[state] for state in states]
    assert len({look.icon for look in looks}) == len(looks), "shapes differ, not only colours"
    assert [look.word for look in looks] == list(states)


def test_a_state_nobody_has_styled_still_shows() -> None:
    assert filters.look("melted").word == "melted"


def test_code_in_descriptions_is_told_by_its_backticks() -> None:
    text = "The folder `backups`, ``a b``, and a lone ` here."
    assert filters.code_pieces(text) == [
        ("The folder ", False),
        ("backups", True),
        (", ", False),
        ("a b", True),
        (", and a lone ` here.", False),
    ]
    assert filters.code_pieces("") == []

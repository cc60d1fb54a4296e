from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from dashboard.scheduling import clock
from dashboard.scheduling.clock import ClockWatch

if TYPE_CHECKING:
    from collections.abc import Callable

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)


class Clocks:
    """The two clocks of a machine, and what of `datetime` and `time` is asked for them."""

    def __init__(self) -> None:
        self.day = NOON.timestamp()
        self.running = 500.0

    def pass_time(self, seconds: float) -> None:
        self.day += seconds
        self.running += seconds

    def time(self) -> float:
        return self.day

    def monotonic(self) -> float:
        return self.running

    def now(self, zone: object) -> datetime:
        assert zone is UTC
        return datetime.fromtimestamp(self.day, UTC)


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    clocks = Clocks()
    monkeypatch.setattr(clock, "time", clocks)
    monkeypatch.setattr(clock, "datetime", clocks)
    return clocks


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    return lambda: [record.getMessage() for record in caplog.records]


def test_a_clock_that_is_right_or_corrected_gently_is_no_news(
    clocks: Clocks, told: Callable[[], list[str]]
) -> None:
    watch = ClockWatch()
    for _ in range(100):
        clocks.pass_time(1)
        clocks.day -= 0.5
        watch.look()
    assert watch.problem is None
    assert told() == []


def test_one_that_is_set_back_is_told_until_its_time_has_come_again(
    clocks: Clocks, told: Callable[[], list[str]]
) -> None:
    watch = ClockWatch()
    clocks.pass_time(1)
    clocks.day -= 3600
    watch.look()
    assert watch.problem is not None
    assert "jobs wait until 2027-03-01 12:00:01 UTC" in watch.problem
    assert told() == [watch.problem]
    clocks.pass_time(3599)
    watch.look()
    assert watch.problem is not None
    clocks.pass_time(1)
    watch.look()
    assert watch.problem is None
    assert len(told()) == 1


def test_one_that_jumps_forward_or_a_machine_that_slept_is_noted(
    clocks: Clocks, told: Callable[[], list[str]]
) -> None:
    watch = ClockWatch()
    clocks.day += 3600
    watch.look()
    assert watch.problem is None
    assert ["3600 s" in line for line in told()] == [True]

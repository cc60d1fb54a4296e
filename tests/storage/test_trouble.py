"""What fails again and again is said once in the log, and told in a sentence while it lasts."""

from __future__ import annotations

import logging

import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from dashboard.storage.trouble import Trouble

FULL = OperationalError("UPDATE secret", {}, Exception("disk is full\nDETAIL: row (hunter2)"))


@pytest.fixture
def trouble() -> Trouble:
    return Trouble(logging.getLogger("test"), "the cow cannot jump", over="the cow jumps again")


def test_the_log_tells_when_it_begins_and_when_it_is_over(
    trouble: Trouble, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        trouble.end()
        trouble.note(FULL)
        trouble.note(PoolTimeout("no connection"))
        trouble.end()
    begun = "the cow cannot jump, trying again: disk is full\nDETAIL: row (hunter2)"
    assert caplog.messages == [begun, "the cow jumps again"] * 2


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (FULL, "The cow cannot jump: disk is full."),
        (PoolTimeout("no connection."), "The cow cannot jump: no connection."),
        (OperationalError("", {}, Exception("\ud800")), "The cow cannot jump: \\ud800."),
        (KeyError("hunter2"), "The cow cannot jump: the log says why."),
    ],
)
def test_people_are_told_the_newest_reason_and_no_values(
    trouble: Trouble, error: Exception, told: str
) -> None:
    assert (trouble.problem, trouble.since) == (None, None)
    trouble.note(RuntimeError("before"))
    since = trouble.since
    trouble.note(error)
    assert (trouble.problem, trouble.since) == (told, since)
    trouble.end()
    assert (trouble.problem, trouble.since) == (None, None)


def test_a_fault_of_ours_comes_with_its_traceback(
    trouble: Trouble, caplog: pytest.LogCaptureFixture
) -> None:
    trouble.note(KeyError("hunter2"))
    assert [record.exc_info is not None for record in caplog.records] == [True]
    assert "KeyError('hunter2')" in caplog.messages[0]

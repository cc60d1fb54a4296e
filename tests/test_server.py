"""Serving alone, without the serving: what becomes of signals."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

from dashboard.server import _Signals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType


@pytest.fixture
def signals() -> Iterator[_Signals]:
    """Signals as they are counted while the dashboard serves."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield _Signals()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.timeout(60)
def test_a_signal_is_received_whatever_the_main_thread_is_about_to_do(signals: _Signals) -> None:
    """One comes before the first line that a wait executes, then before the second, and so on.

    With an Event in place of the queue this hangs: its set() waits for a lock that wait() holds.
    """
    sent, received = 0, list[bool]()
    while _interrupted_at(sent, lambda: received.append(signals.wait(0.001))):
        sent += 1
    while signals.wait(0.001):
        received.append(True)
    assert sum(received) == sent >= 3


def _interrupted_at(line: int, action: Callable[[], object]) -> bool:
    """Do it and receive a signal before this line of all it executes; False if there is none."""
    left = line

    def trace(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal left
        if event == "line":
            left -= 1
            if left == -1:
                signal.raise_signal(signal.SIGTERM)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
    return left < 0


def test_without_a_signal_a_wait_ends(signals: _Signals) -> None:
    assert not signals.wait(0)
    assert not signals.wait(0.001)

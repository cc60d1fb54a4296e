"""Tests of what runs print and log: pytest's own capture must not get in between."""

from __future__ import annotations

import functools
import io
import logging
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any

from dashboard.capture import capturing
from dashboard.runcontext import CurrentRun, RunIdentity, run_context
from tests.sinks import MIDNIGHT

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from dashboard.runcontext import RunSink


def in_a_terminal(test: Callable[..., None]) -> Callable[..., None]:
    """Capture during a test; pytest replaces the streams after set-up, so no fixture can."""

    @functools.wraps(test)
    def wrapped(**fixtures: Any) -> None:
        console = fixtures.get("console", io.StringIO())
        level = logging.root.level
        logging.root.setLevel(logging.INFO)
        try:
            with redirect_stdout(console), redirect_stderr(console), capturing():
                test(**fixtures)
        finally:
            logging.root.setLevel(level)

    return wrapped


def running(sink: RunSink, run_id: int = 1, **options: Any) -> AbstractContextManager[CurrentRun]:
    """Make a run the current one."""
    return run_context(RunIdentity(run_id, f"job {run_id}", MIDNIGHT), sink, **options)

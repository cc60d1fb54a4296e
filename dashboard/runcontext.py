"""The run a task is part of: `current_run()` for the task, `run_task()` for those who call it."""

from __future__ import annotations

import asyncio.base_events
import asyncio.runners
import math
import threading
import time
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from dashboard import tasks, texts
from dashboard.records import (
    Cancellation,
    Limits,
    LogDropped,
    LogLine,
    Outcome,
    ProgressChange,
    Record,
    RunIdentity,
    RunSink,
    StepChange,
    deliver,
)
from dashboard.tasks import FinishJob, PauseJob
from dashboard.transcript import Transcript
from dashboard.vault import NO_VAULT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dashboard.records import StepState
    from dashboard.settings import Settings

__all__ = [
    "Cancellation",
    "CurrentRun",
    "Limits",
    "LogDropped",
    "LogLine",
    "Outcome",
    "ProgressChange",
    "Record",
    "RunIdentity",
    "RunSink",
    "StepChange",
    "active_run",
    "current_run",
    "run_context",
    "run_task",
]

_DEFAULT_LIMITS = Limits()
TIMED_OUT = "TimeoutError"
"""The error type of a run that took longer than it may."""

_STEP_NAME_BYTES = 200
_PROGRESS_TEXT_BYTES = 200
_OWN_FILES = frozenset(
    {__file__, tasks.__file__, asyncio.runners.__file__, asyncio.base_events.__file__}
)
_active: ContextVar[CurrentRun | None] = ContextVar("dashboard_run", default=None)


class CurrentRun:
    """One run as its task sees it; safe to use from several threads."""

    def __init__(
        self,
        identity: RunIdentity,
        sink: RunSink,
        *,
        settings: Settings | None = None,
        limits: Limits = _DEFAULT_LIMITS,
        cancellation: Cancellation | None = None,
        timeout: float | None = None,
    ) -> None:
        self.id = identity.id
        self.job_id = identity.job_id
        self.scheduled_at = identity.scheduled_at
        self.attempt = identity.attempt
        self.settings = settings
        self.limits = limits
        self.transcript = Transcript(identity.id, sink, limits)
        self.stopped_by_request = False
        """Whether the task has been told that it should stop."""
        self._sink = sink
        self.timeout = timeout
        """Seconds the run may take; None where there is no limit, or somebody else sees to it."""
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._cancellation = cancellation
        self._cancel_asked = False
        self._lock = threading.Lock()
        self._steps = 0
        self._progress_due = 0.0
        self._progress_waiting: ProgressChange | None = None

    @property
    def cancelled(self) -> bool:
        """Whether the run is to stop: somebody asked it to, or its time is over.

        A long task looks now and then, and returns.
        """
        if self.cancel_asked or self.timed_out:
            self.stopped_by_request = True
        return self.stopped_by_request

    @property
    def timed_out(self) -> bool:
        """Whether the run has taken longer than its timeout."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    @property
    def cancel_asked(self) -> bool:
        """Whether somebody asked the run to stop; does not count as the task's looking."""
        return self._cancel_asked or (
            self._cancellation is not None and self._cancellation.is_set()
        )

    def cancel(self) -> None:
        """Ask the task to stop; it is up to the task to look."""
        self._cancel_asked = True

    def log(self, text: object, level: str = "INFO") -> None:
        """Write one entry to the run's log."""
        self.transcript.add(level.upper(), "task", texts.text_of(text))

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Record a named step of the run: when it began and ended, and whether by an exception.

        Steps may be nested; they are kept as a flat list in the order they began. Beyond the run's
        limit of steps the code runs all the same and is not recorded.
        """
        with self._lock:
            self._steps += 1
            index = self._steps
        if index > self.limits.steps:
            yield
            return
        name = texts.fitted(name, _STEP_NAME_BYTES)
        started_at = datetime.now(UTC)
        deliver(self._sink, StepChange(self.id, index, name, "running", started_at))
        problem: str | None = None
        try:
            yield
        except BaseException as error:
            problem = self._step_problem(error)
            raise
        finally:
            state: StepState = "failed" if problem is not None else "succeeded"
            now = datetime.now(UTC)
            deliver(self._sink, StepChange(self.id, index, name, state, started_at, now, problem))

    def _step_problem(self, error: BaseException) -> str | None:
        """Say in a line why a step failed; ending the job on purpose is no failure."""
        if isinstance(error, FinishJob) or (
            isinstance(error, PauseJob) and error.__cause__ is None
        ):
            return None
        text = texts.text_of(error)
        summary = f"{texts.error_type(error)}: {text}" if text else texts.error_type(error)
        return texts.fitted(summary, self.limits.message_bytes)

    def progress(self, done: float, total: float | None = None, text: str = "") -> None:
        """Tell how far the run is. Call it as often as is convenient: only some calls are recorded.

        Raises `ValueError` for NaN and infinity, `TypeError` for what is no number.
        """
        if not (math.isfinite(done) and (total is None or math.isfinite(total))):
            message = f"Progress is told in finite numbers, not {done} of {total}."
            raise ValueError(message)
        now = time.monotonic()
        with self._lock:
            change = ProgressChange(self.id, done, total, text, datetime.now(UTC))
            if now < self._progress_due:
                self._progress_waiting = change
                return
            self._progress_due = now + self.limits.progress_seconds
            self._progress_waiting = None
            self._deliver_progress(change)

    def _deliver_progress(self, change: ProgressChange) -> None:
        text = texts.fitted(change.text, _PROGRESS_TEXT_BYTES)
        deliver(self._sink, ProgressChange(self.id, change.done, change.total, text, change.at))

    def close(self) -> None:
        """Hand over what was held back: last progress, unfinished lines, what was dropped."""
        with self._lock:
            waiting, self._progress_waiting = self._progress_waiting, None
            if waiting is not None:
                self._deliver_progress(waiting)
        self.transcript.close()


def current_run() -> CurrentRun:
    """Return the run this code is part of: in the task, its coroutines and `asyncio.to_thread`.

    A thread the task starts itself belongs to the run only when started with
    `contextvars.copy_context().run`. Raises `RuntimeError` outside a run.
    """
    run = _active.get()
    if run is None:
        message = (
            "current_run() works only inside a task that the dashboard runs;"
            " a thread started by the task needs contextvars.copy_context().run."
        )
        raise RuntimeError(message)
    return run


def active_run() -> CurrentRun | None:
    """Return the run this code is part of, or None."""
    return _active.get()


@contextmanager
def run_context(
    identity: RunIdentity,
    sink: RunSink,
    settings: Settings | None = None,
    limits: Limits = _DEFAULT_LIMITS,
    cancellation: Cancellation | None = None,
    timeout: float | None = None,
) -> Iterator[CurrentRun]:
    """Make a run the current one of this thread and context until the block ends."""
    run = CurrentRun(
        identity,
        sink,
        settings=settings,
        limits=limits,
        cancellation=cancellation,
        timeout=timeout,
    )
    token = _active.set(run)
    try:
        yield run
    finally:
        _active.reset(token)
        run.close()


def run_task(
    task_name: str,
    parameters: Mapping[str, Any],
    identity: RunIdentity,
    sink: RunSink,
    settings: Settings | None = None,
    *,
    limits: Limits = _DEFAULT_LIMITS,
    cancellation: Cancellation | None = None,
    timeout: float | None = None,
) -> Outcome:
    """Call a task as a run and tell how it ended; never raises, whatever the task does.

    `sys.exit()` and `sys.exit(0)` are a way to succeed, any other code fails. A run that was asked
    to stop is cancelled when its task noticed or raised; when it never looked and returned, it has
    succeeded. One that took longer than `timeout` seconds has failed, whatever it did then.
    """
    started_at = datetime.now(UTC)
    start = time.monotonic()
    with run_context(identity, sink, settings, limits, cancellation, timeout) as run:
        try:
            vault = settings.vault if settings is not None else NO_VAULT
            result = tasks.get_task(task_name).call(parameters, vault)
            ending = _returned(run, result)
        except BaseException as error:  # noqa: BLE001 - a run ends as a row, not as an exception
            ending = _raised(run, error)
        if run.timed_out and not run.cancel_asked:
            ending = _overran(run, task_name, ending)
    duration = time.monotonic() - start
    return Outcome(
        run_id=identity.id,
        started_at=started_at,
        finished_at=started_at + timedelta(seconds=duration),
        duration=duration,
        **ending,
    )


def _returned(run: CurrentRun, result: object) -> dict[str, Any]:
    state = "cancelled" if run.stopped_by_request else "succeeded"
    return {"state": state, "result": texts.result_text(result, run.limits.result_bytes)}


def _raised(run: CurrentRun, error: BaseException) -> dict[str, Any]:
    """Turn an exception into the fields of an outcome."""
    if isinstance(error, SystemExit) and error.code in (None, 0):
        return _returned(run, None)
    if isinstance(error, FinishJob):
        return {"state": "succeeded", "finish_reason": _reason(run, error)}
    if isinstance(error, PauseJob):
        if error.__cause__ is None:
            return {"state": "succeeded", "pause_reason": _reason(run, error)}
        return {**_failure(run, error.__cause__), "pause_reason": _reason(run, error)}
    state = "cancelled" if run.cancel_asked else "failed"
    return {**_failure(run, error), "state": state}


def _overran(run: CurrentRun, task_name: str, ending: dict[str, Any]) -> dict[str, Any]:
    """Turn the ending of a run that took too long into a failure; what it raised stays to see."""
    told = f"It ran longer than its timeout of {run.timeout:g} s."
    if error_type := ending.get("error_type"):
        told += f" Then it raised {error_type}: {ending.get('error_message') or ''}"
    return ending | {
        "state": "failed",
        "error_type": TIMED_OUT,
        "error_message": texts.fitted(told.rstrip(": "), run.limits.message_bytes),
        "fingerprint": timeout_fingerprint(task_name),
    }


def timeout_fingerprint(task_name: str) -> str:
    """Return the fingerprint that all runs of a task share which took too long."""
    return texts.fingerprint(TimeoutError(f"timeout of {task_name}"))


def _reason(run: CurrentRun, request: PauseJob | FinishJob) -> str:
    return texts.fitted(texts.text_of(request.reason), run.limits.message_bytes)


def _failure(run: CurrentRun, error: BaseException) -> dict[str, Any]:
    message = texts.text_of(error)
    if isinstance(error, SystemExit) and isinstance(error.code, int):
        message = f"The task exited with code {message}."
    limits = run.limits
    return {
        "state": "failed",
        "error_type": texts.fitted(texts.error_type(error), limits.message_bytes),
        "error_message": texts.fitted(message, limits.message_bytes),
        "traceback": texts.traceback_text(error, limits.traceback_bytes, without=_OWN_FILES),
        "fingerprint": texts.fingerprint(error, without=_OWN_FILES),
    }

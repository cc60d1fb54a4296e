"""What a run tells while it goes on, and how it ended: values that cross process boundaries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from datetime import datetime


StepState = Literal["running", "succeeded", "failed"]


# A frozen dataclass takes twice as long to make: what there is one of for each run is none.


class RunIdentity(NamedTuple):
    """Which run this is; `id` is the key of its row."""

    id: int
    job_id: str
    scheduled_at: datetime
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one run may record; what is beyond is counted, not kept."""

    line_bytes: int = 8 * 1024
    lines: int = 10_000
    log_bytes: int = 2 * 1024 * 1024
    steps: int = 1_000
    progress_seconds: float = 0.2
    """The shortest time between two recorded progress changes; the last one is always recorded."""
    result_bytes: int = 16 * 1024
    message_bytes: int = 8 * 1024
    traceback_bytes: int = 64 * 1024


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a run's log; `seq` counts from 1 within the run."""

    run_id: int
    seq: int
    at: datetime
    level: str
    logger: str
    text: str


@dataclass(frozen=True, slots=True)
class StepChange:
    """A named step began or ended; both carry the same `index`, counted from 1 within the run."""

    run_id: int
    index: int
    name: str
    state: StepState
    started_at: datetime
    finished_at: datetime | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ProgressChange:
    """How far a run is: `done` of `total`, or only `done` when the total is not known."""

    run_id: int
    done: float
    total: float | None
    text: str
    at: datetime


@dataclass(frozen=True, slots=True)
class LogDropped:
    """So many lines of the run were beyond its limits; emitted once, at its end."""

    run_id: int
    count: int


Record = LogLine | StepChange | ProgressChange | LogDropped


class RunSink(Protocol):
    """Where records go. Called from the task's own threads: it should only queue."""

    def emit(self, record: Record) -> None:
        """Take one record."""


class Cancellation(Protocol):
    """Anything like `threading.Event` that says whether the run was asked to stop."""

    def is_set(self) -> bool:
        """Return whether the run was asked to stop."""


OutcomeState = Literal["succeeded", "failed", "cancelled", "interrupted"]


class Outcome(NamedTuple):
    """How a run ended; times are aware UTC, `duration` is in seconds of the monotonic clock.

    It is None for an interrupted run: nobody was there to measure.
    """

    run_id: int
    state: OutcomeState
    started_at: datetime
    finished_at: datetime
    duration: float | None
    result: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    traceback: str | None = None
    fingerprint: str | None = None
    pause_reason: str | None = None
    finish_reason: str | None = None


def deliver(sink: RunSink, record: Record) -> bool:
    """Hand a record over; return whether that worked. A broken sink never fails the task."""
    try:
        sink.emit(record)
    except Exception:  # noqa: BLE001 - there is nobody to tell: the log itself may be what is broken
        return False
    return True

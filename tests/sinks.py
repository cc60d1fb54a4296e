"""What a run tells, kept for a test to look at."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from dashboard.runcontext import LogLine, Outcome, Record, RunIdentity, StepChange, run_task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dashboard.settings import Settings

MIDNIGHT = datetime(2026, 3, 29, tzinfo=UTC)

Kind = TypeVar("Kind")


class Sink:
    """Keeps records as they are after a journey between processes."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def emit(self, record: Record) -> None:
        self.records.append(pickle.loads(pickle.dumps(record)))

    def of(self, kind: type[Kind]) -> list[Kind]:
        return [record for record in self.records if isinstance(record, kind)]

    def lines(self, run_id: int | None = None) -> list[LogLine]:
        """List the lines of one run, or of all."""
        return [line for line in self.of(LogLine) if run_id in {None, line.run_id}]

    def texts(self, run_id: int | None = None) -> list[str]:
        return [line.text for line in self.lines(run_id)]

    def told(self) -> list[tuple[str, str, str]]:
        return [(line.level, line.logger, line.text) for line in self.of(LogLine)]

    def steps(self) -> list[tuple[str, str]]:
        """Name each step and how it ended."""
        changes = self.of(StepChange)
        return [(change.name, change.state) for change in changes if change.finished_at]


def run(
    task: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    settings: Settings | None = None,
    sink: Sink | None = None,
    job_id: str = "job",
) -> Outcome:
    """Run a registered task once."""
    identity = RunIdentity(1, job_id, MIDNIGHT)
    return run_task(task, parameters or {}, identity, sink or Sink(), settings)

"""What a tick did, as the events that a stock scheduler would have told its listeners."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apscheduler.events import (
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    EVENT_JOB_SUBMITTED,
    JobEvent,
    JobExecutionEvent,
    JobSubmissionEvent,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dashboard.scheduling.claims import Due
    from dashboard.scheduling.handover import HandOver


def of_tick(due: Due, handed: HandOver) -> Iterator[JobEvent]:
    """Return the events of one tick, in the order of what happened."""
    for code, pairs in (
        (EVENT_JOB_SUBMITTED, due.queued),
        (EVENT_JOB_MAX_INSTANCES, due.skipped),
    ):
        for job_id, moment in pairs:
            yield JobSubmissionEvent(code, job_id, "default", [moment])
    for job_id, moment in (*due.missed, *handed.missed):
        yield JobExecutionEvent(EVENT_JOB_MISSED, job_id, "default", moment)

"""The words for states, origins, health and roles, each with its meaning."""

from __future__ import annotations

import enum


class RunState(enum.StrEnum):
    """Where a run stands. The first two are active, all others final."""

    QUEUED = "queued"  # claimed, asked for or to be tried again; belongs to nobody yet
    RUNNING = "running"  # handed to a process, which will say how it ended
    SUCCEEDED = "succeeded"  # the task returned
    FAILED = "failed"  # the task raised
    MISSED = "missed"  # could not start within its misfire grace time
    SKIPPED = "skipped"  # came due while max_instances were queued or running
    INTERRUPTED = "interrupted"  # its process died or was stopped while it ran
    CANCELLED = "cancelled"  # a person stopped it, or it never began and never will


ACTIVE = (RunState.QUEUED, RunState.RUNNING)
ACTIVE_RUN = "state IN ('queued', 'running')"
"""The same as SQL. Queries that name it letter by letter can use the small index over such rows."""

MAY_FIRE = "paused_at IS NULL AND broken_reason IS NULL"

READY_RUN = f"{ACTIVE_RUN} AND not_before IS NULL"
"""Those that run or could: a retry that waits for its moment does not yet count as work."""

QUEUED_RUN = "state = 'queued' AND not_before IS NULL"
"""Likewise, for the index over the queue of each executor: what may start as soon as it can."""

WAITING_RUN = "state = 'queued' AND not_before IS NOT NULL"
"""Likewise, for retries whose time has not come yet."""

CANCEL_ASKED = "state = 'running' AND cancel_asked_at IS NOT NULL"
"""Likewise, for the index over runs that somebody wants to end."""

MISSED_LAST = "last_state = 'missed'"
"""And for the small index over jobs whose last fire time passed without a start."""

SENT_RUN = "state = 'queued' AND sent_at IS NOT NULL"
"""Likewise, for what Celery's broker has and no worker has taken."""

HOST = "host"
"""The executor of jobs that belong to a host's own scheduler, and the type of their triggers."""

PROBLEMS = (RunState.FAILED, RunState.INTERRUPTED)
"""The final states that make a job unhealthy."""


class Origin(enum.StrEnum):
    """Why there is a run."""

    SCHEDULE = "schedule"
    MANUAL = "manual"
    RETRY = "retry"
    BACKFILL = "backfill"


class JobState(enum.StrEnum):
    """What a job is doing. Derived from its row and its active runs, never stored."""

    SCHEDULED = "scheduled"
    PAUSED = "paused"
    RUNNING = "running"
    BROKEN = "broken"  # cannot be run as it stands; kept until repaired
    FINISHED = "finished"  # has no further fire time


class Health(enum.StrEnum):
    """How a job has been doing."""

    HEALTHY = "healthy"
    FAILING = "failing"  # its last run failed or was interrupted
    OVERDUE = "overdue"  # should have run by now and has not: see `history.verdicts`
    UNKNOWN = "unknown"  # has not run yet


class Silence(enum.StrEnum):
    """How somebody keeps a job's trouble from being news; both end at their time, if any."""

    ACKNOWLEDGED = "acknowledged"  # known: until the job recovers or fails in another way
    SNOOZED = "snoozed"  # left alone whatever happens; without a time until the job recovers


class AlertKind(enum.StrEnum):
    """What an alert rule looks for."""

    FAILING = "failing"  # failed so many times in a row
    FAILURE_RATE = "failure_rate"  # too large a share of its runs failed within a while
    OVERDUE = "overdue"  # should have run by now and has not
    SLOW = "slow"  # runs for longer than it usually does
    BROKEN = "broken"  # cannot run as it stands
    SCHEDULER_DOWN = "scheduler_down"  # nobody leads, so nothing runs


class AlertEvent(enum.StrEnum):
    """Why somebody is told something."""

    PROBLEM = "problem"
    RECOVERED = "recovered"
    REMINDER = "reminder"  # it is still so
    TEST = "test"


class DeliveryState(enum.StrEnum):
    """Where the delivery of an alert stands. The last three are final."""

    WAITING = "waiting"  # for its next attempt
    CLAIMED = "claimed"  # by a process that has sent nothing of it yet
    SENDING = "sending"  # on its way
    SENT = "sent"  # the receiver has confirmed it
    FAILED = "failed"  # given up
    UNKNOWN = "unknown"  # its process died while it was on its way: probably it arrived


class ProcessKind(enum.StrEnum):
    """What a process does."""

    DASHBOARD = "dashboard"  # serves pages, and schedules while it leads
    WORKER = "worker"  # executes runs that Celery's broker brings it


class ErrorMark(enum.StrEnum):
    """What somebody decided about an error; it comes back by itself, as regressed."""

    ACKNOWLEDGED = "acknowledged"  # known: until a job that has succeeded since meets it again
    IGNORED = "ignored"  # until a time, a count or a rate, or for good


class Role(enum.StrEnum):
    """What a person may do; each role includes the ones before it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, other: Role) -> bool:
        """Say whether this role may do what `other` may do."""
        order = list(Role)
        return order.index(self) >= order.index(other)

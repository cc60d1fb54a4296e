"""The tables, typed. Times are aware UTC in Python whatever the database keeps."""

from __future__ import annotations

from dashboard.storage.models.alerts import (
    OPEN_PROBLEM,
    UNSENT,
    AlertDelivery,
    AlertProblem,
    AlertRule,
)
from dashboard.storage.models.base import ID_LENGTH, LARGEST_ID, Base, UtcDateTime
from dashboard.storage.models.bulk import Bulk
from dashboard.storage.models.errorgroups import ErrorGroup, ErrorHour, ErrorJob
from dashboard.storage.models.health import (
    ALL_JOBS,
    DURATION_BOUNDS,
    DURATION_COLUMNS,
    EVER,
    JobHealth,
    RunStats,
)
from dashboard.storage.models.jobs import RETRY_WAIT, Job
from dashboard.storage.models.people import Audit, SignIn, SignInFailure, User
from dashboard.storage.models.processes import Lease, Process, Revision, SchedulerLife
from dashboard.storage.models.runs import MOST_COALESCED, Run, RunLog, RunStep
from dashboard.storage.models.tokens import ANSWER_KEPT, ApiToken, KeptAnswer
from dashboard.storage.models.views import SavedView
from dashboard.storage.models.words import (
    ACTIVE,
    ACTIVE_RUN,
    CANCEL_ASKED,
    HOST,
    MAY_FIRE,
    MISSED_LAST,
    PROBLEMS,
    QUEUED_RUN,
    READY_RUN,
    SENT_RUN,
    WAITING_RUN,
    AlertEvent,
    AlertKind,
    DeliveryState,
    ErrorMark,
    Health,
    JobState,
    Origin,
    ProcessKind,
    Role,
    RunState,
    Silence,
)

__all__ = [
    "ACTIVE",
    "ACTIVE_RUN",
    "ALL_JOBS",
    "ANSWER_KEPT",
    "CANCEL_ASKED",
    "DURATION_BOUNDS",
    "DURATION_COLUMNS",
    "EVER",
    "HOST",
    "ID_LENGTH",
    "LARGEST_ID",
    "MAY_FIRE",
    "MISSED_LAST",
    "MOST_COALESCED",
    "OPEN_PROBLEM",
    "PROBLEMS",
    "QUEUED_RUN",
    "READY_RUN",
    "RETRY_WAIT",
    "SENT_RUN",
    "UNSENT",
    "WAITING_RUN",
    "AlertDelivery",
    "AlertEvent",
    "AlertKind",
    "AlertProblem",
    "AlertRule",
    "ApiToken",
    "Audit",
    "Base",
    "Bulk",
    "DeliveryState",
    "ErrorGroup",
    "ErrorHour",
    "ErrorJob",
    "ErrorMark",
    "Health",
    "Job",
    "JobHealth",
    "JobState",
    "KeptAnswer",
    "Lease",
    "Origin",
    "Process",
    "ProcessKind",
    "Revision",
    "Role",
    "Run",
    "RunLog",
    "RunState",
    "RunStats",
    "RunStep",
    "SavedView",
    "SchedulerLife",
    "SignIn",
    "SignInFailure",
    "Silence",
    "User",
    "UtcDateTime",
]

"""From what a look finds to what is told: each problem once, reminders, and its end.

A problem is a row; only the statement that opens, reminds of or closes it lets messages be
written, in the same transaction. So two processes that both take themselves for the leader tell
nothing twice, and no crash comes between a problem and its message.

Many problems of a rule at once become one message that names the jobs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import CursorResult, select, text, update

from dashboard.alerting import outbox
from dashboard.alerting.conditions import THE_SCHEDULER
from dashboard.alerting.wording import payload_of, payload_of_many
from dashboard.history.inserts import insert_for
from dashboard.storage.models import OPEN_PROBLEM, AlertEvent, AlertKind, AlertProblem, Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from sqlalchemy.orm import Session

    from dashboard.alerting.conditions import Finding
    from dashboard.storage.models import AlertRule

WELL_FOR = 10.0
"""Seconds without the problem after which it is over; a flapping one needs `settle_seconds`."""


FEW = 5
"""So many problems of a rule within `GATHERING` are told one by one, more of them together."""

GATHERING = timedelta(seconds=60)
"""For how long further problems wait for each other once there were a few."""


@dataclass(frozen=True, slots=True)
class Telling:
    """In whose name, when, and with which address before links, something is told."""

    rule: AlertRule
    now: datetime
    public_url: str
    told: dict[AlertEvent, list[AlertProblem]] = field(default_factory=dict)
    """What has changed in the present transaction and is to be told with it."""

    def tell(self, event: AlertEvent, problem: AlertProblem) -> None:
        """Note that somebody is to be told; see `post`."""
        self.told.setdefault(event, []).append(problem)

    def post(self, session: Session) -> None:
        """Queue the messages about what has changed: the last thing of a transaction."""
        for event, problems in self.told.items():
            if len(problems) > FEW:
                payload = payload_of_many(event, problems, self.rule, self.now, self.public_url)
                outbox.add(session, self.rule, event, payload, now=self.now)
                continue
            for problem in problems:
                payload = payload_of(event, problem, self.rule, self.now, self.public_url)
                outbox.add(session, self.rule, event, payload, now=self.now, problem_id=problem.id)
        self.told.clear()


def open_problems(session: Session, rule: AlertRule) -> dict[str, AlertProblem]:
    """Return what `rule` has told of and is not over yet, by job."""
    query = select(AlertProblem).where(AlertProblem.rule_id == rule.id, text(OPEN_PROBLEM))
    return {problem.job_id: problem for problem in session.scalars(query)}


def changes(
    found: Mapping[str, Finding], known: Mapping[str, AlertProblem], telling: Telling
) -> Iterator[Callable[[Session, Telling], None]]:
    """Yield what has to be written, each to be called with the session of a transaction."""
    lately = [each for each in known.values() if telling.now - each.opened_at < GATHERING]
    for job_id, finding in found.items():
        problem = known.get(job_id)
        if problem is None:
            if not finding.silenced and len(lately) < FEW:
                yield partial(_open, finding)
        elif problem.well_since is not None:
            yield partial(_note_well, problem, well=False)
        elif not finding.silenced and _is_reminder_due(problem, telling):
            yield partial(_remind, problem, finding)
    yield from _ends([known[job_id] for job_id in known.keys() - found.keys()], telling)


def _ends(
    gone: list[AlertProblem], telling: Telling
) -> Iterator[Callable[[Session, Telling], None]]:
    """Yield what has to be written about problems that are not found any more."""
    many = sum(each.well_since is not None for each in gone) > FEW
    longest = max((_well_for(each, telling) for each in gone), default=timedelta())
    for problem in gone:
        if _well_for(problem, telling) >= _hold(problem, telling.rule):
            if not many or longest >= GATHERING:
                yield partial(_close, problem)
        elif problem.well_since is None:
            yield partial(_note_well, problem, well=True)


def _well_for(problem: AlertProblem, telling: Telling) -> timedelta:
    return telling.now - (problem.well_since or telling.now)


def _is_reminder_due(problem: AlertProblem, telling: Telling) -> bool:
    every = telling.rule.remind_every_seconds
    return every is not None and telling.now - problem.told_at >= timedelta(seconds=every)


def _hold(problem: AlertProblem, rule: AlertRule) -> timedelta:
    """Return for how long it has to be well before that is told."""
    settle = rule.settle_seconds
    return timedelta(seconds=settle if problem.flapping else min(WELL_FOR, settle))


def _open(finding: Finding, session: Session, telling: Telling) -> None:
    rule, now = telling.rule, telling.now
    values = {
        "rule_id": rule.id,
        "job_id": finding.job_id,
        "job_name": finding.job_name,
        "run_id": finding.run_id,
        "problem": finding.problem,
        "since": finding.since,
        "flapping": _was_just_closed(session, finding.job_id, telling),
        "opened_at": now,
        "told_at": now,
    }
    insert = insert_for(session.get_bind().dialect.name, AlertProblem).values(values)
    opened = session.scalar(insert.on_conflict_do_nothing().returning(AlertProblem.id))
    if opened is not None:  # else somebody else has opened it meanwhile
        telling.tell(AlertEvent.PROBLEM, session.get_one(AlertProblem, opened))


def _was_just_closed(session: Session, job_id: str, telling: Telling) -> bool:
    rule = telling.rule
    closed = session.scalar(
        select(AlertProblem.closed_at)
        .where(
            AlertProblem.rule_id == rule.id,
            AlertProblem.job_id == job_id,
            AlertProblem.well_since.is_not(None),  # else the rule was changed
        )
        .order_by(AlertProblem.id.desc())
        .limit(1)
    )
    return closed is not None and telling.now - closed < timedelta(seconds=rule.settle_seconds)


def _remind(problem: AlertProblem, finding: Finding, session: Session, telling: Telling) -> None:
    new = {"told_at": telling.now, "problem": finding.problem, "run_id": finding.run_id}
    if _change(session, problem, new, told_at=problem.told_at):
        telling.tell(AlertEvent.REMINDER, problem)


def _note_well(problem: AlertProblem, session: Session, telling: Telling, *, well: bool) -> None:
    _change(session, problem, {"well_since": telling.now if well else None})


def _close(problem: AlertProblem, session: Session, telling: Telling) -> None:
    told = _change(session, problem, {"closed_at": telling.now})
    if told and telling.rule.notify_recovery and _recovered(session, problem, telling.rule):
        telling.tell(AlertEvent.RECOVERED, problem)


def _recovered(session: Session, problem: AlertProblem, rule: AlertRule) -> bool:
    """Say whether it is well, and not only out of sight: removed, paused or broken."""
    if problem.job_id == THE_SCHEDULER:
        return True
    job = session.get(Job, problem.job_id)
    if job is None or job.paused_at is not None:
        return False
    return rule.on is AlertKind.BROKEN or job.broken_reason is None


def _change(
    session: Session, problem: AlertProblem, values: dict[str, Any], **as_before: Any
) -> bool:
    """Change an open problem; False when somebody else was first."""
    changed = session.execute(
        update(AlertProblem)
        .where(AlertProblem.id == problem.id, text(OPEN_PROBLEM))
        .filter_by(**as_before)
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    if not isinstance(changed, CursorResult) or changed.rowcount != 1:
        return False
    for name, value in values.items():
        setattr(problem, name, value)
    return True

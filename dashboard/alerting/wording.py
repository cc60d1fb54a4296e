"""What people are told: the sentence of an alert, and the JSON that carries it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dashboard.durations import length
from dashboard.history.problems import ProblemKind
from dashboard.storage.models import AlertEvent, AlertKind

if TYPE_CHECKING:
    from datetime import datetime

    from dashboard.history.problems import Problem
    from dashboard.storage.models import AlertProblem, AlertRule

NAMED = 4
"""Jobs or tags that a sentence names, at most."""

NAMED_OF_MANY = 10
"""Jobs that a message about many of them names; its JSON has them all."""

_MANY = {
    AlertKind.FAILING: "have failed",
    AlertKind.FAILURE_RATE: "fail too often",
    AlertKind.OVERDUE: "should have run and have not",
    AlertKind.SLOW: "are running unusually long",
    AlertKind.BROKEN: "cannot run",
    AlertKind.SCHEDULER_DOWN: "are down",
}

PLACE = re.compile(r"\{(\w+)\}")
PLACES = frozenset({"event", "job", "message", "problem", "rule", "since", "url"})
"""What a rule's own message may have in braces."""

LINE = 300
"""Characters of an error that a message bears: a few lines on a phone."""


def problem_of(problem: Problem) -> str:
    """Say what is wrong with a job, as half a sentence that begins with the verb."""
    why = _line(problem.message)
    match problem.kind:
        case ProblemKind.BROKEN:
            return f"cannot run: {why}"
        case ProblemKind.OVERDUE:
            return f"should have run at {problem.since:%Y-%m-%d %H:%M:%S} UTC: {why}"
        case ProblemKind.SLOW:
            return f"is running unusually long: {why}"
        case ProblemKind.FAILING | ProblemKind.INTERRUPTED if problem.failures > 1:
            return f"has failed {problem.failures} times in a row: {why}"
        case ProblemKind.FAILING:
            return f"has failed: {why}"
        case ProblemKind.INTERRUPTED:
            return f"was interrupted: {why}"


def message_of(event: AlertEvent, problem: AlertProblem, rule: AlertRule, now: datetime) -> str:
    """Return what happened in one sentence."""
    name, lasted = problem.job_name, length((now - problem.since).total_seconds())
    what = problem.problem + ("" if problem.problem.endswith((".", "!", "?", "…")) else ".")
    if event is AlertEvent.RECOVERED:
        return f"{name} is well again, after {lasted}. It {what}"
    if event is AlertEvent.REMINDER:
        return f"Still so after {lasted}: {name} {what}"
    if problem.flapping:
        return (
            f"{name} {what} It fails and recovers again and again: the next message comes when it"
            f" has been well for {length(rule.settle_seconds)}."
        )
    return f"{name} {what}"


def payload_of(
    event: AlertEvent, problem: AlertProblem, rule: AlertRule, now: datetime, public_url: str
) -> dict[str, Any]:
    """Return the JSON of an alert; `id` is added with its delivery."""
    payload = {
        "event": event.value,
        "rule": rule.name,
        "job_id": problem.job_id or None,
        "job_name": problem.job_name,
        "problem": problem.problem,
        "since": problem.since.isoformat(),
        "run_id": problem.run_id,
        "url": _link(problem, public_url),
        "message": message_of(event, problem, rule, now),
    }
    return _in_own_words(payload, rule)


def payload_of_many(
    event: AlertEvent,
    problems: list[AlertProblem],
    rule: AlertRule,
    now: datetime,
    public_url: str,
) -> dict[str, Any]:
    """Return the JSON of one alert about many jobs, which `jobs` names all."""
    problems = sorted(problems, key=lambda problem: problem.job_name)
    names = [problem.job_name for problem in problems]
    jobs, named = f"{len(names)} jobs", ", ".join(names[:NAMED_OF_MANY])
    if len(names) > NAMED_OF_MANY:
        named += f" and {len(names) - NAMED_OF_MANY} more"
    since = min(problem.since for problem in problems)
    lasted = length((now - since).total_seconds())
    what = f"{_MANY[rule.on]}: {named}"
    message = {
        AlertEvent.RECOVERED: f"{jobs} are well again: {named}.",
        AlertEvent.REMINDER: f"Still so after {lasted}: {jobs} {what}.",
    }.get(event, f"{jobs} {what}.")
    payload = {
        "event": event.value,
        "rule": rule.name,
        "job_id": None,
        "job_name": jobs,
        "jobs": [{"id": problem.job_id, "name": problem.job_name} for problem in problems],
        "problem": what,
        "since": since.isoformat(),
        "run_id": None,
        "url": f"{public_url.rstrip('/')}/" if public_url else None,
        "message": message,
    }
    return _in_own_words(payload, rule)


def payload_of_test(rule: AlertRule, now: datetime, public_url: str) -> dict[str, Any]:
    """Return the JSON of a test of a rule's channels."""
    payload = {
        "event": AlertEvent.TEST.value,
        "rule": rule.name,
        "job_id": None,
        "job_name": None,
        "problem": None,
        "since": now.isoformat(),
        "run_id": None,
        "url": f"{public_url.rstrip('/')}/alerts" if public_url else None,
        "message": f"This is a test of the alert rule “{rule.name}”. Nothing is wrong.",
    }
    return _in_own_words(payload, rule)


def _in_own_words(payload: dict[str, Any], rule: AlertRule) -> dict[str, Any]:
    """Let the message say what the rule wants it to, if that is more than ours."""
    if rule.template:
        values = payload | {"job": payload["job_name"]}
        payload["message"] = PLACE.sub(lambda place: str(values[place[1]] or "–"), rule.template)  # noqa: RUF001
    return payload


def title_of(payload: dict[str, Any]) -> str:
    """Return a line above the message, for channels that have one."""
    what = {"problem": "Problem", "recovered": "Recovered", "reminder": "Still", "test": "Test"}
    return f"{what[payload['event']]}: {payload['job_name'] or payload['rule']}"


def _link(problem: AlertProblem, public_url: str) -> str | None:
    if not public_url:
        return None
    root = public_url.rstrip("/")
    if problem.run_id is not None:
        return f"{root}/runs/{problem.run_id}"
    return f"{root}/jobs/{quote(problem.job_id, safe='')}" if problem.job_id else f"{root}/system"


def _line(words: str) -> str:
    """Return the first line of a text in the middle of a sentence, as much of it as is borne."""
    line = words.strip().partition("\n")[0].rstrip(".")
    line = line if len(line) <= LINE else f"{line[: LINE - 1]}…"
    return f"it {line[3:]}" if line.startswith("It ") else line


def sentence_of(rule: AlertRule) -> str:
    """Say in one sentence what a rule does; who is told is left out."""
    parts = [f"{_condition(rule)}."]
    if rule.remind_every_seconds is not None:
        parts.append(f"Again every {length(rule.remind_every_seconds)} while it lasts.")
    if rule.notify_recovery:
        parts.append("And when it is well again.")
    return " ".join(parts)


def _condition(rule: AlertRule) -> str:
    who, window = _who(rule.scope), rule.window_seconds
    match rule.on:
        case AlertKind.FAILING:
            often = "" if rule.after == 1 else f" {rule.after} times in a row"
            return f"When {who} has failed{often}"
        case AlertKind.FAILURE_RATE:
            least = "" if rule.after == 1 else f", at least {rule.after},"
            share = f"{(rule.rate or 1) * 100:g} %"
            return (
                f"When {share} of the runs{least} of {who} failed within {length(window or 3600)}"
            )
        case AlertKind.OVERDUE:
            return f"When {who} is " + (f"more than {length(window)} late" if window else "overdue")
        case AlertKind.SLOW:
            limit = f"longer than {length(window)}" if window else "unusually long"
            return f"When a run of {who} takes {limit}"
        case AlertKind.BROKEN:
            return f"When {who} cannot run as it stands"
        case AlertKind.SCHEDULER_DOWN:
            return f"When no scheduler has been running for {length(window or 60)}"


def _who(scope: dict[str, Any]) -> str:
    if tags := scope.get("tags"):
        return f"a job tagged {_or(tags)}"
    if jobs := scope.get("jobs"):
        return _or(jobs) if len(jobs) == 1 else f"one of {_or(jobs)}"
    return "any job"


def _or(names: list[str]) -> str:
    shown = (
        names if len(names) <= NAMED else [*names[: NAMED - 1], f"{len(names) - NAMED + 1} more"]
    )
    return " or ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))

"""From rows to messages: what each rule finds, and what is told of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import delete, select, update

from dashboard.alerting import problems
from dashboard.alerting.conditions import Look
from dashboard.alerting.problems import FEW
from dashboard.alerting.watcher import Watcher
from dashboard.history.problems import read_problems
from dashboard.services import alerts, audit
from dashboard.services.status import scheduler_status
from dashboard.storage.models import (
    AlertDelivery,
    AlertProblem,
    Job,
    JobHealth,
    Lease,
    Run,
    RunState,
    SchedulerLife,
    Silence,
)
from tests.factories import ADMIN, VAULT, new_run
from tests.rows import make_job

if TYPE_CHECKING:
    from dashboard.storage.db import Database
    from dashboard.storage.models import AlertRule

HOUR = timedelta(hours=1)
BEGIN = datetime(2027, 3, 1, 12, tzinfo=UTC)
ME = "app-1:7:abc"


@dataclass
class Scene:
    """A database and a leader that looks, at moments the test decides."""

    database: Database
    now: datetime = BEGIN
    said: list[dict[str, Any]] = field(default_factory=list)

    def rule(self, **data: Any) -> AlertRule:
        defaults = {"name": "On call", "on": "failing", "channels": ["https://example.com/hook"]}
        with audit.transaction(self.database) as session:
            rule = alerts.create_rule(session, defaults | data, vault=VAULT, actor=ADMIN)
            rule.created_at = BEGIN - timedelta(days=1)
            return rule

    def change(self, rule: AlertRule, **data: Any) -> None:
        with audit.transaction(self.database) as session:
            alerts.change_rule(session, rule.id, data, vault=VAULT, actor=ADMIN)

    def add(self, *rows: Any) -> None:
        with self.database.write() as session:
            session.add_all(rows)

    def job(self, job_id: str = "nightly", failures: int = 0, **values: Any) -> None:
        """Add a job, failing so many times in a row."""
        self.add(
            make_job(job_id, **{"next_run_time": BEGIN + timedelta(days=9), **values}),
            JobHealth(job_id=job_id, recent=[], consecutive_failures=0),
        )
        self.fail(failures, job_id)

    def fail(self, failures: int, job_id: str = "nightly") -> None:
        values = {
            "consecutive_failures": failures,
            "failing_since": self.now if failures else None,
            "last_error": "OSError: disk full\nand more" if failures else None,
            "failure_run_id": 7,
        }
        self.write(update(JobHealth).where(JobHealth.job_id == job_id).values(**values))

    def write(self, statement: Any) -> None:
        with self.database.write() as session:
            session.execute(statement)

    def look(self, later: float = 0, *, leading: bool = True) -> list[str]:
        """Look after so many seconds and return what is told for the first time."""
        self.now += timedelta(seconds=later)
        Watcher(
            self.database,
            lambda session: scheduler_status(session, process=ME if leading else "other"),
            public_url="https://jobs.example.com/",
            tell=lambda: None,
        ).look(self.now)
        with self.database.read() as session:
            rows = session.scalars(select(AlertDelivery).order_by(AlertDelivery.id)).all()
        new = [row.payload for row in rows[len(self.said) :]]
        self.said += new
        return [f"{one['event']} {one['job_id'] or 'scheduler'}" for one in new]

    def problems(self) -> list[AlertProblem]:
        with self.database.read() as session:
            return list(session.scalars(select(AlertProblem).order_by(AlertProblem.id)))


@pytest.fixture
def scene(database: Database) -> Scene:
    scene = Scene(database)
    far = datetime.now(UTC) + timedelta(days=1)
    scene.write(update(Lease).values(holder=ME, renewed_at=BEGIN, until=far))
    began = BEGIN - timedelta(hours=1)
    scene.add(life(began, None))
    return scene


def life(began: datetime, ended: str | None, seen: datetime | None = None) -> SchedulerLife:
    values = {"process": ME, "host": "app-1", "pid": 7, "version": "0.1.0"}
    return SchedulerLife(began_at=began, seen_at=seen or began, ended=ended, **values)


# -- failing ---------------------------------------------------------------------------------------


def test_an_incident_from_its_begin_to_its_end(scene: Scene) -> None:
    scene.rule(after=3, remind_every_seconds=3600)
    scene.job(failures=2)
    assert scene.look() == []
    scene.fail(3)
    assert scene.look() == ["problem nightly"]
    [message] = scene.said
    assert message == {
        "id": message["id"],
        "event": "problem",
        "rule": "On call",
        "job_id": "nightly",
        "job_name": "nightly",
        "problem": "has failed 3 times in a row: OSError: disk full",
        "since": "2027-03-01T12:00:00+00:00",
        "run_id": 7,
        "url": "https://jobs.example.com/runs/7",
        "message": "nightly has failed 3 times in a row: OSError: disk full.",
    }
    assert scene.look(1) == scene.look(3000) == []
    assert scene.look(599) == ["reminder nightly"]
    assert scene.said[-1]["message"].startswith("Still so after 1 h: nightly has failed")
    assert scene.look(3599) == []
    scene.fail(0)
    assert scene.look() == []  # not well for long enough
    assert scene.look(10) == ["recovered nightly"]
    assert scene.said[-1]["message"].startswith("nightly is well again, after 2 h")
    assert scene.look(9999) == []
    assert len({one["id"] for one in scene.said}) == len(scene.said) == 3


def test_two_leaders_at_once_tell_it_once(scene: Scene) -> None:
    """What one has opened meanwhile, another one's late statement does not open again."""
    rule = scene.rule()
    scene.job(failures=1)
    with scene.database.read() as session:
        findings = Look(session, scene.now).findings(rule)
    telling = problems.Telling(rule, scene.now, "")
    [late] = problems.changes(findings, {}, telling)
    assert scene.look() == ["problem nightly"]
    with scene.database.write() as session:
        late(session, telling)
    assert scene.look(1) == []
    assert len(scene.problems()) == 1


def test_a_flapping_job_alerts_once(scene: Scene) -> None:
    scene.rule()
    scene.job()
    told = []
    for turn in range(20):
        scene.fail((turn + 1) % 2)
        told += scene.look(4)
    assert told == ["problem nightly"]
    assert scene.look(10) == ["recovered nightly"]


def test_a_slowly_flapping_job_is_told_of_as_such(scene: Scene) -> None:
    scene.rule(settle_seconds=300)
    scene.job()
    told = []
    for turn in range(20):
        scene.fail((turn + 1) % 2)
        told += [*scene.look(60), *scene.look(60)]
    assert told == ["problem nightly", "recovered nightly", "problem nightly"]
    assert "again and again" in scene.said[-1]["message"]
    assert scene.look(150) == []
    assert scene.look(120) == ["recovered nightly"]
    scene.fail(1)
    assert scene.look(3600) == ["problem nightly"]
    assert "again and again" not in scene.said[-1]["message"]


def test_without_settling_everything_is_told_at_once(scene: Scene) -> None:
    scene.rule(settle_seconds=0)
    scene.job(failures=1)
    assert scene.look() == ["problem nightly"]
    scene.fail(0)
    assert scene.look(1) == ["recovered nightly"]
    scene.fail(1)
    assert scene.look(1) == ["problem nightly"]


def test_what_somebody_knows_about_is_not_told(scene: Scene) -> None:
    scene.rule(remind_every_seconds=60)
    scene.job(failures=1)
    silence = {"silence": Silence.SNOOZED, "silenced_at": BEGIN, "silenced_by": "otto"}
    until = BEGIN + timedelta(minutes=10)
    scene.write(update(JobHealth).values(**silence, silenced_until=until))
    assert scene.look(300) == []
    assert scene.look(301) == ["problem nightly"]
    assert scene.look(61) == ["reminder nightly"]
    scene.write(update(JobHealth).values(silenced_until=None))
    assert scene.look(9999) == []
    scene.fail(0)
    assert [*scene.look(1), *scene.look(10)] == ["recovered nightly"]


@pytest.mark.parametrize("change", ["paused", "removed", "broken", "quiet"])
def test_what_is_only_out_of_sight_has_not_recovered(scene: Scene, change: str) -> None:
    scene.rule(notify_recovery=change != "quiet")
    scene.job(failures=1)
    scene.look()
    if change == "paused":
        scene.write(update(Job).values(paused_at=scene.now, next_run_time=None))
    elif change == "removed":
        scene.write(delete(Job))
    elif change == "broken":
        scene.write(update(Job).values(broken_reason="no task"))
    else:
        scene.fail(0)
    assert [*scene.look(1), *scene.look(60)] == []
    assert [problem.closed_at is not None for problem in scene.problems()] == [True]


def test_a_changed_condition_begins_anew_a_changed_name_does_not(scene: Scene) -> None:
    rule = scene.rule()
    scene.job(failures=5)
    assert scene.look() == ["problem nightly"]
    scene.change(rule, name="Other", channels=["https://example.org/"])
    assert scene.look(1) == []
    scene.change(rule, after=4)
    assert scene.look(1) == ["problem nightly"]
    assert "again and again" not in scene.said[-1]["message"]
    scene.change(rule, enabled=False)
    scene.fail(0)
    assert [*scene.look(1), *scene.look(60)] == []


@pytest.mark.parametrize(
    ("scope", "jobs"),
    [
        ({"all": True}, ["a", "b", "c"]),
        ({"jobs": ["b", "gone"]}, ["b"]),
        ({"tags": ["mail", "none"]}, ["a", "c"]),
    ],
)
def test_scopes(scene: Scene, scope: dict[str, Any], jobs: list[str]) -> None:
    scene.rule(scope=scope)
    for job_id, tags in (("a", ["mail"]), ("b", []), ("c", ["x", "mail"])):
        scene.job(job_id, failures=1, tags=tags)
    assert sorted(scene.look()) == [f"problem {job_id}" for job_id in jobs]


def test_every_channel_of_every_rule_is_told(scene: Scene) -> None:
    scene.rule(channels=["https://example.com/a", "https://example.com/b"])
    scene.rule(channels=["https://example.com/a"], name="Others")
    scene.job(failures=1)
    assert scene.look() == ["problem nightly"] * 3


# -- the other kinds -------------------------------------------------------------------------------


def test_alerts_are_about_what_now_shows(scene: Scene) -> None:
    """Whatever is wrong, the page and the rules of its kind name the same jobs."""
    failed = {"failing_since": BEGIN, "consecutive_failures": 1}
    missed = {"last_state": RunState.MISSED, "recent": [[1, "missed", None, BEGIN.isoformat()]]}
    running = {"state": RunState.RUNNING, "started_at": BEGIN - HOUR}
    queued = {"state": RunState.QUEUED, "queued_at": BEGIN - HOUR}
    later = {"next_run_time": BEGIN + HOUR}
    scenes: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
        "failed": (later, failed, {}),
        "cut off": (later, failed | {"failure_state": RunState.INTERRUPTED}, {}),
        "paused": ({"paused_at": BEGIN, "next_run_time": None}, failed, {}),
        "late": ({"next_run_time": BEGIN - HOUR}, {}, {}),
        "missed": (later, missed, {}),
        "waiting": (later, {}, queued),
        "patient": (later | {"misfire_grace_time": 9999}, {}, queued),
        "retried": (later, {}, queued | {"attempt": 2, "ready_at": BEGIN - HOUR / 2}),
        "backing off": (later, {}, queued | {"attempt": 2, "not_before": BEGIN + HOUR}),
        "slow": (later, {"usual_duration": 10.0, "long_duration": 12.0}, running),
        "steady": (later, {"usual_duration": 3600.0, "long_duration": 3600.0}, running),
        "busy": (later, {"last_state": RunState.SKIPPED, "last_run_id": 10**6}, running),
        "broken": (later | {"broken_reason": "no task"}, {}, {}),
    }
    rules = {name: scene.rule(on=name) for name in ("failing", "overdue", "slow", "broken")}
    for name, (job, health, run) in scenes.items():
        known = {"recent": [], "consecutive_failures": 0} | health
        scene.add(make_job(name, **job), JobHealth(job_id=name, **known))
        scene.add(*([new_run(name, 1, **run)] if run else []))
    scene.now += timedelta(minutes=2)
    with scene.database.read() as session:
        shown: dict[str, set[str]] = {name: set() for name in rules}
        for problem in read_problems(session, scene.now).open:
            rule = "failing" if problem.kind == "interrupted" else problem.kind.value
            shown[rule].add(problem.job_id)
        look = Look(session, scene.now)
        assert {name: set(look.findings(rule)) for name, rule in rules.items()} == shown
    assert shown == {
        "failing": {"failed", "cut off"},
        "overdue": {"late", "missed", "waiting", "retried"},
        "slow": {"slow", "busy"},
        "broken": {"broken"},
    }


def test_overdue(scene: Scene) -> None:
    scene.rule(on="overdue", window_seconds=120)
    scene.job(next_run_time=BEGIN)
    assert scene.look(119) == []
    assert scene.look(2) == ["problem nightly"]
    assert "should have run at 2027-03-01 12:00:00 UTC" in scene.said[-1]["message"]
    assert scene.said[-1]["url"] == "https://jobs.example.com/jobs/nightly"
    scene.write(update(Job).values(next_run_time=BEGIN + timedelta(days=1)))
    assert [*scene.look(1), *scene.look(10)] == ["recovered nightly"]


def test_missed_and_waiting_runs_are_overdue_too(scene: Scene) -> None:
    scene.rule(on="overdue")
    for name in ("missed", "waiting"):
        scene.job(name)
    recent = [[1, "missed", None, BEGIN.isoformat()]]
    missed = {"last_state": RunState.MISSED, "last_run_id": 1, "recent": recent}
    scene.write(update(JobHealth).where(JobHealth.job_id == "missed").values(**missed))
    scene.add(new_run("waiting", 1, state=RunState.QUEUED, queued_at=BEGIN))
    assert scene.look(59) == ["problem missed"]
    assert scene.look(2) == ["problem waiting"]


def test_nothing_is_overdue_before_a_new_leader_has_had_its_turn(scene: Scene) -> None:
    scene.rule(on="overdue")
    scene.job(next_run_time=BEGIN)
    scene.write(update(SchedulerLife).values(began_at=BEGIN + timedelta(seconds=999)))
    assert scene.look(1000) == []
    assert scene.look(3) == ["problem nightly"]


def test_slow(scene: Scene) -> None:
    scene.rule(on="slow")
    scene.job()
    usual = {"usual_duration": 10, "long_duration": 12}
    scene.write(update(JobHealth).values(**usual))
    scene.add(new_run(state=RunState.RUNNING, started_at=BEGIN))
    assert scene.look(29) == []
    assert scene.look(2) == ["problem nightly"]
    assert "more than 30 s; it usually takes 10 s" in scene.said[-1]["message"]
    scene.write(update(Run).values(state=RunState.SUCCEEDED, finished_at=scene.now))
    assert [*scene.look(1), *scene.look(10)] == ["recovered nightly"]


def test_slow_by_a_limit_of_its_own(scene: Scene) -> None:
    scene.rule(on="slow", window_seconds=5)
    scene.job()
    scene.add(new_run(state=RunState.RUNNING, started_at=BEGIN))
    assert [*scene.look(5), *scene.look(1)] == ["problem nightly"]


def test_broken(scene: Scene) -> None:
    scene.rule(on="broken")
    scene.job(broken_reason="There is no task “x”.\nDetails")
    assert scene.look() == ["problem nightly"]
    assert scene.said[-1]["message"] == "nightly cannot run: There is no task “x”."
    scene.write(update(Job).values(broken_reason=None))
    assert [*scene.look(1), *scene.look(10)] == ["recovered nightly"]


def test_failure_rate(scene: Scene) -> None:
    scene.rule(on="failure_rate", rate=0.5, window_seconds=600, after=2)
    scene.job()
    scene.job("other")
    for second in range(4):
        moment = BEGIN + timedelta(seconds=second)
        states = (RunState.SUCCEEDED, RunState.FAILED, RunState.MISSED)
        values = {"finished_at": moment}
        scene.add(
            *(
                new_run("nightly", 10 * second + n, state=state, **values)
                for n, state in enumerate(states)
            )
        )
    scene.add(new_run("other", 1, state=RunState.FAILED, finished_at=BEGIN))
    assert scene.look(10) == ["problem nightly"]
    assert scene.said[-1]["problem"] == "failed 4 times in 8 runs within 10 min"
    scene.add(new_run("nightly", 99, finished_at=scene.now))
    assert [*scene.look(1), *scene.look(10)] == ["recovered nightly"]
    assert scene.look(9999) == []


def test_a_downtime_is_told_of_by_the_next_leader_once(scene: Scene) -> None:
    scene.rule(on="scheduler_down", window_seconds=30)
    scene.rule(on="scheduler_down", window_seconds=3000, name="Long")
    down, up = BEGIN + timedelta(seconds=10), BEGIN + timedelta(seconds=70)
    scene.write(update(SchedulerLife).values(seen_at=down, ended="lost"))
    scene.add(life(up, None))
    assert scene.look(75) == ["problem scheduler"]
    message = "was down from 2027-03-01 12:00:10 until 2027-03-01 12:01:10 UTC (1 min)"
    assert message in scene.said[-1]["message"]
    assert scene.said[-1]["url"] == "https://jobs.example.com/system"
    assert [*scene.look(1), *scene.look(10)] == ["recovered scheduler"]
    assert scene.look(9999) == []


def test_a_downtime_from_before_the_rule_is_not_told_of(scene: Scene) -> None:
    scene.write(update(SchedulerLife).values(ended="lost"))
    scene.add(life(BEGIN - timedelta(minutes=5), None))
    rule = scene.rule(on="scheduler_down")
    with scene.database.write() as session:
        alerts.get_rule(session, rule.id).created_at = BEGIN
    assert scene.look(10) == []


def test_a_standby_tells_that_nobody_leads_and_the_next_leader_that_it_is_over(
    scene: Scene,
) -> None:
    scene.rule(on="scheduler_down", window_seconds=30)
    scene.rule()
    scene.job(failures=1)
    seen = datetime.now(UTC) - timedelta(minutes=2)
    scene.write(update(Lease).values(renewed_at=seen, until=seen))
    scene.write(update(SchedulerLife).values(seen_at=seen, ended="lost"))
    assert scene.look(1, leading=False) == ["problem scheduler"]
    assert "is not running; it was last seen at" in scene.said[-1]["message"]
    assert scene.look(1, leading=False) == []
    scene.write(update(Lease).values(until=datetime.now(UTC) + timedelta(days=1)))
    assert scene.look(60, leading=False) == []  # somebody leads, and will say so
    scene.add(life(scene.now, None))
    assert scene.look(10) == ["problem nightly"]
    assert scene.look(10) == ["recovered scheduler"]
    assert scene.look(9999) == []


def test_without_rules_a_look_reads_and_does_nothing(scene: Scene) -> None:
    scene.job(failures=1)
    assert scene.look() == []
    assert scene.problems() == []


def test_a_rule_says_it_in_its_own_words(scene: Scene) -> None:
    scene.rule(template="[{event}] {job}: {problem} since {since} {url} ({rule}) {not a place}")
    scene.job("curly {rule}", failures=1)
    scene.look()
    assert scene.said[-1]["message"] == (
        "[problem] curly {rule}: has failed: OSError: disk full since 2027-03-01T12:00:00+00:00"
        " https://jobs.example.com/runs/7 (On call) {not a place}"
    )


# -- many at once ----------------------------------------------------------------------------------


def test_many_problems_at_once_are_one_message(scene: Scene) -> None:
    scene.rule(remind_every_seconds=3600)
    names = [f"job-{number:03}" for number in range(30)]
    for name in names:
        scene.job(name, failures=1)
    assert scene.look() == ["problem scheduler"], "none of them is named alone"
    [told] = scene.said
    assert told["job_name"] == "30 jobs"
    assert [job["id"] for job in told["jobs"]] == names
    assert told["message"].startswith("30 jobs have failed: job-000, job-001, ")
    assert told["message"].endswith(" job-009 and 20 more.")
    assert told["url"] == "https://jobs.example.com/"
    scene.job("another", failures=1)
    assert scene.look(30) == [], "it waits for others"
    assert scene.look(30) == ["problem another"]
    assert scene.look(3540) == ["reminder scheduler"]
    assert scene.said[-1]["message"].startswith("Still so after 1 h: 30 jobs have failed: ")
    for name in names:
        scene.fail(0, name)
    assert scene.look(1) == scene.look(10) == []
    assert scene.look(50) == ["reminder another", "recovered scheduler"]
    assert scene.said[-1]["message"].startswith("30 jobs are well again: job-000, ")
    assert {problem.job_name for problem in scene.problems() if not problem.closed_at} == {
        "another"
    }


def test_problems_that_come_one_after_another_are_told_together_too(scene: Scene) -> None:
    scene.rule()
    told = []
    for number in range(60):
        scene.job(f"job-{number}", failures=1)
        told += scene.look(1)
    assert len(told) == FEW
    assert scene.look(1) == ["problem scheduler"]
    assert scene.said[-1]["job_name"] == f"{60 - FEW} jobs"

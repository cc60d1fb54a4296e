from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select

from dashboard.errors import (
    AlreadyRunning,
    Conflict,
    DashboardError,
    DuplicateId,
    Invalid,
    JobNotFound,
    NotAllowed,
    StaleEdit,
)
from dashboard.services import audit, jobs
from dashboard.storage.db import read_revision
from dashboard.storage.models import (
    Audit,
    Health,
    Job,
    JobHealth,
    JobState,
    Origin,
    Role,
    Run,
    RunState,
    RunStats,
)
from tests.factories import ADMIN, HOURLY, OPERATOR, VIEWER, new_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from dashboard.services.audit import Actor
    from dashboard.settings import Settings
    from dashboard.storage.db import Database

PAST = {"type": "date", "run_date": "2020-01-01T00:00:00+00:00"}


def count(number: int = 1) -> int:
    """Count."""
    return number


class Office:
    """The services on one database, each call in a transaction as an edge makes it."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.settings = settings

    def create(self, *, actor: Actor = ADMIN, **data: Any) -> Job:
        data = {"task": "test.count", "trigger": HOURLY} | data
        with audit.transaction(self.database) as session:
            return jobs.create_job(session, data, actor=actor, settings=self.settings)

    def change(
        self, job_id: str, *, version: int | None = None, actor: Actor = ADMIN, **data: Any
    ) -> Job:
        version = self.job(job_id).version if version is None else version
        with audit.transaction(self.database) as session:
            return jobs.change_job(
                session, job_id, data, version=version, actor=actor, settings=self.settings
            )

    def act(
        self, action: Callable[..., Any], *arguments: Any, actor: Actor = ADMIN, **more: Any
    ) -> Any:
        with audit.transaction(self.database) as session:
            return action(session, *arguments, actor=actor, **more)

    def job(self, job_id: str) -> Job:
        with self.database.read() as session:
            return jobs.get_job(session, job_id)

    def set_job(self, job_id: str, **values: Any) -> None:
        with self.database.write() as session:
            job = session.get_one(Job, job_id)
            for name, value in values.items():
                setattr(job, name, value)

    def add_run(self, job_id: str, second: int = 0, **values: Any) -> int:
        with self.database.write() as session:
            run = new_run(job_id, second, **values)
            session.add(run)
            session.flush()
            return run.id

    def runs(self) -> list[Run]:
        with self.database.read() as session:
            return list(session.scalars(select(Run).order_by(Run.id)))

    def log(self) -> list[Audit]:
        with self.database.read() as session:
            return list(session.scalars(select(Audit).order_by(Audit.id)))

    def last_entry(self) -> Audit:
        return self.log()[-1]


@pytest.fixture
def office(database: Database, settings: Settings, register: Callable[..., None]) -> Office:
    register(count, "test.count")
    return Office(database, settings)


class TestCreate:
    def test_a_job_is_a_row_with_its_next_run_time(self, office: Office) -> None:
        before = datetime.now(UTC)
        job = office.create(id="a", name="A", parameters={"number": 5})
        kept = office.job("a")
        assert (kept.name, kept.task, kept.parameters) == ("A", "test.count", {"number": 5})
        assert (kept.version, kept.created_by, kept.updated_by) == (1, "ann", "ann")
        assert kept.next_run_time is not None
        after = datetime.now(UTC)
        assert before < kept.next_run_time <= after + timedelta(hours=1, seconds=1)
        assert job.id == "a"

    def test_without_an_id_it_gets_a_free_one_from_its_name(self, office: Office) -> None:
        assert [office.create(name="Daily Report").id for _ in range(3)] == [
            "daily-report",
            "daily-report-2",
            "daily-report-3",
        ]

    def test_a_name_as_long_as_allowed_still_gets_different_ids(self, office: Office) -> None:
        ids = {office.create(name="x" * 191).id for _ in range(12)}
        assert len(ids) == 12

    def test_a_duplicate_id_is_refused_and_changes_nothing(self, office: Office) -> None:
        office.create(id="a", name="first")
        with pytest.raises(DuplicateId, match="“a”"):
            office.create(id="a", name="second")
        assert office.job("a").name == "first"
        assert office.last_entry().outcome == "refused"

    def test_only_an_admin_may(self, office: Office) -> None:
        for actor in (VIEWER, OPERATOR):
            with pytest.raises(NotAllowed, match="admin"):
                office.create(id="a", actor=actor)
            entry = office.last_entry()
            assert (entry.actor, entry.action, entry.outcome) == (actor.name, "job.add", "refused")
        with pytest.raises(JobNotFound):
            office.job("a")

    def test_the_audit_log_names_the_job_also_when_it_named_itself(self, office: Office) -> None:
        job = office.create(name="Daily report")
        entry = office.last_entry()
        assert (entry.action, entry.target, entry.outcome) == ("job.add", job.id, "done")
        assert entry.address == ADMIN.address
        assert entry.detail["job"]["trigger"]["type"] == "interval"

    @pytest.mark.parametrize("job_id", ["\x00", "a\x00b", "\ud800", "x" * 10_000, ["a"], 7, "/"])
    def test_a_strange_id_is_refused_and_even_that_is_noted(
        self, office: Office, job_id: Any
    ) -> None:
        with pytest.raises(Invalid):
            office.create(id=job_id)
        entry = office.last_entry()
        assert (entry.action, entry.outcome) == ("job.add", "refused")

    @pytest.mark.parametrize("name", ["\x00", "\ud800"])
    def test_a_strange_field_is_refused_and_even_that_is_noted(
        self, office: Office, name: str
    ) -> None:
        fields: dict[str, Any] = {name: name}
        with pytest.raises(Invalid):
            office.create(**fields)
        assert office.last_entry().outcome == "refused"

    @pytest.mark.parametrize(
        "job_id", ["it's", '"q"', "a b", "<b>", "🙂", "é" * 191, "a?b#c", "100%", "-", "ñ"]
    )
    def test_any_other_id_works_all_the_way(self, office: Office, job_id: str) -> None:
        office.create(id=job_id)
        office.act(jobs.pause_job, job_id)
        office.act(jobs.resume_job, job_id)
        office.change(job_id, name="<img src=x onerror=alert(1)>")
        office.act(jobs.run_now, job_id)
        office.act(jobs.remove_job, job_id)
        assert [entry.target for entry in office.log()] == [job_id] * 6


class TestMissing:
    @pytest.mark.parametrize("job_id", ["nothing", "", "\x00", "a\x00", "x" * 10_000, "%"])
    def test_every_action_says_that_there_is_no_such_job(self, office: Office, job_id: str) -> None:
        actions: list[Callable[[], Any]] = [
            lambda: office.job(job_id),
            lambda: office.change(job_id, version=1, name="b"),
            lambda: office.act(jobs.pause_job, job_id),
            lambda: office.act(jobs.resume_job, job_id),
            lambda: office.act(jobs.remove_job, job_id),
            lambda: office.act(jobs.run_now, job_id),
        ]
        for action in actions:
            with pytest.raises(JobNotFound):
                action()
        assert [entry.outcome for entry in office.log()] == ["refused"] * 5


class TestChange:
    def test_a_change_raises_the_version_and_notes_the_difference(self, office: Office) -> None:
        office.create(id="a", name="A")
        office.change("a", name="B", tags=["x"])
        job = office.job("a")
        assert (job.name, job.tags, job.version) == ("B", ["x"], 2)
        detail = office.last_entry().detail
        assert detail == {
            "before": {"name": "A", "tags": []},
            "after": {"name": "B", "tags": ["x"]},
        }

    def test_a_stale_edit_is_refused(self, office: Office) -> None:
        office.create(id="a")
        office.change("a", version=1, name="B")
        with pytest.raises(StaleEdit, match=r"version 1.*version 2"):
            office.change("a", version=1, name="C")
        assert office.job("a").name == "B"

    def test_a_new_trigger_counts_from_now(self, office: Office) -> None:
        office.create(id="a")
        job = office.change("a", trigger={"type": "interval", "days": 3})
        assert job.next_run_time is not None
        assert job.next_run_time > datetime.now(UTC) + timedelta(days=2)

    def test_a_paused_job_stays_paused_through_reschedule_and_edit(self, office: Office) -> None:
        office.create(id="a")
        office.act(jobs.pause_job, "a", reason="broken disk")
        office.change("a", trigger={"type": "interval", "days": 3})
        office.change("a", name="B")
        job = office.job("a")
        assert job.paused_at is not None
        assert job.next_run_time is None
        assert job.paused_reason == "broken disk"
        job = office.act(jobs.resume_job, "a")
        assert job.next_run_time > datetime.now(UTC) + timedelta(days=2)

    def test_a_shorter_interval_begins_from_now(self, office: Office) -> None:
        """The start that was made up for the hour must not hold back the second."""
        before = office.create(id="a", trigger=HOURLY)
        assert before.trigger["anchored"] is True
        second = before.trigger | {"hours": 0, "seconds": 1}
        job = office.change("a", trigger=second)
        assert job.next_run_time is not None
        assert job.next_run_time - datetime.now(UTC) < timedelta(seconds=5)

    def test_a_start_that_was_given_stays(self, office: Office) -> None:
        start = {"start_date": "2030-01-01T09:00:00+00:00"}
        office.create(id="a", trigger=HOURLY | start)
        job = office.change("a", trigger={"type": "interval", "seconds": 1} | start)
        assert job.next_run_time == datetime(2030, 1, 1, 9, tzinfo=UTC)

    def test_the_same_interval_goes_on_as_it_was(self, office: Office) -> None:
        before = office.create(id="a", trigger=HOURLY)
        moment = before.next_run_time
        job = office.change("a", trigger=HOURLY)
        assert job.next_run_time == moment

    def test_a_finished_job_comes_back_with_a_new_trigger(self, office: Office) -> None:
        office.create(id="a")
        office.set_job("a", next_run_time=None, finished_reason="The task said so.")
        job = office.change("a", trigger=HOURLY)
        assert job.next_run_time is not None
        assert job.finished_reason is None

    def test_a_finished_job_stays_finished_through_another_edit(self, office: Office) -> None:
        office.create(id="a")
        office.set_job("a", next_run_time=None, finished_reason="The task said so.")
        job = office.change("a", name="B")
        assert (job.next_run_time, job.finished_reason) == (None, "The task said so.")

    def test_an_operator_may_change_the_trigger_and_nothing_else(self, office: Office) -> None:
        office.create(id="a")
        office.change("a", actor=OPERATOR, trigger={"type": "interval", "days": 3})
        changes: list[dict[str, Any]] = [
            {"name": "B"},
            {"trigger": HOURLY, "name": "B"},
            {"parameters": {}},
        ]
        for data in changes:
            with pytest.raises(NotAllowed):
                office.change("a", actor=OPERATOR, **data)
        with pytest.raises(NotAllowed):
            office.change("a", actor=VIEWER, trigger=HOURLY)

    def test_a_broken_job_is_repaired_by_giving_it_a_task(self, office: Office) -> None:
        office.create(id="a")
        office.set_job("a", task="gone.task", broken_reason="There is no task “gone.task”.")
        job = office.change("a", task="test.count")
        assert job.broken_reason is None
        assert job.next_run_time is not None

    @pytest.mark.parametrize("trigger", [{"type": "?"}, {}, [1], "daily", 7, None])
    def test_a_broken_trigger_is_repaired_by_a_new_one(self, office: Office, trigger: Any) -> None:
        office.create(id="a")
        office.set_job("a", trigger=trigger, broken_reason="Its trigger cannot be read")
        job = office.change("a", trigger={"type": "interval", "days": 1})
        assert job.broken_reason is None
        assert job.next_run_time is not None

    def test_a_refused_change_changes_nothing(self, office: Office) -> None:
        office.create(id="a", name="A")
        with pytest.raises(Invalid):
            office.change("a", name="B", max_instances=0)
        job = office.job("a")
        assert (job.name, job.version) == ("A", 1)


class TestPauseAndResume:
    def test_a_paused_job_has_no_next_run_and_says_who_and_why(self, office: Office) -> None:
        office.create(id="a")
        office.act(jobs.pause_job, "a", reason="  disk full  ", actor=OPERATOR)
        job = office.job("a")
        assert job.next_run_time is None
        assert (job.paused_by, job.paused_reason) == ("otto", "disk full")
        assert jobs.job_state(job, running=False) is JobState.PAUSED

    def test_pausing_twice_keeps_the_first_reason(self, office: Office) -> None:
        office.create(id="a")
        office.act(jobs.pause_job, "a", reason="first")
        first = office.job("a").paused_at
        office.act(jobs.pause_job, "a", reason="second")
        job = office.job("a")
        assert (job.paused_reason, job.paused_at) == ("first", first)

    def test_resuming_counts_from_now_and_makes_up_for_nothing(self, office: Office) -> None:
        office.create(id="a")
        office.act(jobs.pause_job, "a")
        job = office.act(jobs.resume_job, "a")
        assert job.next_run_time > datetime.now(UTC)
        assert (job.paused_at, job.paused_by, job.paused_reason) == (None, None, None)

    def test_resuming_a_job_without_a_further_fire_time_keeps_it(self, office: Office) -> None:
        office.create(id="a")
        office.act(jobs.pause_job, "a")
        office.set_job("a", trigger=PAST)
        office.act(jobs.resume_job, "a")
        job = office.job("a")
        assert job.next_run_time is None
        assert job.finished_reason
        assert jobs.job_state(job, running=False) is JobState.FINISHED

    def test_resuming_what_is_not_paused_changes_nothing(self, office: Office) -> None:
        office.create(id="a")
        before = office.job("a")
        office.act(jobs.resume_job, "a")
        after = office.job("a")
        assert (after.next_run_time, after.version) == (before.next_run_time, before.version)

    def test_resuming_a_job_whose_trigger_cannot_be_read_is_refused(self, office: Office) -> None:
        office.create(id="a")
        office.act(jobs.pause_job, "a")
        office.set_job("a", trigger={"type": "?"})
        with pytest.raises(DashboardError):
            office.act(jobs.resume_job, "a")
        assert office.job("a").paused_at is not None

    def test_a_viewer_may_neither(self, office: Office) -> None:
        office.create(id="a")
        for action in (jobs.pause_job, jobs.resume_job, jobs.run_now):
            with pytest.raises(NotAllowed):
                office.act(action, "a", actor=VIEWER)
        assert [entry.outcome for entry in office.log()[1:]] == ["refused"] * 3


class TestRunNow:
    def test_is_a_queued_row_and_leaves_the_schedule(self, office: Office) -> None:
        office.create(id="a", parameters={"number": 3})
        before = office.job("a")
        run = office.act(jobs.run_now, "a", actor=OPERATOR)
        [kept] = office.runs()
        assert kept.id == run.id
        assert (kept.state, kept.origin, kept.attempt) == (RunState.QUEUED, Origin.MANUAL, 1)
        assert (kept.requested_by, kept.parameters) == ("otto", {"number": 3})
        after = office.job("a")
        assert (after.next_run_time, after.version) == (before.next_run_time, before.version)
        assert office.last_entry().detail["run"] == run.id

    def test_takes_other_parameters_for_this_run_only(self, office: Office) -> None:
        office.create(id="a", parameters={"number": 3})
        office.act(jobs.run_now, "a", parameters={"number": 4})
        assert office.runs()[0].parameters == {"number": 4}
        assert office.job("a").parameters == {"number": 3}

    @pytest.mark.parametrize("parameters", [{"number": "many"}, {"other": 1}, {"number": None}])
    def test_wrong_parameters_are_refused(self, office: Office, parameters: dict[str, Any]) -> None:
        office.create(id="a")
        with pytest.raises(Invalid):
            office.act(jobs.run_now, "a", parameters=parameters)
        assert office.runs() == []

    def test_a_paused_job_runs_and_stays_paused(self, office: Office) -> None:
        office.create(id="a")
        office.act(jobs.pause_job, "a")
        office.act(jobs.run_now, "a")
        job = office.job("a")
        assert job.paused_at is not None
        assert job.next_run_time is None

    @pytest.mark.parametrize("state", [RunState.QUEUED, RunState.RUNNING])
    def test_a_busy_job_is_refused(self, office: Office, state: RunState) -> None:
        office.create(id="a")
        office.add_run("a", state=state)
        with pytest.raises(AlreadyRunning):
            office.act(jobs.run_now, "a")

    def test_as_many_as_max_instances_are_allowed(self, office: Office) -> None:
        office.create(id="a", max_instances=3)
        for _ in range(3):
            office.act(jobs.run_now, "a")
        with pytest.raises(AlreadyRunning, match="3 instances"):
            office.act(jobs.run_now, "a")
        assert len({run.scheduled_at for run in office.runs()}) == 3

    def test_a_broken_job_is_refused_with_the_reason(self, office: Office) -> None:
        office.create(id="a")
        office.set_job("a", broken_reason="There is no task “x”.")
        with pytest.raises(Conflict, match="There is no task"):
            office.act(jobs.run_now, "a")


class TestRemove:
    def test_the_job_goes_its_runs_stay(self, office: Office) -> None:
        office.create(id="a")
        office.add_run("a", state=RunState.SUCCEEDED)
        office.act(jobs.remove_job, "a")
        with pytest.raises(JobNotFound):
            office.job("a")
        assert len(office.runs()) == 1

    def test_what_is_queued_is_cancelled_and_counted_what_runs_goes_on(
        self, office: Office
    ) -> None:
        office.create(id="a", max_instances=3)
        office.act(jobs.run_now, "a")
        office.add_run("a", state=RunState.RUNNING)
        office.act(jobs.remove_job, "a")
        cancelled, running = office.runs()
        assert (cancelled.state, running.state) == (RunState.CANCELLED, RunState.RUNNING)
        assert cancelled.finished_at is not None
        assert cancelled.reason == "The job was removed."
        with office.database.read() as session:
            total = session.scalar(
                select(func.sum(RunStats.cancelled)).where(RunStats.job_id == "a")
            )
            assert total == 1
            assert session.get(JobHealth, "a") is None

    def test_the_audit_log_keeps_the_whole_job(self, office: Office) -> None:
        office.create(id="a", name="A", parameters={"number": 9}, tags=["x"], notes="why")
        before = jobs.snapshot(office.job("a"))
        del before["paused"]
        office.act(jobs.remove_job, "a")
        kept = office.last_entry().detail["job"]
        assert {name: kept[name] for name in before} == before
        assert set(kept) == set(Job.__table__.columns.keys())

    def test_only_an_admin_may(self, office: Office) -> None:
        office.create(id="a")
        with pytest.raises(NotAllowed):
            office.act(jobs.remove_job, "a", actor=OPERATOR)
        office.job("a")

    def test_an_id_can_be_used_again(self, office: Office) -> None:
        office.create(id="a", name="first")
        office.act(jobs.remove_job, "a")
        office.create(id="a", name="second")
        assert office.job("a").version == 1


class TestState:
    @pytest.mark.parametrize(
        ("row", "running", "state"),
        [
            ({}, False, JobState.SCHEDULED),
            ({}, True, JobState.RUNNING),
            ({"next_run_time": None}, False, JobState.FINISHED),
            ({"next_run_time": None}, True, JobState.RUNNING),
            ({"paused_at": datetime.now(UTC), "next_run_time": None}, False, JobState.PAUSED),
            ({"broken_reason": "gone"}, False, JobState.BROKEN),
            ({"broken_reason": "gone", "paused_at": datetime.now(UTC)}, True, JobState.BROKEN),
        ],
    )
    def test_is_derived(
        self, office: Office, row: dict[str, Any], running: bool, state: JobState
    ) -> None:
        office.create(id="a")
        office.set_job("a", **row)
        assert jobs.job_state(office.job("a"), running=running) is state


def test_every_change_raises_the_revision(office: Office) -> None:
    def revision() -> int:
        with office.database.read() as session:
            return read_revision(session)

    seen = [revision()]
    for action in (
        lambda: office.create(id="a"),
        lambda: office.change("a", name="B"),
        lambda: office.act(jobs.pause_job, "a"),
        lambda: office.act(jobs.resume_job, "a"),
        lambda: office.act(jobs.run_now, "a"),
        lambda: office.act(jobs.remove_job, "a"),
    ):
        action()
        seen.append(revision())
    assert seen == sorted(set(seen))


def test_the_words_of_health_are_those_of_the_contract() -> None:
    assert [word.value for word in Health] == ["healthy", "failing", "overdue", "unknown"]
    assert [role.value for role in Role] == ["viewer", "operator", "admin"]

"""The rows as an APScheduler job store: what code does that holds the scheduler."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from apscheduler.jobstores.base import ConflictingIdError, JobLookupError
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from dashboard.errors import Invalid
from dashboard.scheduling import jobstore
from dashboard.scheduling.jobstore import ScheduleCache, next_due, recheck_jobs, why_broken
from dashboard.services import audit, jobs
from dashboard.storage.models import Job, RunState
from dashboard.vault import NO_VAULT
from tests.factories import ADMIN, Core, open_core, wait_until
from tests.rows import EPOCH, make_job

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dashboard.scheduling.scheduler import DashboardScheduler
    from dashboard.storage.db import Database

BERLIN = ZoneInfo("Europe/Berlin")
PAST = datetime(2020, 1, 1, tzinfo=UTC)


def greet(name: str, times: int = 1, *, day: datetime | None = None) -> str:
    return f"{name} {times} {day}"


@pytest.fixture(autouse=True)
def _tasks(register: Callable[..., None]) -> None:
    register(greet, "test.greet")


@pytest.fixture
def scheduler(any_core: Core) -> DashboardScheduler:
    return any_core.runtime.scheduler


class TestAdding:
    def test_a_job_of_a_registered_task_becomes_a_readable_row(
        self, any_core: Core, scheduler: DashboardScheduler
    ) -> None:
        trigger = CronTrigger(hour=9, minute=30, timezone=BERLIN)
        scheduler.add_job(
            greet,
            trigger,
            args=["Ann"],
            kwargs={"day": datetime(2027, 3, 1, tzinfo=UTC)},
            id="a",
            name="Greeting",
            max_instances=3,
            coalesce=False,
        )
        job = any_core.job("a")
        assert (job.name, job.task, job.executor) == ("Greeting", "test.greet", "threads")
        assert job.parameters == {"name": "Ann", "day": "2027-03-01T00:00:00Z"}
        assert job.trigger == {
            "type": "cron",
            "hour": "9",
            "minute": "30",
            "timezone": "Europe/Berlin",
        }
        assert (job.timezone, job.max_instances, job.coalesce) == ("Europe/Berlin", 3, False)
        assert job.misfire_grace_time == any_core.settings.misfire_grace
        assert job.next_run_time is not None
        assert job.next_run_time.astimezone(BERLIN).strftime("%H:%M") == "09:30"
        assert (job.created_by, job.paused_at) == ("code", None)

    def test_it_runs_with_its_arguments(
        self, any_core: Core, scheduler: DashboardScheduler
    ) -> None:
        scheduler.add_job(greet, "interval", hours=1, args=["Ann", 2], id="a")
        any_core.make_due("a")
        any_core.tick()
        any_core.settle()
        assert [run.result for run in any_core.runs("a")] == ["Ann 2 None"]

    def test_an_id_exists_once(self, any_core: Core, scheduler: DashboardScheduler) -> None:
        scheduler.add_job(greet, "interval", hours=1, args=["Ann"], id="a")
        with pytest.raises(ConflictingIdError):
            scheduler.add_job(greet, "interval", hours=2, args=["Bob"], id="a")
        assert any_core.job("a").parameters == {"name": "Ann"}

    def test_replacing_takes_everything_over(
        self, any_core: Core, scheduler: DashboardScheduler
    ) -> None:
        scheduler.add_job(greet, "interval", hours=1, args=["Ann"], id="a")
        any_core.change("a", tags=["kept"], notes="kept")
        scheduler.add_job(
            greet, "cron", hour=3, args=["Bob"], id="a", replace_existing=True, executor="processes"
        )
        job = any_core.job("a")
        assert job.parameters == {"name": "Bob"}
        assert job.trigger["type"] == "cron"
        assert (job.executor, job.tags, job.notes) == ("processes", ["kept"], "kept")

    def test_replacing_at_every_start_does_not_resume_a_paused_job(
        self, any_core: Core, scheduler: DashboardScheduler
    ) -> None:
        for trigger in (CronTrigger(hour=3, timezone=UTC), IntervalTrigger(hours=1, timezone=UTC)):
            scheduler.add_job(greet, trigger, args=["x"], id="a", replace_existing=True)
            with audit.transaction(any_core.database) as session:
                jobs.pause_job(session, "a", reason="by hand", actor=ADMIN)
            scheduler.add_job(greet, trigger, args=["x"], id="a", replace_existing=True)
            job = any_core.job("a")
            assert job.paused_at is not None
            assert (job.paused_reason, job.next_run_time) == ("by hand", None)
            scheduler.resume_job("a")

    def test_added_before_the_start_it_is_there_after_it(self, tmp_path: Path) -> None:
        with open_core(data=tmp_path) as core:
            core.runtime.scheduler.add_job(greet, "interval", hours=1, args=["x"], id="a")
            core.start()
            assert core.job("a").task == "test.greet"

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"func": print}, "not a registered task"),
            ({"func": "os:system", "args": ["true"]}, "not a registered task"),
            ({"func": lambda: None, "args": []}, "not a registered task"),
            ({"executor": "moon"}, "no executor 'moon'"),
            ({"trigger": IntervalTrigger(seconds=1, timezone=UTC), "args": [7]}, "name"),
            ({"kwargs": {"times": "many"}}, "times"),
            ({"trigger": IntervalTrigger(seconds=-5, timezone=UTC)}, "cannot keep"),
        ],
    )
    def test_what_the_dashboard_could_not_run_is_refused(
        self,
        any_core: Core,
        scheduler: DashboardScheduler,
        values: dict[str, Any],
        message: str,
    ) -> None:
        defaults = {"func": greet, "trigger": "interval", "args": ["x"], "id": "a"}
        with pytest.raises((ValueError, Invalid), match=message):
            scheduler.add_job(**(defaults | values))
        with any_core.database.read() as session:
            assert session.get(Job, "a") is None

    def test_a_job_that_never_fires_is_finished_not_paused(
        self, any_core: Core, scheduler: DashboardScheduler
    ) -> None:
        scheduler.add_job(greet, CronTrigger(month=2, day=31, timezone=UTC), args=["x"], id="a")
        job = any_core.job("a")
        assert (job.next_run_time, job.paused_at) == (None, None)
        assert job.finished_reason

    def test_added_paused_it_is_paused(self, any_core: Core, scheduler: DashboardScheduler) -> None:
        scheduler.add_job(greet, "interval", hours=1, args=["x"], id="a", next_run_time=None)
        assert any_core.job("a").paused_at is not None


class TestReading:
    def test_jobs_come_back_as_stock_jobs(
        self, any_core: Core, scheduler: DashboardScheduler
    ) -> None:
        scheduler.add_job(greet, "interval", hours=1, args=["Ann"], id="a", name="A")
        job = scheduler.get_job("a")
        assert (job.id, job.name, job.func) == ("a", "A", greet)
        assert job.kwargs == {"name": "Ann", "times": 1, "day": None}
        assert job.next_run_time == any_core.job("a").next_run_time
        assert [each.id for each in scheduler.get_jobs()] == ["a"]

    def test_the_store_tells_what_is_due_and_when(self, any_core: Core) -> None:
        store = any_core.runtime.scheduler._rows
        assert store.get_next_run_time() is None
        any_core.add("test.greet", id="later", parameters={"name": "x"})
        any_core.add("test.greet", id="paused", parameters={"name": "x"})
        moment = any_core.make_due("later", ago=5)
        any_core.change("paused", paused_at=EPOCH, next_run_time=None)
        assert [job.id for job in store.get_due_jobs(datetime.now(UTC))] == ["later"]
        assert store.get_next_run_time() == moment
        assert [job.id for job in store.get_all_jobs()] == ["later", "paused"]

    def test_jobs_that_cannot_be_read_are_left_out_and_kept(
        self, any_core: Core, scheduler: DashboardScheduler
    ) -> None:
        for job_id in ("good", "task", "parameters", "trigger", "broken"):
            any_core.add("test.greet", id=job_id, parameters={"name": "x"})
        any_core.change("task", task="no.such")
        any_core.change("parameters", parameters={"gone": 1})
        any_core.change("trigger", trigger={"type": "?"})
        any_core.change("broken", broken_reason="since long")
        assert [job.id for job in scheduler.get_jobs()] == ["good"]
        assert scheduler.get_job("task") is None
        assert any_core.job("task").task == "no.such"


class TestChanging:
    @pytest.fixture(autouse=True)
    def _job(self, scheduler: DashboardScheduler) -> None:
        scheduler.add_job(greet, "interval", hours=1, args=["Ann"], id="a")

    def test_modify_changes_the_row_and_its_version(
        self, any_core: Core, scheduler: DashboardScheduler
    ) -> None:
        before = any_core.job("a")
        scheduler.modify_job("a", name="B", max_instances=7, kwargs={"name": "Bob"}, args=[])
        job = any_core.job("a")
        assert (job.name, job.max_instances, job.parameters["name"]) == ("B", 7, "Bob")
        assert job.next_run_time == before.next_run_time
        assert job.trigger == before.trigger
        assert job.version == before.version + 1

    def test_pause_and_resume(self, any_core: Core, scheduler: DashboardScheduler) -> None:
        scheduler.pause_job("a")
        job = any_core.job("a")
        assert job.next_run_time is None
        assert (job.paused_by, job.paused_at is not None) == ("code", True)
        resumed = scheduler.resume_job("a")
        job = any_core.job("a")
        assert job.paused_at is None
        assert job.next_run_time == resumed.next_run_time
        assert job.next_run_time is not None

    def test_rescheduling_a_paused_job_leaves_it_paused(
        self, any_core: Core, scheduler: DashboardScheduler
    ) -> None:
        scheduler.pause_job("a")
        scheduler.reschedule_job("a", trigger="interval", days=3)
        job = any_core.job("a")
        assert job.paused_at is not None
        assert job.next_run_time is None
        scheduler.resume_job("a")
        job = any_core.job("a")
        assert job.next_run_time is not None
        assert job.next_run_time > datetime.now(UTC) + timedelta(days=2)

    def test_resuming_or_rescheduling_to_the_past_never_deletes_a_job(
        self, any_core: Core, scheduler: DashboardScheduler
    ) -> None:
        scheduler.reschedule_job("a", trigger=DateTrigger(PAST, timezone=UTC))
        any_core.tick()
        assert any_core.states("a") == ["missed"]
        job = any_core.job("a")
        assert (job.next_run_time, job.paused_at) == (None, None)
        assert job.finished_reason
        scheduler.pause_job("a")
        scheduler.resume_job("a")
        assert any_core.job("a").finished_reason

    def test_a_finished_job_stays_finished_through_another_change(
        self, any_core: Core, scheduler: DashboardScheduler
    ) -> None:
        any_core.change("a", next_run_time=None, finished_reason="all sent")
        scheduler.modify_job("a", name="B")
        job = any_core.job("a")
        assert (job.next_run_time, job.paused_at, job.finished_reason) == (None, None, "all sent")

    def test_a_next_run_time_can_be_set(
        self, any_core: Core, scheduler: DashboardScheduler
    ) -> None:
        moment = datetime.now(UTC) + timedelta(days=9)
        scheduler.modify_job("a", next_run_time=moment)
        assert any_core.job("a").next_run_time == moment

    def test_own_and_stock_triggers_survive_the_way_there_and_back(
        self, any_core: Core, scheduler: DashboardScheduler
    ) -> None:
        triggers: list[dict[str, Any]] = [
            {"type": "cron", "crontab": "0 9 * * 1"},
            {"type": "calendarinterval", "months": 1, "hour": 3, "start_date": "2027-01-31"},
            {
                "type": "or",
                "triggers": [{"type": "cron", "hour": "1"}, {"type": "cron", "hour": "2"}],
            },
            {"type": "interval", "hours": 2, "jitter": 60},
        ]
        for number, trigger in enumerate(triggers):
            job_id = any_core.add("test.greet", parameters={"name": "x"}, trigger=trigger)
            before = any_core.job(job_id)
            scheduler.modify_job(job_id, name=f"n{number}")
            after = any_core.job(job_id)
            assert (after.trigger, after.next_run_time) == (before.trigger, before.next_run_time)
        scheduler.reschedule_job("a", trigger=scheduler.get_job(job_id).trigger)
        assert any_core.job("a").trigger == any_core.job(job_id).trigger

    def test_jobs_that_do_not_exist(self, scheduler: DashboardScheduler) -> None:
        for action in (scheduler.pause_job, scheduler.resume_job, scheduler.remove_job):
            with pytest.raises(JobLookupError):
                action("nothing")

    def test_an_update_repairs_a_broken_job(
        self, any_core: Core, scheduler: DashboardScheduler
    ) -> None:
        any_core.change("a", task="gone.task", broken_reason="There is no task.")
        scheduler.add_job(greet, "interval", hours=1, args=["x"], id="a", replace_existing=True)
        job = any_core.job("a")
        assert (job.task, job.broken_reason) == ("test.greet", None)


class TestRemoving:
    def test_the_job_goes_its_runs_stay_and_none_stays_queued(
        self, any_core: Core, scheduler: DashboardScheduler
    ) -> None:
        core = any_core
        core.tick()
        for job_id in ("a", "b"):
            core.add("test.greet", id=job_id, parameters={"name": "x"}, max_instances=5)
            core.run_now(job_id)
        core.tick()
        core.settle()
        for job_id in ("a", "b"):
            core.run_now(job_id)
        scheduler.remove_job("a")
        assert [run.state for run in core.runs("a")] == [RunState.SUCCEEDED, RunState.CANCELLED]
        assert core.health("a") is None
        assert core.health("b") is not None
        scheduler.remove_all_jobs()
        assert core.health("b") is None
        assert [run.state for run in core.runs("b")] == [RunState.SUCCEEDED, RunState.CANCELLED]
        core.tick()
        assert core.runs(state=RunState.QUEUED) == []


def test_the_loop_takes_jobs_that_code_adds(live: Core) -> None:
    live.runtime.scheduler.add_job(
        greet, DateTrigger(datetime.now(UTC) + timedelta(seconds=0.2)), args=["x"], id="a"
    )
    wait_until(lambda: live.states("a") == ["succeeded"])
    assert live.job("a").finished_reason


class TestScheduleCache:
    def test_a_trigger_is_parsed_once(self) -> None:
        cache = ScheduleCache()
        text = '{"type": "interval", "hours": 1}'
        assert cache.of(text, "UTC") is cache.of(text, "UTC")
        assert cache.of(text, "UTC") is not cache.of(text, "Europe/Berlin")

    def test_it_forgets_the_oldest(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(jobstore, "CACHED_SCHEDULES", 2)
        cache = ScheduleCache()
        for hours in range(1, 5):
            cache.of(f'{{"type": "interval", "hours": {hours}}}', "UTC")
        assert len(cache._kept) == 2

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"type": "?"}', "NaN"])
    def test_what_cannot_be_read_is_not_kept(self, text: str) -> None:
        cache = ScheduleCache()
        for _ in range(2):
            with pytest.raises((Invalid, ValueError)):
                cache.of(text, "UTC")


class TestRecheck:
    def test_marks_what_cannot_run_and_frees_what_can_again(self, database: Database) -> None:
        with database.write() as session:
            session.add_all(
                [
                    make_job("good", task="test.greet"),
                    make_job("task", task="no.such"),
                    make_job("executor", task="test.greet", executor="celery"),
                    make_job("repaired", task="test.greet", broken_reason="gone"),
                    make_job("trigger", task="test.greet", trigger={}, broken_reason="gone"),
                ]
            )
        now = EPOCH + timedelta(days=1)
        with database.write() as session:
            recheck_jobs(session, now, {"threads", "processes"}, NO_VAULT)
        with database.read() as session:
            found = {job.id: job for job in session.query(Job)}
        assert found["good"].broken_reason is None
        assert found["good"].version == 1
        assert found["repaired"].broken_reason is None
        assert found["repaired"].next_run_time == EPOCH + timedelta(hours=1)
        assert "no.such" in (found["task"].broken_reason or "")
        assert "“celery”" in (found["executor"].broken_reason or "")
        assert "trigger" in (found["trigger"].broken_reason or "")
        assert all(found[name].version == 2 for name in ("task", "executor", "repaired"))
        assert len(found) == 5

    def test_why_broken_is_none_for_what_works(self) -> None:
        assert why_broken(make_job(task="test.greet"), {"threads"}, NO_VAULT) is None


def test_next_due_ignores_what_will_not_fire(database: Database) -> None:
    with database.write() as session:
        session.add_all(
            [
                make_job("paused", paused_at=EPOCH, next_run_time=EPOCH),
                make_job("broken", broken_reason="gone", next_run_time=EPOCH),
                make_job("finished", next_run_time=None),
                make_job("later", next_run_time=EPOCH + timedelta(hours=2)),
                make_job("next", next_run_time=EPOCH + timedelta(hours=1)),
            ]
        )
    with database.read() as session:
        assert next_due(session) == EPOCH + timedelta(hours=1)

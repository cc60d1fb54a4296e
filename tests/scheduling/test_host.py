"""A host's own APScheduler under the dashboard."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from apscheduler.executors.pool import ProcessPoolExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.combining import AndTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger
from sqlalchemy import delete

from dashboard.errors import Conflict, Invalid
from dashboard.runtime import Runtime, make_runtime
from dashboard.scheduling import handover
from dashboard.scheduling.hostjobs import HostKey
from dashboard.services import audit, jobs
from dashboard.services.jobdata import check_new
from dashboard.settings import load_settings
from dashboard.storage.models import HOST, Job, Origin, Process, ProcessKind, RunState
from tests.factories import ADMIN, PATIENCE, Core, new_run, psycopg_url, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dashboard.storage.models import Run

DISTANT = {"trigger": "interval", "hours": 1, "misfire_grace_time": 60}
done = threading.Semaphore(0)
gate = threading.Event()


def succeed(greeting: str = "hello", **_more: Any) -> str:
    return f"{greeting} from the host"


def fail() -> None:
    raise LookupError("nobody <home>")


def wait() -> None:
    done.release()
    assert gate.wait(PATIENCE)


@pytest.fixture(params=["sqlite", "postgresql"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    database = None
    if request.param == "postgresql":
        database = psycopg_url(request.getfixturevalue("postgresql_url"))
    gate.clear()
    scheduler = BackgroundScheduler(timezone=UTC)
    settings = load_settings(data=tmp_path / "data", database=database, threads=2)
    runtime = make_runtime(settings, scheduler)
    runtime.start()
    scheduler.start()
    yield Host(runtime, scheduler)
    gate.set()
    scheduler.shutdown()
    runtime.stop(0)
    runtime.database.close()


class Host(Core):
    """A core beside a scheduler of somebody else's."""

    def __init__(self, runtime: Runtime, scheduler: BackgroundScheduler) -> None:
        super().__init__(runtime)
        self.scheduler = scheduler

    def add_job(self, function: Any = succeed, **options: Any) -> str:
        """Add a job to the host's scheduler and wait for its row."""
        job = self.scheduler.add_job(function, **(DISTANT | options))
        wait_until(lambda: self.has(job.id))
        return str(job.id)

    def has(self, job_id: str) -> bool:
        with self.database.read() as session:
            return session.get(Job, job_id) is not None

    def act(self, service: Any, job_id: str, **options: Any) -> Any:
        """Do what a page does."""
        with audit.transaction(self.database) as session:
            found = service(session, job_id, actor=ADMIN, **options)
        self.runtime.wake()
        return found

    def ended(self, job_id: str, count: int = 1) -> list[Run]:
        """Wait until so many runs of a job have ended."""

        def over() -> list[Run]:
            found = [r for r in self.runs(job_id) if r.finished_at is not None]
            return found if len(found) >= count else []

        return wait_until(over)


class TestRows:
    def test_a_job_is_a_row_that_says_what_it_is(self, host: Host) -> None:
        host.add_job(
            id="greet", name="Greet", args=["hi"], kwargs={"to": {1, 2}, "n": 3}, max_instances=2
        )
        row = host.job("greet")
        assert (row.name, row.task) == ("Greet", "tests.scheduling.test_host:succeed")
        assert row.parameters == {"1": "hi", "to": "{1, 2}", "n": 3}
        assert (row.executor, row.max_instances, row.coalesce) == (HOST, 2, True)
        assert row.trigger["text"] == "interval[1:00:00]"
        assert row.trigger["sentence"] == "Every hour"
        assert len(row.trigger["fire_times"]) == 10
        assert row.next_run_time == host.scheduler.get_job("greet").next_run_time
        assert row.broken_reason is None

    def test_a_job_that_was_changed_removed_or_fired_is_followed(self, host: Host) -> None:
        host.add_job(id="a", seconds=1, hours=0)
        first = host.job("a").next_run_time
        wait_until(lambda: host.job("a").next_run_time != first)
        host.scheduler.reschedule_job("a", trigger="cron", hour=3)
        wait_until(lambda: host.job("a").trigger["text"] == "cron[hour='3']")
        host.scheduler.pause_job("a")
        wait_until(lambda: host.job("a").paused_at)
        host.scheduler.resume_job("a")
        wait_until(lambda: not host.job("a").paused_at)
        assert host.job("a").next_run_time is not None
        host.scheduler.remove_job("a")
        wait_until(lambda: not host.has("a"))

    def test_jobs_of_an_earlier_start_go_and_a_pause_stays(self, host: Host) -> None:
        host.add_job(id="goes")
        host.add_job(id="stays")
        host.act(jobs.pause_job, "stays", reason="enough")
        wait_until(lambda: host.scheduler.get_job("stays").next_run_time is None)
        host.runtime.stop(0)
        again = BackgroundScheduler(timezone=UTC)
        again.add_job(succeed, id="stays", **DISTANT)
        runtime = make_runtime(host.settings, again)
        runtime.start()
        again.start()
        try:
            wait_until(lambda: again.get_job("stays").next_run_time is None)
            wait_until(lambda: not host.has("goes"))
            assert host.job("stays").paused_reason == "enough"
        finally:
            again.shutdown()
            runtime.stop(0)
            runtime.database.close()

    def test_a_trigger_nobody_knows_and_one_that_never_meets_do_no_harm(self, host: Host) -> None:
        class Mine(IntervalTrigger):
            def __str__(self) -> str:
                return "mine\0<b>"

        host.scheduler.add_job(succeed, Mine(hours=1), id="mine")
        moment = datetime.now(UTC) + timedelta(hours=2)
        both = AndTrigger([CronTrigger(hour="*/2"), CronTrigger(day_of_week="mon")])
        host.scheduler.add_job(succeed, both, id="both", next_run_time=moment)
        wait_until(lambda: host.has("mine") and host.has("both"))
        assert host.job("mine").trigger["text"] == r"mine\x00<b>"
        assert host.job("both").next_run_time == moment

    @pytest.mark.parametrize(
        ("jobstore", "given", "row_id"),
        [
            ("default", "plain id-1@x", "plain id-1@x"),
            ("default", "a/b", "~a~2Fb"),
            ("default", "~a~2Fb", "~~7Ea~7E2Fb"),
            ("default", "new", "~new"),
            ("default", "..", "~.."),
            ("default", "", "~"),
            ("default", " x", "~ x"),
            ("default", "tab\tnul\0", "~tab~09nul~00"),
            ("default", "\ud800", "~~5Cud800"),
            ("default", "straße", "straße"),
            ("other", "a", "other~.a"),
        ],
    )
    def test_ids_may_hold_anything(self, jobstore: str, given: str, row_id: str) -> None:
        assert HostKey(jobstore, given).row_id == row_id

    def test_long_ids_are_cut_and_stay_apart(self) -> None:
        first, second = HostKey("default", "x" * 300).row_id, HostKey("default", "x" * 301).row_id
        assert first != second
        assert len(first) == len(second) == 191

    def test_jobs_of_the_same_id_in_two_stores_and_in_the_dashboard(self, host: Host) -> None:
        host.scheduler.add_jobstore(MemoryJobStore(), "other")
        own = host.add("dashboard.report", id="same")
        host.scheduler.add_job(succeed, id="same", **DISTANT)
        host.scheduler.add_job(succeed, id="same", jobstore="other", **DISTANT)
        wait_until(lambda: host.has("~host.same") and host.has("other~.same"))
        assert host.job(own).executor == "threads"


class TestRuns:
    def test_a_firing_is_a_run(self, host: Host) -> None:
        moment = datetime.now(UTC)
        late = {"misfire_grace_time": 60}
        host.scheduler.add_job(succeed, "date", run_date=moment, id="once", name="Once", **late)
        [run] = host.ended("once")
        assert (run.state, run.origin, run.result) == (
            RunState.SUCCEEDED,
            Origin.SCHEDULE,
            "hello from the host",
        )
        assert (run.scheduled_at, run.executor) == (moment, HOST)
        assert run.process == host.runtime.scheduler.identity.process
        # As its scheduler does it, perhaps after the run's end; the run stays.
        wait_until(lambda: not host.has("once"))
        assert host.runs("once")

    def test_a_failure_is_told_with_its_traceback(self, host: Host) -> None:
        host.add_job(fail, id="fails", next_run_time=datetime.now(UTC))
        [run] = host.ended("fails")
        assert (run.state, run.error_type) == (RunState.FAILED, "LookupError")
        assert run.error_message == "nobody <home>"
        assert "in fail" in str(run.traceback)
        assert run.fingerprint
        health = host.health("fails")
        assert health is not None
        assert health.consecutive_failures == 1

    def test_missed_and_skipped_are_rows_with_their_reasons(self, host: Host) -> None:
        late = datetime.now(UTC) - timedelta(minutes=5)
        host.add_job(id="late", next_run_time=late, misfire_grace_time=1)
        [run] = host.ended("late")
        assert run.state is RunState.MISSED
        assert "misfire grace time" in str(run.reason)
        host.add_job(wait, id="busy", seconds=1, hours=0)
        assert done.acquire(timeout=PATIENCE)
        runs = host.ended("busy")
        assert runs[0].state is RunState.SKIPPED
        assert "max instances" in str(runs[0].reason)
        [running] = host.runs("busy", state=RunState.RUNNING)
        assert running.started_at is not None
        gate.set()
        wait_until(lambda: host.run(running.id).state is RunState.SUCCEEDED)
        assert host.run(running.id).duration

    def test_a_failure_in_a_process_pool_has_its_traceback_too(self, host: Host) -> None:
        host.scheduler.add_executor(ProcessPoolExecutor(1), "pool")
        host.add_job(
            sys.intern, id="pool", args=[1], executor="pool", next_run_time=datetime.now(UTC)
        )
        [run] = host.ended("pool")
        assert (run.state, run.error_type) == (RunState.FAILED, "TypeError")
        assert "TypeError: " in str(run.traceback)

    def test_what_was_heard_while_the_database_was_away_is_written_later(
        self, host: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        follower: Any = host.runtime.host
        host.add_job(id="a")
        with monkeypatch.context() as patch:
            tried = threading.Event()

            def away(*_arguments: Any) -> bool:
                tried.set()
                raise ConnectionError("away")

            patch.setattr(follower, "_write_event", away)
            host.scheduler.modify_job("a", next_run_time=datetime.now(UTC))
            assert tried.wait(PATIENCE)
            assert host.runs("a") == []
        [run] = host.ended("a")
        assert run.state is RunState.SUCCEEDED


class TestActions:
    def test_pause_resume_and_remove_reach_the_scheduler(self, host: Host) -> None:
        job_id = host.add_job(id="a")
        host.act(jobs.pause_job, job_id, reason="night")
        wait_until(lambda: host.scheduler.get_job("a").next_run_time is None)
        assert host.job("a").paused_reason == "night"
        host.act(jobs.resume_job, job_id)
        wait_until(lambda: host.scheduler.get_job("a").next_run_time is not None)
        wait_until(lambda: host.job("a").next_run_time == host.scheduler.get_job("a").next_run_time)
        host.act(jobs.remove_job, job_id)
        wait_until(lambda: host.scheduler.get_job("a") is None)

    def test_a_removal_that_the_store_refuses_is_tried_again(
        self, host: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job_id = host.add_job(id="a")
        remove, refused = host.scheduler.remove_job, threading.Event()

        def remove_later(*arguments: Any) -> None:
            if refused.is_set():
                remove(*arguments)
            else:
                refused.set()
                raise ConnectionError("the store is away")

        monkeypatch.setattr(host.scheduler, "remove_job", remove_later)
        host.act(jobs.remove_job, job_id)
        wait_until(lambda: host.scheduler.get_job("a") is None)
        assert refused.is_set()
        assert not host.has("a")

    def test_a_row_that_nobody_removed_takes_no_job_along(self, host: Host) -> None:
        host.add_job(id="a")
        host.add_job(id="b")
        with host.database.write() as session:
            session.execute(delete(Job))
        wait_until(lambda: host.has("a") and host.has("b"))
        assert len(host.scheduler.get_jobs()) == 2

    def test_run_now_leaves_the_schedule(self, host: Host) -> None:
        job_id = host.add_job(id="a", args=["good day"])
        before = host.job("a").next_run_time
        run = host.act(jobs.run_now, job_id)
        [ended] = host.ended("a")
        assert ended.id == run.id
        assert (ended.state, ended.origin) == (RunState.SUCCEEDED, Origin.MANUAL)
        assert (ended.result, ended.requested_by) == ("good day from the host", "ann")
        assert host.scheduler.get_job("a").next_run_time == before

    def test_run_now_while_an_instance_runs_that_the_dashboard_does_not_know_of(
        self, host: Host
    ) -> None:
        host.add_job(wait, id="busy")
        job = host.scheduler.get_job("busy")
        host.scheduler._lookup_executor("default")._instances["busy"] += 1
        host.act(jobs.run_now, "busy")
        [run] = host.ended("busy")
        assert run.state is RunState.SKIPPED
        assert job.max_instances == 1

    def test_what_a_job_is_only_its_app_can_change(self, host: Host) -> None:
        job_id = host.add_job(id="a")
        change = {"trigger": {"type": "interval", "hours": 2}}
        with pytest.raises(Conflict, match="belongs to the app's own scheduler"):
            host.act(jobs.change_job, job_id, data=change, version=1, settings=host.settings)

    def test_nobody_can_ask_for_such_a_trigger(self, host: Host) -> None:
        host.add_job(id="a")
        data = {"task": "dashboard.report", "trigger": host.job("a").trigger}
        with pytest.raises(Invalid, match=r"^trigger"):
            check_new(data, host.settings, datetime.now(UTC))


def test_many_threads_and_the_follower_lose_nothing(host: Host) -> None:
    def add(number: int) -> None:
        moment = datetime.now(UTC)
        host.scheduler.add_job(
            succeed, "date", run_date=moment, id=f"job-{number}", misfire_grace_time=60
        )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(100)))
    wait_until(lambda: len(host.runs(state=RunState.SUCCEEDED)) == 100)
    assert len(host.runs()) == 100


def test_runs_in_other_processes_end_when_their_process_is_gone(any_core: Core) -> None:
    now = datetime.now(UTC)
    mine = any_core.runtime.scheduler.identity
    values = {"machine": "m", "pid": 7, "pid_started": 1.0, "version": "1", "executors": []}
    moments = {"began_at": now, "seen_at": now, "until": now + timedelta(hours=1)}
    other = Process(
        process="b:7:x", kind=ProcessKind.DASHBOARD, host="b", places=0, **values, **moments
    )
    run = new_run("theirs", state=RunState.RUNNING, executor=HOST, process="b:7:x")
    asked = new_run("theirs", 1, state=RunState.QUEUED, executor=HOST)
    with any_core.database.write() as session:
        session.add_all([other, run, asked])
    with any_core.database.write() as session:
        connection = session.connection()
        assert handover.interrupt_orphans(connection, now, mine) == 0
        handover.interrupt_lost(connection, now)
        handover.miss_unreachable(connection, now, {"threads"})
    assert any_core.states("theirs") == ["running", "queued"]
    with any_core.database.write() as session:
        session.execute(delete(Process).where(Process.process == "b:7:x"))
        handover.interrupt_lost(session.connection(), now)
    assert any_core.states("theirs") == ["interrupted", "queued"]

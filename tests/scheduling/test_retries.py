"""Retries, timeouts, stop conditions and pauses that end by themselves, on both databases."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select, update

from dashboard import FinishJob, PauseJob, current_run
from dashboard.history.consequences import LONGEST_WAIT, wait_before
from dashboard.scheduling import handover
from dashboard.services import audit, jobs, runs
from dashboard.storage.models import Audit, Job, Origin, Run, RunState
from tests.factories import ADMIN, OPERATOR, PATIENCE, SECOND, Core, new_run, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _tasks(register: Callable[..., None]) -> None:
    def boom() -> None:
        raise ValueError("no")

    def give_up() -> None:
        raise PauseJob("enough") from ValueError("no")

    def over() -> None:
        raise FinishJob("all done")

    register(lambda: None, "test.ok")
    register(boom, "test.boom")
    register(give_up, "test.give_up")
    register(over, "test.over")


def end_waits(core: Core, job_id: str) -> None:
    """Let what waits for its moment have waited long enough."""
    with core.database.write() as session:
        waiting = Run.job_id == job_id, Run.not_before.is_not(None)
        session.execute(update(Run).where(*waiting).values(not_before=datetime.now(UTC)))


def go(core: Core, job_id: str) -> None:
    """Tick, and let what was handed over end."""
    core.runtime.scheduler._hot = False
    core.tick()
    wait_until(lambda: not core.runs(job_id, state=RunState.RUNNING))
    assert core.runtime.recorder.flush()


def change(core: Core, job_id: str, **data: Any) -> Job:
    with audit.transaction(core.database) as session:
        version = session.get_one(Job, job_id).version
        return jobs.change_job(
            session, job_id, data, version=version, actor=ADMIN, settings=core.settings
        )


class TestRetries:
    def test_a_failed_run_is_tried_again_when_its_time_has_come(self, any_core: Core) -> None:
        core = any_core
        job_id = core.add("test.boom", retries=2, retry_wait=10)
        moment = core.make_due(job_id)
        go(core, job_id)
        first, second = core.runs(job_id)
        assert (first.state, second.state) == (RunState.FAILED, RunState.QUEUED)
        assert (second.attempt, second.origin, second.scheduled_at) == (2, Origin.RETRY, moment)
        assert second.not_before is not None
        assert 7 * SECOND < second.not_before - second.queued_at < 13 * SECOND
        health = core.health(job_id)
        assert health is not None
        assert (health.consecutive_failures, health.failing_since) == (0, None)
        go(core, job_id)
        assert core.states(job_id) == ["failed", "queued"]
        end_waits(core, job_id)
        before = datetime.now(UTC)
        go(core, job_id)
        ready_at = core.runs(job_id)[1].ready_at
        assert ready_at is not None
        assert ready_at >= before, "what waits since then can be told from what waits for long"
        end_waits(core, job_id)
        go(core, job_id)
        assert core.states(job_id) == ["failed"] * 3
        assert [run.attempt for run in core.runs(job_id)] == [1, 2, 3]
        health = core.health(job_id)
        assert health is not None
        assert health.consecutive_failures == 1
        assert health.last_error == "ValueError: no"

    def test_a_grace_time_does_not_end_a_waiting_retry(self, any_core: Core) -> None:
        job_id = any_core.add("test.boom", retries=1, misfire_grace_time=1)
        any_core.make_due(job_id)
        go(any_core, job_id)
        with any_core.database.write() as session:
            session.execute(update(Run).values(scheduled_at=Run.scheduled_at))
            session.execute(
                update(Run)
                .where(Run.attempt == 2)
                .values(not_before=datetime.now(UTC), scheduled_at=datetime.now(UTC) - HOUR)
            )
        go(any_core, job_id)
        assert any_core.states(job_id) == ["failed", "failed"]

    def test_a_waiting_retry_is_no_instance(self, any_core: Core) -> None:
        job_id = any_core.add("test.boom", retries=1, retry_wait=3600)
        any_core.make_due(job_id)
        go(any_core, job_id)
        any_core.make_due(job_id)
        go(any_core, job_id)
        assert any_core.states(job_id) == ["failed", "queued", "failed", "queued"]
        any_core.run_now(job_id)

    def test_a_paused_job_is_not_tried_again_until_it_is_resumed(self, any_core: Core) -> None:
        core = any_core
        job_id = core.add("test.boom", retries=1)
        core.make_due(job_id)
        go(core, job_id)
        with audit.transaction(core.database) as session:
            jobs.pause_job(session, job_id, actor=OPERATOR)
        end_waits(core, job_id)
        go(core, job_id)
        assert core.states(job_id) == ["failed", "queued"]
        with audit.transaction(core.database) as session:
            jobs.resume_job(session, job_id, actor=OPERATOR)
        go(core, job_id)
        assert core.states(job_id) == ["failed", "failed"]

    def test_a_person_may_not_want_to_wait(self, any_core: Core) -> None:
        core = any_core
        job_id = core.add("test.boom", retries=1, retry_wait=3600)
        core.make_due(job_id)
        go(core, job_id)
        with audit.transaction(core.database) as session:
            again = runs.retry_run(session, core.runs(job_id)[0].id, actor=OPERATOR)
        assert (again.id, again.attempt) == (core.runs(job_id)[1].id, 2)
        go(core, job_id)
        assert core.states(job_id) == ["failed", "failed"]

    def test_a_cancelled_retry_leaves_the_job_failing(self, any_core: Core) -> None:
        core = any_core
        job_id = core.add("test.boom", retries=1, retry_wait=3600)
        core.make_due(job_id)
        go(core, job_id)
        with audit.transaction(core.database) as session:
            runs.cancel_run(session, core.runs(job_id)[1].id, actor=OPERATOR)
        health = core.health(job_id)
        assert health is not None
        assert (health.consecutive_failures, health.last_error) == (1, "ValueError: no")

    def test_a_task_that_pauses_its_job_is_not_tried_again(self, any_core: Core) -> None:
        job_id = any_core.add("test.give_up", retries=3)
        any_core.make_due(job_id)
        go(any_core, job_id)
        assert any_core.states(job_id) == ["failed"]
        assert any_core.job(job_id).paused_reason == "enough"

    def test_interrupted_runs_are_tried_again_once(self, any_core: Core) -> None:
        """Whoever leads next writes the retry with the end, and a second time changes nothing."""
        core = any_core
        job_id = core.add("test.ok", retries=1)
        with core.database.write() as session:
            values: dict[str, Any] = {"task": "test.ok", "parameters": {}, "process": "dead"}
            session.add(new_run(job_id, state=RunState.RUNNING, **values))
        now, identity = datetime.now(UTC), core.runtime.scheduler.identity
        for _ in range(2):
            with core.database.write() as session:
                handover.interrupt_orphans(session.connection(), now, identity)
        assert core.states(job_id) == ["interrupted", "queued"]
        end_waits(core, job_id)
        go(core, job_id)
        assert core.states(job_id) == ["interrupted", "succeeded"]

    def test_a_removed_job_is_not_tried_again_and_leaves_no_health(
        self, any_core: Core, register: Callable[..., None]
    ) -> None:
        core = any_core
        begun, gate = threading.Event(), threading.Event()

        def fail_later() -> None:
            begun.set()
            gate.wait(PATIENCE)
            raise ValueError

        register(fail_later, "test.later")
        job_id = core.add("test.later", retries=5)
        core.make_due(job_id)
        core.tick()
        assert begun.wait(PATIENCE)
        with audit.transaction(core.database) as session:
            jobs.remove_job(session, job_id, actor=ADMIN)
        gate.set()
        wait_until(lambda: core.states(job_id) == ["failed"])
        assert core.health(job_id) is None

    def test_waits_double_up_to_an_hour(self) -> None:
        for attempt, seconds in ((1, 60), (2, 120), (3, 240), (10, LONGEST_WAIT), (99, 3600)):
            assert 0.8 * seconds <= wait_before(attempt, 60) <= 1.2 * seconds
        assert wait_before(50, 80_000) >= 0.8 * 80_000


class TestTimeouts:
    def test_a_thread_is_told_and_has_failed_when_it_ends(
        self, any_core: Core, register: Callable[..., None]
    ) -> None:
        def patient() -> str:
            wait_until(lambda: current_run().cancelled)
            return "too late"

        register(patient, "test.patient", timeout=0.05)
        job_id = any_core.add("test.patient")
        assert any_core.job(job_id).timeout == 0.05
        any_core.make_due(job_id)
        go(any_core, job_id)
        [run] = any_core.runs(job_id)
        assert (run.state, run.error_type) == (RunState.FAILED, "TimeoutError")
        assert run.error_message == "It ran longer than its timeout of 0.05 s."
        assert run.fingerprint

    def test_what_it_raises_then_is_told_too(
        self, any_core: Core, register: Callable[..., None]
    ) -> None:
        def late() -> None:
            wait_until(lambda: current_run().timed_out)
            raise KeyError("left")

        register(late, "test.late")
        job_id = any_core.add("test.late", timeout=0.01, retries=1)
        any_core.make_due(job_id)
        go(any_core, job_id)
        run, retry = any_core.runs(job_id)
        assert run.error_message == (
            "It ran longer than its timeout of 0.01 s. Then it raised KeyError: 'left'"
        )
        assert "in late" in (run.traceback or "")
        assert retry.attempt == 2


class TestEnds:
    def test_after_so_many_runs(self, any_core: Core) -> None:
        core = any_core
        job_id = core.add("test.ok", max_runs=2)
        core.run_now(job_id)
        go(core, job_id)
        for _ in range(3):
            if core.job(job_id).next_run_time is not None:
                core.make_due(job_id)
            go(core, job_id)
        assert [run.origin.value for run in core.runs(job_id)] == ["manual", "schedule", "schedule"]
        assert core.job(job_id).finished_reason == "It was to end after 2 scheduled runs."
        change(core, job_id, max_runs=3)
        assert core.job(job_id).next_run_time is not None
        core.make_due(job_id)
        go(core, job_id)
        assert core.job(job_id).finished_reason == "It was to end after 3 scheduled runs."
        with audit.transaction(core.database) as session:
            jobs.resume_job(session, job_id, actor=OPERATOR)
        assert (core.job(job_id).runs_counted, core.job(job_id).finished_reason) == (0, None)

    def test_a_backlog_starts_no_more_than_wanted(self, any_core: Core) -> None:
        begin = datetime.now(UTC) - HOUR
        trigger = {"type": "interval", "seconds": 1, "start_date": begin.isoformat()}
        options: dict[str, Any] = {"misfire_grace_time": None, "max_instances": 9}
        job_id = any_core.add("test.ok", trigger=trigger, coalesce=False, max_runs=3, **options)
        any_core.make_due(job_id, ago=8)
        go(any_core, job_id)
        assert any_core.states(job_id) == ["succeeded"] * 3
        assert any_core.job(job_id).next_run_time is None

    def test_with_the_first_success_or_failure(self, any_core: Core) -> None:
        core = any_core
        until_ok = core.add("test.ok", stop_on_success=True, id="until-ok")
        core.add("test.ok", stop_on_failure=True, id="until-bad")
        bad = core.add("test.boom", stop_on_failure=True, retries=1, id="bad")
        for job_id in ("until-ok", "until-bad", "bad"):
            core.make_due(job_id)
            go(core, job_id)
        assert core.job(until_ok).finished_reason == "It was to end with its first success."
        assert core.job("until-bad").finished_reason is None
        assert core.job(bad).finished_reason is None
        end_waits(core, bad)
        go(core, bad)
        assert core.job(bad).finished_reason == "It was to end with its first failure."

    def test_at_a_moment(self, any_core: Core) -> None:
        core = any_core
        end = datetime.now(UTC) + timedelta(minutes=90)
        job_id = core.add("test.ok", end_at=end.isoformat())
        core.make_due(job_id)
        go(core, job_id)
        assert core.job(job_id).next_run_time is not None
        change(core, job_id, end_at=(datetime.now(UTC) + SECOND).isoformat())
        job = core.job(job_id)
        assert job.next_run_time is None
        assert (job.finished_reason or "").startswith("It was to end at ")
        change(core, job_id, end_at=None)
        assert core.job(job_id).next_run_time is not None

    def test_a_task_ends_even_a_paused_job_and_what_is_queued_of_it(self, any_core: Core) -> None:
        core = any_core
        job_id = core.add("test.over")
        run_id = core.run_now(job_id)
        with audit.transaction(core.database) as session:
            jobs.pause_job(session, job_id, actor=OPERATOR)
        with core.database.write() as session:
            session.add(new_run(job_id, state=RunState.QUEUED))
        go(core, job_id)
        job = core.job(job_id)
        assert (job.paused_at, job.finished_reason) == (None, "all done")
        assert core.run(run_id).state is RunState.SUCCEEDED
        [other] = [run for run in core.runs(job_id) if run.id != run_id]
        assert (other.state, other.reason) == (
            RunState.CANCELLED,
            "The job is finished. all done",
        )


class TestPauseUntil:
    def test_it_resumes_by_itself(self, any_core: Core) -> None:
        core = any_core
        job_id = core.add("test.ok")
        until = datetime.now(UTC) + HOUR
        with audit.transaction(core.database) as session:
            jobs.pause_job(session, job_id, reason="moving", until=until, actor=OPERATOR)
        assert core.job(job_id).resume_at == until
        go(core, job_id)
        assert core.job(job_id).paused_at is not None
        core.change(job_id, resume_at=datetime.now(UTC) - SECOND)
        go(core, job_id)
        job = core.job(job_id)
        assert (job.paused_at, job.paused_reason, job.resume_at) == (None, None, None)
        assert job.next_run_time is not None
        assert job.next_run_time > datetime.now(UTC)
        assert core.states(job_id) == []
        with core.database.read() as session:
            entry = session.scalars(select(Audit).where(Audit.action == "job.resume")).one()
        assert (entry.actor, entry.target, entry.outcome) == ("scheduler", job_id, "done")

    def test_resuming_by_hand_wins(self, any_core: Core) -> None:
        job_id = any_core.add("test.ok")
        with audit.transaction(any_core.database) as session:
            until = datetime.now(UTC) + HOUR
            jobs.pause_job(session, job_id, until=until, actor=OPERATOR)
            jobs.resume_job(session, job_id, actor=OPERATOR)
        assert any_core.job(job_id).resume_at is None

    def test_one_that_cannot_be_read_stays_paused_and_says_why(self, any_core: Core) -> None:
        job_id = any_core.add("test.ok")
        now = datetime.now(UTC)
        any_core.change(job_id, paused_at=now, resume_at=now - SECOND, trigger={"type": "?"})
        go(any_core, job_id)
        job = any_core.job(job_id)
        assert job.paused_at is not None
        assert job.broken_reason
        with any_core.database.read() as session:
            assert session.scalar(select(func.count()).select_from(Audit)) == 2


def test_runs_for_an_executor_that_is_gone_are_missed(any_core: Core) -> None:
    job_id = any_core.add("test.ok")
    with any_core.database.write() as session:
        session.add(new_run(job_id, state=RunState.QUEUED, executor="celery"))
    go(any_core, job_id)
    [run] = any_core.runs(job_id)
    assert run.state is RunState.MISSED
    assert run.reason == "There is no executor “celery” any more to run it."


def test_a_live_scheduler_keeps_the_time_of_a_retry(live: Core) -> None:
    job_id = live.add("test.boom", retries=1, retry_wait=1)
    began = time.monotonic()
    live.make_due(job_id)
    live.runtime.scheduler.wakeup()
    wait_until(lambda: live.states(job_id) == ["failed", "failed"])
    assert time.monotonic() - began > 0.7

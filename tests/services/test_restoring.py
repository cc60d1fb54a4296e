from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, update

from dashboard.errors import Conflict, NotAllowed, NotFound
from dashboard.history.health import FinishedRun, count_finished
from dashboard.history.jobsearch import JobSearch
from dashboard.history.removed import PAGE, UNDO_DAYS, last_removal, list_removed
from dashboard.services import audit, jobs
from dashboard.services.restoring import restore_job
from dashboard.storage.models import Audit, Job, JobHealth, Run, RunState
from dashboard.storage.rows import row_as_json
from tests.factories import ADMIN, HOURLY, OPERATOR, new_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from dashboard.services.audit import Actor
    from dashboard.settings import Settings
    from dashboard.storage.db import Database

HOUR = timedelta(hours=1)


def count(number: int = 1) -> int:
    """Count."""
    return number


class Office:
    """The services on one database, each call in a transaction as an edge makes it."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.settings = settings

    def create(self, job_id: str, **data: Any) -> Job:
        data = {"id": job_id, "task": "test.count", "trigger": HOURLY} | data
        with audit.transaction(self.database) as session:
            return jobs.create_job(session, data, actor=ADMIN, settings=self.settings)

    def pause(self, job_id: str) -> None:
        with audit.transaction(self.database) as session:
            jobs.pause_job(session, job_id, reason="holidays", actor=ADMIN)

    def remove(self, job_id: str) -> int:
        """Remove a job and return the entry that notes it."""
        with audit.transaction(self.database) as session:
            jobs.remove_job(session, job_id, actor=ADMIN)
        with self.database.read() as session:
            removal = last_removal(session, job_id)
            assert removal is not None
            return removal.entry_id

    def restore(self, job_id: str, *, entry_id: int | None = None, actor: Actor = ADMIN) -> Job:
        with audit.transaction(self.database) as session:
            return restore_job(
                session, job_id, entry_id=entry_id, actor=actor, settings=self.settings
            )

    def end_run(self, job_id: str, second: int, state: RunState, **values: Any) -> None:
        """Write a run that ended, and count it as the recorder does."""
        with self.database.write() as session:
            run = new_run(job_id, second, state=state, **values)
            session.add(run)
            session.flush()
            assert run.finished_at is not None
            ended = FinishedRun(
                run.id, job_id, state, run.scheduled_at, run.finished_at, 2.0, run.error_message
            )
            count_finished(session.connection(), [ended])

    def row(self, kind: type[Job | JobHealth], job_id: str) -> dict[str, Any]:
        with self.database.read() as session:
            return row_as_json(session.get_one(kind, job_id))

    def listed(self, query: str = "") -> list[str]:
        search = JobSearch.parse(query)
        with self.database.read() as session:
            return [removal.job_id for removal in list_removed(session, search).removals]


@pytest.fixture
def office(database: Database, settings: Settings, register: Callable[..., None]) -> Office:
    register(count, "test.count")
    return Office(database, settings)


def test_a_job_comes_back_whole(office: Office) -> None:
    office.create("a", name="A", parameters={"number": 3}, tags=["x", "y"], notes="see wiki")
    before = office.row(Job, "a")
    office.remove("a")
    began = datetime.now(UTC)
    office.restore("a")
    after = office.row(Job, "a")
    changed = {key for key in before if before[key] != after[key]}
    assert changed <= {"version", "updated_at", "next_run_time"}
    assert after["version"] == before["version"] + 1
    assert began < datetime.fromisoformat(after["next_run_time"]) <= began + HOUR + HOUR / 60


def test_fire_times_that_passed_meanwhile_are_not_made_up_for(office: Office) -> None:
    office.create("a")
    with office.database.write() as session:
        session.execute(update(Job).values(next_run_time=datetime.now(UTC) - 30 * HOUR))
    office.remove("a")
    job = office.restore("a")
    assert job.next_run_time is not None
    assert job.next_run_time > datetime.now(UTC)


def test_a_paused_job_comes_back_paused(office: Office) -> None:
    office.create("a")
    office.pause("a")
    before = office.row(Job, "a")
    office.remove("a")
    office.restore("a")
    after = office.row(Job, "a")
    for name in ("paused_at", "paused_by", "paused_reason", "next_run_time"):
        assert after[name] == before[name]
    assert after["paused_reason"] == "holidays"


def test_a_job_whose_moment_passed_meanwhile_is_finished(office: Office) -> None:
    moment = datetime.now(UTC) + HOUR
    office.create("a", trigger={"type": "date", "run_date": moment.isoformat()})
    office.remove("a")
    with office.database.write() as session:
        entry = session.scalars(select(Audit).where(Audit.action == "job.remove")).one()
        past = {"type": "date", "run_date": (moment - 2 * HOUR).isoformat()}
        entry.detail = entry.detail | {"job": entry.detail["job"] | {"trigger": past}}
    job = office.restore("a")
    assert job.next_run_time is None
    assert job.finished_reason == "Its trigger has no further fire time."


def test_a_job_whose_task_is_gone_comes_back_broken(office: Office) -> None:
    office.create("a")
    with office.database.write() as session:
        session.execute(update(Job).values(task="nothing.like.it"))
    office.remove("a")
    job = office.restore("a")
    assert job.broken_reason is not None
    assert "nothing.like.it" in job.broken_reason


def test_its_health_comes_back_with_what_ended_meanwhile(office: Office) -> None:
    office.create("a")
    earlier = datetime.now(UTC) - HOUR
    for second in range(3):
        moment = earlier + second * HOUR / 60
        office.end_run("a", second, RunState.FAILED, finished_at=moment, error_message="full")
    before = office.row(JobHealth, "a")
    office.remove("a")
    office.restore("a")
    assert office.row(JobHealth, "a") == before
    assert before["consecutive_failures"] == 3

    office.remove("a")
    later = datetime.now(UTC) + HOUR
    office.end_run("a", 9, RunState.SUCCEEDED, finished_at=later)
    office.restore("a")
    health = office.row(JobHealth, "a")
    assert (health["consecutive_failures"], health["failing_since"]) == (0, None)
    assert [entry[1] for entry in health["recent"]] == ["failed"] * 3 + ["succeeded"]


def test_a_taken_id_is_refused_and_the_other_job_is_left_alone(office: Office) -> None:
    office.create("a", name="old")
    entry = office.remove("a")
    office.create("a", name="new")
    for entry_id in (None, entry):
        with pytest.raises(Conflict, match="There is a job with the id “a” again"):
            office.restore("a", entry_id=entry_id)
    assert office.row(Job, "a")["name"] == "new"
    assert office.listed() == []


def test_an_older_removal_is_undone_by_its_entry(office: Office) -> None:
    office.create("a", name="first")
    first = office.remove("a")
    office.create("a", name="second")
    office.remove("a")
    assert office.restore("a", entry_id=first).name == "first"


def test_the_last_removal_counts(office: Office) -> None:
    for name in ("first", "second"):
        office.create("a", name=name)
        office.remove("a")
    assert office.listed() == ["a"]
    assert office.restore("a").name == "second"


@pytest.mark.parametrize("job_id", ["nobody", "b"])
def test_what_was_not_removed_cannot_come_back(office: Office, job_id: str) -> None:
    office.create("b")
    with pytest.raises(NotFound, match="no removal"):
        office.restore(job_id)
    with pytest.raises(NotFound, match="no removal"):
        office.restore(job_id, entry_id=1)


def test_an_entry_of_another_job_is_not_taken(office: Office) -> None:
    office.create("a")
    entry = office.remove("a")
    with pytest.raises(NotFound):
        office.restore("b", entry_id=entry)


def test_it_can_be_too_late(office: Office) -> None:
    office.create("a")
    entry = office.remove("a")
    old = datetime.now(UTC) - timedelta(days=UNDO_DAYS, minutes=1)
    with office.database.write() as session:
        session.execute(update(Audit).values(at=old))
    assert office.listed() == []
    with pytest.raises(NotFound, match=f"{UNDO_DAYS} days"):
        office.restore("a")
    with pytest.raises(Conflict, match="too late"):
        office.restore("a", entry_id=entry)


def test_only_an_admin_may(office: Office) -> None:
    office.create("a")
    office.remove("a")
    with pytest.raises(NotAllowed):
        office.restore("a", actor=OPERATOR)
    with office.database.read() as session:
        last = session.scalars(select(Audit).order_by(Audit.id.desc())).first()
        assert last is not None
        assert (last.action, last.target, last.outcome) == ("job.restore", "a", "refused")


def test_removed_jobs_are_found_by_parts_of_name_and_id(office: Office) -> None:
    for job_id, name in (("a1", "Nightly 100 %"), ("a2", "Hourly"), ("b1", "nightly")):
        office.create(job_id, name=name)
        office.remove(job_id)
    assert office.listed() == ["b1", "a2", "a1"]
    assert office.listed("NIGHT") == ["b1", "a1"]
    assert office.listed("night a") == ["a1"]
    assert office.listed('"100 %"') == ["a1"]
    assert office.listed("%ly") == []


def test_removed_jobs_are_found_by_task_and_tag(office: Office) -> None:
    for job_id, tags in (("a", ["été"]), ("b", ["ops", "b"]), ("c", ["ops2"])):
        office.create(job_id, tags=tags)
        office.remove(job_id)
    assert office.listed("tag:ops") == ["b"]
    assert office.listed("tag:été") == ["a"]
    assert office.listed("task:count a") == ["a"]
    assert office.listed("task:report") == []


def test_removed_jobs_are_paged(office: Office) -> None:
    with office.database.write() as session:
        for number in range(PAGE + 3):
            detail = {"job": {"name": f"n{number}", "task": "t"}}
            entry = Audit(actor="ann", action="job.remove", outcome="done", detail=detail)
            entry.at, entry.target = datetime.now(UTC), f"j{number}"
            session.add(entry)
            session.flush()
    with office.database.read() as session:
        first = list_removed(session)
        rest = list_removed(session, before=first.older)
    assert len(first.removals) == PAGE
    assert [removal.job_id for removal in rest.removals] == ["j2", "j1", "j0"]
    assert rest.older is None


def test_what_is_kept_of_the_runs_is_not_touched(office: Office) -> None:
    office.create("a")
    office.end_run("a", 1, RunState.SUCCEEDED)
    office.remove("a")
    office.restore("a")
    with office.database.read() as session:
        assert len(session.scalars(select(Run)).all()) == 1

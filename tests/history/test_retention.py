from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import delete, func, select

from dashboard.history import retention
from dashboard.history.health import FinishedRun, count_finished
from dashboard.history.retention import PruneReport, prune
from dashboard.storage.models import (
    ACTIVE,
    ALL_JOBS,
    ANSWER_KEPT,
    EVER,
    AlertDelivery,
    AlertEvent,
    AlertProblem,
    Audit,
    DeliveryState,
    ErrorGroup,
    ErrorHour,
    ErrorJob,
    Job,
    JobHealth,
    KeptAnswer,
    Run,
    RunLog,
    RunState,
    RunStats,
    RunStep,
)
from tests.factories import new_run
from tests.rows import make_job

if TYPE_CHECKING:
    from dashboard.storage.db import Database

DAY = timedelta(days=1)
NOW = datetime.now(UTC)


def add(database: Database, *ages: float, job_id: str = "a", **values: Any) -> list[int]:
    """Add runs of these ages in days, in this order, with a line and a step each."""
    ids = []
    with database.write() as session:
        for age in ages:
            moment = NOW - age * DAY
            run = new_run(job_id, **({"scheduled_at": moment, "queued_at": moment} | values))
            session.add(run)
            session.flush()
            ids.append(run.id)
            session.add(RunLog(run_id=run.id, seq=1, at=moment, level="INFO", logger="x", text="x"))
            session.add(
                RunStep(
                    run_id=run.id, index=1, name="x", state=RunState.SUCCEEDED, started_at=moment
                )
            )
    return ids


def left(database: Database) -> list[int]:
    with database.read() as session:
        ids = list(session.scalars(select(Run.id).order_by(Run.id)))
        for column in (RunLog.run_id, RunStep.run_id):
            assert list(session.scalars(select(column).order_by(column))) == ids
    return ids


def test_old_runs_go_with_their_lines_and_steps(database: Database) -> None:
    ids = add(database, 100, 95, 91, 89, 1)
    report = prune(database, retention_days=90, keep_runs=0)
    assert left(database) == ids[3:]
    assert report == PruneReport(runs=3, statistics=0, jobs=1)


@pytest.mark.parametrize(("keep", "kept"), [(0, 1), (1, 1), (2, 2), (3, 3), (5, 5), (100, 5)])
def test_the_newest_of_each_job_stay_whatever_their_age(
    database: Database, keep: int, kept: int
) -> None:
    ids = add(database, 400, 300, 200, 100, 1)
    assert prune(database, retention_days=90, keep_runs=keep).runs == 5 - kept
    assert left(database) == ids[-kept:]


def test_the_only_run_of_a_yearly_job_stays_beside_a_busy_job(database: Database) -> None:
    [yearly] = add(database, 300, job_id="yearly")
    busy = add(database, *range(200, 0, -1), job_id="busy")
    prune(database, retention_days=10.5, keep_runs=5)
    assert left(database) == [yearly, *busy[-10:]]


@pytest.mark.parametrize("state", ACTIVE)
def test_what_has_not_ended_is_never_pruned(database: Database, state: RunState) -> None:
    [active] = add(database, 400, state=state)
    add(database, 399, 398)
    prune(database, retention_days=90, keep_runs=0)
    assert left(database) == [active]


def test_the_audit_log_is_kept_as_long_as_its_own_setting_says(database: Database) -> None:
    old, new = (
        Audit(at=NOW - days * DAY, actor="a", action="x", target="", outcome="done", detail={})
        for days in (731, 729)
    )
    with database.write() as session:
        session.add_all([old, new])
    assert prune(database, retention_days=1, keep_runs=0).audit == 0
    for dry_run in (True, False):
        report = prune(database, retention_days=1, keep_runs=0, audit_days=730, dry_run=dry_run)
        assert report.audit == 1
    with database.read() as session:
        assert list(session.scalars(select(Audit.id))) == [new.id]


def test_answers_that_nobody_may_ask_for_again_go(database: Database) -> None:
    lapsed = ANSWER_KEPT + timedelta(minutes=1)
    with database.write() as session:
        for key, age in (("old", lapsed), ("new", timedelta())):
            kept = KeptAnswer(token_id=1, key=key, request="", at=NOW - age, status=200, body="")
            session.add(kept)
    prune(database, retention_days=90, keep_runs=1)
    with database.read() as session:
        assert list(session.scalars(select(KeptAnswer.key))) == ["new"]


def test_a_dry_run_tells_the_same_and_changes_nothing(database: Database) -> None:
    ids = add(database, 400, 300, 200, 1)
    add(database, 400, 300, job_id="b")
    with database.write() as session:
        session.add_all([RunStats(job_id="a", hour=NOW - age * DAY) for age in (400, 300, 1)])
    told = prune(database, retention_days=90, keep_runs=1, dry_run=True)
    assert len(left(database)) == len(ids) + 2
    assert told == prune(database, retention_days=90, keep_runs=1)
    assert told == PruneReport(runs=4, statistics=2, jobs=2)


def test_statistics_of_the_same_age_go(database: Database) -> None:
    with database.write() as session:
        session.add_all([RunStats(job_id="a", hour=NOW - age * DAY) for age in (91, 90.5, 89, 0)])
    assert prune(database, retention_days=90, keep_runs=100).statistics == 2
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(RunStats)) == 2


def test_it_goes_in_batches(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 3)
    ids = add(database, *range(120, 100, -1), 1)
    assert prune(database, retention_days=90, keep_runs=0).runs == 20
    assert left(database) == ids[-1:]


def test_the_number_of_a_pruned_run_is_never_given_again(database: Database) -> None:
    [pruned] = add(database, 100)
    prune(database, retention_days=90, keep_runs=0)
    assert left(database) == []
    [following] = add(database, 0)
    assert following > pruned


def test_a_run_with_many_lines_goes_in_several_transactions(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "LINES", 10)
    ids = add(database, 100, 99, 1)
    with database.write() as session:
        session.add_all(
            RunLog(run_id=ids[n % 2], seq=n, at=NOW, level="INFO", logger="x", text="x")
            for n in range(2, 57)
        )
    assert prune(database, retention_days=90, keep_runs=0).runs == 2
    assert left(database) == ids[2:]


def test_alerts_of_the_same_age_go_but_none_that_is_open_or_waits(database: Database) -> None:
    def problem(age: float | None) -> AlertProblem:
        closed = None if age is None else NOW - age * DAY
        about = {"rule_id": 1, "job_name": "a", "problem": "failed", "flapping": False}
        since = {"since": NOW, "opened_at": NOW, "told_at": NOW, "closed_at": closed}
        return AlertProblem(job_id=str(age), **about, **since)

    def delivery(age: float | None) -> AlertDelivery:
        ended = None if age is None else NOW - age * DAY
        at = {"created_at": NOW - 200 * DAY, "next_try_at": NOW, "ended_at": ended}
        state = DeliveryState.WAITING if age is None else DeliveryState.SENT
        about = {"rule_id": 1, "event": AlertEvent.TEST, "channel": "x", "payload": {}}
        return AlertDelivery(key=str(age), state=state, **about, **at)

    with database.write() as session:
        session.add_all(problem(age) for age in (None, 100, 91, 1))
        session.add_all(delivery(age) for age in (None, 100, 91, 1))
    assert prune(database, retention_days=90, keep_runs=0, dry_run=True).alerts == 2
    assert prune(database, retention_days=90, keep_runs=0).alerts == 2
    with database.read() as session:
        assert set(session.scalars(select(AlertProblem.job_id))) == {"None", "1"}
        assert set(session.scalars(select(AlertDelivery.key))) == {"None", "1"}


def test_counts_since_ever_stay(database: Database) -> None:
    with database.write() as session:
        session.add(RunStats(job_id=ALL_JOBS, hour=EVER, succeeded=7))
        session.add(RunStats(job_id=ALL_JOBS, hour=NOW - 100 * DAY))
    assert prune(database, retention_days=90, keep_runs=0).statistics == 1
    with database.read() as session:
        assert session.get_one(RunStats, (ALL_JOBS, EVER)).succeeded == 7


def test_a_removed_job_is_forgotten_with_its_last_run(database: Database) -> None:
    with database.write() as session:
        session.add(make_job("here"))
        session.add_all(
            JobHealth(job_id=name, recent=[], consecutive_failures=0) for name in ("here", "gone")
        )
    add(database, 400, job_id="here")
    add(database, 400, job_id="gone")
    prune(database, retention_days=90, keep_runs=0)
    with database.read() as session:
        assert session.get(JobHealth, "gone") is None
        assert session.get(JobHealth, "here") is not None
        assert session.get(Job, "here") is not None


@pytest.mark.parametrize("job_id", ["it's", '"', "🙂", "%", "a/b", " "])
def test_ids_of_any_characters(database: Database, job_id: str) -> None:
    add(database, 400, 300, job_id=job_id)
    add(database, 400, 300, job_id="z")
    seen: list[tuple[int, str]] = []
    report = prune(
        database,
        retention_days=90,
        keep_runs=1,
        progress=lambda count, name: seen.append((count, name)),
    )
    assert (report.runs, report.jobs) == (2, 2)
    assert [count for count, _ in seen] == [1, 2]
    assert {name for _, name in seen} == {job_id, "z"}


def test_an_empty_database(database: Database) -> None:
    assert prune(database, retention_days=90, keep_runs=100) == PruneReport(0, 0, 0)


def test_errors_go_with_their_last_run_and_hours_after_a_week(database: Database) -> None:
    met: dict[str, Any] = {"state": RunState.FAILED, "finished_at": NOW}
    for fingerprint, age in (("left", 95), ("gone", 100), ("new", 1)):
        moment = NOW - age * DAY
        met |= {"queued_at": moment, "scheduled_at": moment, "fingerprint": fingerprint}
        with database.write() as session:
            run = new_run(fingerprint, **met)
            session.add(run)
            session.flush()
            finished = FinishedRun(
                run.id, fingerprint, RunState.FAILED, moment, moment, 1.0, fingerprint=fingerprint
            )
            count_finished(session.connection(), [finished])
    with database.write() as session:
        session.execute(delete(Run).where(Run.fingerprint == "gone"))
    prune(database, retention_days=90, keep_runs=100)
    with database.read() as session:
        for table in (ErrorGroup, ErrorJob):
            assert set(session.scalars(select(table.fingerprint))) == {"left", "new"}
        assert list(session.scalars(select(ErrorHour.fingerprint))) == ["new"]

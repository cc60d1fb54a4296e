from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from dashboard.errors import Conflict, DashboardError, Invalid, JobNotFound, NotAllowed
from dashboard.history.health import FinishedRun, count_finished
from dashboard.history.problems import count_problems, problems_of_job
from dashboard.services import audit, silences
from dashboard.storage.models import Audit, JobHealth, RunState, Silence
from tests.factories import OPERATOR, VIEWER
from tests.rows import make_job

if TYPE_CHECKING:
    from collections.abc import Callable

    from dashboard.storage.db import Database

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
ACTS = [silences.acknowledge, silences.snooze]


@pytest.fixture(autouse=True)
def _job(database: Database) -> None:
    with database.write() as session:
        session.add(make_job("nightly", next_run_time=NOW + HOUR))


def ends(database: Database, number: int, state: RunState, fingerprint: str | None = None) -> None:
    run = FinishedRun(
        number, "nightly", state, NOW, NOW, 1.0, "ValueError", fingerprint=fingerprint
    )
    with database.write() as session:
        count_finished(session.connection(), [run])


def act(database: Database, what: Callable[..., Any], **values: Any) -> None:
    with audit.transaction(database) as session:
        what(session, "nightly", actor=OPERATOR, **values)


def news(database: Database) -> int:
    with database.read() as session:
        return count_problems(session, datetime.now(UTC))


def health(database: Database) -> JobHealth:
    with database.read() as session:
        return session.get_one(JobHealth, "nightly")


def entries(database: Database) -> list[Audit]:
    with database.read() as session:
        return list(session.scalars(select(Audit).order_by(Audit.id)))


class TestAcknowledging:
    def test_it_lasts_until_the_job_recovers_and_is_noted(self, database: Database) -> None:
        ends(database, 1, RunState.FAILED, "abc")
        act(database, silences.acknowledge, reason=" the disk \0")
        row = health(database)
        assert (row.silence, row.silenced_by) == (Silence.ACKNOWLEDGED, OPERATOR.name)
        assert (row.silence_reason, row.silenced_until) == ("the disk \\x00", None)
        assert news(database) == 0
        ends(database, 2, RunState.FAILED, "abc")
        assert news(database) == 0
        ends(database, 3, RunState.SUCCEEDED)
        ends(database, 4, RunState.FAILED, "abc")
        assert news(database) == 1
        entry = entries(database)[-1]
        assert (entry.action, entry.target, entry.outcome) == ("job.acknowledge", "nightly", "done")
        assert entry.detail == {"reason": "the disk \\x00", "until": None}

    def test_another_failure_is_news(self, database: Database) -> None:
        ends(database, 1, RunState.FAILED, "abc")
        act(database, silences.acknowledge)
        ends(database, 2, RunState.FAILED, "xyz")
        assert news(database) == 1
        act(database, silences.acknowledge)
        assert news(database) == 0
        ends(database, 3, RunState.INTERRUPTED)
        assert news(database) == 1

    def test_there_must_be_something_to_acknowledge(self, database: Database) -> None:
        with pytest.raises(Conflict, match="may have recovered"):
            act(database, silences.acknowledge)
        assert entries(database)[-1].outcome == "refused"

    def test_a_job_that_never_ran_can_be_acknowledged(self, database: Database) -> None:
        with database.write() as session:
            session.add(make_job("late", next_run_time=NOW - HOUR))
        with audit.transaction(database) as session:
            silences.acknowledge(session, "late", actor=OPERATOR)
        assert news(database) == 0


class TestSnoozing:
    def test_a_healthy_job_for_a_time(self, database: Database) -> None:
        act(database, silences.snooze, until=datetime.now(UTC) + HOUR, reason="maintenance")
        ends(database, 1, RunState.FAILED, "abc")
        assert news(database) == 0
        ends(database, 2, RunState.SUCCEEDED)
        ends(database, 3, RunState.FAILED, "xyz")
        assert news(database) == 0
        with database.read() as session:
            assert len(problems_of_job(session, "nightly", NOW)) == 1, "it stays visible"

    def test_without_a_time_something_must_be_wrong(self, database: Database) -> None:
        with pytest.raises(Conflict):
            act(database, silences.snooze)

    def test_the_time_must_be_ahead(self, database: Database) -> None:
        with pytest.raises(Invalid) as refusal:
            act(database, silences.snooze, until=NOW - HOUR)
        assert [error.field for error in refusal.value.errors] == ["until"]


def test_taking_it_back(database: Database) -> None:
    ends(database, 1, RunState.FAILED)
    act(database, silences.acknowledge, reason="mine")
    act(database, silences.end_silence)
    assert news(database) == 1
    row = health(database)
    assert (row.silence, row.silence_reason, row.failing_since) == (None, None, NOW)
    assert entries(database)[-1].detail == {"was": "acknowledged"}


@pytest.mark.parametrize("what", [*ACTS, silences.end_silence])
def test_viewers_may_not_and_jobs_must_exist(
    database: Database, what: Callable[..., object]
) -> None:
    ends(database, 1, RunState.FAILED)
    for job_id, actor, refusal in (
        ("nightly", VIEWER, NotAllowed),
        ("nobody", OPERATOR, JobNotFound),
        ("\ud800", OPERATOR, JobNotFound),
    ):
        expected: type[DashboardError] = refusal
        with pytest.raises(expected), audit.transaction(database) as session:
            what(session, job_id, actor=actor)
    assert news(database) == 1
    assert [entry.outcome for entry in entries(database)] == ["refused"] * 3

"""What becomes of a run on its way to a worker, without a broker."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select, update

from dashboard.scheduling import handover, presence, sending
from dashboard.scheduling.leader import Identity
from dashboard.scheduling.picking import Picker
from dashboard.scheduling.presence import Presence
from dashboard.storage.models import Job, Origin, ProcessKind, Run, RunState
from tests.factories import new_run
from tests.rows import make_job

if TYPE_CHECKING:
    from dashboard.scheduling.executors import Claim
    from dashboard.storage.db import Database

LEADER = Identity(process="leader:1:a", host="leader", machine="m", pid=1, pid_started=0.0)
WORKER = Identity(process="worker:2:b", host="worker", machine="n", pid=2, pid_started=0.0)
NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def _jobs(database: Database) -> None:
    with database.write() as session:
        session.add(make_job("a", executor="celery", max_instances=100))


def register(database: Database, places: int = 2, *executors: str) -> None:
    kind = ProcessKind.WORKER
    Presence(
        database,
        WORKER,
        kind,
        seconds=10,
        version="1",
        executors=executors or ("celery",),
        places=places,
    ).beat()


def queue(database: Database, count: int = 1, **values: Any) -> list[int]:
    with database.write() as session:
        first = session.scalar(select(func.count()).select_from(Run)) or 0
        defaults = {"state": RunState.QUEUED, "executor": "celery", "origin": Origin.MANUAL}
        runs = [new_run("a", first + n, **(defaults | values)) for n in range(count)]
        session.add_all(runs)
        session.flush()
        return [run.id for run in runs]


def send(database: Database) -> list[int]:
    """Send as many as there is room for; return them."""
    with database.write() as session:
        connection = session.connection()
        room = sending.room(connection, ["celery", "celery:gpu"])
        handed = handover.hand_over(connection, NOW, room, LEADER, Picker())
    return [claim.identity.id for claim in handed.claims.get("celery", ())]


def take(database: Database, run_id: int, now: datetime = NOW) -> Claim | None:
    with database.write() as session:
        return sending.take(session.connection(), run_id, WORKER, now)


def run(database: Database, run_id: int) -> Run:
    with database.read() as session:
        return session.get_one(Run, run_id)


def test_no_more_is_sent_than_workers_can_soon_take(database: Database) -> None:
    ids = queue(database, 10)
    assert send(database) == []
    register(database, 2)
    assert send(database) == ids[:4]
    assert send(database) == []
    assert {run(database, run_id).state for run_id in ids} == {RunState.QUEUED}
    claim = take(database, ids[0])
    assert claim is not None
    assert claim.identity.id == ids[0]
    assert send(database) == [ids[4]]


def test_what_is_on_its_way_takes_up_an_instance(database: Database) -> None:
    with database.write() as session:
        session.execute(update(Job).values(max_instances=1))
    first, second = queue(database, 2)
    register(database)
    assert send(database) == [first]
    assert send(database) == []
    take(database, first)
    assert send(database) == []
    with database.write() as session:
        session.execute(update(Run).where(Run.id == first).values(state=RunState.SUCCEEDED))
    assert send(database) == [second]


def test_a_run_is_taken_once(database: Database) -> None:
    register(database)
    [run_id] = queue(database)
    assert take(database, run_id) is None  # not sent: nobody counts with it
    send(database)
    assert take(database, run_id)
    assert take(database, run_id, NOW + timedelta(seconds=1)) is None
    row = run(database, run_id)
    assert (row.state, row.process, row.host) == (RunState.RUNNING, WORKER.process, WORKER.host)


def test_who_does_not_know_whether_it_took_a_run_may_ask_again(database: Database) -> None:
    """The connection may be lost after the commit; nobody else would ever end that run."""
    register(database)
    [run_id] = queue(database)
    send(database)
    assert take(database, run_id) == take(database, run_id)
    with database.write() as session:
        session.execute(update(Run).values(state=RunState.INTERRUPTED))
    assert take(database, run_id) is None


def test_what_was_cancelled_or_never_was_is_not_taken(database: Database) -> None:
    register(database)
    [run_id] = queue(database)
    send(database)
    with database.write() as session:
        session.execute(update(Run).values(state=RunState.CANCELLED))
    assert take(database, run_id) is None
    assert take(database, 10**9) is None


def test_a_run_that_waited_too_long_is_missed(database: Database) -> None:
    register(database)
    [run_id] = queue(database, origin=Origin.SCHEDULE, scheduled_at=NOW)
    send(database)
    assert take(database, run_id, NOW + timedelta(seconds=61)) is None
    row = run(database, run_id)
    assert row.state is RunState.MISSED
    assert "61 s late" in str(row.reason)


def test_a_worker_nobody_knows_takes_nothing(database: Database) -> None:
    """Nobody would notice its end, so its runs would be `running` for ever."""
    register(database)
    [run_id] = queue(database)
    send(database)
    with database.write() as session:
        presence.forget(session, [WORKER.process])
    with pytest.raises(sending.NotRegistered):
        take(database, run_id)
    assert run(database, run_id).state is RunState.QUEUED


def test_what_nobody_takes_is_sent_again(database: Database) -> None:
    register(database)
    [run_id] = queue(database)
    send(database)

    def send_again(after: timedelta) -> dict[str, list[int]]:
        with database.write() as session:
            return sending.send_again(session.connection(), NOW + after)

    assert send_again(sending.SEND_AGAIN) == {}
    assert send_again(sending.SEND_AGAIN * 1.1) == {"celery": [run_id]}
    assert send_again(sending.SEND_AGAIN * 1.2) == {}


def test_what_the_broker_did_not_accept_is_queued_as_before(database: Database) -> None:
    register(database)
    [run_id] = queue(database)
    send(database)
    with database.write() as session:
        sending.take_back(session.connection(), [run_id])
    assert run(database, run_id).sent_at is None
    assert send(database) == [run_id]


def test_runs_end_with_their_lost_worker_and_with_no_new_leader(database: Database) -> None:
    register(database)
    [run_id] = queue(database)
    send(database)
    take(database, run_id)
    with database.write() as session:
        assert handover.interrupt_orphans(session.connection(), NOW, LEADER) == 0
        assert handover.interrupt_lost(session.connection(), NOW) == 0
        presence.forget(session, [WORKER.process])
        assert handover.interrupt_lost(session.connection(), NOW) == 1
    row = run(database, run_id)
    assert row.state is RunState.INTERRUPTED
    assert "worker" in str(row.reason)

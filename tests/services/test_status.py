from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from dashboard.scheduling.leader import Identity, Leadership
from dashboard.services.status import scheduler_status
from dashboard.storage.models import Lease
from tests.factories import PATIENCE

if TYPE_CHECKING:
    from dashboard.storage.db import Database

ME = Identity(process="me:1:a", host="me", machine="m", pid=1, pid_started=0.0)
LEASE = 1000
"""Seconds; long enough for a machine that pauses a test."""


@pytest.fixture
def leadership(database: Database) -> Leadership:
    leadership = Leadership(ME, seconds=LEASE, version="1")
    with database.write() as session:
        assert leadership.hold(session)
    return leadership


def age(database: Database, seconds: float) -> None:
    """Make the lease look as if it had been renewed so long ago."""
    shift = timedelta(seconds=seconds)
    with database.write() as session:
        lease = session.get_one(Lease, "scheduler")
        session.execute(
            update(Lease).values(renewed_at=lease.renewed_at - shift, until=lease.until - shift)
        )


def test_before_the_first_start_it_is_stopped(database: Database) -> None:
    with database.read() as session:
        status = scheduler_status(session)
    assert (status.state, status.leader, status.alive) == ("stopped", None, False)
    assert (status.heartbeat_at, status.heartbeat_age_seconds, status.since) == (None, None, None)


@pytest.mark.usefixtures("leadership")
def test_while_somebody_leads_it_runs(database: Database) -> None:
    with database.read() as session:
        status = scheduler_status(session)
        assert scheduler_status(session, process=ME.process).state == "running"
        assert scheduler_status(session, process="other").state == "standby"
        assert scheduler_status(session, process="other").alive
    assert (status.state, status.leader, status.alive) == ("running", ME.process, True)
    assert status.heartbeat_age_seconds is not None
    assert 0 <= status.heartbeat_age_seconds < PATIENCE
    assert status.since is not None
    assert abs(status.since - datetime.now(UTC)) < timedelta(seconds=PATIENCE)


@pytest.mark.usefixtures("leadership")
def test_without_a_heartbeat_it_counts_as_stopped(database: Database) -> None:
    age(database, LEASE + 0.5)
    with database.read() as session:
        for process in (None, ME.process, "other"):
            status = scheduler_status(session, process=process)
            assert (status.state, status.leader, status.alive) == ("stopped", None, False)
            assert status.heartbeat_age_seconds == pytest.approx(LEASE + 0.5, abs=PATIENCE)


def test_after_a_clean_stop_it_says_when_it_was_last_seen(
    database: Database, leadership: Leadership
) -> None:
    with database.write() as session:
        leadership.release(session)
    with database.read() as session:
        status = scheduler_status(session)
    assert (status.state, status.leader) == ("stopped", None)
    assert status.heartbeat_at is not None
    assert status.since == status.heartbeat_at


@pytest.mark.usefixtures("leadership")
def test_one_short_gap_does_not_count(database: Database) -> None:
    age(database, LEASE - 2 * PATIENCE)
    with database.read() as session:
        assert scheduler_status(session).alive
    with database.write() as session:
        assert Leadership(ME, seconds=LEASE, version="1").hold(session)
    with database.read() as session:
        age_now = scheduler_status(session).heartbeat_age_seconds
    assert age_now is not None
    assert age_now < PATIENCE

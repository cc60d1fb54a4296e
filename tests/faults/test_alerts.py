"""Alerts of real dashboards to a real receiver, through everything that can happen on the way."""

from __future__ import annotations

import re
import signal
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, update

from dashboard.alerting import outbox
from dashboard.services import alerts, audit
from dashboard.storage.models import AlertDelivery, AlertEvent, AlertRule, DeliveryState
from tests.factories import ADMIN, wait_until
from tests.receiver import receiving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.faults.dashboards import Place
    from tests.receiver import Receiver

EVERY_SECOND = {"type": "interval", "seconds": 1}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def add_rule(place: Place, receiver: Receiver, **values: Any) -> AlertRule:
    """Add a rule in which time passes faster than people may ask for."""
    data = {"name": "On call", "on": "failing", "channels": [receiver.url]}
    with audit.transaction(place.database) as session:
        rule = alerts.create_rule(session, data, vault=place.settings.vault, actor=ADMIN)
        for name, value in values.items():
            setattr(rule, name, value)
        return rule


def deliveries(place: Place) -> list[AlertDelivery]:
    with place.database.read() as session:
        return list(session.scalars(select(AlertDelivery).order_by(AlertDelivery.id)))


def give_up_claims(place: Place) -> None:
    """Let the minute pass in which a process may come back to what it has claimed."""
    with place.database.write() as session:
        held = AlertDelivery.claimed_until.is_not(None)
        past = datetime.now(UTC) - timedelta(seconds=1)
        session.execute(update(AlertDelivery).where(held).values(claimed_until=past))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_an_incident(
    request: pytest.FixtureRequest, make_place: Callable[..., Place], receiver: Receiver, kind: str
) -> None:
    url = request.getfixturevalue("postgresql_url") if kind == "postgresql" else ""
    place = make_place(database=url, public_url="https://jobs.example.com")
    add_rule(place, receiver, after=2, remind_every_seconds=2, settle_seconds=2)
    now = datetime.now(UTC).replace(microsecond=0)
    trigger = EVERY_SECOND | {"start_date": now.isoformat()}
    place.add_job("fragile", task="faults.fragile", trigger=trigger, next_run_time=now)
    trouble = place.folder / "trouble"
    trouble.touch()
    place.start()
    problem, reminder = receiver.wait_for("problem", "reminder")
    trouble.unlink()
    wait_until(lambda: "recovered" in receiver.events)
    wait_until(lambda: {row.state for row in deliveries(place)} == {DeliveryState.SENT})
    assert Counter(receiver.events)["problem"] == Counter(receiver.events)["recovered"] == 1
    assert receiver.events[-1] == "recovered"
    assert (problem["job_id"], problem["rule"]) == ("fragile", "On call")
    assert "times in a row: OSError: disk full" in problem["message"]
    assert problem["url"] == f"https://jobs.example.com/runs/{problem['run_id']}"
    assert reminder["message"].startswith("Still so after")
    assert len({message["id"] for message in receiver.messages}) == len(receiver.messages)


def test_a_sender_killed_while_the_receiver_thinks(
    make_place: Callable[..., Place], receiver: Receiver
) -> None:
    place = make_place()
    rule = add_rule(place, receiver)
    receiver.go_on.clear()
    with audit.transaction(place.database) as session:
        alerts.test_rule(session, rule.id, actor=ADMIN, public_url="")
    first = place.start()
    wait_until(lambda: receiver.events == ["test"])
    first.kill()
    receiver.go_on.set()
    give_up_claims(place)
    with audit.transaction(place.database) as session:
        alerts.test_rule(session, rule.id, actor=ADMIN, public_url="")
    place.start()
    wait_until(lambda: [row.state.value for row in deliveries(place)] == ["unknown", "sent"])
    assert receiver.events == ["test", "test"]
    assert len({message["id"] for message in receiver.messages}) == 2


def test_senders_killed_again_and_again_lose_nothing_and_repeat_nothing(
    make_place: Callable[..., Place], receiver: Receiver
) -> None:
    place, messages = make_place(), 120
    rule = add_rule(place, receiver)
    with place.database.write() as session:
        for number in range(messages):
            payload = {"event": "test", "number": number}
            outbox.add(session, rule, AlertEvent.TEST, payload, now=datetime.now(UTC))
    for goal in (10, 40, 80):
        process = place.start()
        wait_until(lambda goal=goal: len(receiver.requests) >= goal)  # type: ignore[misc]
        process.kill()
        give_up_claims(place)
    place.start()
    wait_until(lambda: {row.state.value for row in deliveries(place)} <= {"sent", "unknown"})
    arrived = Counter(message["number"] for message in receiver.messages)
    in_doubt = {row.payload["number"] for row in deliveries(place) if row.state == "unknown"}
    assert set(arrived.values()) == {1}
    assert set(arrived) | in_doubt == set(range(messages))
    assert len(in_doubt) <= 3 * 4  # what each of the four senders had under way


def test_a_downtime_is_told_of_by_the_standby(
    request: pytest.FixtureRequest, make_place: Callable[..., Place], receiver: Receiver
) -> None:
    # A process stopped inside a transaction would keep SQLite locked.
    place = make_place(database=request.getfixturevalue("postgresql_url"), lease_seconds=2)
    leader = place.start()
    wait_until(lambda: place.leader() == leader.pid)
    add_rule(place, receiver, on="scheduler_down", window_seconds=1.5, settle_seconds=1)
    place.start().listens()
    leader.signal(signal.SIGSTOP)
    problem, recovered = receiver.wait_for("problem", "recovered")
    leader.kill()
    assert problem["job_id"] is None
    # Who notices first: the standby while nobody leads, or the leader that it becomes.
    assert re.match(r"(is not running; it was last seen at|was down from) 20", problem["problem"])
    assert recovered["message"].startswith("The scheduler is well again")

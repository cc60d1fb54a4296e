"""From the outbox to the receiver: once, in order, again and again, and not everywhere."""

from __future__ import annotations

import json
import logging
import socket
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from dashboard.alerting import outbox, post
from dashboard.alerting.channels import check, shown
from dashboard.alerting.sender import Sender
from dashboard.services import alerts, audit
from dashboard.storage.models import AlertDelivery, AlertEvent, AlertRule, DeliveryState
from dashboard.vault import Vault
from tests.factories import ADMIN, PATIENCE, VAULT

if TYPE_CHECKING:
    from dashboard.storage.db import Database
    from tests.receiver import Receiver

HOUR = timedelta(hours=1)
SECRET = "T0KEN-0f-somebody"


def put(
    database: Database,
    *addresses: str,
    events: tuple[str, ...] = ("problem",),
    problem_id: int | None = 1,
) -> None:
    """Put messages of one problem into the outbox."""
    rule = {"name": "On call", "on": "failing", "channels": list(addresses)}
    with audit.transaction(database) as session:
        made = alerts.create_rule(session, rule, vault=VAULT, actor=ADMIN)
        for number, event in enumerate(events):
            payload = {"event": event, "number": number, "message": "It failed.", "url": None}
            payload |= {"job_name": "Nightly", "rule": "On call"}
            now = datetime.now(UTC)
            outbox.add(session, made, AlertEvent(event), payload, now=now, problem_id=problem_id)


def rows(database: Database) -> list[AlertDelivery]:
    with database.read() as session:
        return list(session.scalars(select(AlertDelivery).order_by(AlertDelivery.id)))


def states(database: Database) -> list[str]:
    return [row.state.value for row in rows(database)]


def send_all(database: Database, process: str = "p1", vault: Vault = VAULT) -> None:
    while Sender(database, process, vault).send_one(1.0) == 0.0:
        pass


def let_time_pass(database: Database) -> None:
    """Make every next attempt due, and every claim overdue."""
    with database.write() as session:
        past = datetime.now(UTC) - HOUR
        session.execute(update(AlertDelivery).values(next_try_at=past))
        held = AlertDelivery.claimed_until.is_not(None)
        session.execute(update(AlertDelivery).where(held).values(claimed_until=past))


# -- what arrives ----------------------------------------------------------------------------------


def test_a_message_arrives_once_with_its_key(database: Database, receiver: Receiver) -> None:
    put(database, receiver.url)
    send_all(database)
    send_all(database, "p2")
    [(method, path, headers, body)] = receiver.requests
    [row] = rows(database)
    assert (method, path, headers["Content-Type"]) == ("POST", "/hook", "application/json")
    assert json.loads(body) == row.payload
    assert headers["Idempotency-Key"] == row.payload["id"] == row.key
    assert (row.state, row.attempts, row.address) == (DeliveryState.SENT, 1, None)
    assert row.ended_at is not None


def test_many_senders_at_once_send_each_message_once(
    database: Database, receiver: Receiver
) -> None:
    put(database, receiver.url, events=("test",) * 20, problem_id=None)
    threads = [threading.Thread(target=send_all, args=(database, f"p{n}")) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    send_all(database)
    assert sorted(message["number"] for message in receiver.messages) == list(range(20))
    assert set(states(database)) == {"sent"}


def test_messages_of_a_problem_keep_their_order(database: Database, receiver: Receiver) -> None:
    receiver.answers = [503]
    put(database, receiver.url, events=("problem", "reminder", "recovered"))
    send_all(database)
    assert (receiver.events, states(database)) == (["problem"], ["waiting"] * 3)
    let_time_pass(database)
    send_all(database)
    assert receiver.events == ["problem", "problem", "reminder", "recovered"]


def test_a_message_about_many_problems_comes_before_their_ends(
    database: Database, receiver: Receiver
) -> None:
    receiver.answers = [503]
    put(database, receiver.url, problem_id=None)
    with database.write() as session:
        rule = session.scalars(select(AlertRule)).one()
        payload = {"event": "recovered", "message": "It is well again.", "url": None}
        now = datetime.now(UTC)
        outbox.add(session, rule, AlertEvent.RECOVERED, payload, now=now, problem_id=7)
    send_all(database)
    assert receiver.events == ["problem"]
    let_time_pass(database)
    send_all(database)
    assert receiver.events == ["problem", "problem", "recovered"]


def test_a_channel_that_does_not_answer_keeps_no_other_waiting(
    database: Database, receiver: Receiver
) -> None:
    put(database, "http://127.0.0.1:1/", receiver.url)
    send_all(database)
    assert states(database) == ["waiting", "sent"]
    assert (rows(database)[0].error or "").startswith("127.0.0.1 cannot be reached")


@pytest.mark.parametrize("answer", [500, 503, 429, 408])
def test_what_may_pass_is_tried_again_later_and_later(
    database: Database, receiver: Receiver, answer: int
) -> None:
    attempts = len(outbox.BACKOFF) + 1
    receiver.answers = [answer] * attempts
    put(database, receiver.url)
    pauses = []
    for _ in range(attempts):
        before = datetime.now(UTC)
        send_all(database)
        pauses.append(round((rows(database)[0].next_try_at - before).total_seconds(), -1))
        let_time_pass(database)
    assert len(receiver.requests) == attempts
    assert pauses[:-1] == sorted(pauses[:-1])
    assert (pauses[2], pauses[-2]) == (60, 14_400)
    [row] = rows(database)
    assert (row.state, row.error) == (DeliveryState.FAILED, f"127.0.0.1 answered {answer}.")
    with audit.transaction(database) as session:
        alerts.retry_delivery(session, row.id, actor=ADMIN)
    send_all(database)
    assert states(database) == ["sent"]


@pytest.mark.parametrize("answer", [301, 302, 307, 400, 401, 404, 410])
def test_what_will_not_pass_is_given_up_at_once(
    database: Database, receiver: Receiver, answer: int
) -> None:
    receiver.answers = [answer]
    receiver.headers = {"Location": receiver.url + "/elsewhere"}
    put(database, receiver.url)
    send_all(database)
    assert states(database) == ["failed"]
    assert len(receiver.requests) == 1


# -- processes that die ----------------------------------------------------------------------------


def test_what_a_dead_process_had_only_claimed_is_sent_by_another(
    database: Database, receiver: Receiver
) -> None:
    put(database, receiver.url)
    with database.write() as session:
        assert outbox.claim(session, "dead")
    send_all(database)
    assert receiver.events == []
    let_time_pass(database)
    send_all(database)
    assert receiver.events == ["problem"]


def test_what_a_dead_process_was_sending_is_shown_and_not_sent_again(
    database: Database, receiver: Receiver
) -> None:
    put(database, receiver.url, events=("problem", "recovered"))
    with database.write() as session:
        parcel = outbox.claim(session, "dead")
        assert parcel is not None
        assert outbox.begin(session, parcel, "dead")
    let_time_pass(database)
    send_all(database)
    assert receiver.events == ["recovered"]
    assert states(database) == ["unknown", "sent"]
    assert "may have arrived" in (rows(database)[0].error or "")


def test_who_was_taken_for_dead_sends_nothing_any_more(database: Database) -> None:
    put(database, "http://127.0.0.1:1/")
    with database.write() as session:
        parcel = outbox.claim(session, "slow")
    assert parcel is not None
    let_time_pass(database)
    with database.write() as session:
        assert outbox.settle_lost(session) == 1
        assert not outbox.begin(session, parcel, "slow")
        outbox.fail(session, parcel, "slow", "too late", for_good=True)
    assert states(database) == ["waiting"]


# -- addresses -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "seen"),
    [
        ("http://127.0.0.1:5000/hook", "http://127.0.0.1:5000/hook"),
        ("https://example.com", "https://example.com"),
        ("https://example.com/", "https://example.com/"),
        (f"https://hooks.slack.com/services/{SECRET}", "https://hooks.slack.com/services/… ("),
        (f"https://ann:{SECRET}@example.com/hook", "https://example.com/hook/… ("),
        (f"https://example.com/?key={SECRET}", "https://example.com/… ("),
        (f"https://example.com/hook#{SECRET}", "https://example.com/hook/… ("),
        (f"mailto://ann:{SECRET}@example.com", "mailto://… ("),
    ],
)
def test_what_is_shown_of_a_channel(address: str, seen: str) -> None:
    assert shown(address).startswith(seen)
    assert SECRET not in shown(address)
    assert shown(address) != shown(address + "x")


def test_secrets_are_sealed_in_the_database(database: Database) -> None:
    put(database, f"https://hooks.slack.com/services/{SECRET}")
    with database.read() as session:
        [rule] = session.scalars(select(AlertRule))
    kept = [*rule.channels, rows(database)[0].address]
    assert SECRET not in str(kept)


def test_with_another_key_a_channel_waits_and_the_others_go_on(
    database: Database, receiver: Receiver
) -> None:
    put(database, f"{receiver.url}/{SECRET}", problem_id=1)
    with database.write() as session:
        lost = Vault(lambda: "lost" * 16).encrypt(f"{receiver.url}/{SECRET}")
        session.execute(update(AlertDelivery).values(address=lost))
    put(database, receiver.url, problem_id=2)
    send_all(database)
    assert states(database) == ["waiting", "sent"]
    told = rows(database)[0].error or ""
    assert told.startswith("The channel's address cannot be read: it was stored with another key")
    let_time_pass(database)
    send_all(database, vault=Vault(lambda: "lost" * 16))
    assert states(database) == ["sent", "sent"]
    assert len(receiver.requests) == 2


def test_secrets_are_in_no_log_and_no_error(
    database: Database, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.answers = [500, 400]
    put(database, f"{receiver.url}/{SECRET}", f"http://u:{SECRET}@127.0.0.1:1/", problem_id=None)
    for _ in range(2):
        send_all(database)
        let_time_pass(database)
    assert states(database) == ["failed", "waiting"]
    said = caplog.text + "".join(f"{row.error}{row.channel}{row.payload}" for row in rows(database))
    assert "answered 400" in said
    assert SECRET not in said


@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        ("", "with a scheme"),
        ("example.com", "with a scheme"),
        ("https://", "names no host"),
        ("https://exa mple.com/", "names no host"),
        ("https://example.com:99999/", "no web address"),
        ("https://example.com/ü", "plain ASCII"),
        ("https://example.com/\r\nX: y", "printable"),
        ("https://example.com/\x00", "printable"),
        ("\ud800://x", "printable"),
        ("https://example.com/" + "x" * 2000, "at most 2,000"),
        (7, "printable"),
        ("http://169.254.169.254/latest/meta-data", "Link-local"),
        ("http://[fe80::1]/", "Link-local"),
        ("http://[fe80::1%25eth0]/", "Link-local"),
        ("http://[::ffff:169.254.1.1]/", "Link-local"),
        ("http://[fd00:ec2::254]/", "Link-local"),
        ("http://[fd20:ce::254]/", "Link-local"),
        ("http://100.100.100.200/", "Link-local"),
        ("http://168.63.129.16/", "Link-local"),
        ("http://192.0.0.192/", "Link-local"),
        ("http://2852039166/", "Link-local"),
        ("http://0xa9.0xfe.0xa9.0xfe/", "Link-local"),
        ("http://[::169.254.169.254]/", "Link-local"),
        ("http://[::ffff:0:169.254.169.254]/", "Link-local"),
        ("http://[64:ff9b::169.254.169.254]/", "Link-local"),
        ("http://[64:ff9b:1::100.100.100.200]/", "Link-local"),
        ("http://[2002:a9fe:a9fe::1]/", "Link-local"),
        ("http://[2001:0:a9fe:a9fe::1]/", "Link-local"),
        ("http://[2001::5601:5601]/", "Link-local"),
        ("gotify://2852039166/token", "Link-local"),
        ("gotify://169.254.169.254/token", "Link-local"),
        ("json://example.com/", "https://"),
        ("nonsense://example.com/", "does not understand"),
    ],
)
def test_addresses_that_are_refused(address: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        check(address)


@settings(deadline=None)  # Apprise loads its plugins at the first
@given(
    st.sampled_from(["", "http://", "https://", "mailto://", "slack://", "tgram://", "x://", "//"]),
    st.text(max_size=60),
)
def test_whatever_is_typed_is_accepted_or_refused_with_a_sentence(scheme: str, rest: str) -> None:
    try:
        outcome = shown(check(scheme + rest))
    except ValueError as refusal:
        outcome = str(refusal)
    assert outcome


@pytest.mark.parametrize(
    "address", ["mailto://ann:pass@example.com", "slack://TokenA/TokenB/TokenC"]
)
def test_addresses_of_apprise(address: str) -> None:
    assert check(f" {address} ") == address


def test_without_apprise_its_addresses_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "apprise", None)
    with pytest.raises(ValueError, match=r"apscheduler-dashboard\[alerts\]"):
        check("mailto://ann:pass@example.com")
    assert check("https://example.com/hook") == "https://example.com/hook"


def test_apprise_delivers(database: Database, receiver: Receiver) -> None:
    """By its plugin for ntfy, which speaks plain HTTP to a host of one's own."""
    host = receiver.url.removeprefix("http://").partition("/")[0]
    put(database, f"ntfy://{host}/alerts")
    send_all(database)
    assert states(database) == ["sent"]
    assert b"It failed." in receiver.requests[0][3]
    receiver.answers = [500]
    put(database, f"ntfy://{host}/alerts", problem_id=2)
    send_all(database)
    assert states(database) == ["sent", "waiting"]


def test_a_name_that_leads_to_a_link_local_address_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (number, 80))
        for number in ("192.0.2.1", "169.254.169.254")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(post.Undelivered, match="Link-local") as refused:
        post.request("POST", "http://metadata.example.com/")
    assert refused.value.for_good


# -- answers nobody should wait for ----------------------------------------------------------------


def test_an_answer_without_end_is_cut(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver.body = b"x" * 5_000_000
    post.request("POST", receiver.url, body=b"{}")
    receiver.go_on.clear()
    monkeypatch.setattr(post, "DEADLINE", 0.2)
    with pytest.raises(post.Undelivered, match=r"did not answer|broke off"):
        post.request("POST", receiver.url, body=b"{}")


@pytest.mark.parametrize(
    ("scheme", "begin"),
    [("http", b""), ("https", b"\x16\x03\x03\x40\x00")],  # a long handshake is announced
)
def test_an_answer_that_drips_is_cut(
    monkeypatch: pytest.MonkeyPatch, scheme: str, begin: bytes
) -> None:
    monkeypatch.setattr(post, "DEADLINE", 0.5)
    over = threading.Event()

    def drip(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(begin)
            while not over.wait(0.05):
                try:
                    connection.send(b"H")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,))
        thread.start()
        guard = threading.Timer(PATIENCE, over.set)
        guard.start()
        try:
            with pytest.raises(post.Undelivered, match=r"did not answer|broke off|speaks no TLS"):
                post.request("GET", f"{scheme}://127.0.0.1:{server.getsockname()[1]}/")
            assert not over.is_set()
        finally:
            guard.cancel()
            over.set()
            thread.join()


def test_not_tls(receiver: Receiver) -> None:
    with pytest.raises(post.Undelivered, match="speaks no TLS"):
        post.request("POST", receiver.url.replace("http:", "https:"))


def test_a_name_and_a_password(receiver: Receiver) -> None:
    post.request("GET", receiver.url.replace("//", "//ann:p%40ss@"))
    [(_, _, headers, _)] = receiver.requests
    assert headers["Authorization"] == "Basic YW5uOnBAc3M="
    assert headers["Host"] == receiver.url.split("/")[2]

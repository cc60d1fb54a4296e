from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, update

from dashboard.errors import NotFound
from dashboard.services import sessions
from dashboard.services.audit import Actor
from dashboard.storage.models import Role, SignIn
from tests.services.people import act

if TYPE_CHECKING:
    from dashboard.storage.db import Database
    from dashboard.storage.models import User

MINUTE = timedelta(minutes=1)


def begin(database: Database, user: User, **options: bool | str) -> str:
    with database.write() as session:
        return sessions.begin(session, user.id, **options)  # type: ignore[arg-type]


def find(database: Database, token: str) -> sessions.Visit | None:
    with database.read() as session:
        return sessions.find(session, token)


def found(database: Database, token: str) -> tuple[int, datetime]:
    """Return the number of a sign-in, and when its person was last seen."""
    visit = find(database, token)
    assert visit is not None
    assert visit.sign_in is not None
    assert visit.seen_at is not None
    return visit.sign_in, visit.seen_at


def test_a_token_leads_to_its_person(database: Database, vera: User) -> None:
    token = begin(database, vera)
    visit = find(database, token)
    assert visit is not None
    assert visit.person == sessions.Person(vera.id, "vera", Role.VIEWER, True, "", "auto", [])
    assert datetime.now(UTC) - found(database, token)[1] < MINUTE


def test_the_database_holds_nothing_that_signs_in(database: Database, vera: User) -> None:
    token = begin(database, vera)
    with database.read() as session:
        kept = session.scalars(select(SignIn)).one()
    assert token not in str(vars(kept))
    assert find(database, kept.token_hash) is None


@pytest.mark.parametrize("token", ["", "x", "\x00", "\ud800", "x" * 100_000, "' OR 1=1 --"])
def test_anything_else_leads_to_nobody(database: Database, vera: User, token: str) -> None:
    begin(database, vera)
    assert find(database, token) is None


@pytest.mark.parametrize(
    ("remember", "since", "seen", "alive"),
    [
        (False, sessions.LONGEST - MINUTE, MINUTE, True),
        (False, sessions.LONGEST + MINUTE, MINUTE, False),
        (False, sessions.IDLE + MINUTE, sessions.IDLE - MINUTE, True),
        (False, sessions.IDLE + MINUTE, sessions.IDLE + MINUTE, False),
        (True, sessions.LONGEST + MINUTE, sessions.LONGEST, True),
        (True, sessions.REMEMBERED + MINUTE, MINUTE, False),
    ],
)
def test_a_sign_in_ends(
    database: Database, vera: User, remember: bool, since: timedelta, seen: timedelta, alive: bool
) -> None:
    token = begin(database, vera, remember=remember)
    now = datetime.now(UTC)
    with database.write() as session:
        [row] = session.scalars(select(SignIn))
        row.until -= since
        row.seen_at = now - seen
    assert (find(database, token) is not None) is alive
    with database.read() as session:
        assert (sessions.list_sign_ins(session, vera.id) != []) is alive
    begin(database, vera)
    if since > sessions.REMEMBERED:
        with database.read() as session:
            assert len(session.scalars(select(SignIn)).all()) == 1, "what is over is cleared away"


def test_somebody_who_is_there_does_not_idle(database: Database, vera: User) -> None:
    token = begin(database, vera)
    with database.write() as session:
        session.execute(update(SignIn).values(seen_at=datetime.now(UTC) - sessions.IDLE + MINUTE))
    number, _ = found(database, token)
    with database.write() as session:
        sessions.see(session, number)
    assert datetime.now(UTC) - found(database, token)[1] < MINUTE


def test_a_person_has_so_many_sign_ins_and_no_more(
    database: Database, vera: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MOST", 3)
    tokens = [begin(database, vera) for _ in range(5)]
    alive = [find(database, token) is not None for token in tokens]
    assert alive == [False, False, True, True, True]


def test_one_browser_is_signed_out_by_its_person_only(database: Database, vera: User) -> None:
    token, other = begin(database, vera), begin(database, vera)
    number, _ = found(database, token)
    me = Actor("vera", Role.VIEWER)
    with pytest.raises(NotFound):
        act(database, sessions.end_one, vera.id + 1, number, actor=me)
    act(database, sessions.end_one, vera.id, number, actor=me)
    assert find(database, token) is None
    assert find(database, other) is not None
    with pytest.raises(NotFound):
        act(database, sessions.end_one, vera.id, number, actor=me)


def test_strange_browsers_are_kept_as_far_as_they_fit(database: Database, vera: User) -> None:
    begin(database, vera, user_agent="\x00\ud800 " + "x" * 5000, address="192.0.2.1")
    with database.read() as session:
        [row] = sessions.list_sign_ins(session, vera.id)
    assert len(row.user_agent) == 255

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from dashboard.errors import Conflict, NotAllowed
from dashboard.services import audit
from dashboard.services.audit import Actor
from dashboard.storage.models import Audit, Job, Role
from tests.factories import ADMIN, OPERATOR, VIEWER
from tests.rows import make_job

if TYPE_CHECKING:
    from dashboard.storage.db import Database


def log(database: Database) -> list[Audit]:
    with database.read() as session:
        return list(session.scalars(select(Audit).order_by(Audit.id)))


def add_and_fail(database: Database, error: Exception) -> None:
    with audit.transaction(database) as session, audit.action(session, ADMIN, "x.do", "a"):
        session.add(make_job("a"))
        session.flush()
        raise error


def test_an_action_and_its_note_are_one_transaction(database: Database) -> None:
    with audit.transaction(database) as session, audit.action(session, ADMIN, "x.do", "a") as entry:
        session.add(make_job("a"))
        entry.detail["why"] = "because"
    [noted] = log(database)
    assert (noted.actor, noted.address, noted.action, noted.target) == (
        "ann",
        "192.0.2.7",
        "x.do",
        "a",
    )
    assert (noted.outcome, noted.detail) == ("done", {"why": "because"})


def test_a_refusal_undoes_the_action_and_is_noted_all_the_same(database: Database) -> None:
    with pytest.raises(Conflict, match="no"):
        add_and_fail(database, Conflict("no"))
    with database.read() as session:
        assert session.get(Job, "a") is None
    [noted] = log(database)
    assert (noted.outcome, noted.detail) == ("refused", {"why": "no"})


def test_a_program_error_undoes_the_action_too(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        add_and_fail(database, ZeroDivisionError())
    with database.read() as session:
        assert session.get(Job, "a") is None


def test_only_what_changed_is_noted() -> None:
    entry = audit.Entry("a")
    entry.difference({"a": 1, "b": 2, "gone": 3}, {"a": 1, "b": 5, "new": 4})
    assert entry.detail == {"before": {"b": 2, "gone": 3}, "after": {"b": 5, "new": 4}}


def test_an_actor_reaches_as_far_as_the_role() -> None:
    OPERATOR.require(Role.VIEWER)
    OPERATOR.require(Role.OPERATOR)
    with pytest.raises(NotAllowed, match="needs the role admin; otto is operator"):
        OPERATOR.require(Role.ADMIN)
    with pytest.raises(NotAllowed):
        VIEWER.require(Role.OPERATOR)
    audit.SYSTEM.require(Role.ADMIN)


@pytest.mark.parametrize("target", ["", "x" * 10_000, "\x00", "\ud800", "🙂" * 500, "<b>"])
def test_whatever_somebody_aimed_at_can_be_noted(database: Database, target: str) -> None:
    audit.note(database, Actor("ann", Role.ADMIN), "x.do", target, "refused", seen=target)
    [noted] = log(database)
    assert len(noted.target) <= 191
    assert noted.detail == {"seen": target}

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select

from dashboard.errors import NotAllowed, TooManyAttempts
from dashboard.services import accounts, signin
from dashboard.storage.models import Role, SignInFailure
from tests.services.people import GOOD, HERE, act, log, sign_in

if TYPE_CHECKING:
    from dashboard.storage.db import Database
    from dashboard.storage.models import User


def test_the_right_password_lets_in_and_is_noted(database: Database, vera: User) -> None:
    assert sign_in(database, GOOD, name="  vera ").id == vera.id
    assert log(database)[-1] == ("sign_in", "vera", "done")


@pytest.mark.usefixtures("vera")
def test_every_cause_gets_the_same_answer(database: Database) -> None:
    act(database, accounts.add_user, "gone", GOOD, Role.OPERATOR)
    act(database, accounts.disable_user, "gone")
    answers = set()
    for name, password in (
        ("vera", "wrong"),
        ("vera", ""),
        ("vera", "x" * 100_000),
        ("nobody", GOOD),
        ("", ""),
        ("gone", GOOD),
        ("VERA", GOOD),
    ):
        with pytest.raises(NotAllowed) as caught:
            sign_in(database, password, name=name)
        answers.add(str(caught.value))
    assert len(answers) == 1
    assert [entry[0::2] for entry in log(database)[-7:]] == [("sign_in", "refused")] * 7


@pytest.mark.usefixtures("vera")
@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("\x00", GOOD),
        ("\ud800", GOOD),
        ("vera\x00", GOOD),
        ("x" * 10_000, GOOD),
        ("🙂" * 300, GOOD),
        ("vera", "\x00"),
        ("vera", "\ud800"),
    ],
)
def test_strange_input_is_refused_and_nothing_more(
    database: Database, name: str, password: str
) -> None:
    with pytest.raises(NotAllowed):
        sign_in(database, password, name=name)
    assert log(database)[-1][2] == "refused"


def fail(database: Database, times: int = signin.FAILURES, **who: str) -> None:
    for _ in range(times):
        with pytest.raises(NotAllowed):
            sign_in(database, "wrong", **who)


def failures(database: Database) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(SignInFailure)) or 0


@pytest.mark.usefixtures("vera")
def test_five_failures_lock_the_account_for_that_address_only(database: Database) -> None:
    fail(database)
    with pytest.raises(TooManyAttempts, match="15 minutes") as caught:
        sign_in(database, GOOD)
    assert signin.WINDOW.seconds - 60 < caught.value.retry_after <= signin.WINDOW.seconds
    assert sign_in(database, GOOD, address="192.0.2.99").name == "vera"
    assert failures(database) == signin.FAILURES


@pytest.mark.usefixtures("vera")
def test_the_lock_ends_by_itself_and_what_is_over_is_forgotten(database: Database) -> None:
    fail(database)
    with database.write() as session:
        for failure in session.scalars(select(SignInFailure)):
            failure.at -= signin.WINDOW
    assert sign_in(database, GOOD).name == "vera"
    assert failures(database) == 0


@pytest.mark.usefixtures("vera")
def test_successes_do_not_count(database: Database) -> None:
    for _ in range(signin.FAILURES + 1):
        sign_in(database, GOOD)
    assert failures(database) == 0


def test_names_that_do_not_exist_are_locked_as_well(database: Database) -> None:
    fail(database, name="nobody")
    with pytest.raises(TooManyAttempts):
        sign_in(database, "wrong", name="nobody")


def test_a_list_of_names_cannot_be_tried(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signin, "FAILURES_OF_ADDRESS", 3)
    for name in ("ann", "abe", "eve"):
        fail(database, 1, name=name)
    with pytest.raises(TooManyAttempts):
        sign_in(database, "wrong", name="zoe")
    fail(database, 1, name="zoe", address="192.0.2.99")


@pytest.mark.usefixtures("vera")
@pytest.mark.parametrize(
    ("address", "other", "same"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("", None, True),
        ("no address", "no address either", False),
    ],
)
def test_addresses_that_somebody_has_plenty_of_count_as_one(
    database: Database, address: str, other: str | None, same: bool
) -> None:
    fail(database, address=address)
    refusal = TooManyAttempts if same else NotAllowed
    with pytest.raises(refusal):
        sign_in(database, "wrong", address=other)


@pytest.mark.usefixtures("vera")
def test_guesses_made_at_the_same_time_are_counted(database: Database) -> None:
    def guess(_: int) -> type[Exception]:
        with pytest.raises((NotAllowed, TooManyAttempts)) as caught:
            sign_in(database, "wrong")
        return caught.type

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(guess, range(16)))
    assert answers.count(NotAllowed) <= signin.FAILURES
    assert TooManyAttempts in answers


@pytest.mark.usefixtures("vera")
def test_a_new_password_ends_the_lock(database: Database) -> None:
    fail(database)
    act(database, accounts.set_password, "vera", "another one")
    assert sign_in(database, "another one").name == "vera"


@pytest.mark.usefixtures("vera")
def test_who_is_signed_in_is_asked_once_more_and_cannot_guess_either(database: Database) -> None:
    assert signin.confirm(database, "vera", GOOD, address=HERE)
    for _ in range(signin.FAILURES):
        assert not signin.confirm(database, "vera", "wrong", address=HERE)
    with pytest.raises(TooManyAttempts):
        signin.confirm(database, "vera", GOOD, address=HERE)

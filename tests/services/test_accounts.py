from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from argon2 import PasswordHasher
from pydantic import SecretStr
from sqlalchemy import select

from dashboard.errors import (
    Conflict,
    DashboardError,
    Invalid,
    NotAllowed,
    NotFound,
    TooManyAttempts,
)
from dashboard.services import accounts, audit
from dashboard.settings import load_settings
from dashboard.storage.models import Audit, Role, User
from tests.factories import ADMIN, OPERATOR

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dashboard.storage.db import Database

HERE = "192.0.2.1"
GOOD = "correct horse"


@pytest.fixture(autouse=True)
def _cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash quickly: what makes argon2 safe is what makes tests slow."""
    monkeypatch.setattr(accounts, "_hasher", PasswordHasher(time_cost=1, memory_cost=64))


def act(database: Database, action: Callable[..., Any], *arguments: Any, actor: Any = ADMIN) -> Any:
    with audit.transaction(database) as session:
        return action(session, *arguments, actor=actor)


@pytest.fixture
def vera(database: Database) -> User:
    user: User = act(database, accounts.add_user, "vera", GOOD, Role.VIEWER)
    return user


def sign_in(database: Database, password: str, name: str = "vera", address: str = HERE) -> User:
    return accounts.authenticate(database, name, password, address=address)


def log(database: Database) -> list[tuple[str, str, str]]:
    with database.read() as session:
        rows = session.scalars(select(Audit).order_by(Audit.id))
        return [(row.action, row.target, row.outcome) for row in rows]


class TestSignIn:
    def test_the_right_password_lets_in_and_is_noted(self, database: Database, vera: User) -> None:
        assert sign_in(database, GOOD, name="  vera ").id == vera.id
        assert log(database)[-1] == ("sign_in", "vera", "done")

    @pytest.mark.usefixtures("vera")
    def test_every_cause_gets_the_same_answer(self, database: Database) -> None:
        act(database, accounts.add_user, "gone", GOOD, Role.ADMIN)
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
        self, database: Database, name: str, password: str
    ) -> None:
        with pytest.raises(NotAllowed):
            sign_in(database, password, name=name)
        assert log(database)[-1][2] == "refused"

    @pytest.mark.usefixtures("vera")
    def test_five_failures_lock_the_account_for_that_address_only(self, database: Database) -> None:
        for _ in range(accounts.FAILURES):
            with pytest.raises(NotAllowed):
                sign_in(database, "wrong")
        with pytest.raises(TooManyAttempts, match="15 minutes"):
            sign_in(database, GOOD)
        assert sign_in(database, GOOD, address="192.0.2.99").name == "vera"

    @pytest.mark.usefixtures("vera")
    def test_the_lock_ends_by_itself(self, database: Database) -> None:
        for _ in range(accounts.FAILURES):
            with pytest.raises(NotAllowed):
                sign_in(database, "wrong")
        with database.write() as session:
            for entry in session.scalars(select(Audit)):
                entry.at -= accounts.WINDOW
        assert sign_in(database, GOOD).name == "vera"

    @pytest.mark.usefixtures("vera")
    def test_successes_do_not_count(self, database: Database) -> None:
        for _ in range(accounts.FAILURES + 1):
            sign_in(database, GOOD)

    def test_names_that_do_not_exist_are_locked_as_well(self, database: Database) -> None:
        for _ in range(accounts.FAILURES):
            with pytest.raises(NotAllowed):
                sign_in(database, "wrong", name="nobody")
        with pytest.raises(TooManyAttempts):
            sign_in(database, "wrong", name="nobody")


class TestUsers:
    def test_a_password_is_never_kept_as_it_is(self, vera: User) -> None:
        assert vera.password_hash.startswith("$argon2id$")
        assert GOOD not in vera.password_hash

    def test_names_exist_once(self, database: Database, vera: User) -> None:
        with pytest.raises(Conflict, match=vera.name):
            act(database, accounts.add_user, "vera", GOOD, Role.ADMIN)
        assert log(database)[-1] == ("user.add", "vera", "refused")

    @pytest.mark.parametrize("name", ["", " a", "a ", "a\nb", "\x00", "\ud800", "x" * 192])
    def test_a_name_is_printable(self, database: Database, name: str) -> None:
        with pytest.raises(Invalid) as caught:
            act(database, accounts.add_user, name, GOOD, Role.VIEWER)
        assert caught.value.errors[0].field == "name"

    @pytest.mark.parametrize("password", ["", "1234567", "x" * 1025, "abcdefg\ud800"])
    def test_a_password_has_a_sensible_length_and_can_be_hashed(
        self, database: Database, password: str
    ) -> None:
        with pytest.raises(Invalid) as caught:
            act(database, accounts.add_user, "new", password, Role.VIEWER)
        assert caught.value.errors[0].field == "password"

    def test_a_password_may_hold_anything_else(self, database: Database) -> None:
        password = "pässwörd 🙂\x00 with spaces "
        act(database, accounts.add_user, "new", password, Role.VIEWER)
        assert sign_in(database, password, name="new").name == "new"

    def test_a_new_password_ends_sessions_and_lets_in_again(
        self, database: Database, vera: User
    ) -> None:
        act(database, accounts.disable_user, "vera")
        act(database, accounts.set_password, "vera", "another one")
        user = sign_in(database, "another one")
        assert user.epoch == vera.epoch + 2
        with pytest.raises(NotAllowed):
            sign_in(database, GOOD)

    def test_disabling_ends_sessions_and_keeps_out(self, database: Database, vera: User) -> None:
        act(database, accounts.disable_user, "vera")
        with database.read() as session:
            user = accounts.get_person(session, vera.id)
        assert user is not None
        assert (user.active, user.epoch) == (False, vera.epoch + 1)

    @pytest.mark.usefixtures("vera")
    def test_only_admins_may_change_people(self, database: Database) -> None:
        for action, arguments in (
            (accounts.add_user, ("new", GOOD, Role.ADMIN)),
            (accounts.set_password, ("vera", GOOD)),
            (accounts.disable_user, ("vera",)),
        ):
            with pytest.raises(NotAllowed):
                act(database, action, *arguments, actor=OPERATOR)
            assert log(database)[-1][2] == "refused"

    @pytest.mark.parametrize("name", ["nobody", "", "\x00", "\ud800"])
    def test_people_that_do_not_exist(self, database: Database, name: str) -> None:
        for action, arguments in (
            (accounts.set_password, (name, GOOD)),
            (accounts.disable_user, (name,)),
        ):
            with pytest.raises(NotFound):
                act(database, action, *arguments)

    @pytest.mark.parametrize("user_id", [0, -1, 10**6])
    def test_numbers_that_are_nobody(self, database: Database, user_id: int) -> None:
        with database.read() as session:
            assert accounts.get_person(session, user_id) is None

    def test_people_are_listed_by_name(self, database: Database, vera: User) -> None:
        act(database, accounts.add_user, "abe", GOOD, Role.ADMIN)
        with database.read() as session:
            assert [user.name for user in accounts.list_users(session)] == ["abe", vera.name]


class TestFirstAccount:
    def test_it_gets_a_random_password_once(self, database: Database, tmp_path: Path) -> None:
        settings = load_settings(data=tmp_path)
        password = accounts.ensure_first_account(database, settings)
        assert password is not None
        assert len(password) >= 12
        user = sign_in(database, password, name="admin")
        assert user.role is Role.ADMIN
        assert accounts.ensure_first_account(database, settings) is None

    def test_it_takes_the_password_of_the_settings(
        self, database: Database, tmp_path: Path
    ) -> None:
        settings = load_settings(data=tmp_path, admin_password=SecretStr("from settings"))
        assert accounts.ensure_first_account(database, settings) is None
        assert sign_in(database, "from settings", name="admin").name == "admin"

    def test_the_setting_changes_nothing_once_there_is_an_account(
        self, database: Database, vera: User, tmp_path: Path
    ) -> None:
        settings = load_settings(data=tmp_path, admin_password=SecretStr("from settings"))
        assert accounts.ensure_first_account(database, settings) is None
        with database.read() as session:
            assert [user.id for user in accounts.list_users(session)] == [vera.id]

    def test_a_password_that_is_too_short_is_refused_in_words(
        self, database: Database, tmp_path: Path
    ) -> None:
        settings = load_settings(data=tmp_path, admin_password=SecretStr("short"))
        with pytest.raises(DashboardError, match="8 to"):
            accounts.ensure_first_account(database, settings)

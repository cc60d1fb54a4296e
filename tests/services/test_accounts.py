from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from dashboard.errors import Conflict, DashboardError, Invalid, NotAllowed, NotFound
from dashboard.services import accounts, sessions
from dashboard.services.audit import Actor
from dashboard.settings import load_settings
from dashboard.storage.models import Role, User
from tests.factories import OPERATOR
from tests.services.people import GOOD, act, log, sign_in

if TYPE_CHECKING:
    from pathlib import Path

    from dashboard.settings import Settings
    from dashboard.storage.db import Database


def get(database: Database, name: str) -> User:
    with database.read() as session:
        return next(user for user in accounts.list_users(session) if user.name == name)


def signed_in(database: Database, user: User) -> str:
    """Sign somebody in and return the browser's token."""
    with database.write() as session:
        return sessions.begin(session, user.id)


def is_in(database: Database, token: str) -> bool:
    with database.read() as session:
        return sessions.find(session, token) is not None


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
        token = signed_in(database, vera)
        act(database, accounts.disable_user, "vera")
        act(database, accounts.set_password, "vera", "another one")
        assert sign_in(database, "another one").name == "vera"
        assert not is_in(database, token)
        with pytest.raises(NotAllowed):
            sign_in(database, GOOD)

    def test_disabling_ends_sessions_and_keeps_out(self, database: Database, vera: User) -> None:
        token = signed_in(database, vera)
        act(database, accounts.disable_user, "vera")
        assert not is_in(database, token)
        with pytest.raises(NotAllowed):
            sign_in(database, GOOD)
        act(database, accounts.enable_user, "vera")
        assert not is_in(database, token)
        assert sign_in(database, GOOD).name == "vera"

    def test_a_new_role_counts_from_the_next_request_on(
        self, database: Database, vera: User
    ) -> None:
        token = signed_in(database, vera)
        act(database, accounts.change_role, "vera", Role.OPERATOR)
        with database.read() as session:
            visit = sessions.find(session, token)
        assert visit is not None
        assert visit.person.role is Role.OPERATOR
        assert log(database)[-1] == ("user.role", "vera", "done")

    @pytest.mark.usefixtures("vera")
    def test_the_only_admin_stays_one(self, database: Database) -> None:
        act(database, accounts.add_user, "ann", GOOD, Role.ADMIN)
        for action, arguments in (
            (accounts.disable_user, ("ann",)),
            (accounts.change_role, ("ann", Role.OPERATOR)),
        ):
            with pytest.raises(Conflict, match="only admin"):
                act(database, action, *arguments)
            assert log(database)[-1][2] == "refused"
        act(database, accounts.change_role, "ann", Role.ADMIN)
        act(database, accounts.change_role, "vera", Role.ADMIN)
        act(database, accounts.disable_user, "ann")
        with pytest.raises(Conflict):
            act(database, accounts.disable_user, "vera")

    def test_two_admins_cannot_demote_each_other_at_once(self, database: Database) -> None:
        names = ("ann", "abe")
        for name in names:
            act(database, accounts.add_user, name, GOOD, Role.ADMIN)

        def demote(name: str) -> str:
            try:
                act(database, accounts.change_role, name, Role.VIEWER)
            except Conflict:
                return "refused"
            return "done"

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(demote, names)) == ["done", "refused"]

    def test_people_change_their_own_password_and_stay_where_they_are(
        self, database: Database, vera: User
    ) -> None:
        here, elsewhere = signed_in(database, vera), signed_in(database, vera)
        with database.read() as session:
            visit = sessions.find(session, here)
        assert visit is not None
        me = Actor("vera", Role.VIEWER)
        new = accounts.set_own_password
        act(database, new, vera.id, "another one", keep=visit.sign_in, actor=me)
        assert is_in(database, here)
        assert not is_in(database, elsewhere)
        assert sign_in(database, "another one").name == "vera"

    def test_people_keep_how_they_like_their_pages(self, database: Database, vera: User) -> None:
        me = Actor("vera", Role.VIEWER)
        act(database, accounts.set_preferences, vera.id, timezone=" Asia/Tokyo ", actor=me)
        act(database, accounts.set_preferences, vera.id, theme="dark", actor=me)
        kept = get(database, "vera")
        assert (kept.timezone, kept.theme) == ("Asia/Tokyo", "dark")
        act(database, accounts.set_preferences, vera.id, timezone="", actor=me)
        assert get(database, "vera").timezone == ""

    @pytest.mark.parametrize(
        "wish",
        [
            {"timezone": "Mars/Base"},
            {"timezone": "../../etc/passwd"},
            {"timezone": "x" * 5000},
            {"timezone": "\x00"},
            {"theme": "pink"},
        ],
    )
    def test_what_cannot_be_liked_is_refused(
        self, database: Database, vera: User, wish: dict[str, str]
    ) -> None:
        with pytest.raises(Invalid) as caught:
            act(database, accounts.set_preferences, vera.id, **wish)
        assert [error.field for error in caught.value.errors] == list(wish)

    @pytest.mark.usefixtures("vera")
    def test_sessions_are_ended_by_admins_or_by_oneself(
        self, database: Database, vera: User
    ) -> None:
        token = signed_in(database, vera)
        with pytest.raises(NotAllowed):
            act(database, accounts.end_sessions, "vera", actor=OPERATOR)
        assert is_in(database, token)
        me = Actor("vera", Role.VIEWER)
        assert act(database, accounts.end_sessions, "vera", actor=me) == 1
        assert not is_in(database, token)

    @pytest.mark.usefixtures("vera")
    def test_only_admins_may_change_people(self, database: Database) -> None:
        for action, arguments in (
            (accounts.add_user, ("new", GOOD, Role.ADMIN)),
            (accounts.set_password, ("vera", GOOD)),
            (accounts.disable_user, ("vera",)),
            (accounts.enable_user, ("vera",)),
            (accounts.change_role, ("vera", Role.ADMIN)),
        ):
            with pytest.raises(NotAllowed):
                act(database, action, *arguments, actor=OPERATOR)
            assert log(database)[-1][2] == "refused"

    @pytest.mark.parametrize("name", ["nobody", "", "\x00", "\ud800"])
    def test_people_that_do_not_exist(self, database: Database, name: str) -> None:
        for action, arguments in (
            (accounts.set_password, (name, GOOD)),
            (accounts.disable_user, (name,)),
            (accounts.enable_user, (name,)),
            (accounts.change_role, (name, Role.ADMIN)),
            (accounts.end_sessions, (name,)),
        ):
            with pytest.raises(NotFound):
                act(database, action, *arguments)

    @pytest.mark.parametrize("user_id", [0, -1, 10**6])
    def test_numbers_that_are_nobody(self, database: Database, user_id: int) -> None:
        with database.read() as session, pytest.raises(NotFound):
            accounts.get_user(session, user_id)

    def test_people_are_listed_by_name(self, database: Database, vera: User) -> None:
        act(database, accounts.add_user, "abe", GOOD, Role.ADMIN)
        with database.read() as session:
            assert [user.name for user in accounts.list_users(session)] == ["abe", vera.name]


class TestFromElsewhere:
    """Who was signed in by a proxy or the host app."""

    def test_they_are_added_the_first_time(self, database: Database) -> None:
        person = accounts.person_from_elsewhere(database, "lea", None)
        assert person is not None
        assert person.role is Role.VIEWER
        again = accounts.person_from_elsewhere(database, "lea", Role.ADMIN)
        assert again is not None
        assert (again.id, again.role) == (person.id, Role.ADMIN)
        assert get(database, "lea").role is Role.VIEWER
        with pytest.raises(NotAllowed):
            sign_in(database, "", name="lea")

    def test_who_is_disabled_here_stays_out(self, database: Database, vera: User) -> None:
        act(database, accounts.disable_user, vera.name)
        assert accounts.person_from_elsewhere(database, "vera", Role.ADMIN) is None

    @pytest.mark.parametrize("name", ["", "\x00", "\ud800", "x" * 192, "a\nb"])
    def test_names_that_cannot_be(self, database: Database, name: str) -> None:
        assert accounts.person_from_elsewhere(database, name, Role.ADMIN) is None


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


def test_processes_that_start_together_make_one_first_account(
    database: Database, settings: Settings
) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = pool.map(lambda _: accounts.ensure_first_account(database, settings), range(4))
        assert len([password for password in made if password]) == 1

"""People, as admins look after them, and a person's own page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select

from dashboard.services import accounts, passwords, sessions, signin
from dashboard.storage.models import Audit, Role, SignIn, User
from dashboard.web.access import COOKIE
from tests.factories import ADMIN
from tests.services.people import GOOD, act
from tests.web.site import links, parse, words

if TYPE_CHECKING:
    from tests.web.site import Site

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
def _cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=64))


@pytest.fixture
def vera(site: Site) -> User:
    user: User = act(site.database, accounts.add_user, "vera", GOOD, Role.VIEWER)
    return user


def get(site: Site, name: str) -> User:
    with site.database.read() as session:
        return session.scalars(select(User).where(User.name == name)).one()


def become(site: Site, user: User) -> str:
    """Sign in as somebody, in the site's browser; return the token."""
    with site.database.write() as session:
        token = sessions.begin(
            session, user.id, user_agent="Mozilla/5.0 (X11; Linux) Firefox/150.0"
        )
    site.client.set_cookie(COOKIE, token)
    return token


def me(site: Site) -> User:
    """The admin that the site's browser is signed in as."""
    with site.database.read() as session:
        return session.scalars(select(User).where(User.name.startswith("admin-"))).one()


def token_of(site: Site, user: User) -> str:
    with site.database.write() as session:
        return sessions.begin(session, user.id)


def alive(site: Site, token: str) -> bool:
    with site.database.read() as session:
        return sessions.find(session, token) is not None


def lets_in(site: Site, password: str) -> bool:
    return signin.authenticate(site.database, "vera", password, address=None).name == "vera"


# -- the list --------------------------------------------------------------------------------------


def test_everybody_is_listed_with_what_they_may_do(site: Site, vera: User) -> None:
    act(site.database, accounts.add_user, "gone", GOOD, Role.OPERATOR)
    act(site.database, accounts.disable_user, "gone")
    token_of(site, vera)
    accounts.person_from_elsewhere(site.database, "lea", None)
    page = site.get("/people")
    rows = {
        str(row.a.get_text()): " ".join(row.get_text(" ").split())  # type: ignore[union-attr]
        for row in page.select("tbody tr")
    }
    assert "viewer active" in rows["vera"]
    assert "1 browser" in rows["vera"]
    assert "operator disabled" in rows["gone"]
    assert "signs in elsewhere" in rows["lea"]
    assert links(page)["vera"] == f"/people/{vera.id}"


def test_the_list_is_searched_and_paged(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "PAGE", 3)
    site.add(
        *(
            User(
                name=f"person {n}%",
                password_hash="",
                role=Role.VIEWER,
                created_at=me(site).created_at,
            )
            for n in range(5)
        )
    )
    page = site.get("/people?q=PERSON")
    assert [str(name.get_text()) for name in page.select("tbody a.name")] == [
        "person 0%", "person 1%", "person 2%",
    ]  # fmt: skip
    page = site.get(links(page)["More"])
    assert [str(name.get_text()) for name in page.select("tbody a.name")] == [
        "person 3%", "person 4%",
    ]  # fmt: skip
    assert "More" not in links(page)
    assert "No user name" in words(site.get("/people?q=%25%25"))
    assert site.client.get("/people?q=%00&after=%00").status_code == 200


def test_people_are_for_admins(site: Site) -> None:
    assert "People" in words(site.get("/runs"), "nav")
    site.sign_in(Role.OPERATOR)
    assert "People" not in words(site.get("/runs"), "nav")
    assert site.client.get("/people").status_code == 403


# -- adding ----------------------------------------------------------------------------------------


def test_somebody_is_added_with_a_password_that_was_typed(site: Site) -> None:
    answer = site.post("/people/new", name=" Zoë 🙂 ", role="operator", password=GOOD)
    assert answer.status_code == 303
    added = get(site, "Zoë 🙂")
    assert answer.location == f"/people/{added.id}"
    assert added.role is Role.OPERATOR
    assert "may sign in" in words(site.get(answer.location), "#toasts")
    assert signin.authenticate(site.database, "Zoë 🙂", GOOD, address=None).id == added.id


def test_a_password_that_was_made_up_is_shown_once_and_kept_nowhere(site: Site) -> None:
    answer = site.post("/people/new", name="zoe", role="viewer", password="")
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    secret = words(parse(answer), "#new-password")
    assert signin.authenticate(site.database, "zoe", secret, address=None).name == "zoe"
    assert secret not in str(answer.headers)
    with site.database.read() as session:
        assert not any(secret in str(row.detail) for row in session.scalars(select(Audit)))
    assert secret not in site.client.get(f"/people/{get(site, 'zoe').id}").text


@pytest.mark.parametrize(
    ("fields", "status", "complaint"),
    [
        ({"name": "", "role": "viewer"}, 422, "1 to 191 printable"),
        ({"name": "vera", "role": "viewer"}, 409, "already"),
        ({"name": "x", "role": "king"}, 422, "viewer, operator, admin"),
        ({"name": "x"}, 422, "viewer, operator, admin"),
        ({"name": "x", "role": "viewer", "password": "short"}, 422, "8 to 1,024"),
        ({"name": "<b>\x00", "role": "viewer"}, 422, "printable"),
    ],
)
@pytest.mark.usefixtures("vera")
def test_what_is_wrong_is_said_beside_it_and_nothing_is_lost(
    site: Site, fields: dict[str, str], status: int, complaint: str
) -> None:
    data = {"csrf_token": site.token(), "password": GOOD, **fields}
    answer = site.client.post("/people/new", data=data)
    page = parse(answer)
    assert answer.status_code == status
    assert complaint in words(page, ".field-errors")
    assert page.select_one("[name=name]")["value"] == fields["name"].replace("\x00", "\ufffd") or (  # type: ignore[index]
        "\x00" in fields["name"]
    )
    assert GOOD not in answer.text


# -- one person ------------------------------------------------------------------------------------


def test_a_role_is_changed(site: Site, vera: User) -> None:
    answer = site.post(f"/people/{vera.id}/role", role="operator")
    assert answer.status_code == 303
    assert get(site, "vera").role is Role.OPERATOR
    assert site.post(f"/people/{vera.id}/role", role="king").status_code == 422


def test_nobody_locks_the_last_admin_out(site: Site) -> None:
    mine = me(site)
    answer = site.post(f"/people/{mine.id}/role", role="viewer")
    assert answer.status_code == 409
    assert "only admin" in words(parse(answer), ".field-errors")
    assert site.post(f"/people/{mine.id}/disable").status_code == 409
    assert me(site).active
    assert me(site).role is Role.ADMIN


def test_somebody_is_kept_out_and_let_in(site: Site, vera: User) -> None:
    token = token_of(site, vera)
    site.post(f"/people/{vera.id}/disable")
    assert not alive(site, token)
    page = site.get(f"/people/{vera.id}")
    assert "disabled" in words(page, ".page-head")
    assert "Enable" in words(page, ".page-head")
    site.post(f"/people/{vera.id}/enable")
    assert get(site, "vera").active


def test_a_password_is_set_or_made_up(site: Site, vera: User) -> None:
    token = token_of(site, vera)
    assert site.post(f"/people/{vera.id}/password", password="short").status_code == 422
    assert alive(site, token)
    assert site.post(f"/people/{vera.id}/password", password="quite another").status_code == 303
    assert not alive(site, token)
    assert lets_in(site, "quite another")
    answer = site.post(f"/people/{vera.id}/password", password="")
    assert lets_in(site, words(parse(answer), "#new-password"))


def test_somebody_is_signed_out_everywhere(site: Site, vera: User) -> None:
    tokens = [token_of(site, vera) for _ in range(2)]
    assert "Unknown browser" in words(site.get(f"/people/{vera.id}"))
    site.post(f"/people/{vera.id}/sign-out")
    assert not any(alive(site, token) for token in tokens)
    assert "Nowhere at present" in words(site.get(f"/people/{vera.id}"))


@pytest.mark.parametrize("action", ["role", "password", "disable", "enable", "sign-out"])
def test_people_who_do_not_exist(site: Site, action: str) -> None:
    assert site.client.get("/people/99999").status_code == 404
    assert site.post(f"/people/99999/{action}", role="viewer").status_code == 404


# -- one's own page --------------------------------------------------------------------------------


def test_preferences_are_kept_with_the_person(site: Site, vera: User) -> None:
    become(site, vera)
    answer = site.post("/profile/preferences", timezone="Asia/Tokyo", theme="dark")
    assert answer.status_code == 303
    page = site.get("/profile")
    assert page.select_one("[name=timezone]")["value"] == "Asia/Tokyo"  # type: ignore[index]
    assert page.html["data-bs-theme"] == "dark"  # type: ignore[index]
    elsewhere = site.client.application.test_client()
    elsewhere.set_cookie(COOKIE, token_of(site, vera))
    assert parse(elsewhere.get("/runs")).html["data-bs-theme"] == "dark"  # type: ignore[index]


def test_a_zone_that_does_not_exist_is_refused_and_kept_in_the_field(
    site: Site, vera: User
) -> None:
    become(site, vera)
    answer = site.post("/profile/preferences", timezone="Mars <b>", theme="dark")
    page = parse(answer)
    assert answer.status_code == 422
    assert "not a known time zone" in words(page, ".field-errors")
    assert page.select_one("[name=timezone]")["value"] == "Mars <b>"  # type: ignore[index]


def test_the_switch_of_colours_is_kept_with_the_person(site: Site, vera: User) -> None:
    become(site, vera)
    site.post("/theme", theme="light")
    assert get(site, "vera").theme == "light"


def change(site: Site, present: str, new: str, again: str | None = None) -> tuple[int, str]:
    answer = site.post(
        "/profile/password",
        present_password=present,
        new_password=new,
        new_password_again=new if again is None else again,
    )
    found = parse(answer).select_one(".field-errors")
    return answer.status_code, found.get_text() if found else ""


def test_a_password_is_changed_by_who_knows_the_present_one(site: Site, vera: User) -> None:
    token, other = become(site, vera), token_of(site, vera)
    status, complaint = change(site, "wrong", "another good one")
    assert status == 422
    assert "not your present password" in complaint
    status, complaint = change(site, GOOD, "another good one", "another bad one")
    assert status == 422
    assert "not the same" in complaint
    status, complaint = change(site, GOOD, "short")
    assert status == 422
    assert "8 to 1,024" in complaint
    assert change(site, GOOD, "another good one")[0] == 303
    assert alive(site, token)
    assert not alive(site, other)
    assert lets_in(site, "another good one")


def test_a_stolen_session_cannot_guess_the_password(site: Site, vera: User) -> None:
    become(site, vera)
    for _ in range(signin.FAILURES):
        assert change(site, "wrong", "another good one")[0] == 422
    status, complaint = change(site, GOOD, "another good one")
    assert status == 429
    assert "Too many" in complaint


def test_one_browser_or_all_are_signed_out(site: Site, vera: User) -> None:
    here, there = become(site, vera), token_of(site, vera)
    page = site.get("/profile")
    assert "Firefox on Linux" in words(page)
    with site.database.read() as session:
        numbers = session.scalars(
            select(SignIn.id).where(SignIn.user_id == vera.id).order_by(SignIn.id)
        ).all()
    site.post(f"/profile/sign-ins/{numbers[1]}/end")
    assert (alive(site, here), alive(site, there)) == (True, False)
    strangers = token_of(site, me(site))
    assert site.post("/profile/sign-ins/1/end").status_code == 404
    assert alive(site, strangers)
    assert site.post("/profile/sign-out-everywhere").location == "/login"
    assert not alive(site, here)
    assert site.client.get("/profile").status_code == 303


def test_who_has_no_password_here_is_told_so(site: Site) -> None:
    person = accounts.person_from_elsewhere(site.database, "lea", None)
    assert person is not None
    become(site, get(site, "lea"))
    assert "You have no password here" in words(site.get("/profile"))
    assert ADMIN.name not in words(site.get("/profile"))

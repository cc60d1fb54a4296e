"""The pages as a browser without JavaScript, or htmx, would ask for them."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from bs4 import BeautifulSoup
from flask import Flask

from dashboard.services import sessions
from dashboard.storage.models import Role, User
from dashboard.web import init_web
from dashboard.web.access import COOKIE
from dashboard.web.state import EXTENSION, DashboardState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bs4 import Tag
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

    from dashboard.settings import Settings
    from dashboard.storage.db import Database

HTMX = {"HX-Request": "true"}
TOKEN = re.compile(r'id="csrf-token"[^>]* content="([^"]+)"')


@dataclass
class Site:
    """Somebody signed in, with a browser."""

    database: Database
    client: FlaskClient
    woken: list[str]

    def add(self, *rows: Any) -> None:
        """Write rows."""
        with self.database.write() as session:
            session.add_all(rows)

    def get(self, url: str, *, status: int = 200, **options: Any) -> BeautifulSoup:
        """Open a page and return it."""
        response = self.client.get(url, **options)
        assert response.status_code == status, response.text[:2000]
        return parse(response)

    def post(self, url: str, *, in_place: bool = False, **fields: str) -> TestResponse:
        """Send a form as a page would, or in place as htmx does."""
        headers = HTMX if in_place else {"Referer": "http://localhost/jobs"}
        return self.client.post(url, data={"csrf_token": self.token(), **fields}, headers=headers)

    def token(self) -> str:
        """Take the form token from a page."""
        found = TOKEN.search(self.client.get("/runs").text)
        assert found
        return found[1]

    def sign_in(self, role: Role, *tags: str) -> None:
        """Become somebody with this role, for jobs with one of the tags if any are given."""
        with self.database.write() as session:
            user = User(
                name=f"{role.value}-{time.monotonic_ns()}",
                password_hash="-",
                role=role,
                tags=list(tags),
                created_at=datetime.now(UTC),
            )
            session.add(user)
            session.flush()
            token = sessions.begin(session, user.id)
        self.client.set_cookie(COOKIE, token)


@contextmanager
def open_site(database: Database, settings: Settings, role: Role = Role.ADMIN) -> Iterator[Site]:
    """Serve the pages over a database, to somebody with this role."""
    woken: list[str] = []
    settings.prepare_data_folder()
    state = DashboardState(settings=settings, database=database, wake=lambda: woken.append("now"))
    with _lent(state) as app:
        site = Site(database, app.test_client(), woken)
        site.sign_in(role)
        yield site


@contextmanager
def _lent(state: DashboardState) -> Iterator[Flask]:
    """Lend an app that is set up already: its routes take longer to build than most tests.

    Views that a test replaces are back afterwards.
    """
    kind = (state.settings.behind_tls, state.settings.proxy_networks)
    if kind not in _apps:
        _apps[kind] = app = Flask("site", static_folder=None)
        app.secret_key = "k" * 32
        init_web(app, state, own_app=True)
    app = _apps[kind]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(app.extensions, EXTENSION, state)
        patch.setattr(app, "view_functions", dict(app.view_functions))
        patch.setattr(app, "testing", True)
        yield app


_apps: dict[tuple[object, ...], Flask] = {}
"""An app of each kind that settings make a difference to when it is set up."""


def parse(response: TestResponse) -> BeautifulSoup:
    return BeautifulSoup(response.text, "html.parser")


def words(page: Tag, selector: str = "main") -> str:
    """Return the text of a page, or a part of it, as it reads."""
    found = page.select_one(selector)
    assert found is not None, selector
    return " ".join(found.get_text(" ").split())


def links(page: Tag, selector: str = "main") -> dict[str, str]:
    """Return the links of a page by their text."""
    return {words_of(link): str(link["href"]) for link in page.select(f"{selector} a[href]")}


def words_of(element: Any) -> str:
    return " ".join(element.get_text(" ").split())


def buttons(page: Tag) -> list[str]:
    """Return what the buttons outside of dialogs say."""
    found = page.select("main button")
    return [words_of(button) for button in found if button.find_parent("dialog") is None]

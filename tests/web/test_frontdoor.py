"""Proxies, host names and headers: what is believed of a request before anything looks at it."""

from __future__ import annotations

import http.client
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask, request

from dashboard.errors import Invalid
from dashboard.runtime import make_runtime
from dashboard.server import _make_server, _warn_of_open_doors
from dashboard.settings import load_settings
from dashboard.storage.models import Role
from dashboard.web import init_web
from dashboard.web.access import current_actor, public
from dashboard.web.logs import RequestNames
from dashboard.web.state import DashboardState
from tests.web.site import open_site, parse, words

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

    from dashboard.storage.db import Database

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)

PROXY = "10.0.0.2"


@pytest.fixture
def serve(database: Database, tmp_path: Path) -> Callable[..., FlaskClient]:
    """Serves the pages with certain settings, and at /mirror what a request looks like."""

    def serve(**settings: Any) -> FlaskClient:
        app = Flask("front", static_folder=None)
        app.secret_key = "k" * 32
        state = DashboardState(
            load_settings(data=tmp_path, **settings), database, wake=lambda: None
        )
        init_web(app, state, own_app=True)

        @public
        def mirror() -> dict[str, str | None]:
            return {"from": request.remote_addr, "scheme": request.scheme, "host": request.host}

        app.add_url_rule("/mirror", view_func=mirror)
        return app.test_client()

    return serve


def ask(
    browser: FlaskClient, path: str = "/mirror", peer: str = PROXY, **headers: str
) -> TestResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return browser.get(path, headers=named, environ_overrides={"REMOTE_ADDR": peer})


def mirror(browser: FlaskClient, peer: str = PROXY, **headers: str) -> Any:
    return ask(browser, peer=peer, **headers).json


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        (PROXY, "203.0.113.9", "203.0.113.9"),
        (PROXY, "203.0.113.9, 10.0.0.3", "203.0.113.9"),  # two proxies of ours
        (PROXY, "6.6.6.6, 203.0.113.9", "203.0.113.9"),  # what a client wrote itself
        (PROXY, "unknown", PROXY),
        (PROXY, "<script>", PROXY),
        (PROXY, "", PROXY),
        (PROXY, "10.0.0.9", PROXY),
        ("203.0.113.1", "6.6.6.6", "203.0.113.1"),  # no proxy of ours
        ("::ffff:10.0.0.2", "2001:db8::1", "2001:db8::1"),
    ],
)
def test_only_proxies_of_ours_say_who_asks(
    serve: Callable[..., FlaskClient], peer: str, forwarded: str, client: str
) -> None:
    browser = serve(trusted_proxies="10.0.0.0/8")
    assert mirror(browser, peer, X_Forwarded_For=forwarded)["from"] == client


def test_only_proxies_of_ours_say_how_and_for_whom(serve: Callable[..., FlaskClient]) -> None:
    browser = serve(trusted_proxies=PROXY, allowed_hosts="jobs.example")
    said = {"X_Forwarded_Proto": "https", "X_Forwarded_Host": "jobs.example"}
    assert mirror(browser, **said) == {"from": PROXY, "scheme": "https", "host": "jobs.example"}
    assert mirror(browser, "203.0.113.1", **said)["scheme"] == "http"
    assert mirror(browser, "203.0.113.1", **said)["host"] == "localhost"
    assert mirror(browser, X_Forwarded_Proto="javascript")["scheme"] == "http"


@pytest.mark.parametrize(
    ("settings", "host", "status"),
    [
        ({}, "localhost", 200),
        ({}, "127.0.0.1:8000", 200),
        ({}, "[::1]:8000", 200),
        ({}, "192.0.2.7:8000", 200),
        ({}, "evil.example", 400),
        ({}, "localhost.evil.example", 400),
        ({}, "127.0.0.1.evil.example", 400),
        ({}, "", 400),
        ({}, "a b", 400),
        ({}, "jobs.example:8000@evil.example", 400),
        ({"public_url": "https://jobs.example/"}, "jobs.example", 200),
        ({"public_url": "https://jobs.example/"}, "JOBS.example.:443", 200),
        ({"allowed_hosts": "a.example, B.example"}, "b.example", 200),
        ({"allowed_hosts": "a.example"}, "192.0.2.7", 400),
        ({"allowed_hosts": "a.example"}, "127.0.0.1", 200),
        ({"allowed_hosts": "*"}, "evil.example", 200),
    ],
)
def test_requests_are_for_a_name_of_ours(
    serve: Callable[..., FlaskClient], settings: dict[str, str], host: str, status: int
) -> None:
    answer = serve(**settings).get("/login", headers={"Host": host})
    assert answer.status_code == status
    if status == 400:
        assert "DASHBOARD_ALLOWED_HOSTS" in answer.text
        assert "password" not in answer.text


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"trusted_proxies": "everybody"}, "no network"),
        ({"allowed_hosts": "http://a.example"}, "no host name"),
        ({"proxy_user_header": "Remote-User"}, "TRUSTED_PROXIES"),
        ({"proxy_role_header": "Remote-Role"}, "TRUSTED_PROXIES"),
    ],
)
@pytest.mark.usefixtures("database")
def test_settings_that_would_open_the_door_are_refused(
    settings: dict[str, str], complaint: str
) -> None:
    with pytest.raises(Invalid, match=complaint):
        load_settings(**settings)


def test_a_proxy_says_who_is_signed_in(serve: Callable[..., FlaskClient]) -> None:
    browser = serve(
        trusted_proxies=PROXY, proxy_user_header="Remote-User", proxy_role_header="Remote-Role"
    )
    as_lea = {"Remote_User": "Léa".encode().decode("latin-1")}
    page = ask(browser, "/profile", **as_lea)
    assert page.status_code == 200
    assert "Signed in as Léa, with the role viewer" in words(parse(page))
    assert ask(browser, "/people", **as_lea).status_code == 403
    assert ask(browser, "/people", **as_lea, Remote_Role="admin").status_code == 200
    assert ask(browser, "/people", **as_lea, Remote_Role="emperor").status_code == 403
    assert ask(browser, "/people", **as_lea).status_code == 403, "a role lasts as long as granted"


@pytest.mark.parametrize("peer", ["203.0.113.1", "127.0.0.1", "::1"])
def test_nobody_else_says_who_is_signed_in(serve: Callable[..., FlaskClient], peer: str) -> None:
    browser = serve(
        trusted_proxies=PROXY, proxy_user_header="Remote-User", proxy_role_header="Remote-Role"
    )
    headers = {"Remote_User": "admin", "Remote_Role": "admin", "X_Forwarded_For": PROXY}
    assert ask(browser, "/people", peer, **headers).status_code == 303
    assert ask(serve(trusted_proxies=PROXY), "/people", **headers).status_code == 303


@pytest.mark.usefixtures("database")
def test_what_passes_for_a_header_of_the_proxy_does_not_count(tmp_path: Path) -> None:
    """WSGI tells Remote_User from Remote-User not; most proxies let the one through."""
    settings = load_settings(
        data=tmp_path, port=0, trusted_proxies="127.0.0.1", proxy_user_header="Remote-User"
    )
    runtime = make_runtime(settings)
    server = _make_server(settings, runtime)
    server.prepare()
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        answers = {}
        for name in ("Remote-User", "Remote_User"):
            browser = http.client.HTTPConnection("127.0.0.1", server.bind_addr[1], timeout=20)
            browser.request("GET", "/profile", headers={name: "eve", "Connection": "close"})
            answers[name] = browser.getresponse().status
            browser.close()
    finally:
        server.stop()
        thread.join()
        runtime.database.close()
    assert answers == {"Remote-User": 200, "Remote_User": 303}


@pytest.mark.parametrize("name", ["", " ", "x" * 192, "a\tb"])
def test_a_proxy_that_names_nobody_leaves_the_sign_in_page(
    serve: Callable[..., FlaskClient], name: str
) -> None:
    browser = serve(trusted_proxies=PROXY, proxy_user_header="Remote-User")
    assert ask(browser, "/profile", Remote_User=name).status_code == 303


def test_browsers_are_told_to_stay_with_tls(serve: Callable[..., FlaskClient]) -> None:
    browser = serve(trusted_proxies=PROXY, public_url="https://jobs.example")
    over_tls = ask(browser, "/login", X_Forwarded_Proto="https")
    assert over_tls.headers["Strict-Transport-Security"].startswith("max-age=31")
    assert "Strict-Transport-Security" not in ask(browser, "/login").headers
    plain = ask(serve(trusted_proxies=PROXY), "/login", X_Forwarded_Proto="https")
    assert "Strict-Transport-Security" not in plain.headers


@pytest.mark.parametrize(
    ("peer", "given", "kept"),
    [(PROXY, "abc-123", True), (PROXY, "a b", False), (PROXY, "x" * 65, False),
     ("203.0.113.1", "abc-123", False)],
)  # fmt: skip
def test_a_request_keeps_the_name_a_proxy_of_ours_gave_it(
    serve: Callable[..., FlaskClient], peer: str, given: str, kept: bool
) -> None:
    name = ask(serve(trusted_proxies=PROXY), "/login", peer, X_Request_ID=given).headers[
        "X-Request-ID"
    ]
    assert (name == given) is kept


def test_the_log_names_the_request(
    serve: Callable[..., FlaskClient], caplog: pytest.LogCaptureFixture
) -> None:
    browser = serve()

    @public
    def broken() -> str:
        raise ZeroDivisionError

    browser.application.view_functions["dashboard.signin.login"] = broken
    caplog.handler.addFilter(names := RequestNames())
    try:
        answer = browser.get("/login")
        logging.getLogger("dashboard").warning("no request here")
    finally:
        caplog.handler.removeFilter(names)
    assert answer.status_code == 500
    name = answer.headers["X-Request-ID"]
    assert name in words(parse(answer))
    first, last = caplog.records[0], caplog.records[-1]
    assert vars(first)["request"] == f" [{name}]"
    assert vars(last)["request"] == ""


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ({}, False),
        ({"host": "localhost"}, False),
        ({"host": "::1"}, False),
        ({"host": "0.0.0.0"}, True),
        ({"host": "jobs.example"}, True),
        ({"host": "0.0.0.0", "public_url": "http://jobs.example"}, True),
        ({"host": "0.0.0.0", "public_url": "https://jobs.example"}, False),
        ({"host": "0.0.0.0", "trusted_proxies": PROXY}, False),
    ],
)
@pytest.mark.usefixtures("database")
def test_an_open_door_is_told_loudly(
    caplog: pytest.LogCaptureFixture, settings: dict[str, str], warned: bool
) -> None:
    _warn_of_open_doors(load_settings(**settings))
    assert ("PASSWORDS" in caplog.text) is warned


def test_the_address_of_the_client_is_what_is_noted(database: Database, tmp_path: Path) -> None:
    settings = load_settings(data=tmp_path, trusted_proxies=PROXY)
    with open_site(database, settings, Role.ADMIN) as site:
        seen: list[str | None] = []

        @public
        def who() -> str:
            seen.append(current_actor().address)
            return ""

        site.client.application.view_functions["dashboard.now.show"] = who
        ask(site.client, "/", X_Forwarded_For="203.0.113.9")
        assert seen == ["203.0.113.9"]

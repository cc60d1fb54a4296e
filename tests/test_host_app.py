"""The dashboard inside somebody else's Flask app."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from flask import Flask, Response

from dashboard import Dashboard, create_app
from dashboard.runtime import make_runtime
from dashboard.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flask.testing import FlaskClient


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Flask]:
    """A host app with a page of its own and the dashboard beside it."""
    app = Flask("host")
    app.secret_key = "a secret of the host"

    @app.get("/")
    def index() -> str:
        return "the host's own page"

    @app.post("/form")
    def form() -> str:
        return "the host's own form"

    @app.errorhandler(404)
    def missing(_error: Exception) -> Response:
        return Response("the host's own 404", 404)

    runtime = make_runtime(load_settings(data=tmp_path, admin_password="a long password"))
    runtime.start()
    Dashboard(app, runtime=runtime)
    yield app
    runtime.stop(1)
    runtime.database.close()


@pytest.fixture
def client(host: Flask) -> FlaskClient:
    return host.test_client()


def test_pages_live_under_the_prefix(client: FlaskClient) -> None:
    answer = client.get("/dashboard/jobs")
    assert answer.status_code == 303
    assert answer.location.startswith("/dashboard/login")
    page = client.get("/dashboard/login")
    assert page.status_code == 200
    assert b'href="/dashboard/static/' in page.data


def test_the_hosts_pages_stay_as_they_are(client: FlaskClient) -> None:
    page = client.get("/")
    assert page.text == "the host's own page"
    assert "Content-Security-Policy" not in page.headers
    assert client.post("/form").text == "the host's own form"  # no CSRF token asked of the host
    assert client.get("/nowhere").text == "the host's own 404"


def test_assets_are_served(client: FlaskClient) -> None:
    with client.get("/dashboard/static/app.css") as answer:
        assert answer.status_code == 200


def test_the_scheduler_runs_beside_it(client: FlaskClient) -> None:
    health = client.get("/dashboard/healthz")
    assert health.status_code in {200, 503}
    assert health.json is not None
    assert health.json["database"] == "ok"


def test_create_app_reads_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stops: list[Callable[[float], bool]] = []
    monkeypatch.setattr("atexit.register", stops.append)
    monkeypatch.setenv("DASHBOARD_DATA", str(tmp_path / "data"))
    app = create_app()
    try:
        assert "sign in as admin with the password" in capsys.readouterr().out
        assert (tmp_path / "data" / "dashboard.sqlite").exists()
        assert app.test_client().get("/login").status_code == 200
    finally:
        for stop in stops:
            stop(1)

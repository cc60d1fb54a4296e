"""The dashboard inside somebody else's Flask app."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
from bs4 import BeautifulSoup
from flask import Flask, Response

from dashboard import Dashboard, create_app
from dashboard.runtime import make_runtime
from dashboard.settings import load_settings
from tests.factories import wait_until
from tests.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask.testing import FlaskClient

    from dashboard.runtime import Runtime
    from dashboard.web.state import Granted


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


def test_the_host_says_who_is_signed_in(tmp_path: Path) -> None:
    app = Flask("host")
    app.secret_key = "a secret of the host"
    granted: list[Granted] = []
    runtime = make_runtime(load_settings(data=tmp_path))
    Dashboard(app, runtime=runtime, user=lambda: granted[-1], sign_in_url="/account/login")
    client = app.test_client()
    try:
        granted.append(None)
        answer = client.get("/dashboard/jobs?q=x")
        assert answer.location == "/account/login?next=%2Fdashboard%2Fjobs%3Fq%3Dx"
        for answer in (client.get("/dashboard/login"), client.post("/dashboard/login")):
            assert answer.status_code in {303, 400}
            assert "password" not in answer.text
        granted.append("lea")
        page = client.get("/dashboard/jobs")
        assert page.status_code == 200
        assert "lea" in page.text
        assert "Sign out" not in page.text
        assert client.get("/dashboard/people").status_code == 403
        granted.append(("lea", "admin"))
        assert client.get("/dashboard/people").status_code == 200
        granted.append(("lea", "admin", ["billing"]))
        assert client.get("/dashboard/people").status_code == 403
        assert "for jobs tagged billing" in client.get("/dashboard/profile").text
        granted.append(("lea", "emperor"))
        assert client.get("/dashboard/people").status_code == 403
        granted.append(None)
        assert client.get("/dashboard/jobs").status_code == 303
    finally:
        runtime.database.close()


def test_without_an_address_to_sign_in_at_strangers_are_told(tmp_path: Path) -> None:
    app = Flask("host")
    app.secret_key = "a secret of the host"
    runtime = make_runtime(load_settings(data=tmp_path))
    Dashboard(app, runtime=runtime, user=lambda: None)
    try:
        answer = app.test_client().get("/dashboard/jobs")
        assert answer.status_code == 401
        assert "Sign in to the application" in answer.text
    finally:
        runtime.database.close()


def test_create_app_reads_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[Runtime] = []
    monkeypatch.setattr("dashboard.app.stop_at_exit", started.append)
    monkeypatch.setenv("DASHBOARD_DATA", str(tmp_path / "data"))
    app = create_app()
    try:
        assert "sign in as admin with the password" in capsys.readouterr().out
        assert (tmp_path / "data" / "dashboard.sqlite").exists()
        assert app.test_client().get("/login").status_code == 200
    finally:
        [runtime] = started
        runtime.stop(1)
        runtime.database.close()


def test_the_example_app_shows_the_jobs_of_its_own_scheduler(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[1]
    port = free_port()
    environment = {
        **os.environ,
        "PORT": str(port),
        "PYTHONPATH": str(root),
        "DASHBOARD_DATA": str(tmp_path / "data"),
        "DASHBOARD_ADMIN_PASSWORD": "a long password",
    }
    example = subprocess.Popen(
        [sys.executable, root / "examples" / "host_app.py"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        visitor = Visitor(f"http://127.0.0.1:{port}")
        wait_until(lambda: "the app" in visitor.get("/"))
        visitor.sign_in("admin", "a long password")
        wait_until(lambda: ">Greet</a>" in visitor.get("/dashboard/jobs"))
        page = visitor.get("/dashboard/jobs/greet")
        assert "Every 10 seconds" in page
        assert "The app&#39;s own scheduler" in page or "The app's own scheduler" in page
        assert ">Run now" in page
        assert "/jobs/greet/edit" not in page
        visitor.post("/dashboard/jobs/greet/run")
        wait_until(lambda: "manual" in visitor.get("/dashboard/runs?job=greet").lower())
    finally:
        example.terminate()
        example.wait(30)


class Visitor:
    """Somebody with a browser that has no JavaScript."""

    def __init__(self, url: str) -> None:
        self._url = url
        jar = urllib.request.HTTPCookieProcessor()
        self._opener = urllib.request.build_opener(jar)

    def get(self, path: str) -> str:
        try:
            with self._opener.open(self._url + path, timeout=20) as answer:
                return str(answer.read().decode())
        except urllib.error.URLError as error:
            return str(error)

    def post(self, path: str, **fields: str) -> None:
        form = {"csrf_token": self._token, **fields}
        with self._opener.open(self._url + path, urlencode(form).encode(), timeout=20):
            pass

    def sign_in(self, name: str, password: str) -> None:
        self._take_token("/dashboard/login", "input[name=csrf_token]", "value")
        self.post("/dashboard/login", name=name, password=password)
        self._take_token("/dashboard/jobs", "#csrf-token", "content")

    def _take_token(self, path: str, selector: str, attribute: str) -> None:
        found = BeautifulSoup(self.get(path), "html.parser").select_one(selector)
        assert found is not None
        self._token = str(found[attribute])

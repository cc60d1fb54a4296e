"""A whole session behind the proxy of docs/SECURITY.md, and what is left of it in the logs."""

from __future__ import annotations

import json
import re
import ssl
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPSConnection
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
from bs4 import BeautifulSoup

from tests.conftest import unavailable
from tests.e2e.product import ADMIN, PASSWORD, ROOT, Product, running
from tests.factories import wait_until
from tests.servers import find_nginx, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "jobs.example.com"
AROUND = """
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{site}
}}
"""


@dataclass
class Visitor:
    """A browser of sorts that comes through the proxy."""

    port: int
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(
        self, method: str, path: str, form: dict[str, str] | None = None, **headers: str
    ) -> tuple[int, dict[str, str], str]:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # the certificate is made up
        connection = HTTPSConnection("127.0.0.1", self.port, timeout=30, context=context)
        given = {
            "Host": NAME,
            "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()),
            "Content-Type": "application/x-www-form-urlencoded",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        connection.request(method, path, urlencode(form) if form else None, given)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        for cookie in answer.headers.get_all("Set-Cookie", []):
            for name, morsel in SimpleCookie(cookie).items():
                self.cookies[name] = morsel.value
                assert morsel["secure"], cookie
                assert name.startswith("__Host-") or name == "theme", cookie
        return answer.status, dict(answer.headers), text

    def send(
        self, path: str, page: str = "/profile", headers: dict[str, str] | None = None, **form: str
    ) -> tuple[int, dict[str, str], str]:
        """Send a form as the page would."""
        soup = BeautifulSoup(self.ask("GET", page)[2], "html.parser")
        token = soup.select_one("[name=csrf_token]")
        assert token is not None
        fields = {"csrf_token": str(token["value"]), **form}
        return self.ask(
            "POST", path, fields, Origin=f"https://{NAME}", Referer=f"https://{NAME}{page}",
            Sec_Fetch_Site="same-origin", **(headers or {}),
        )  # fmt: skip

    def sign_in(self, password: str, name: str = ADMIN, **headers: str) -> int:
        return self.send("/login", "/login", headers, name=name, password=password)[0]


@contextmanager
def nginx(folder: Path, product: Product, more: str = "") -> Iterator[int]:
    """Run nginx as the document says, but for ports and files, and `more` for each request."""
    program = find_nginx()
    if program is None:
        unavailable("nginx")
    folder.mkdir()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         f"/CN={NAME}", "-keyout", folder / "key", "-out", folder / "pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    document = (ROOT / "docs/SECURITY.md").read_text(encoding="utf-8")
    found = re.search(r"```nginx\n(.*?)```", document, re.DOTALL)
    assert found is not None
    plain, port = free_port(), free_port()
    site = found[1]
    for said, here in (
        ("listen 80;", f"listen 127.0.0.1:{plain};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        (f"/etc/ssl/{NAME}.pem", str(folder / "pem")),
        (f"/etc/ssl/{NAME}.key", str(folder / "key")),
        ("http://127.0.0.1:8000", product.url),
        ("proxy_http_version 1.1;", f"proxy_http_version 1.1; {more}"),
    ):
        assert said in site, said
        site = site.replace(said, here)
    settings = folder / "nginx.conf"
    settings.write_text(AROUND.format(folder=folder, site=site), encoding="utf-8")
    process = subprocess.Popen([program, "-c", settings, "-p", folder], stderr=subprocess.PIPE)
    try:
        wait_until(lambda: answers(port) or process.poll() is not None)
        if process.poll() is not None:
            assert process.stderr is not None
            raise AssertionError(process.stderr.read().decode())
        yield port
    finally:
        process.terminate()
        process.wait(10)
        assert process.stderr is not None
        process.stderr.close()


def answers(port: int) -> bool:
    try:
        return Visitor(port).ask("GET", "/login")[0] in {200, 303}  # who is signed on is sent on
    except OSError:
        return False


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Product, int]]:
    folder = tmp_path_factory.mktemp("proxied")
    settings = {
        "DASHBOARD_PUBLIC_URL": f"https://{NAME}",
        "DASHBOARD_TRUSTED_PROXIES": "127.0.0.1",
    }
    with running(folder / "data", **settings) as product, nginx(folder / "nginx", product) as port:
        yield product, port


def test_people_sign_in_through_it(site: tuple[Product, int]) -> None:
    visitor = Visitor(site[1])
    status, headers, _ = visitor.ask("GET", "/jobs")
    assert (status, headers["Location"]) == (303, "/login?next=/jobs")
    assert visitor.sign_in(PASSWORD) == 303
    status, headers, page = visitor.ask("GET", "/jobs", X_Request_ID="made-up")
    assert status == 200
    assert "New job" in page
    assert headers["Strict-Transport-Security"].startswith("max-age=")
    assert re.fullmatch("[0-9a-f]{32}", headers["X-Request-ID"]), "nginx's own"
    assert headers["Server"] == "nginx", "no versions"


def test_guessing_is_stopped_and_addresses_that_are_made_up_do_not_help(
    site: tuple[Product, int],
) -> None:
    visitor = Visitor(site[1])
    lies = [f"203.0.113.{number}" for number in range(6)]
    answers = [visitor.sign_in("a wrong guess", "eve", X_Forwarded_For=lie) for lie in lies]
    assert answers == [401] * 5 + [429]
    assert Visitor(site[1]).sign_in(PASSWORD) == 303, "others are not concerned"


def test_a_whole_session_leaves_no_secret_behind(site: tuple[Product, int]) -> None:
    product, port = site
    visitor = Visitor(port)
    assert visitor.sign_in("a-wrong-guess-of-mine") == 401
    assert visitor.sign_in("whatever", name="my-password-in-the-wrong-field") == 401
    assert visitor.sign_in(PASSWORD) == 303
    secrets = {PASSWORD, "a-wrong-guess-of-mine", "my-password-in-the-wrong-field"}
    _, _, page = visitor.send("/people/new", name="ann", role="operator", password="")
    shown = BeautifulSoup(page, "html.parser").select_one("#new-password")
    assert shown is not None
    secrets.add(shown.get_text())
    _, _, page = visitor.send("/tokens", name="ci", role="viewer", days="30")
    token = re.search(r"[A-Za-z0-9_.-]{40,}", BeautifulSoup(page, "html.parser").get_text(" "))
    assert token is not None
    secrets |= {token[0], *visitor.cookies.values()} - {"", "auto"}
    assert len(secrets) >= 6, secrets
    visitor.ask("GET", "/api/v1/jobs", Authorization=f"Bearer {token[0]}")
    visitor.ask("GET", "/api/v1/nothing", Authorization=f"Bearer {token[0]}x")
    noted = json.loads(visitor.ask("GET", "/audit/export.json")[2])
    assert {"sign_in", "user.add"} <= {entry["action"] for entry in noted}
    visitor.send("/logout")
    assert visitor.ask("GET", "/jobs")[0] == 303
    places = {
        "the server's log": product.said,
        "the proxy's log": (product.data.parent / "nginx/access.log").read_text(),
        "the audit log": json.dumps(noted),
        "the database": (product.data / "dashboard.sqlite").read_bytes().decode("latin-1")
        + (product.data / "dashboard.sqlite-wal").read_bytes().decode("latin-1"),
    }
    for place, text in places.items():
        assert [secret for secret in secrets if secret in text] == [], place

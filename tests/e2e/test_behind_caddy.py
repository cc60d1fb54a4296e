"""Signing in behind Caddy, as docs/SECURITY.md says."""

from __future__ import annotations

import re
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.e2e.product import PASSWORD, ROOT, Product, running
from tests.e2e.test_behind_nginx import NAME, Visitor, answers
from tests.factories import wait_until
from tests.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AROUND = """
{{
    admin off
    http_port {plain}
    https_port {port}
    default_bind 127.0.0.1
    default_sni {name}
    local_certs
    skip_install_trust
    storage file_system {folder}/storage
}}
{site}
"""


@contextmanager
def caddy(folder: Path, product: Product) -> Iterator[int]:
    """Run Caddy as the document says, but for ports, files and certificates of its own."""
    program = shutil.which("caddy")
    if program is None:
        pytest.skip("Caddy is not installed (Debian's package is called caddy)")
    folder.mkdir()
    document = (ROOT / "docs/SECURITY.md").read_text(encoding="utf-8")
    found = re.search(r"```caddy\n(.*?)```", document, re.DOTALL)
    assert found is not None
    assert "127.0.0.1:8000" in found[1]
    site = found[1].replace("127.0.0.1:8000", product.url.removeprefix("http://"))
    port = free_port()
    settings = folder / "Caddyfile"
    around = AROUND.format(plain=free_port(), port=port, name=NAME, folder=folder, site=site)
    settings.write_text(around, encoding="utf-8")
    with (folder / "log").open("wb") as log:
        command = [program, "run", "--config", str(settings), "--adapter", "caddyfile"]
        process = subprocess.Popen(command, stdout=log, stderr=log, env={"HOME": str(folder)})
    try:
        wait_until(lambda: answers(port) or process.poll() is not None)
        assert process.poll() is None, (folder / "log").read_text()
        yield port
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("behind-caddy")
    settings = {
        "DASHBOARD_PUBLIC_URL": f"https://{NAME}",
        "DASHBOARD_TRUSTED_PROXIES": "127.0.0.1",
    }
    with running(folder / "data", **settings) as product, caddy(folder / "caddy", product) as port:
        yield port


def test_people_sign_in_through_it(port: int) -> None:
    visitor = Visitor(port)
    status, headers, _ = visitor.ask("GET", "/jobs")
    assert (status, headers["Location"]) == (303, "/login?next=/jobs")
    assert visitor.sign_in(PASSWORD) == 303
    status, headers, page = visitor.ask("GET", "/jobs", X_Request_ID="made-up")
    assert status == 200
    assert "New job" in page
    assert headers["Strict-Transport-Security"].startswith("max-age=")
    assert re.fullmatch("[0-9a-f-]{36}", headers["X-Request-Id"]), "Caddy's own"


def test_addresses_and_names_that_are_made_up_do_not_help(port: int) -> None:
    visitor = Visitor(port)
    lies = [f"203.0.113.{number}" for number in range(6)]
    answers = [visitor.sign_in("a wrong guess", "eve", X_Forwarded_For=lie) for lie in lies]
    assert answers == [401] * 5 + [429]
    status, headers, _ = visitor.ask("GET", "/jobs", X_Forwarded_Host="evil.example")
    assert "evil" not in f"{status} {headers}"

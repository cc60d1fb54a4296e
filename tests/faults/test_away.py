"""The database is away for a while: pages and machines are told so, and all goes on afterwards."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, build_opener

from tests.factories import PATIENCE, wait_until
from tests.faults.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.dashboards import Place


PASSWORD = "correct horse battery staple"
TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')


def sign_in(address: str) -> OpenerDirector:
    """Return a browser in which the administrator is signed in."""
    person = build_opener(HTTPCookieProcessor())
    _, page = fetch(person, address + "/login")
    found = TOKEN.search(page)
    assert found
    form = {"csrf_token": found.group(1), "name": "admin", "password": PASSWORD}
    assert fetch(person, address + "/login", urlencode(form).encode())[0] == 200
    return person


def fetch(person: OpenerDirector, url: str, form: bytes | None = None) -> tuple[int, str]:
    try:
        with person.open(url, form, timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_pages_say_that_the_database_is_away_and_runs_go_on_afterwards(
    make_place: Callable[..., Place], postgresql_url: str
) -> None:
    server, _, name = postgresql_url.rpartition("/")
    place = make_place(database=postgresql_url, lease_seconds=2, admin_password=PASSWORD)
    place.add_job("a")
    with Proxy("127.0.0.1", int(server.rpartition(":")[2])) as proxy:
        through = f"{server.rpartition(':')[0]}:{proxy.port}/{name}"
        dashboard = place.start(database=through)
        assert dashboard.get("/login")[0] == 200
        wait_until(lambda: dashboard.get("/healthz")[0] == 200)
        person = sign_in(dashboard.listens())
        assert fetch(person, dashboard.listens() + "/jobs")[0] == 200
        [long] = place.ask("a", task="faults.hold")
        wait_until(lambda: long in place.traces())
        proxy.cut()
        status, health = dashboard.get("/healthz")
        assert (status, json.loads(health)["database"]) == (503, "failed")
        status, page = fetch(person, dashboard.listens() + "/jobs")
        assert status == 503
        assert "The database does not answer" in page
        status, told = fetch(person, dashboard.listens() + "/api/v1/status")
        assert (status, json.loads(told)["title"]) == (503, "The database does not answer")
        place.let_go()
        wait_until(lambda: long in place.traces("end"))
        assert place.state(long) == "running"
        proxy.mend()
        # How it ended was kept until it could be written; nobody else had taken the lease.
        wait_until(lambda: place.state(long) == "succeeded")
        [after] = place.ask("a", first=1)
        wait_until(lambda: place.state(after) == "succeeded")
        wait_until(lambda: dashboard.get("/healthz")[0] == 200)
        dashboard.kill()

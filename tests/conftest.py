"""What tests of every kind share: real servers, and a clean environment."""

from __future__ import annotations

import os
import re
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import hypothesis
import psycopg
import pytest
from psycopg import sql

from dashboard import runtime
from dashboard.samples import register_samples
from dashboard.settings import load_settings
from tests import servers

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest_plugins = ["tests.factories"]

register_samples()  # for good, before a test that puts the registry back could do so for itself

# Every run of the tests tries the same examples, however slow the machine is at the moment.
hypothesis.settings.register_profile(
    "steady",
    derandomize=True,
    deadline=None,
    suppress_health_check=[
        hypothesis.HealthCheck.too_slow,
        hypothesis.HealthCheck.function_scoped_fixture,  # each example empties its database itself
    ],
)
hypothesis.settings.load_profile("steady")


def unavailable(what: str) -> NoReturn:
    """Skip with a reason; in continuous integration, where it has to be there, fail instead."""
    reason = f"{what} is not installed (`make test` says how to get it)"
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


LAST = ("tests/test_bench.py", "tests/e2e/")
LONG = ("tests/e2e/", "tests/faults/", "tests/test_bench.py", "tests/test_cli.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests into their order, and say which of them the workers share out one by one.

    What changes its process for good runs last: Playwright keeps an event loop running in the main
    thread, in which no `asyncio.run` works any more; benchmarks register tasks of their own. Of the
    files with long tests every worker takes one test at a time, of the others a whole file.
    """
    items.sort(
        key=lambda item: next((n for n, p in enumerate(LAST, 1) if item.nodeid.startswith(p)), 0)
    )
    for item in items:
        if re.search(r" at 0x[0-9a-f]{9}", item.nodeid):
            raise pytest.UsageError(f"{item.nodeid} has another name in every worker; give it ids")
        if not item.nodeid.startswith(LONG):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


@pytest.fixture(scope="session", autouse=True)
def _own_settings() -> Iterator[None]:
    """Keep the settings of the person who runs the tests out of them.

    On a busy machine a test may be paused for seconds in the middle of a transaction.
    """
    with pytest.MonkeyPatch.context() as patch:
        for limit in ("HANGING", "LEAST_HANGING"):
            patch.setattr(runtime, limit, 60.0)
        for name in [name for name in os.environ if name.startswith("DASHBOARD_")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """A PostgreSQL server of this test run's own: its URL without a database."""
    programs = servers.find_postgresql()
    if programs is None:
        unavailable("PostgreSQL")
    with servers.postgresql_server(programs) as url:
        yield url


@contextmanager
def own_database(server: str, *, like: str = "template1") -> Iterator[str]:
    """Make a copy of a PostgreSQL database and remove it afterwards: its URL.

    No connection stays open meanwhile: there are tests that cut all they find.
    """
    name = f"test_{uuid.uuid4().hex}"
    new, old = sql.Identifier(name), sql.Identifier(like)
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(new, old))
    yield f"{server}/{name}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(new))


@pytest.fixture(scope="session")
def _migrated(postgresql_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a PostgreSQL database to copy: making its tables takes much longer than that."""
    with own_database(postgresql_server) as url:
        settings = load_settings(data=tmp_path_factory.mktemp("migrated"), database=url)
        runtime.open_database(settings).close()
        yield url.rpartition("/")[2]


@pytest.fixture
def postgresql_url(postgresql_server: str, _migrated: str) -> Iterator[str]:
    """The URL of a PostgreSQL database as it is after its migration, removed after the test."""
    with own_database(postgresql_server, like=_migrated) as url:
        yield url


@pytest.fixture
def bare_postgresql_url(postgresql_server: str) -> Iterator[str]:
    """The URL of a PostgreSQL database without any table, removed after the test."""
    with own_database(postgresql_server) as url:
        yield url


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """A Redis server of this test run's own."""
    program = servers.find_redis()
    if program is None:
        unavailable("Redis")
    with servers.redis_server(program) as url:
        yield url


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """The URL of an empty Redis."""
    servers.flush_redis(redis_server)
    return redis_server

"""The examples in docs/API.md are run against a running dashboard, and its answers compared."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dashboard.services import audit, tokens
from dashboard.services.status import scheduler_status
from dashboard.settings import load_settings
from dashboard.storage.db import Database
from dashboard.storage.models import Role
from tests.e2e.product import running
from tests.factories import ADMIN, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.product import Product

PAGE = Path(__file__).parent.parent / "docs/API.md"
EXAMPLE = re.compile(r"^```sh\n(.*?)^```\n(?:\n```(\w+)\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)
MORE = "…"
"""The key that stands for whatever else an object has."""

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
FIXED = {"status", "version", "attempt", "max_instances", "consecutive_failures", "seq"}
"""Numbers that are the same each time; of others only the kind is compared, as of moments."""

OWN = {"leader", "host", "traceback", "next", "version"}
"""Texts that differ from one machine to the next."""


MOMENTS = ("2027-03-01T12:00:00Z", "2030-01-01T00:00:00.5+02:00")


def test_every_example_is_answered_as_the_page_says(product: Product, key: str) -> None:
    examples = EXAMPLE.findall(PAGE.read_text(encoding="utf-8"))
    assert len(examples) > 15
    definition = examples[0][0]
    for command, kind, expected in examples[1:]:
        answer = run(definition + command, product, key)
        if kind == "json":
            difference = compare(json.loads(expected), json.loads(answer), "")
            assert difference is None, f"{command}\n{difference}\n{answer}"
        else:
            assert answer.strip() == expected.strip(), command


def test_a_difference_is_noticed() -> None:
    assert compare({"a": 1, MORE: MORE}, {"a": 7, "b": 2}, "") is None
    assert (
        compare({"at": "2027-03-01T12:00:00Z"}, {"at": "2030-01-01T00:00:00.5+02:00"}, "") is None
    )
    for expected, found in (
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1, MORE: MORE}, {"b": 2}),
        ({"a": 1}, {"a": "1"}),
        ({"a": True}, {"a": 1}),
        ({"a": "x"}, {"a": "y"}),
        ({"at": MOMENTS[0]}, {"at": "tomorrow"}),
        ({"status": 422}, {"status": 400}),
        ([1], [1, 2]),
        ({"a": None}, {"a": 0}),
    ):
        assert compare(expected, found, "") is not None, (expected, found)


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with running(tmp_path_factory.mktemp("api")) as product:
        yield product


def leads(database: Database) -> bool:
    with database.read() as session:
        return scheduler_status(session).alive


@pytest.fixture(scope="module")
def key(product: Product) -> str:
    database = Database(load_settings(data=product.data).database_url)
    wait_until(lambda: leads(database))  # it listens a moment before
    with audit.transaction(database) as session:
        _token, key = tokens.add_token(session, "deploy", Role.ADMIN, actor=ADMIN)
    database.close()
    return key


def run(script: str, product: Product, key: str) -> str:
    """Run a shell script as a reader would and return what it prints."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env=os.environ | {"DASHBOARD": product.url, "TOKEN": key},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def compare(expected: Any, found: Any, name: str) -> str | None:
    """Return the first difference, or None; of what differs each time only the kind counts."""
    if type(expected) is not type(found):
        return f"{name}: {found!r} is not like {expected!r}"
    if isinstance(expected, dict):
        missing = expected.keys() - found.keys() - {MORE}
        further = found.keys() - expected.keys() if MORE not in expected else set()
        if missing or further:
            return f"{name}: missing {missing}, not shown {further}"
        pairs = ((each, value, found[each]) for each, value in expected.items() if each != MORE)
        return next(filter(None, (compare(mine, its, each) for each, mine, its in pairs)), None)
    if isinstance(expected, list):
        if len(expected) != len(found):
            return f"{name}: {len(found)} items instead of {len(expected)}"
        pairs = ((name, mine, its) for mine, its in zip(expected, found, strict=True))
        return next(filter(None, (compare(mine, its, each) for each, mine, its in pairs)), None)
    same = expected == found
    if isinstance(expected, str):
        same = same or name in OWN or bool(MOMENT.fullmatch(expected) and MOMENT.fullmatch(found))
    elif isinstance(expected, int | float) and not isinstance(expected, bool):
        same = same or name not in FIXED
    return None if same else f"{name}: {found!r} instead of {expected!r}"

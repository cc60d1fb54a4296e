"""A short storm of each kind; `make faults` has long ones."""

from __future__ import annotations

import random

import pytest

from tests import servers
from tests.conftest import unavailable
from tests.faults.storm import storm


def say(line: str) -> None:
    print(line)  # noqa: T201 -- shown when the test fails


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("kind", "rounds", "dashboards"), [("sqlite", 2, 2), ("postgresql", 3, 3)])
def test_whatever_goes_wrong_every_fire_time_is_one_run(
    kind: str, rounds: int, dashboards: int
) -> None:
    if kind == "postgresql" and servers.find_postgresql() is None:
        unavailable("PostgreSQL")
    seed = random.randrange(10**6)
    say(f"seed {seed}")
    assert storm(kind, rounds, random.Random(seed), say, dashboards=dashboards, broker=False)

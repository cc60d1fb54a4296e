"""The same draining on PostgreSQL, where one is installed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from bench.drain import compared, drain_bare, drain_dashboard
from bench.isolation import alone
from tests import servers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.results import Figure
    from bench.scale import Scale


def measure(scale: Scale) -> Iterator[Figure]:
    """Compare on one server of our own, each round with a database of its own."""
    programs = servers.find_postgresql()
    if programs is None:
        print("(postgresql: not installed, left out)", file=sys.stderr)
        return
    ours, plain = [], []
    with servers.postgresql_server(programs) as server:
        for number in range(scale.rounds):
            ours.append(alone(drain_dashboard, scale.due_jobs, _new(server, f"ours_{number}")))
            plain.append(alone(drain_bare, scale.due_jobs, _new(server, f"bare_{number}")))
    what = f"{scale.due_jobs:,} due jobs on PostgreSQL, recorded / bare SQLAlchemyJobStore"
    yield compared("postgresql", what, scale.due_jobs, ours, plain)


def _new(server: str, name: str) -> str:
    """Make a database and return its URL."""
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return server.replace("postgresql://", "postgresql+psycopg://") + f"/{name}"

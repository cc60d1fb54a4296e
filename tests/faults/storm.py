"""Storms: real dashboards, workers, database and broker, and one thing after the other going wrong.

    make faults                              some hundred rounds, with a seed that it prints
    make faults ARGS="--seed 7 --rounds 50 --database postgresql"

A round is one fault, and that runs go on after it. After each storm of some rounds the books are
checked: every fire time is exactly one row in a final state, its task was called at most once, and
the statistics count the same rows.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import resource
import signal
import sqlite3
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psycopg
from psycopg import sql
from sqlalchemy import update

from dashboard.storage.models import ACTIVE, Job
from tests import servers
from tests.faults.books import Broken, check
from tests.faults.dashboards import Place, Process
from tests.faults.proxy import Proxy
from tests.faults.surroundings import Clock, full, small_disk, write_protected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 60.0
"""Seconds within which runs must go on after a fault."""

DASHBOARDS = (2, 3)
"""How many dashboards a storm has."""

JOBS = 3
"""Jobs of each executor; each fires every second."""

DISK = 48
"""Megabytes of the disk of a storm on SQLite."""


class Storm:
    """One database, some dashboards and workers on it, and what can happen to them."""

    def __init__(
        self, stack: ExitStack, kind: str, chance: random.Random, *, dashboards: int, broker: bool
    ) -> None:
        self.kind = kind
        self.chance = chance
        self._stack = stack
        self._proxy: Proxy | None = None
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="storm-")))
        self._clock = Clock(folder)
        self._small = stack.enter_context(small_disk(folder / "data", DISK))
        options: dict[str, object] = {"lease_seconds": 1, "threads": 8, "shutdown_grace": 1}
        through = {}
        if kind == "postgresql":
            direct, through["database"] = self._postgresql()
            options["database"] = direct
        self._redis: ExitStack | None = None
        self._redis_program = servers.find_redis() if broker else None
        if self._redis_program:
            self._redis_port = servers.free_port()
            options["celery_broker"] = f"redis://127.0.0.1:{self._redis_port}/0"
            self._start_redis()
            stack.callback(self._stop_redis)
        self.place = Place.make(folder, **options)
        stack.callback(self.place.database.close)
        self.place.options |= through
        self.executors = ["threads", "processes"] + (["celery"] if self._redis_program else [])
        self.began = datetime.now(UTC).replace(microsecond=0)
        self._add_jobs()
        self.dashboards = [self.start() for _ in range(dashboards)]
        self.workers = [self.start(worker=True)] if self._redis_program else []

    @classmethod
    @contextmanager
    def brew(
        cls, kind: str, chance: random.Random, *, dashboards: int, broker: bool
    ) -> Iterator[Self]:
        """Set everything up, and take it down whatever happened."""
        with ExitStack() as stack:
            storm = cls(stack, kind, chance, dashboards=dashboards, broker=broker)
            yield storm

    def _postgresql(self) -> tuple[str, str]:
        programs = servers.find_postgresql()
        if programs is None:
            raise SystemExit("PostgreSQL is not installed")
        server = self._stack.enter_context(servers.postgresql_server(programs))
        name = f"storm_{uuid.uuid4().hex}"
        with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        port = int(server.rpartition(":")[2])
        self._proxy = self._stack.enter_context(Proxy("127.0.0.1", port))
        through = f"{server.rpartition(':')[0]}:{self._proxy.port}/{name}"
        return f"{server}/{name}", through

    def _start_redis(self) -> None:
        assert self._redis_program is not None
        self._redis = ExitStack()
        self._redis.enter_context(servers.redis_server(self._redis_program, port=self._redis_port))

    def _stop_redis(self) -> None:
        if self._redis is not None:
            self._redis.close()
            self._redis = None

    def _add_jobs(self) -> None:
        trigger = {"type": "interval", "seconds": 1, "start_date": self.began.isoformat()}
        for executor in self.executors:
            for number in range(JOBS):
                self.place.add_job(
                    f"{executor}-{number}",
                    executor=executor,
                    trigger=trigger,
                    next_run_time=self.began,
                    coalesce=False,
                    misfire_grace_time=None,
                    max_instances=1000,
                    parameters={"seconds": 0.02 * number},
                )

    def start(self, *, worker: bool = False) -> Process:
        """Start one more dashboard, or worker."""
        process = self.place.start_worker("--concurrency", "2") if worker else self.place.start()
        self._stack.callback(process.kill)
        return process

    def _one(self, *, dashboards: bool = True, workers: bool = True) -> tuple[list[Process], int]:
        """Pick one of the processes: the list it is in, and where."""
        candidates = []
        for group, wanted in ((self.dashboards, dashboards), (self.workers, workers)):
            candidates += [(group, number) for number in range(len(group)) if wanted]
        return self.chance.choice(candidates)

    # The faults. Each leaves everything as it was before, except for what it broke.

    def kill(self) -> str:
        """End a process without a word, and start another in its place."""
        group, number = self._one()
        group[number].kill()
        self._pause(0, 1.5)
        group[number] = self.start(worker=group is self.workers)
        return "worker" if group is self.workers else "dashboard"

    def stop_cleanly(self) -> str:
        """End a process as a service manager does, and start another in its place."""
        group, number = self._one()
        group[number].signal(signal.SIGTERM)
        group[number].wait(PATIENCE)
        group[number] = self.start(worker=group is self.workers)
        return "worker" if group is self.workers else "dashboard"

    def freeze(self) -> str:
        """Stop a process for a while, in the middle of whatever it does."""
        group, number = self._one()
        group[number].signal(signal.SIGSTOP)
        self._pause(0.1, 4)
        group[number].signal(signal.SIGCONT)
        return "worker" if group is self.workers else "dashboard"

    def freeze_the_leader(self) -> str:
        """Stop the leader for longer than its lease, and each that follows but the last."""
        stopped = []
        for _ in self.dashboards[1:]:
            pid = self.place.leader()
            leaders = [each for each in self.dashboards if each.pid == pid and each not in stopped]
            for process in leaders:
                process.signal(signal.SIGSTOP)
            stopped += leaders
            self._pause(1.2, 4)
        for process in stopped:
            process.signal(signal.SIGCONT)
        return f"{len(stopped)} of {len(self.dashboards)}"

    def cut_the_network(self) -> str:
        """Break all connections to the database, and let none through for a while."""
        if self._proxy is None:
            return self.lock_the_database()
        self._proxy.cut()
        self._pause(0, 3)
        self._proxy.mend()
        return "PostgreSQL"

    def lock_the_database(self) -> str:
        """Hold the write lock, or a table that every tick needs."""
        if self.kind == "postgresql":
            url = str(self.place.options["database"])
            with contextlib.suppress(psycopg.Error), psycopg.connect(url) as connection:
                connection.execute("SET lock_timeout = '10s'")
                connection.execute("LOCK TABLE run IN ACCESS EXCLUSIVE MODE")
                self._pause(0.1, 3)
            return "PostgreSQL"
        name = self.place.database.engine.url.database
        other = sqlite3.connect(str(name), isolation_level=None, timeout=20)
        with contextlib.closing(other):
            other.execute("BEGIN IMMEDIATE")
            self._pause(0.1, 3)
            other.execute("ROLLBACK")
        return "SQLite"

    def fill_the_disk(self) -> str:
        """Leave no room for the database, or let a dashboard's files not grow, for a while."""
        if self.kind == "postgresql":
            return self.cut_the_network()
        if self._small:
            with full(self.place.settings.data):
                self._pause(0.2, 3)
            return "SQLite"
        group, number = self._one(workers=False)
        pid = group[number].pid
        with contextlib.suppress(ProcessLookupError):
            unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
            self._pause(0.2, 3)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
        return "dashboard"

    def protect_the_disk(self) -> str:
        """Let nobody write to the database for a while, as a kernel does with a broken disk."""
        if self.kind == "postgresql":
            return self.cut_the_network()
        file = Path(str(self.place.database.engine.url.database))
        with ExitStack() as stack:
            for each in (file, file.with_name(f"{file.name}-wal")):
                stack.enter_context(write_protected(each))
            self._pause(0.2, 3)
        return "SQLite"

    def set_the_clock(self) -> str:
        """Set the clock of all dashboards and workers forward, or back by less."""
        seconds = self.chance.choice([self.chance.uniform(2, 30), self.chance.uniform(-8, -2)])
        self._clock.jump(seconds)
        return f"{seconds:+.0f} s"

    def sleep(self) -> str:
        """Stop everything for a moment that lasts long by the clock, as a machine does."""
        for process in self.processes:
            process.signal(signal.SIGSTOP)
        self._clock.jump(self.chance.uniform(5, 60))
        for process in self.processes:
            process.signal(signal.SIGCONT)
        return ""

    def lose_the_broker(self) -> str:
        """Restart the broker, which forgets every message."""
        if self._redis is None:
            return self.kill()
        self._stop_redis()
        self._pause(0, 2)
        self._start_redis()
        return "Redis"

    @property
    def faults(self) -> list[Callable[[], str]]:
        return [
            self.kill,
            self.kill,
            self.stop_cleanly,
            self.freeze,
            self.freeze_the_leader,
            self.cut_the_network,
            self.lock_the_database,
            self.fill_the_disk,
            self.protect_the_disk,
            self.set_the_clock,
            self.sleep,
            self.lose_the_broker,
        ]

    def _pause(self, least: float, most: float) -> None:
        time.sleep(self.chance.uniform(least, most))

    def round(self) -> str:
        """Let one thing go wrong, and see that runs go on; return what it was."""
        fault = self.chance.choice(self.faults)
        detail = fault()
        self._revive(fault.__name__)
        newest = max((run.id for run in self.place.runs()), default=0)
        self._wait(lambda: self._has_begun_after(newest), f"no run began after {fault.__name__}")
        return f"{fault.__name__} {detail}".replace("_", " ").strip()

    def _revive(self, fault: str) -> None:
        """Start again, as a service manager does, what found no database when it started.

        Nothing else is a reason to end.
        """
        for group in (self.dashboards, self.workers):
            for number, process in enumerate(group):
                if process.alive:
                    continue
                if "the database cannot be used" not in process.said:
                    raise Broken(f"a process ended by itself after {fault}\n{process.said}")
                group[number] = self.start(worker=group is self.workers)

    def _has_begun_after(self, run_id: int) -> bool:
        return any(begun > run_id for begun in self.place.traces()[-200:])

    def _wait(
        self, condition: Callable[[], bool], problem: str, patience: float = PATIENCE
    ) -> None:
        deadline = time.monotonic() + patience
        while not condition():
            if time.monotonic() > deadline:
                said = "\n".join(process.said[-3000:] for process in self.processes)
                raise Broken(f"{problem} within {patience:g} s\n{said}")
            time.sleep(0.05)

    @property
    def processes(self) -> list[Process]:
        return [*self.dashboards, *self.workers]

    def settle(self) -> None:
        """Let no job fire any more, and wait until all runs have ended."""
        with self.place.database.write() as session:
            session.execute(update(Job).values(next_run_time=None))
        patience = PATIENCE + 90  # what the broker forgot is sent again after a minute
        self._wait(lambda: not self.place.runs(*ACTIVE), "runs did not end", patience)


def storm(
    kind: str,
    rounds: int,
    chance: random.Random,
    say: Callable[[str], None],
    *,
    dashboards: int,
    broker: bool = True,
) -> int:
    """Have one storm of some rounds and check the books; return the number of runs.

    Without a broker there are no Celery workers, and it is over sooner: what a broker forgets is
    sent again after a minute only.
    """
    with Storm.brew(kind, chance, dashboards=dashboards, broker=broker) as weather:
        for process in weather.dashboards:
            process.listens()
        for number in range(1, rounds + 1):
            say(f"  {number:3} {weather.round()}")
        weather.settle()
        states = check(weather.place, weather.began)
    say(f"  {sum(states.values())} runs: {dict(states)}")
    return sum(states.values())


def main(arguments: list[str] | None = None) -> int:
    """Have as many storms as the rounds asked for need."""
    parser = argparse.ArgumentParser(prog="make faults", description="Let things go wrong.")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument(
        "--a-storm", type=int, default=15, help="rounds before the books are checked"
    )
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    options = parser.parse_args(arguments)
    chance = random.Random(options.seed)
    kinds = ["sqlite", "postgresql"] if options.database == "both" else [options.database]
    done = runs = 0
    print(f"seed {options.seed}", flush=True)
    while done < options.rounds:
        kind = kinds[(done // options.a_storm) % len(kinds)]
        rounds = min(options.a_storm, options.rounds - done)
        dashboards = chance.choice(DASHBOARDS)
        print(f"{kind}, {dashboards} dashboards, rounds {done + 1} to {done + rounds}", flush=True)
        runs += storm(
            kind, rounds, chance, lambda line: print(line, flush=True), dashboards=dashboards
        )
        done += rounds
    print(f"{done} rounds, {runs} runs, no promise broken (seed {options.seed})")
    return 0


if __name__ == "__main__":
    sys.exit(main())

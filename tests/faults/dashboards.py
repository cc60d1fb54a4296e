"""Real dashboards in processes of their own, started as a person would, and ended in every way."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import select

from dashboard.runtime import open_database
from dashboard.settings import Settings, load_settings
from dashboard.storage.models import ACTIVE, Job, Lease, Run, RunState
from dashboard.storage.models import Process as ProcessRow
from tests.factories import PATIENCE, new_run, wait_until
from tests.rows import make_job

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dashboard.storage.db import Database

ROOT = Path(__file__).parents[2]
LISTENING = re.compile(r"Listening (?:on|at:) (http://\S+)")

TASKS = '''
"""Tasks that leave their traces in a file of their own, which no crash of the dashboard undoes."""
import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import time_machine
from pydantic import SecretStr

from dashboard import current_run, task

TRACES = Path(__file__).with_name("traces")
CLOCK = Path(__file__).with_name("clock")


def set_clock():
    global ahead
    wanted = float(CLOCK.read_text())
    clock.shift(wanted - ahead)
    ahead = wanted


def keep_time():
    while True:
        set_clock()
        threading.Event().wait(0.05)


def begin_to_keep_time():
    threading.Thread(target=keep_time, daemon=True).start()


if CLOCK.exists():
    import time_machine

    clock, ahead = time_machine.travel(datetime.now(UTC), tick=True).start(), 0.0
    set_clock()
    begin_to_keep_time()
    os.register_at_fork(after_in_child=begin_to_keep_time)


def trace(word):
    file = os.open(TRACES, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{word} {current_run().id} {os.getpid()}\\n".encode())
    os.close(file)


@task(name="faults.work")
def work(seconds: float = 0.0):
    trace("begin")
    time.sleep(seconds)
    trace("end")


@task(name="faults.secret")
def secret(token: SecretStr):
    assert token.get_secret_value() == "hunter2"
    return str(token)


@task(name="faults.hold")
def hold():
    trace("begin")
    while not TRACES.with_name("over").exists():
        time.sleep(0.01)
    trace("end")


@task(name="faults.fragile")
def fragile():
    if TRACES.with_name("trouble").exists():
        raise OSError("disk full")
'''


@dataclass
class Place:
    """What the dashboards of one test share: data, tasks, and a look into the database."""

    folder: Path
    settings: Settings
    database: Database
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def make(cls, folder: Path, **options: Any) -> Self:
        """Lay everything out in a folder; `options` are settings of all dashboards there."""
        tasks = folder / "faults_tasks.py"
        tasks.write_text(TASKS)
        settings = load_settings(data=folder / "data", tasks=[str(tasks)], **options)
        return cls(folder, settings, open_database(settings), options)

    def add_job(self, job_id: str, **values: Any) -> None:
        """Add a job of the task above that does not fire unless told otherwise."""
        defaults = {"task": "faults.work", "next_run_time": None, "max_instances": 100}
        with self.database.write() as session:
            session.add(make_job(job_id, **(defaults | values)))

    def ask(self, job_id: str, *, first: int = 0, count: int = 1, **values: Any) -> list[int]:
        """Queue runs as a person does."""
        defaults: dict[str, Any] = {
            "task": "faults.work",
            "parameters": {},
            "state": RunState.QUEUED,
            "origin": "manual",
        }
        runs = [new_run(job_id, first + n, **(defaults | values)) for n in range(count)]
        with self.database.write() as session:
            session.add_all(runs)
            session.flush()
            return [run.id for run in runs]

    def runs(self, *states: RunState) -> list[Run]:
        query = select(Run).order_by(Run.id)
        if states:
            query = query.where(Run.state.in_(states))
        with self.database.read() as session:
            return list(session.scalars(query))

    def state(self, run_id: int) -> str:
        with self.database.read() as session:
            return session.get_one(Run, run_id).state.value

    def job(self, job_id: str) -> Job:
        with self.database.read() as session:
            return session.get_one(Job, job_id)

    def leader(self) -> int:
        """Return the process id of whoever holds the lease."""
        with self.database.read() as session:
            return session.get_one(Lease, "scheduler").pid

    def traces(self, word: str = "begin") -> list[int]:
        """Return the runs that left this word, in order."""
        return [run_id for left, run_id, _ in self._traces() if left == word]

    def pids(self) -> set[int]:
        """Return the processes that tasks ran in."""
        return {pid for _, _, pid in self._traces()}

    def began_in(self, run_id: int) -> int:
        """Return the process that a run began in."""
        return next(pid for _, begun, pid in self._traces() if begun == run_id)

    def _traces(self) -> list[tuple[str, int, int]]:
        file = self.folder / "traces"
        text = file.read_text() if file.exists() else ""
        lines = text.rpartition("\n")[0].splitlines()  # whoever writes may be in the middle of one
        return [(word, int(run_id), int(pid)) for word, run_id, pid in map(str.split, lines)]

    def processes(self) -> dict[int, ProcessRow]:
        """Return the processes that are known to live, by their process id."""
        with self.database.read() as session:
            return {row.pid: row for row in session.scalars(select(ProcessRow))}

    def let_go(self) -> None:
        """Let all runs of `faults.hold` end."""
        (self.folder / "over").touch()

    def settle(self) -> None:
        """Wait until nothing is queued or running any more."""
        wait_until(lambda: not self.runs(*ACTIVE))

    def start(self, **options: Any) -> Process:
        """Start one more dashboard here."""
        return self._start("-m", "dashboard", "run", "--port", "0", **options)

    def start_worker(self, *arguments: str, **options: Any) -> Process:
        """Start one more Celery worker here."""
        return self._start("-m", "dashboard", "worker", *arguments, **options)

    def start_gunicorn(self, *arguments: str) -> Process:
        """Start gunicorn here."""
        return self._start("-m", "gunicorn", "dashboard:create_app()", *arguments)

    def _start(self, *arguments: str, **options: Any) -> Process:
        here = {"data": self.settings.data, "tasks": self.settings.tasks[0]}
        return Process(self.folder, here | self.options | options, arguments)


class Process:
    """One dashboard, worker or server."""

    def __init__(self, folder: Path, options: Mapping[str, Any], arguments: Sequence[str]) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("DASHBOARD_")}
        for name, value in options.items():
            environment[f"DASHBOARD_{name.upper()}"] = str(value)
        self.output: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.pid = self._process.pid

    def _read(self) -> None:
        assert self._process.stdout is not None
        self.output += self._process.stdout

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def said(self) -> str:
        return "".join(list(self.output))

    def listens(self) -> str:
        """Wait until it serves and return its address."""
        return wait_until(self._address)

    def _address(self) -> str:
        found = LISTENING.search(self.said)
        assert found or self._process.poll() is None, self.said
        return found.group(1) if found else ""

    def get(self, path: str) -> tuple[int, str]:
        """Fetch a page and return its status and text."""
        try:
            with urllib.request.urlopen(self.listens() + path, timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def signal(self, number: signal.Signals, *, group: bool = False) -> None:
        """Send a signal: to the process alone, or to all of its terminal as Ctrl-C does."""
        if group:
            os.killpg(self.pid, number)
        else:
            os.kill(self.pid, number)

    def freeze(self) -> None:
        """Stop it until it gets SIGCONT, and wait until all its threads stand still."""
        self.signal(signal.SIGSTOP)
        wait_until(self._is_frozen)

    def _is_frozen(self) -> bool:
        threads = Path(f"/proc/{self.pid}/task")
        try:
            stats = [(thread / "stat").read_text() for thread in threads.iterdir()]
        except OSError:  # one has ended meanwhile
            return False
        return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)

    def kill(self) -> None:
        """End it without a word, and reap it."""
        if self._process.poll() is None:
            self._process.kill()
        self.wait()

    def wait(self, timeout: float = PATIENCE) -> int:
        """Wait for its end and return its exit status."""
        status = self._process.wait(timeout)
        self._reader.join(timeout)
        if self._process.stdout is not None:
            self._process.stdout.close()
        return status

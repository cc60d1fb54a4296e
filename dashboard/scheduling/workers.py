"""Worker processes: how they begin, what they run, how they speak home, and how they are ended.

Each has a pipe of its own, used by one run at a time. So a worker can be killed at any moment, in
the middle of a message even, and no other run notices.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import psutil

from dashboard.capture import install_capture
from dashboard.records import Outcome
from dashboard.runcontext import run_task
from dashboard.tasks import load_task_modules

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from dashboard.records import Record, RunIdentity, RunSink
    from dashboard.settings import Settings

LOOK = 1.0
"""Seconds after which a silent worker is looked at: its own children may keep its pipe open."""

READY = "ready"

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has only the latter


class WorkerDied(Exception):
    """The worker has ended; the message says how."""


class Worker:
    """One worker process as its parent sees it."""

    def __init__(self, settings: Settings) -> None:
        """Start the process and wait until it has imported the tasks; raises `WorkerDied`."""
        context = multiprocessing.get_context("spawn")
        self._killed = False
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve_runs, args=(settings, theirs), name="worker")
        self._process.start()
        theirs.close()
        self._receive()

    def run(
        self,
        task: str,
        parameters: dict[str, Any],
        identity: RunIdentity,
        sink: RunSink,
        timeout: float | None = None,
    ) -> Outcome:
        """Run a task there, pass on what it says, and return how it ended.

        Raises `WorkerDied`, and `TimeoutError` when the task goes on after `timeout` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            self._connection.send((task, parameters, identity))
        except OSError:
            raise WorkerDied(self._how_it_died()) from None
        while True:
            item = self._receive(deadline)
            if isinstance(item, Outcome):
                return item
            sink.emit(item)

    @property
    def alive(self) -> bool:
        """Whether it can take another run."""
        return not self._killed and self._process.is_alive()

    def kill(self) -> None:
        """End the process and what it has started; from any thread."""
        self._killed = True
        if self._process.pid is not None:
            kill_tree(self._process.pid)

    def dismiss(self) -> None:
        """Tell the process that nothing more will come."""
        self._connection.close()

    def end(self, timeout: float) -> None:
        """Let the process end; after `timeout` seconds kill it."""
        self.dismiss()
        self._process.join(timeout)
        if self._process.is_alive():
            self.kill()
            self._process.join(timeout)

    def _receive(self, deadline: float | None = None) -> Any:
        while not self._poll(_patience(deadline)):
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError
            if not self._process.is_alive() and not self._poll(0):
                raise WorkerDied(self._how_it_died())
        try:
            return self._connection.recv()
        except (EOFError, OSError):
            raise WorkerDied(self._how_it_died()) from None

    def _poll(self, seconds: float) -> bool:
        try:
            return self._connection.poll(seconds)
        except (EOFError, OSError):  # Windows: a pipe whose other end is gone
            return True

    def _how_it_died(self) -> str:
        # It may have left children behind, which nobody waits for any more.
        kill_group(self._process.pid)
        self._process.join(LOOK)
        code = self._process.exitcode
        if code == -KILL:
            how = "it was killed, as the system does when it runs out of memory"
        elif code is not None and code < 0:
            how = f"it was ended by signal {-code} ({signal.strsignal(-code)})"
        else:
            how = f"it ended itself with status {code}"
        return f"Its worker process died: {how}."


def _patience(deadline: float | None) -> float:
    return LOOK if deadline is None else min(LOOK, max(0.0, deadline - time.monotonic()))


def kill_tree(pid: int) -> None:
    """Kill a worker and all it has started; what is gone already is fine."""
    tree: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        worker = psutil.Process(pid)
        worker.suspend()  # it must not start another child while they are counted
        tree = [*worker.children(recursive=True), worker]
    kill_group(pid)
    for process in tree:  # those with a group of their own, or where there are no groups
        with contextlib.suppress(psutil.Error):
            process.kill()


def kill_group(pid: int | None) -> None:
    """Kill what is left of a worker's process group."""
    if pid is not None and hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, KILL)


class _Voice:
    """The sink inside a worker. Sending waits until the parent has room for the record."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self._connection = connection
        self._lock = threading.Lock()  # a task may speak from several threads

    def emit(self, record: Record) -> None:
        """Send one record."""
        self.send(record)

    def send(self, item: object) -> None:
        with self._lock:
            self._connection.send(item)


def serve_runs(settings: Settings, connection: Connection[Any, Any]) -> None:
    """Be a worker process: run what comes through the pipe until its other end is closed."""
    # Signals may reach all processes of a terminal or a service; the parent gives the grace period.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    if hasattr(os, "setsid"):
        os.setsid()  # a process group of its own can be killed with all that is in it
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()
    import_tasks(settings)
    install_capture()
    voice = _Voice(connection)
    voice.send(READY)
    while True:
        try:
            task, parameters, identity = connection.recv()
        except (EOFError, OSError):
            return
        voice.send(run_task(task, parameters, identity, voice, settings))


def _end_with_parent() -> None:
    """End when the parent does, however it ends: its runs are `interrupted` from then on."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        if hasattr(os, "killpg"):
            os.killpg(os.getpgrp(), KILL)
        os._exit(1)


def import_tasks(settings: Settings) -> list[Any]:
    """Register the shipped tasks and those of the settings; return what could not be loaded."""
    from dashboard.samples import register_samples  # noqa: PLC0415 -- they import what they use

    register_samples(commands=settings.commands)
    return load_task_modules(settings.tasks)

"""Worker processes of the process executor: how they begin, what they run, how they speak home."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

from dashboard.capture import install_capture
from dashboard.runcontext import run_task
from dashboard.tasks import load_task_modules

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnContext
    from multiprocessing.synchronize import Lock

    from dashboard.records import Outcome, Record, RunIdentity, RunSink
    from dashboard.settings import Settings

logger = logging.getLogger(__name__)


class WorkerSink:
    """The sink inside a worker: everything goes to the parent.

    Sending waits until the record is in the pipe, so that all a run has said is there before its
    outcome is.
    """

    def __init__(self, writer: Connection[Any, Any], lock: Lock) -> None:
        self._writer = writer
        self._lock = lock

    def emit(self, record: Record) -> None:
        """Send one record."""
        with self._lock:
            self._writer.send(record)


class RecordPipe:
    """The parent's end: brings what the workers of one pool say to the sink of this process.

    A worker that is killed in the middle of a message spoils the pipe and keeps its lock. But it
    also breaks its pool, and the next pool gets a pipe of its own.
    """

    def __init__(self, context: SpawnContext, sink: RunSink) -> None:
        self._reader, self._writer = context.Pipe(duplex=False)
        self.for_workers = WorkerSink(self._writer, context.Lock())
        self._sink = sink
        self._thread = threading.Thread(target=self._pass_on, name="process-records", daemon=True)
        self._thread.start()

    def close(self, timeout: float) -> None:
        """Pass on what the workers have sent; all of it is, once they have ended."""
        self._writer.close()
        self._thread.join(timeout)

    def _pass_on(self) -> None:
        while True:
            try:
                record = self._reader.recv()
            except (EOFError, OSError):
                break  # we have closed our writing end, and every worker has ended
            except Exception:
                logger.warning("a message from a worker process could not be read", exc_info=True)
                continue
            self._sink.emit(record)
        self._reader.close()


_sink: WorkerSink
_settings: Settings


def start_worker(settings: Settings, sink: WorkerSink) -> None:
    """Prepare a worker process. It has imported nothing of the parent's tasks."""
    global _sink, _settings
    # Ctrl-C reaches all processes of a terminal, but its grace period is for the parent to give.
    signal.signal(signal.SIGINT, lambda *_: None)
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()
    import_tasks(settings)
    install_capture()
    _sink, _settings = sink, settings


def _end_with_parent() -> None:
    """End when the parent does, however it ends: its runs are `interrupted` from then on."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def run_in_worker(task: str, parameters: dict[str, Any], identity: RunIdentity) -> Outcome:
    """Run one task as this worker."""
    return run_task(task, parameters, identity, _sink, _settings)


def import_tasks(settings: Settings) -> list[Any]:
    """Register the shipped tasks and those of the settings; return what could not be loaded."""
    from dashboard.samples import register_samples  # noqa: PLC0415 -- they import what they use

    register_samples()
    return load_task_modules(settings.tasks)

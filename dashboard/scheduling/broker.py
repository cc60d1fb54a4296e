"""Celery's broker as the dashboard uses it: messages that hold the number of a run, in JSON."""

from __future__ import annotations

import logging
import queue
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from apscheduler.executors.base import BaseExecutor
from sqlalchemy.exc import SQLAlchemyError

from dashboard.scheduling import sending
from dashboard.settings import CELERY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from celery import Celery

    from dashboard.scheduling.executors import Claim
    from dashboard.settings import Settings
    from dashboard.storage.db import Database

logger = logging.getLogger(__name__)

RUN = "dashboard.run"
"""The one Celery task: it takes the number of a run."""

QUEUE = "dashboard"
CONNECT_SECONDS = 5
PROBE = 1.0
"""Seconds between two looks whether the broker is back."""


def queue_of(executor: str) -> str:
    """Name the broker's queue of an executor: `dashboard`, and `dashboard.gpu` for `celery:gpu`."""
    return QUEUE + executor.removeprefix(CELERY).replace(":", ".")


def make_celery(settings: Settings) -> Celery:
    """Return our Celery app. Messages are JSON; what runs return goes to the database, not here.

    A message is acknowledged when its run has ended. If its worker is lost it comes again after a
    while, finds that the run was taken, and is dropped.
    """
    from celery import Celery  # noqa: PLC0415 -- an extra, and slow to import

    app = Celery(QUEUE, broker=settings.broker_url, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_default_queue=QUEUE,
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_timeout=CONNECT_SECONDS,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
    )
    return app


class Batch(NamedTuple):
    """Runs for one executor; those that were sent before go only if the broker has lost them."""

    executor: str
    run_ids: list[int]
    again: bool = False


class Sender:
    """Gives runs to the broker from a thread of its own, so that no tick waits for a network.

    While the broker cannot be reached, `problem` says so and nothing more should be sent; what was
    not accepted is taken back. It looks again every second.
    """

    def __init__(self, settings: Settings, database: Database) -> None:
        """Prepare to send; nothing is connected yet."""
        self._settings = settings
        self._database = database
        self._outgoing: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._app: Any = None
        self._connection: Any = None
        self.problem: str | None = None

    def start(self) -> None:
        """Start the thread, once."""
        if self._thread is None:
            self._stopping.clear()
            self._thread = threading.Thread(target=self._work, name="sender", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Send what is waiting and end; a broker that does not answer is not waited for long."""
        if self._thread is not None:
            self._stopping.set()
            self._outgoing.put(None)
            self._thread.join(CONNECT_SECONDS)
            self._thread = None

    def put(self, executor: str, run_ids: list[int]) -> None:
        """Take runs that are committed as sent."""
        self._outgoing.put(Batch(executor, run_ids))

    def put_again(self, executor: str, run_ids: list[int]) -> None:
        """Take runs that were sent, but that nobody has taken for long."""
        self._outgoing.put(Batch(executor, run_ids, again=True))

    def _work(self) -> None:
        while (batch := self._outgoing.get()) is not None:
            left = list(batch.run_ids)
            try:
                if batch.again and self._has_messages(batch.executor):
                    continue  # they only wait for a worker
                while left:
                    self._publish(batch.executor, left[0])
                    left.pop(0)
            except Exception as error:  # noqa: BLE001 -- every transport raises what it likes
                self._note_problem(error)
                self._take_back(left)
                self._wait_for_broker()
        self._disconnect()

    def _publish(self, executor: str, run_id: int) -> None:
        if self._connection is None:
            self._connect()
        self._app.send_task(
            RUN,
            [run_id],
            queue=queue_of(executor),
            producer=self._producer,
            retry=False,
            ignore_result=True,
        )

    def _has_messages(self, executor: str) -> bool:
        """Say whether the broker has messages of an executor that no worker has fetched."""
        if self._connection is None:
            self._connect()
        try:
            with self._connection.channel() as channel:
                found = channel.queue_declare(queue_of(executor), passive=True)
        except self._connection.channel_errors:  # there is no such queue any more
            return False
        return bool(found.message_count)

    def _connect(self) -> None:
        if self._app is None:
            self._app = make_celery(self._settings)
        options: dict[str, Any] = {"max_retries": 1, "interval_start": 0}
        if self._settings.broker_url.startswith("redis"):
            options |= {
                "socket_connect_timeout": CONNECT_SECONDS,
                "socket_timeout": CONNECT_SECONDS,
            }
        else:
            options |= {"confirm_publish": True}
        connection = self._app.connection_for_write(transport_options=options)
        connection.ensure_connection(max_retries=1, interval_start=0)
        self._connection = connection
        self._producer = self._app.amqp.Producer(connection)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.release()

    def _note_problem(self, error: Exception) -> None:
        self._disconnect()
        if self.problem is None:
            self.problem = (
                f"Celery's broker cannot be reached: {error}."
                " Runs for Celery stay queued until it is back."
            )
            logger.warning("%s", self.problem)

    def _take_back(self, run_ids: list[int]) -> None:
        """Let what was not accepted be queued; if that fails too, it is sent again later."""
        try:
            with self._database.write() as session:
                sending.take_back(session.connection(), run_ids)
        except SQLAlchemyError:
            logger.warning("runs that could not be sent stay marked for a while", exc_info=True)

    def _wait_for_broker(self) -> None:
        while not self._stopping.wait(PROBE):
            try:
                self._connect()
            except Exception:  # noqa: BLE001, S112 -- said once already
                continue
            self.problem = None
            logger.warning("Celery's broker can be reached again")
            return


class CeleryExecutor(BaseExecutor):
    """The runs of one queue, executed by whichever worker takes them."""

    def __init__(self, name: str, sender: Sender) -> None:
        """Send the runs of the executor `name` through `sender`, which all queues share."""
        super().__init__()
        self._name = name
        self._sender = sender

    def start(self, scheduler: Any, alias: str) -> None:
        """Begin to send."""
        super().start(scheduler, alias)
        self._sender.start()

    def hand_over(self, claims: Sequence[Claim]) -> None:
        """Send runs. Their rows say so already, so none may be forgotten here."""
        if claims:
            self._sender.put(self._name, [claim.identity.id for claim in claims])

    def shutdown(self, wait: bool = True) -> None:  # noqa: ARG002, FBT001, FBT002 -- APScheduler's signature
        """Send no more."""
        self._sender.stop()

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:
        """Refuse plain APScheduler jobs: those belong to a host's own executors."""
        message = f"job {job.id!r} is not a job of the dashboard ({len(run_times)} run times)"
        raise TypeError(message)

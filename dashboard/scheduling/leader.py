"""Who leads: a lease row that exactly one process holds at a time.

Every transaction that starts runs first locks or renews the lease in that same transaction, so a
process that lost it (stopped for a while, cut off) finds out before it can start anything.

Clocks differ between machines, jump, and stand still while a machine sleeps. So how long a lease
has not been renewed is told by the monotonic clock of whoever wants it. The times in the row are
the database's own; they are for people, and for a process that has just started and finds the
lease of another machine.
"""

from __future__ import annotations

import math
import os
import secrets
import socket
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from sqlalchemy import bindparam, func, select, update

from dashboard.storage.models import Lease, SchedulerLife

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from dashboard.storage.models import Process

SCHEDULER = "scheduler"

START_TIME = 19
"""Where the start time stands in /proc/PID/stat, counted behind the program's name."""

# Statements of the hot path are built once: building one costs five times its execution.
_TAKE = (
    update(Lease)
    .where(
        Lease.name == SCHEDULER,
        Lease.holder == bindparam("found_holder"),
        Lease.renewed_at == bindparam("found_renewed_at"),
    )
    .values(
        holder=bindparam("me"),
        machine=bindparam("my_machine"),
        pid=bindparam("my_pid"),
        pid_started=bindparam("my_start"),
        renewed_at=bindparam("now"),
        until=bindparam("end"),
    )
)
_STILL_MINE = (
    select(Lease.holder)
    .where(Lease.name == SCHEDULER, Lease.holder == bindparam("me"))
    .with_for_update()
)
_SEEN = (
    update(SchedulerLife)
    .where(SchedulerLife.id == bindparam("life"))
    .values(seen_at=bindparam("now"))
)


@dataclass(frozen=True)
class Identity:
    """One process, told apart from every other that is or was."""

    process: str
    host: str
    machine: str
    pid: int
    pid_started: float

    @classmethod
    def of_this_process(cls) -> Identity:
        """Describe the calling process."""
        pid = os.getpid()
        host = socket.gethostname()
        return cls(
            process=f"{host[:40]}:{pid}:{secrets.token_hex(4)}",
            host=host,
            machine=_machine(host),
            pid=pid,
            pid_started=start_of(pid),
        )


def _machine(host: str) -> str:
    """Name the machine and process-id namespace, in which a pid means one process.

    Two containers may have the same host name, but not the same namespace.
    """
    try:
        namespace = Path("/proc/self/ns/pid").stat().st_ino
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        namespace, boot = 0, f"{psutil.boot_time():.0f}"
    return f"{host[:200]}/{namespace}/{boot}"


def start_of(pid: int) -> float:
    """Return when a process began: on Linux in ticks since boot, which no clock that is set moves.

    Raises `psutil.Error`, as when there is no such process.
    """
    process = psutil.Process(pid)
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2]
    except OSError:
        return process.create_time()
    return float(after_name.split()[START_TIME])


class Leadership:
    """This process's side of the lease."""

    def __init__(self, identity: Identity, *, seconds: float, version: str) -> None:
        """Describe a lease of `seconds` for the process `identity`; nothing is taken yet."""
        self.identity = identity
        self.leading = False
        self.took_over = False
        """Whether the last `hold` began to lead: somebody else may have led before."""
        self._length = timedelta(seconds=seconds)
        self._version = version
        self._life: int | None = None
        # All three by the monotonic clock, in seconds.
        self._renew_at = self._looked_at = self._unmoved_since = -math.inf
        self._seen: tuple[str, datetime] | None = None  # somebody else's sign of life
        self._before = self._known

    def is_due(self, session: Session) -> bool:
        """Say, without writing, whether `hold` would now change anything worth a transaction."""
        lease = session.get_one(Lease, SCHEDULER)
        if lease.holder == self.identity.process:
            return time.monotonic() >= self._renew_at
        return self._is_free(session, lease)

    def hold(self, session: Session) -> bool:
        """Take or keep the lease inside the caller's write transaction; True while leading.

        While most of it is left, it is only locked and looked at.
        """
        self._before = self._known
        self.took_over = False
        mine = session.connection().execute(_STILL_MINE, {"me": self.identity.process}).first()
        if mine is None:
            # Also when this process has led until now and did not notice: another one may have
            # taken the lease, started runs and died.
            self.leading, self._life = False, None
        elif self.leading and time.monotonic() < self._renew_at:
            return True
        lease = session.get_one(Lease, SCHEDULER)
        if mine is None and not self._is_free(session, lease):
            return False
        now = database_now(session)
        if not self._take(session, lease, now):  # somebody else was faster
            return False
        self._note_life(session, now)
        self._renew_at = time.monotonic() + self._length.total_seconds() / 3
        self.took_over = not self.leading
        self.leading = True
        return True

    def _is_free(self, session: Session, lease: Lease) -> bool:
        """Say whether nobody holds the lease any more.

        Its holder is lost if it was watched for the length of the lease and did not renew it. After
        a pause in watching (this process was frozen, the database away) it gets the whole time.
        """
        now, sign = time.monotonic(), (lease.holder, lease.renewed_at)
        allowed = (lease.until - lease.renewed_at).total_seconds()
        if self._seen is None and self._is_of_long_ago(session, lease):
            self._seen = sign
        elif sign != self._seen or now - self._looked_at > allowed / 2:
            self._seen, self._unmoved_since = sign, now
        self._looked_at = now
        unheld = not lease.holder or is_gone(lease, self.identity)
        return unheld or now - self._unmoved_since > allowed

    def _is_of_long_ago(self, session: Session, lease: Lease) -> bool:
        """Say whether somebody who has just started need not watch the lease: its time was over.

        That goes by the clock, which may have been set just now. So it holds for other machines
        alone: on this one a holder that is no more is seen to be gone.
        """
        elsewhere = lease.machine != self.identity.machine
        return elsewhere and lease.until <= database_now(session)

    def undo(self) -> None:
        """Forget the last `hold`, because its transaction was undone.

        Otherwise this process would take itself for a leader that has taken over already, and the
        runs that another one left would stay `running` for ever.
        """
        self.leading, self._life, self._renew_at = self._before

    @property
    def _known(self) -> tuple[bool, int | None, float]:
        return self.leading, self._life, self._renew_at

    def release(self, session: Session) -> None:
        """Give the lease back at a clean stop, so that the next process need not wait."""
        now = database_now(session)
        session.execute(
            update(Lease)
            .where(Lease.name == SCHEDULER, Lease.holder == self.identity.process)
            .values(holder="", until=now)
        )
        if self._life is not None:
            session.execute(
                update(SchedulerLife)
                .where(SchedulerLife.id == self._life)
                .values(seen_at=now, ended="stopped")
            )
        self.leading = False
        self._life = None

    def _take(self, session: Session, found: Lease, now: datetime) -> bool:
        """Make the lease ours, if it is still as it was found."""
        values = {
            "me": self.identity.process,
            "my_machine": self.identity.machine,
            "my_pid": self.identity.pid,
            "my_start": self.identity.pid_started,
            "now": now,
            "end": now + self._length,
            "found_holder": found.holder,
            "found_renewed_at": found.renewed_at,
        }
        return session.connection().execute(_TAKE, values).rowcount == 1

    def _note_life(self, session: Session, now: datetime) -> None:
        """Keep the record of when a scheduler was alive."""
        if self._life is not None:
            session.connection().execute(_SEEN, {"life": self._life, "now": now})
            return
        session.execute(
            update(SchedulerLife).where(SchedulerLife.ended.is_(None)).values(ended="lost")
        )
        life = SchedulerLife(
            process=self.identity.process,
            host=self.identity.host,
            pid=self.identity.pid,
            version=self._version,
            began_at=now,
            seen_at=now,
        )
        session.add(life)
        session.flush()
        self._life = life.id


def is_gone(holder: Lease | Process, identity: Identity) -> bool:
    """Say whether `holder` was a process of the machine of `identity` and is no more.

    Only then need nobody wait for the lease to run out: after a crash, the restarted process
    leads at once.
    """
    if holder.machine != identity.machine or not holder.pid:
        return False
    try:
        process = psutil.Process(holder.pid)
        zombie = process.status() == psutil.STATUS_ZOMBIE
        return zombie or abs(start_of(holder.pid) - holder.pid_started) > 1
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def database_now(session: Session) -> datetime:
    """Return the database's idea of the present; SQLite's is this machine's clock."""
    if session.get_bind().dialect.name == "sqlite":
        return datetime.now(UTC)
    moment = session.scalar(select(func.clock_timestamp()))
    if moment is None:  # pragma: no cover -- the function always answers
        message = "the database did not tell the time"
        raise RuntimeError(message)
    present: datetime = moment.astimezone(UTC)
    return present

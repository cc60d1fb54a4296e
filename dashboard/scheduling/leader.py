"""Who leads: a lease row that exactly one process holds at a time.

Every transaction that starts runs first renews the lease in that same transaction, so a process
that lost it (stopped for a while, cut off) finds out before it can start anything. Times are the
database's own, because the clocks of several machines differ.
"""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from sqlalchemy import bindparam, func, or_, select, update

from dashboard.storage.models import Lease, SchedulerLife

if TYPE_CHECKING:
    from sqlalchemy import Update
    from sqlalchemy.orm import Session

    from dashboard.storage.models import Process

SCHEDULER = "scheduler"

# Statements of the hot path are built once: building one costs five times its execution.
_TAKE = (
    update(Lease)
    .where(Lease.name == SCHEDULER)
    .values(
        holder=bindparam("me"),
        machine=bindparam("my_machine"),
        pid=bindparam("my_pid"),
        pid_started=bindparam("my_start"),
        renewed_at=bindparam("now"),
        until=bindparam("end"),
    )
)
_TAKE_MINE_OR_EXPIRED = _TAKE.where(
    or_(Lease.holder == bindparam("me"), Lease.until <= bindparam("now"))
)
_STILL_MINE = (
    select(Lease.holder)
    .where(Lease.name == SCHEDULER, Lease.holder == bindparam("me"))
    .with_for_update()
)
_TAKE_FROM = _TAKE.where(Lease.holder == bindparam("other"))
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
            pid_started=psutil.Process(pid).create_time(),
        )


def _machine(host: str) -> str:
    """Name the machine and process-id namespace, in which a pid means one process.

    Two containers may have the same host name, but not the same namespace.
    """
    try:
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        namespace = 0
    return f"{host}/{namespace}/{psutil.boot_time():.0f}"[:255]


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
        self._renew_at = datetime.min.replace(tzinfo=UTC)
        self._before = self._known

    def is_due(self, session: Session) -> bool:
        """Say, without writing, whether `hold` would now change anything worth a transaction."""
        lease = session.get_one(Lease, SCHEDULER)
        now = database_now(session)
        if lease.holder == self.identity.process:
            return lease.until - now < self._length * 2 / 3
        return lease.until <= now or is_gone(lease, self.identity)

    def hold(self, session: Session) -> bool:
        """Take or keep the lease inside the caller's write transaction; True while leading.

        While most of it is left, it is only locked and looked at.
        """
        self._before = self._known
        self.took_over = False
        now = database_now(session)
        mine = session.connection().execute(_STILL_MINE, {"me": self.identity.process})
        if mine.first() is None:
            # Also when this process has led until now and did not notice: another one may have
            # taken the lease, started runs and died.
            self.leading, self._life = False, None
        elif self.leading and now < self._renew_at:
            return True
        if not self._take(session, now, _TAKE_MINE_OR_EXPIRED):
            lease = session.get_one(Lease, SCHEDULER)
            dead = is_gone(lease, self.identity)
            if not (dead and self._take(session, now, _TAKE_FROM, other=lease.holder)):
                self.leading = False
                self._life = None
                return False
        self._note_life(session, now)
        self._renew_at = now + self._length / 3
        self.took_over = not self.leading
        self.leading = True
        return True

    def undo(self) -> None:
        """Forget the last `hold`, because its transaction was undone.

        Otherwise this process would take itself for a leader that has taken over already, and the
        runs that another one left would stay `running` for ever.
        """
        self.leading, self._life, self._renew_at = self._before

    @property
    def _known(self) -> tuple[bool, int | None, datetime]:
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

    def _take(self, session: Session, now: datetime, statement: Update, **more: str) -> bool:
        values = {
            "me": self.identity.process,
            "my_machine": self.identity.machine,
            "my_pid": self.identity.pid,
            "my_start": self.identity.pid_started,
            "now": now,
            "end": now + self._length,
        }
        return session.connection().execute(statement, values | more).rowcount == 1

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
        return zombie or abs(process.create_time() - holder.pid_started) > 1
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

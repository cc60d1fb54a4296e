"""What a machine does to the processes on it: its clock is set, its disk is full or read-only."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOTICED = 0.3
"""Seconds after which every process shows the time that its clock was set to."""


class Clock:
    """The time of day of the dashboards and workers that are started in a folder afterwards.

    Their monotonic clock goes on as it was: as when a person or NTP sets the time, and when a
    machine sleeps.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self._ahead = 0.0
        self._write()

    def jump(self, seconds: float) -> None:
        """Set it forward, or back."""
        self._ahead += seconds
        self._write()
        time.sleep(NOTICED)

    def _write(self) -> None:
        draft = self._file.with_suffix(".new")
        draft.write_text(str(self._ahead))
        draft.replace(self._file)


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[bool]:
    """Put a disk of its own under `folder`; False where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    image = folder.with_name(f"{folder.name}.image")
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    mounted = (
        os.geteuid() == 0
        and _does("mkfs.ext4", "-q", "-F", "-m", "0", str(image))
        and _does("mount", "-o", "loop", str(image), str(folder))
    )
    try:
        yield mounted
    finally:
        if mounted:
            _does("umount", "--lazy", str(folder))
        image.unlink()


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Take up all that is left of the disk of `folder`, also inside of SQLite's files there."""
    for database in folder.glob("*.sqlite"):
        with contextlib.closing(sqlite3.connect(database, timeout=20)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def write_protected(file: Path) -> Iterator[bool]:
    """Let nobody write to a file, not even who has it open; False where that is not allowed.

    So it is when a kernel has made a broken disk read-only.
    """
    protected = os.geteuid() == 0 and _does("chattr", "+i", str(file))
    try:
        yield protected
    finally:
        if protected:
            _does("chattr", "-i", str(file))


def _does(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False

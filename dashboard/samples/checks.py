"""Checks of the world outside: a web address, a file, a disk, a port, an SQLite file.

Each is a value that can be written as JSON, and `verify()` returns what it saw or raises
`CheckFailed` with a sentence for whoever is woken by it.
"""

from __future__ import annotations

import shutil
import socket
import sqlite3
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from dashboard.samples.places import current_settings
from dashboard.samples.web import fetch, split_account

SQLITE_COMPLAINTS_SHOWN = 3


class CheckFailed(Exception):
    """What was checked is not as it should be."""


class _Check(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("", max_length=100, description="What to call it; empty for a made-up name.")


class HttpCheck(_Check):
    """A web address answers as expected."""

    kind: Literal["http"]
    url: str = Field(max_length=2000)
    expected_status: int = Field(200, ge=100, le=599)
    timeout: float = Field(10, gt=0, le=300, description="Seconds.")
    max_seconds: float | None = Field(None, gt=0, le=300)
    contains: str = Field("", max_length=1000, description="Text that must occur in the answer.")

    @property
    def title(self) -> str:
        """Say what is checked."""
        return self.name or f"{split_account(self.url)[0]} answers {self.expected_status}"

    def verify(self) -> str:
        """Fetch the address."""
        answer = fetch(self.url, timeout=self.timeout)
        if answer.problem:
            raise CheckFailed(f"{answer.url} cannot be reached: {answer.problem}.")
        if answer.status != self.expected_status:
            raise CheckFailed(
                f"{answer.url} answered {answer.status} {answer.reason}".rstrip()
                + f"; expected {self.expected_status}."
            )
        if self.max_seconds is not None and answer.seconds > self.max_seconds:
            raise CheckFailed(
                f"{answer.url} took {answer.seconds:.2f} s;"
                f" at most {self.max_seconds:g} s is allowed."
            )
        if self.contains not in answer.text:
            beginning = " ".join(answer.text.split())[:200]
            raise CheckFailed(
                f"{answer.url} does not contain “{self.contains}”; it begins with “{beginning}”."
            )
        return f"{answer.status} in {answer.seconds:.2f} s, {len(answer.text):,} characters"


class FileCheck(_Check):
    """A file or folder is there, new and large enough; a relative path is in the data folder."""

    kind: Literal["file"]
    path: Path
    max_age: timedelta | None = None
    min_bytes: int = Field(0, ge=0)

    @property
    def title(self) -> str:
        """Say what is checked."""
        return self.name or f"{self.path} is there"

    def verify(self) -> str:
        """Look at the file."""
        path = _located(self.path)
        try:
            facts = path.stat()
        except OSError as error:
            raise CheckFailed(f"{path} is not there: {error.strerror}.") from error
        age = timedelta(seconds=round(max(0.0, time.time() - facts.st_mtime)))
        if self.max_age is not None and age > self.max_age:
            raise CheckFailed(f"{path} is {age} old; at most {self.max_age} is allowed.")
        if facts.st_size < self.min_bytes:
            raise CheckFailed(
                f"{path} has {facts.st_size:,} bytes; at least {self.min_bytes:,} are expected."
            )
        return f"{facts.st_size:,} bytes, changed {age} ago"


class DiskCheck(_Check):
    """The disk of a path has room; a relative path is in the data folder."""

    kind: Literal["disk"]
    path: Path = Path("/")
    min_free_percent: float = Field(10, ge=0, le=100)

    @property
    def title(self) -> str:
        """Say what is checked."""
        return self.name or f"The disk of {self.path} has room"

    def verify(self) -> str:
        """Ask for the free space."""
        path = _located(self.path)
        try:
            usage = shutil.disk_usage(path)
        except OSError as error:
            raise CheckFailed(f"{path} is not there: {error.strerror}.") from error
        free = 100 * usage.free / usage.total if usage.total else 0.0
        if free < self.min_free_percent:
            raise CheckFailed(
                f"The disk of {path} has {free:.1f} % free;"
                f" at least {self.min_free_percent:g} % is needed."
            )
        return f"{free:.1f} % free"


class PortCheck(_Check):
    """Something accepts TCP connections."""

    kind: Literal["port"]
    host: str = Field("127.0.0.1", min_length=1, max_length=253)
    port: int = Field(ge=1, le=65535)
    timeout: float = Field(5, gt=0, le=60, description="Seconds.")

    @property
    def title(self) -> str:
        """Say what is checked."""
        return self.name or f"{self.host}:{self.port} accepts connections"

    def verify(self) -> str:
        """Connect, and hang up."""
        start = time.monotonic()
        try:
            with socket.create_connection((self.host, self.port), timeout=self.timeout):
                return f"connected in {time.monotonic() - start:.3f} s"
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise CheckFailed(f"{self.host}:{self.port} cannot be reached: {reason}.") from error


class SqliteCheck(_Check):
    """An SQLite file is whole; a relative path is in the data folder."""

    kind: Literal["sqlite"]
    path: Path

    @property
    def title(self) -> str:
        """Say what is checked."""
        return self.name or f"{self.path} is whole"

    def verify(self) -> str:
        """Let SQLite check its own structure, without writing to the file."""
        path = _located(self.path)
        if not path.is_file():
            raise CheckFailed(f"{path} is no file.")
        try:
            with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
                rows = connection.execute(
                    f"PRAGMA quick_check({SQLITE_COMPLAINTS_SHOWN})"  # takes no bound parameter
                ).fetchall()
        except sqlite3.Error as error:
            raise CheckFailed(f"{path} cannot be read: {error}.") from error
        if rows != [("ok",)]:
            raise CheckFailed(f"{path} is damaged: {'; '.join(str(row[0]) for row in rows)}.")
        return f"whole, {path.stat().st_size:,} bytes"


Check = Annotated[
    HttpCheck | FileCheck | DiskCheck | PortCheck | SqliteCheck, Field(discriminator="kind")
]


def _located(path: Path) -> Path:
    return path if path.is_absolute() else (current_settings().data / path).resolve()

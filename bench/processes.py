"""Programs started for a benchmark: the dashboard as people start it, and the floor."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[1]
GREETING = "Listening on "


@dataclass(frozen=True, slots=True)
class Served:
    """A program that listens."""

    url: str
    seconds: float  # from its start until it said so


@contextmanager
def dashboard_process(folder: Path) -> Iterator[Served]:
    """Run `python run.py` on the data in `folder` until the block ends."""
    command = [sys.executable, "run.py", "--port", "0", "--data", str(folder)]
    with _listening([*command, "--tasks", "bench.workload", "--shutdown-grace", "1"]) as served:
        yield served


@contextmanager
def floor_process() -> Iterator[Served]:
    """Run the floor until the block ends."""
    with _listening([sys.executable, "-m", "bench.floor"]) as served:
        yield served


@contextmanager
def _listening(command: Sequence[str]) -> Iterator[Served]:
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield Served(_url(process), time.perf_counter() - began)
    finally:
        process.terminate()
        process.communicate()


def _url(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(GREETING):
            return line.removeprefix(GREETING).strip()
    raise RuntimeError(f"{process.args!r} ended with {process.wait()} before it listened")

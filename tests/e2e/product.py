"""The product as a person starts it: `python run.py` in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
ADMIN = "admin"
PASSWORD = "the-password-of-the-tests"
PATIENCE = 60
_LISTENING = re.compile(r"^Listening on (http://\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Product:
    """A dashboard that is running."""

    url: str
    data: Path
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        """Everything it has written so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def stop(self) -> int:
        """End it as systemd or Ctrl-C would, and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@contextmanager
def running(data: Path, *options: str, **environment: str) -> Iterator[Product]:
    """Start a dashboard on a free port; afterwards it has to end cleanly when told to."""
    data.mkdir(parents=True, exist_ok=True)
    log = data / f"{time.monotonic_ns()}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, ROOT / "run.py", "--port=0", f"--data={data}", *options],
            cwd=ROOT,
            env=_environment() | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    product = Product("", data, process, log)
    try:
        product = Product(_address(product), data, process, log)
        yield product
        status = process.poll() if process.poll() is not None else product.stop()
        if status != 0:
            raise AssertionError(f"it ended with {status}:\n{product.said}")
    finally:
        process.kill()
        process.wait()


def _environment() -> dict[str, str]:
    """Keep the settings of the person at this machine out of it."""
    own = {name: text for name, text in os.environ.items() if not name.startswith("DASHBOARD_")}
    return {**own, "DASHBOARD_ADMIN_PASSWORD": PASSWORD, "PYTHONUNBUFFERED": "1"}


def _address(product: Product) -> str:
    """Wait until the server says where it listens."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and product.process.poll() is None:
        if found := _LISTENING.search(product.said):
            return found[1]
        time.sleep(0.02)
    raise AssertionError(f"it does not start:\n{product.said}")

"""Tasks that the browser tests schedule: how each goes on is up to the test."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

from dashboard import current_run, task

PATIENCE = 60


@task(name="tests.greet")
def greet(who: str = "world", *, times: int = 1) -> str:
    """Greet somebody, as often as wanted."""
    for _ in range(times):
        print(f"Hello, {who}!")
    return f"greeted {who}"


@task(name="tests.fail")
def fail(message: str = "the disk is full") -> None:
    """Fail with a message, after a while of doing well."""
    print("This goes well so far.")
    raise ValueError(message)


@task(name="tests.look")
def look_for(path: Path) -> str:
    """Fail until there is such a file."""
    return f"{path.stat().st_size} bytes"


@task(name="tests.flap")
def flap(switch: Path) -> None:
    """Fail every other time."""
    if switch.exists():
        switch.unlink()
        return
    switch.touch()
    raise ValueError("on and off")


@task(name="tests.import")
def import_file(count: int, mode: Literal["merge", "replace"], ratio: float = 0.5) -> str:
    """Take parameters of several types."""
    return f"{count} {mode} {ratio}"


@task(name="tests.stages")
def stages(folder: Path) -> str:
    """Go through three stages, each as soon as a file with its name is in the folder."""
    run = current_run()
    for number, stage in enumerate(("fetch", "convert", "publish")):
        with run.step(stage):
            run.progress(number, 3, f"about to {stage}")
            _wait_for(folder / stage)
            print(f"{stage} is done")
    return "all three"


def _wait_for(signal: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not signal.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody wrote {signal}")
        time.sleep(0.02)

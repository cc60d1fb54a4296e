"""A task that watches the machine it runs on."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Annotated

import psutil
from pydantic import Field

from dashboard.runcontext import current_run
from dashboard.samples.checks import CheckFailed
from dashboard.tasks import task

Percent = Annotated[float, Field(gt=0, le=100)]
_GIB = 1024**3


@task(name="system.disk_and_memory")
def disk_and_memory(
    paths: Annotated[list[Path], Field(description="Whose disks to look at.", max_length=50)] = [  # noqa: B006 - each run gets a copy
        Path("/")
    ],
    max_disk_percent: Percent = 90,
    max_memory_percent: Percent = 95,
) -> dict[str, float]:
    """Fail when a disk or the memory of this machine is fuller than it should be.

    Logs a table of what is used, and returns the percentages.
    """
    run = current_run()
    used: dict[str, float] = {}
    limits: dict[str, float] = {}
    rows = [("", "used GiB", "of GiB", "percent")]
    memory = psutil.virtual_memory()
    for name, taken, total, percent, limit in (
        *(_disk(path, max_disk_percent) for path in paths),
        (
            "memory",
            memory.total - memory.available,
            memory.total,
            memory.percent,
            max_memory_percent,
        ),
    ):
        used[name], limits[name] = percent, limit
        rows.append((name, f"{taken / _GIB:.1f}", f"{total / _GIB:.1f}", f"{percent:.1f} %"))
    run.log(f"{platform.node()}\n{_table(rows)}")
    problems = [
        f"{name} is {percent:.1f} % full (at most {limits[name]:g} % is allowed)"
        for name, percent in used.items()
        if percent > limits[name]
    ]
    if problems:
        raise CheckFailed("; ".join(problems))
    return used


def _disk(path: Path, limit: float) -> tuple[str, int, int, float, float]:
    try:
        usage = psutil.disk_usage(str(path))
    except OSError as error:
        raise CheckFailed(f"The disk of {path} cannot be asked: {error.strerror}.") from error
    return f"disk {path}", usage.used, usage.total, usage.percent, limit


def _table(rows: list[tuple[str, str, str, str]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )

"""Where shipped tasks keep their files: in the data folder, readable by its owner only."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dashboard.runcontext import current_run

if TYPE_CHECKING:
    from dashboard.settings import Settings


def current_settings() -> Settings:
    """Return the settings of the dashboard that runs the task."""
    settings = current_run().settings
    if settings is None:
        raise RuntimeError("This task works only in a dashboard: it needs its settings.")
    return settings


def folder_in_data(name: str) -> Path:
    """Return a folder of the data folder, made when it is not there."""
    folder = current_settings().data / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def write_whole(path: Path, text: str) -> None:
    """Write a file so that nobody ever sees half of it, not even after a power cut."""
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def keep_newest(folder: Path, pattern: str, count: int) -> list[str]:
    """Remove all but the `count` newest files whose names match; names must sort by age."""
    removed = []
    for path in sorted(folder.glob(pattern), reverse=True)[count:]:
        path.unlink(missing_ok=True)
        removed.append(path.name)
    return removed

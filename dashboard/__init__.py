"""An operations dashboard for scheduled Python jobs.

The public names are here; everything else may change. `Dashboard` and `create_app` are loaded when
first asked for, so that a module that only registers tasks does not import a web framework.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dashboard.runcontext import current_run
from dashboard.tasks import FinishJob, PauseJob, task

if TYPE_CHECKING:
    from dashboard.app import Dashboard, create_app

__all__ = ["Dashboard", "FinishJob", "PauseJob", "create_app", "current_run", "task"]


def __getattr__(name: str) -> Any:
    if name in {"Dashboard", "create_app"}:
        from dashboard import app  # noqa: PLC0415 -- late on purpose, see above

        return getattr(app, name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)

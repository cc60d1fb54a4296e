"""Tasks that come with the dashboard: useful ones, and some to try it out with."""

from __future__ import annotations

from dashboard.samples.jobs import sample_jobs
from dashboard.tasks import withhold

__all__ = ["register_samples", "sample_jobs"]


def register_samples(*, commands: bool = False) -> None:
    """Register the shipped tasks: importing their modules does it, so twice is no more.

    Without `commands` the task that runs programs is withheld.
    """
    from dashboard.samples import (  # noqa: F401, PLC0415 - only who runs tasks needs what they use
        backup,
        command,
        demo,
        report,
        retention,
        system,
        verification,
        websites,
    )

    withhold(command.NAME, None if commands else command.OFF)

"""Tasks that come with the dashboard: useful ones, and some to try it out with."""

from __future__ import annotations

from dashboard.samples.jobs import sample_jobs

__all__ = ["register_samples", "sample_jobs"]


def register_samples() -> None:
    """Register the shipped tasks: importing their modules does it, so twice is no more."""
    from dashboard.samples import (  # noqa: F401, PLC0415 - only who runs tasks needs what they use
        backup,
        demo,
        report,
        retention,
        system,
        verification,
        websites,
    )

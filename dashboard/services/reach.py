"""Which jobs somebody may act on whose role is limited to tags. Seeing is not limited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from dashboard.storage.models import LARGEST_ID, Job, Run
from dashboard.texts import is_storable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from sqlalchemy.orm import Session

PLACES = ("job_id", "run_id")
"""What an address names a job by."""


def tags_at(session: Session, place: Mapping[str, Any]) -> Collection[str] | None:
    """Return the tags of the job that an address names, itself or by a run; None for no job."""
    if "job_id" in place:
        job_id = place["job_id"] if is_storable(place["job_id"]) else ""
        return session.scalar(select(Job.tags).where(Job.id == job_id))
    run_id = min(place["run_id"], LARGEST_ID)
    by_run = select(Job.tags).join(Run, Run.job_id == Job.id).where(Run.id == run_id)
    return session.scalar(by_run)


def jobs_within(session: Session, ids: Iterable[str], tags: Iterable[str]) -> frozenset[str]:
    """Return those of the jobs that have one of the tags."""
    found = session.execute(select(Job.id, Job.tags).where(Job.id.in_(set(ids))))
    return frozenset(job_id for job_id, own in found if not set(own).isdisjoint(tags))

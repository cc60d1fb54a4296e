"""`/status`: whether jobs are being started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from flask import Blueprint
from pydantic import BaseModel, Field

from dashboard.services.status import count_work
from dashboard.storage.models import Role
from dashboard.web.access import role
from dashboard.web.api.operations import operation
from dashboard.web.shell import scheduler_now
from dashboard.web.system import versions

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

blueprint = Blueprint("status", __name__)


class Status(BaseModel):
    """How the scheduler is, as the process sees it that answers."""

    scheduler: Annotated[
        Literal["running", "standby", "stopped"],
        Field(description="standby: another process starts the jobs. stopped: none does."),
    ]
    leader: Annotated[str | None, Field(description="The process that starts the jobs.")]
    heartbeat_age_seconds: float | None
    jobs: int
    queued: int
    running: int
    version: str


@blueprint.get("/status")
@role(Role.VIEWER)
@operation("Get the status", answer=Status, tag=None)
def show(session: Session) -> Status:
    """Tell whether jobs are being started, and how much there is to do."""
    status, work = scheduler_now(session), count_work(session)
    return Status.model_validate(
        {
            "scheduler": status.state,
            "leader": status.leader,
            "heartbeat_age_seconds": status.heartbeat_age_seconds,
            "jobs": work.jobs,
            "queued": work.queued,
            "running": work.running,
            "version": versions()["Dashboard"],
        }
    )

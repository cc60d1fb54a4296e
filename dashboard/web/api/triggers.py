"""`/triggers/preview`: what a trigger would do, before anybody saves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from flask import Blueprint
from pydantic import AwareDatetime, BaseModel, Field

from dashboard.scheduling.preview import MOST_TIMES
from dashboard.services.previews import preview_trigger
from dashboard.storage.models import Role
from dashboard.web.access import role
from dashboard.web.api.operations import operation
from dashboard.web.api.shapes import Asked
from dashboard.web.api.triggershapes import Trigger
from dashboard.web.state import dashboard_state

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from dashboard.scheduling.preview import TriggerWarning

blueprint = Blueprint("triggers", __name__)


class PreviewOf(Asked):
    """The trigger to look ahead of."""

    trigger: Trigger
    count: Annotated[int, Field(ge=1, le=MOST_TIMES)] = 10
    after: Annotated[AwareDatetime | None, Field(description="From then on instead of now.")] = None
    task: Annotated[
        str, Field(description="Warn when it fires more often than this task usually takes.")
    ] = ""


class Warned(BaseModel):
    """Something about a trigger that its author may not expect."""

    code: Literal[
        "dst_skipped", "dst_repeated", "never_fires", "very_frequent", "day_and_weekday",
        "busy_moment",
    ]  # fmt: skip
    message: str
    at: Annotated[str | None, Field(description="The moment, or the local time, concerned.")]

    @classmethod
    def of(cls, warning: TriggerWarning) -> Warned:
        """Return a warning as programs see it."""
        at = warning.at if warning.at is None or isinstance(warning.at, str) else str(warning.at)
        return cls.model_validate({"code": warning.code, "message": warning.message, "at": at})


class PreviewAnswer(BaseModel):
    """What a trigger would do; its fire times have the offset of its zone."""

    description: str
    fire_times: list[AwareDatetime]
    warnings: list[Warned]


@blueprint.post("/triggers/preview")
@role(Role.VIEWER)
@operation("Preview a trigger", answer=PreviewAnswer, body=PreviewOf)
def preview(session: Session, body: PreviewOf) -> PreviewAnswer:
    """Say in a sentence what a trigger does, when it fires next, and what to be warned of."""
    seen = preview_trigger(
        session,
        body.trigger.model_dump(exclude_unset=True),
        timezone=dashboard_state().settings.timezone,
        task=body.task,
        count=body.count,
        after=body.after,
    )
    return PreviewAnswer(
        description=seen.sentence,
        fire_times=seen.fire_times,
        warnings=[Warned.of(warning) for warning in seen.warnings],
    )

"""`/tasks`: what jobs can be made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from flask import Blueprint
from pydantic import BaseModel, Field

from dashboard.storage.models import Role
from dashboard.tasks import all_tasks
from dashboard.web.access import role
from dashboard.web.api.operations import operation

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

blueprint = Blueprint("tasks", __name__)


class Task(BaseModel):
    """A callable that is registered under a name."""

    name: str
    description: str
    parameters: Annotated[dict[str, Any], Field(description="A JSON schema.")]
    executor: str


class TaskList(BaseModel):
    """All tasks, by name."""

    items: list[Task]


@blueprint.get("/tasks")
@role(Role.VIEWER)
@operation("List tasks", answer=TaskList, tag="content")
def index(session: Session) -> TaskList:
    """List the tasks that the process which answers has loaded."""
    del session
    return TaskList(
        items=[
            Task(
                name=task.name,
                description=task.description,
                parameters=task.parameters.schema(),
                executor=task.executor,
            )
            for task in all_tasks()
        ]
    )

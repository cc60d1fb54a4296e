"""`/alerts/rules`: when somebody is told that something is wrong, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from flask import Blueprint, url_for
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from dashboard.services import alertdata, alerts
from dashboard.storage.models import ID_LENGTH, AlertKind, Role
from dashboard.web.access import current_actor, role
from dashboard.web.api.operations import Made, operation
from dashboard.web.api.shapes import Asked, without_defaults
from dashboard.web.state import dashboard_state

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from dashboard.storage.models import AlertRule

blueprint = Blueprint("alerts", __name__)

_Names = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=ID_LENGTH)]],
    Field(min_length=1, max_length=alertdata.NAMES_IN_SCOPE),
]
_Channels = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=2000)]],
    Field(
        min_length=1,
        max_length=alertdata.CHANNELS,
        description="Addresses: http(s):// gets JSON by POST, others go by Apprise. An address as"
        " it is answered, its secrets left out, stands for the one that is kept.",
    ),
]
_Seconds = Annotated[float, Field(le=31 * alertdata.DAY)]


class AllJobs(Asked):
    """Every job."""

    all: Literal[True]


class Tagged(Asked):
    """Jobs with one of these tags."""

    tags: _Names


class TheseJobs(Asked):
    """Jobs by their ids."""

    jobs: _Names


class _Options(Asked):
    """What may be said of a new rule and of one that is changed; what is left out stays."""

    after: Annotated[
        int, Field(ge=1, le=10_000, description="Failures in a row; of a rate, at least so many.")
    ] = 1
    rate: Annotated[float | None, Field(gt=0, le=1, description="Share of runs that failed.")] = (
        None
    )
    window_seconds: Annotated[
        _Seconds | None,
        Field(ge=1, description="In which a rate is counted; how late, how long, how long down."),
    ] = None
    scope: AllJobs | Tagged | TheseJobs = AllJobs(all=True)
    notify_recovery: bool = True
    remind_every_seconds: Annotated[_Seconds | None, Field(ge=10)] = None
    settle_seconds: Annotated[
        float,
        Field(ge=0, le=alertdata.DAY, description="What comes back within this time is flapping."),
    ] = 300
    template: Annotated[
        str,
        Field(
            max_length=alertdata.LONGEST_TEMPLATE,
            description="What messages say; empty: one sentence. {job}, {problem}, {since}, {rule},"
            " {event}, {url} and {message}, that sentence, are filled in.",
        ),
    ] = ""
    enabled: bool = True


class RuleToAdd(_Options):
    """A new alert rule. A failure rate needs `rate` and `window_seconds`."""

    name: Annotated[str, Field(min_length=1, max_length=ID_LENGTH)]
    on: AlertKind
    channels: _Channels


class RuleChange(_Options):
    """The fields to change; with a version, only if it is still the present one."""

    model_config = ConfigDict(json_schema_extra=without_defaults)

    version: Annotated[int | None, Field(ge=1)] = None
    name: Annotated[str, Field(min_length=1, max_length=ID_LENGTH)] = ""
    on: AlertKind = AlertKind.FAILING
    channels: Annotated[_Channels, Field(default_factory=list)]


class Rule(BaseModel):
    """An alert rule."""

    id: int
    name: str
    on: AlertKind
    after: int
    rate: float | None
    window_seconds: float | None
    scope: Annotated[
        dict[str, Any], Field(description='{"all": true}, {"tags": […]} or {"jobs": […]}')
    ]
    channels: Annotated[
        list[str] | None,
        Field(description="As they may be seen, their secrets left out; null for who is no admin."),
    ]
    notify_recovery: bool
    remind_every_seconds: float | None
    settle_seconds: float
    template: str
    enabled: bool
    version: int
    created_at: AwareDatetime
    created_by: str
    updated_at: AwareDatetime
    updated_by: str

    @classmethod
    def of(cls, rule: AlertRule) -> Rule:
        """Return a rule as the program that asks may see it."""
        columns = {name: getattr(rule, name) for name in cls.model_fields}
        seen = current_actor().role.includes(Role.ADMIN)
        channels = alerts.as_noted(rule)["channels"] if seen else None
        return cls.model_construct(**columns | {"channels": channels})


class RuleList(BaseModel):
    """All rules."""

    items: list[Rule]


@blueprint.get("/alerts/rules")
@role(Role.VIEWER)
@operation("List alert rules", answer=RuleList)
def index(session: Session) -> RuleList:
    """List all alert rules, by name."""
    return RuleList(items=[Rule.of(rule) for rule in alerts.list_rules(session)])


@blueprint.post("/alerts/rules")
@role(Role.ADMIN)
@operation(
    "Add an alert rule", answer=Rule, body=RuleToAdd, status=201, changes=True, conflicts=True
)
def add(session: Session, body: RuleToAdd) -> Made:
    """Add an alert rule. What is wrong already is told of at once."""
    vault = dashboard_state().settings.vault
    rule = alerts.create_rule(session, _given(body), vault=vault, actor=current_actor())
    return Made(Rule.of(rule), url_for("dashboard.api.alerts.show", rule_id=rule.id))


@blueprint.get("/alerts/rules/<int:rule_id>")
@role(Role.VIEWER)
@operation("Get an alert rule", answer=Rule)
def show(session: Session, rule_id: int) -> Rule:
    """Tell everything about one alert rule."""
    return Rule.of(alerts.get_rule(session, rule_id))


@blueprint.patch("/alerts/rules/<int:rule_id>")
@role(Role.ADMIN)
@operation("Change an alert rule", answer=Rule, body=RuleChange, changes=True, conflicts=True)
def change(session: Session, rule_id: int, body: RuleChange) -> Rule:
    """Change the fields given. With another condition, what is wrong is told of anew."""
    data = _given(body)
    version = data.pop("version", None)
    vault = dashboard_state().settings.vault
    return Rule.of(
        alerts.change_rule(
            session, rule_id, data, version=version, vault=vault, actor=current_actor()
        )
    )


@blueprint.delete("/alerts/rules/<int:rule_id>")
@role(Role.ADMIN)
@operation("Remove an alert rule", answer=None, status=204, changes=True)
def remove(session: Session, rule_id: int) -> None:
    """Remove an alert rule. Its messages that wait are still sent."""
    alerts.remove_rule(session, rule_id, actor=current_actor())


def _given(body: BaseModel) -> dict[str, Any]:
    return body.model_dump(mode="json", exclude_unset=True)

"""What people do about alerts: rules, tests of their channels, and another try of a delivery."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, text, update

from dashboard.alerting import outbox
from dashboard.alerting.wording import payload_of_test
from dashboard.errors import Conflict, NotFound
from dashboard.services import audit
from dashboard.services.alertdata import FIELDS, check
from dashboard.storage.models import (
    LARGEST_ID,
    OPEN_PROBLEM,
    AlertDelivery,
    AlertEvent,
    AlertProblem,
    AlertRule,
    DeliveryState,
    Role,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.orm import Session

    from dashboard.services.audit import Actor
    from dashboard.vault import Vault

MOST_RULES = 500

CONDITION = ("on", "after", "rate", "window_seconds", "scope", "enabled")
"""What decides whether something is a problem: changed, a rule begins anew."""


def list_rules(session: Session) -> list[AlertRule]:
    """Return all rules by name."""
    return list(session.scalars(select(AlertRule).order_by(AlertRule.name, AlertRule.id)))


def get_rule(session: Session, rule_id: int) -> AlertRule:
    """Return one rule; raises `NotFound`."""
    rule = session.get(AlertRule, rule_id) if 0 < rule_id <= LARGEST_ID else None
    if rule is None:
        raise NotFound(f"There is no alert rule {rule_id}. It may have been removed.")
    return rule


def create_rule(
    session: Session, data: Mapping[str, Any], *, vault: Vault, actor: Actor
) -> AlertRule:
    """Add a rule. Raises `Invalid`, `Conflict` when there are too many, `NotAllowed`."""
    with audit.action(session, actor, "alert_rule.add", str(data.get("name") or "")) as entry:
        actor.require(Role.ADMIN)
        values = check(data, vault=vault)
        if (session.scalar(select(func.count()).select_from(AlertRule)) or 0) >= MOST_RULES:
            raise Conflict(f"There can be at most {MOST_RULES} alert rules.")
        now = datetime.now(UTC)
        about = {"created_at": now, "updated_at": now, "version": 1}
        names = {"created_by": actor.name, "updated_by": actor.name}
        rule = AlertRule(**values, **about, **names)
        session.add(rule)
        session.flush()
        entry.target = f"{rule.id} {rule.name}"
        entry.difference({}, as_noted(rule))
    return rule


def change_rule(
    session: Session,
    rule_id: int,
    data: Mapping[str, Any],
    *,
    version: int | None = None,
    vault: Vault,
    actor: Actor,
) -> AlertRule:
    """Change what `data` names. With another condition, what is wrong is told of anew.

    Raises `NotFound`, `Invalid`, `NotAllowed`; `Conflict` when `version` is not the present one.
    """
    with audit.action(session, actor, "alert_rule.change", str(rule_id)) as entry:
        actor.require(Role.ADMIN)
        rule = _locked(session, rule_id)
        entry.target = f"{rule.id} {rule.name}"
        if version is not None and version != rule.version:
            raise Conflict(
                f"The rule “{rule.name}” was changed by somebody else meanwhile. Nothing was saved."
            )
        before = as_noted(rule)
        values = check(data, rule, vault=vault)
        anew = any(name in CONDITION and getattr(rule, name) != values[name] for name in values)
        for name, value in values.items():
            setattr(rule, name, value)
        rule.version += 1
        rule.updated_at, rule.updated_by = datetime.now(UTC), actor.name
        session.flush()
        if anew:
            _close_problems(session, rule.id)
        entry.difference(before, as_noted(rule))
    return rule


def remove_rule(session: Session, rule_id: int, *, actor: Actor) -> None:
    """Remove a rule; what it has sent stays in the log, what waits is still sent."""
    with audit.action(session, actor, "alert_rule.remove", str(rule_id)) as entry:
        actor.require(Role.ADMIN)
        rule = _locked(session, rule_id)
        entry.target = f"{rule.id} {rule.name}"
        entry.difference(as_noted(rule), {})
        _close_problems(session, rule.id)
        session.delete(rule)


def test_rule(session: Session, rule_id: int, *, actor: Actor, public_url: str) -> int:
    """Send a test to every channel of a rule and return how many there are."""
    with audit.action(session, actor, "alert_rule.test", str(rule_id)) as entry:
        actor.require(Role.ADMIN)
        rule = get_rule(session, rule_id)
        entry.target = f"{rule.id} {rule.name}"
        now = datetime.now(UTC)
        payload = payload_of_test(rule, now, public_url)
        outbox.add(session, rule, AlertEvent.TEST, payload, now=now)
    return len(rule.channels)


def retry_delivery(session: Session, delivery_id: int, *, actor: Actor) -> AlertDelivery:
    """Try a delivery again that was given up or is in doubt.

    Raises `NotFound`, `NotAllowed`, and `Conflict` for one that was delivered or is under way.
    """
    with audit.action(session, actor, "alert.retry", str(delivery_id)):
        actor.require(Role.ADMIN)
        delivery = (
            session.get(AlertDelivery, delivery_id, with_for_update=True)
            if 0 < delivery_id <= LARGEST_ID
            else None
        )
        if delivery is None:
            raise NotFound(f"There is no delivery {delivery_id}. It may have been pruned.")
        if delivery.state not in {DeliveryState.FAILED, DeliveryState.UNKNOWN}:
            raise Conflict(f"This delivery is {delivery.state}; there is nothing to try again.")
        delivery.state, delivery.attempts = DeliveryState.WAITING, 0
        delivery.next_try_at, delivery.ended_at = datetime.now(UTC), None
    return delivery


def as_noted(rule: AlertRule) -> dict[str, Any]:
    """Return a rule as the audit log, the API and admins may see it: no secrets of channels."""
    values = {name: getattr(rule, name) for name in FIELDS}
    shown = [channel["shown"] for channel in rule.channels]
    return values | {"on": rule.on.value, "channels": shown}


def _locked(session: Session, rule_id: int) -> AlertRule:
    get_rule(session, rule_id)
    rule = session.get(AlertRule, rule_id, with_for_update=True, populate_existing=True)
    if rule is None:  # removed in between
        raise NotFound(f"There is no alert rule {rule_id}. It may have been removed.")
    return rule


def _close_problems(session: Session, rule_id: int) -> None:
    """End what a rule has told of without a word: it no longer looks for it."""
    session.execute(
        update(AlertProblem)
        .where(AlertProblem.rule_id == rule_id, text(OPEN_PROBLEM))
        .values(closed_at=datetime.now(UTC))
        .execution_options(synchronize_session=False)
    )

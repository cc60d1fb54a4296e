"""What makes a valid alert rule: the one set of checks behind form and API."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from dashboard.alerting import channels
from dashboard.alerting.wording import PLACE, PLACES
from dashboard.errors import FieldError, Invalid
from dashboard.storage.models import ID_LENGTH, AlertKind
from dashboard.texts import is_storable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dashboard.storage.models import AlertRule
    from dashboard.vault import Vault

DEFAULTS: Mapping[str, Any] = {
    "after": 1,
    "rate": None,
    "window_seconds": None,
    "scope": {"all": True},
    "channels": [],
    "notify_recovery": True,
    "remind_every_seconds": None,
    "settle_seconds": 300,
    "template": "",
    "enabled": True,
}
FIELDS = ("name", "on", *DEFAULTS)

CHANNELS = 20
LONGEST_TEMPLATE = 2000
NAMES_IN_SCOPE = 500
DAY = 86_400
SCOPES = '{"all": true}, {"tags": ["…"]} or {"jobs": ["…"]}'


def check(
    data: Mapping[str, Any], rule: AlertRule | None = None, *, vault: Vault
) -> dict[str, Any]:
    """Return the values of a rule's columns: all of a new one's, or those of `rule` that change.

    The addresses of its channels are sealed in the `vault`. Raises `Invalid` with every complaint.
    """
    given = dict(data) if rule is not None else {"name": None, "on": None, **DEFAULTS, **data}
    values: dict[str, Any] = {}
    errors = [
        FieldError(str(name), "A rule has no such field.") for name in given if name not in FIELDS
    ]
    checks = _checks(rule.channels if rule is not None else [], vault)
    for name, value in given.items():
        if name in checks:
            try:
                values[name] = checks[name](value)
            except ValueError as error:
                errors.append(FieldError(name, str(error)))
    if not errors:
        kept = {} if rule is None else {name: getattr(rule, name) for name in FIELDS}
        errors = _together(kept | values)
    if errors:
        raise Invalid(errors)
    return values


def _checks(known: list[dict[str, str]], vault: Vault) -> dict[str, Callable[[Any], Any]]:
    return {
        "name": _name,
        "on": _kind,
        "after": lambda value: _whole(value, 1, 10_000),
        "rate": lambda value: _number(value, 0, 1, above=True),
        "window_seconds": lambda value: _number(value, 1, 31 * DAY),
        "scope": _scope,
        "channels": lambda value: _channels(value, known, vault),
        "notify_recovery": _flag,
        "remind_every_seconds": lambda value: _number(value, 10, 31 * DAY),
        "settle_seconds": lambda value: _required(_number(value, 0, DAY)),
        "template": _template,
        "enabled": _flag,
    }


def _together(values: dict[str, Any]) -> list[FieldError]:
    """Return what is wrong with fields that are each right."""
    if values["on"] is AlertKind.FAILURE_RATE:
        return [
            FieldError(name, "A failure rate needs this.")
            for name in ("rate", "window_seconds")
            if values[name] is None
        ]
    return []


def _name(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("A rule needs a name.")
    name = value.strip()
    if len(name) > ID_LENGTH or not is_storable(name) or not name.isprintable():
        raise ValueError(f"A name has at most {ID_LENGTH} printable characters.")
    return name


def _kind(value: object) -> AlertKind:
    try:
        return AlertKind(value)  # type: ignore[arg-type]
    except ValueError:
        raise ValueError(f"Must be one of: {', '.join(AlertKind)}.") from None


def _whole(value: object, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"Must be a whole number from {least} to {most:,}.")
    return value


def _number(value: object, least: float, most: float, *, above: bool = False) -> float | None:
    if value is None:
        return None
    right = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not right or not least <= value <= most or (above and value == least):  # type: ignore[operator]
        begin = f"above {least:g}" if above else f"from {least:g}"
        raise ValueError(f"Must be a number {begin} to {most:,g}.")
    return float(value)  # type: ignore[arg-type]


def _required(value: float | None) -> float:
    if value is None:
        raise ValueError("Must be a number; 0 for none.")
    return value


def _template(value: object) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_TEMPLATE or not is_storable(value):
        raise ValueError(f"A message is text of at most {LONGEST_TEMPLATE:,} characters.")
    unknown = sorted(set(PLACE.findall(value)) - PLACES)
    if unknown:
        known = ", ".join(f"{{{name}}}" for name in sorted(PLACES))
        raise ValueError(f"There is no {{{unknown[0]}}} to fill in, only {known}.")
    return value.strip()


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("Must be true or false.")
    return value


def _scope(value: object) -> dict[str, Any]:
    if value == {"all": True}:
        return {"all": True}
    if isinstance(value, dict) and len(value) == 1:
        [(kind, names)] = value.items()
        if kind in {"tags", "jobs"}:
            return {kind: _names(names)}
    raise ValueError(f"Must be {SCOPES}.")


def _names(value: object) -> list[str]:
    if not isinstance(value, list) or not value:
        raise ValueError("Name at least one.")
    if len(value) > NAMES_IN_SCOPE:
        raise ValueError(f"Name at most {NAMES_IN_SCOPE}.")
    if not all(isinstance(name, str) and 0 < len(name) <= ID_LENGTH for name in value):
        raise ValueError(f"Each is a text of at most {ID_LENGTH} characters.")
    if not all(is_storable(name) for name in value):
        raise ValueError("No job or tag can have such a name.")
    return list(dict.fromkeys(value))


def _channels(value: object, known: list[dict[str, str]], vault: Vault) -> list[dict[str, str]]:
    """Return channels as they are kept; one as it is `shown` stands for that which is known."""
    if not isinstance(value, list) or not value:
        raise ValueError("Give at least one channel, for example https://example.com/hook.")
    if len(value) > CHANNELS:
        raise ValueError(f"A rule has at most {CHANNELS} channels.")
    masked = {each["shown"]: each for each in known if channels.is_masked(each["shown"])}
    found = [
        masked[one]
        if isinstance(one, str) and one in masked
        else channels.sealed(channels.check(one), vault)
        for one in value
    ]
    return list({each["shown"]: each for each in found}.values())

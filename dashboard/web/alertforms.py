"""The form of an alert rule: its texts, and the JSON of a rule that they mean."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from dashboard.durations import read_duration, show_duration
from dashboard.errors import FieldError, Invalid
from dashboard.services import alertdata
from dashboard.storage.models import AlertKind, AlertRule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dashboard.vault import Vault

Texts = dict[str, str]

KINDS = {
    AlertKind.FAILING: "A job fails",
    AlertKind.FAILURE_RATE: "Too many runs of a job fail",
    AlertKind.OVERDUE: "A job is late",
    AlertKind.SLOW: "A run takes too long",
    AlertKind.BROKEN: "A job cannot run",
    AlertKind.SCHEDULER_DOWN: "The scheduler is not running",
}
SCOPES = {"all": "All jobs", "tags": "Jobs with one of these tags", "jobs": "These jobs"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A field that only rules of some kind have."""

    name: str
    label: str
    help: str
    placeholder: str = ""


_DURATION_HELP = "For example 90 (seconds), 5m or 1h 30m."
CONDITIONS = {
    AlertKind.FAILING: (Entry("after", "Failures", "So many in a row."),),
    AlertKind.FAILURE_RATE: (
        Entry("rate", "Share of runs in %", "So large a part of its runs has failed.", "25"),
        Entry("window_seconds", "Within", f"Runs of that time are counted. {_DURATION_HELP}", "1h"),
        Entry("after", "Failures", "At least so many."),
    ),
    AlertKind.OVERDUE: (
        Entry("window_seconds", "Later than", f"{_DURATION_HELP} Empty: as on Now.", "10m"),
    ),
    AlertKind.SLOW: (
        Entry("window_seconds", "Longer than", f"{_DURATION_HELP} Empty: as on Now.", "1h"),
    ),
    AlertKind.BROKEN: (),
    AlertKind.SCHEDULER_DOWN: (
        Entry("window_seconds", "For longer than", f"{_DURATION_HELP} Empty: a minute.", "1m"),
    ),
}
"""The fields of each kind; what another kind has is neither asked nor looked at."""

_CONDITIONS = ("after", "rate", "window_seconds")
_LENGTHS = ("window_seconds", "remind_every_seconds", "settle_seconds")
_FLAGS = ("notify_recovery", "enabled")
_DURATION = TypeAdapter(timedelta)


def new_texts() -> Texts:
    """Return what the form of a new rule shows."""
    return _texts({"name": "", "on": AlertKind.FAILING.value, **alertdata.DEFAULTS})


def rule_texts(rule: AlertRule) -> Texts:
    """Return what the form of a rule shows: of its channels only what may be seen."""
    shown = [channel["shown"] for channel in rule.channels]
    values = {name: getattr(rule, name) for name in alertdata.FIELDS}
    return _texts(values | {"on": rule.on.value, "channels": shown})


def posted_texts(form: Mapping[str, str]) -> Texts:
    """Return what was typed; what was not sent is empty, as a box that is not ticked."""
    return {name: form.get(name, "").replace("\r\n", "\n") for name in new_texts()}


def conditions(texts: Texts) -> tuple[Entry, ...]:
    """Return the fields that the chosen kind of rule has."""
    return next((CONDITIONS[kind] for kind in CONDITIONS if kind == texts["on"]), ())


def carried(texts: Texts) -> list[str]:
    """Return the fields that are not asked: what was typed stays, should the choice be undone."""
    asked = {entry.name for entry in conditions(texts)}
    hidden = [name for name in _CONDITIONS if name not in asked]
    if not has_names(texts):
        hidden.append("names")
    if texts["on"] == AlertKind.SCHEDULER_DOWN:
        hidden.append("scope")
    return hidden


def has_names(texts: Texts) -> bool:
    """Say whether a rule is about some jobs or tags, which have to be named."""
    return texts["on"] != AlertKind.SCHEDULER_DOWN and texts["scope"] in {"tags", "jobs"}


def rule_data(texts: Texts) -> dict[str, Any]:
    """Return the JSON of a rule that the texts mean; raises `Invalid` for what means nothing."""
    data: dict[str, Any] = {"name": texts["name"], "on": texts["on"]}
    errors = []
    asked = {entry.name for entry in conditions(texts)}
    for name in ("after", "rate", *_LENGTHS):
        if name in _CONDITIONS and name not in asked:
            data[name] = alertdata.DEFAULTS[name]
            continue
        try:
            data[name] = _number(name, texts[name].strip())
        except ValueError as error:
            errors.append(FieldError(name, str(error)))
    kind, names = texts["scope"], _lines(texts["names"])
    everywhere = kind == "all" or texts["on"] == AlertKind.SCHEDULER_DOWN
    data["scope"] = {"all": True} if everywhere else {kind: names}
    data["channels"], data["template"] = _lines(texts["channels"]), texts["template"]
    for name in _FLAGS:
        data[name] = texts[name] == "true"
    if errors:
        raise Invalid(errors)
    return data


def field_of(error: FieldError, texts: Texts) -> FieldError:
    """Put a complaint beside the field of the form that it is about."""
    named = error.field == "scope" and texts["scope"] in {"tags", "jobs"}
    return FieldError("names", error.message) if named else error


def drafted(texts: Texts, known: AlertRule | None, vault: Vault) -> AlertRule:
    """Return the rule that the texts would make, for saying what it would do.

    Raises `Invalid`; a name and channels may still be missing.
    """
    data = rule_data(texts)
    data |= {
        "name": data["name"] or "New rule",
        "channels": data["channels"] or ["https://x.test/"],
    }
    if known is not None:
        data["channels"] = [channel["shown"] for channel in known.channels]
    return AlertRule(**alertdata.check(data, known, vault=vault))


def _texts(values: Mapping[str, Any]) -> Texts:
    scope: dict[str, Any] = values["scope"]
    [kind] = scope
    rate = values["rate"]
    return {
        "name": values["name"],
        "on": values["on"],
        "after": str(values["after"]),
        "rate": "" if rate is None else f"{rate * 100:g}",
        **{name: _length_text(values[name]) for name in _LENGTHS},
        "scope": kind,
        "names": "" if kind == "all" else "\n".join(scope[kind]),
        "channels": "\n".join(values["channels"]),
        "template": values["template"],
        **{name: "true" if values[name] else "" for name in _FLAGS},
    }


def _length_text(seconds: float | None) -> str:
    if seconds is None:
        return ""
    iso: str = _DURATION.dump_python(timedelta(seconds=seconds), mode="json")
    return show_duration(iso)


def _number(name: str, text: str) -> float | int | None:
    """Read a whole number, a share in percent or a length of time in seconds."""
    if name in _LENGTHS:
        if not text:
            return 0 if name == "settle_seconds" else None
        return _DURATION.validate_python(read_duration(text)).total_seconds()
    if not text and name == "rate":
        return None
    try:
        return float(text.rstrip("% ")) / 100 if name == "rate" else int(text)
    except ValueError:
        raise ValueError("Must be a number.") from None


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]

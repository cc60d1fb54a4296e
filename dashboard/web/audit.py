"""Who did what, and what was refused: the audit log, searched, read and taken along."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, redirect, request, url_for

from dashboard.errors import FieldError, Invalid, by_field
from dashboard.history.audit_list import (
    LOOK_THROUGH,
    AuditFilter,
    AuditPage,
    every_entry,
    list_entries,
)
from dashboard.history.removed import UNDO_DAYS
from dashboard.scheduling import triggers
from dashboard.storage.models import ID_LENGTH, LARGEST_ID, Role
from dashboard.tasks import shown_parameters
from dashboard.texts import storable
from dashboard.web.access import has_role, may, role
from dashboard.web.filters import absolute, iso
from dashboard.web.rendering import live_etag, not_modified, render
from dashboard.web.state import dashboard_state
from dashboard.web.tables import csv_line
from dashboard.web.times import MOMENT_HELP, read_moment
from dashboard.web.zones import display_zone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from werkzeug.wrappers import Response as AnyResponse

    from dashboard.storage.models import Audit

blueprint = Blueprint("audit", __name__, url_prefix="/audit")

OUTCOMES = ("done", "refused")
PARAMETERS = ("q", "actor", "action", "target", "outcome", "since", "until")
PERIODS = (("", "Any time"), ("24h", "24 hours"), ("7d", "7 days"), ("30d", "30 days"))
GROUPS = ("job", "run", "user", "token", "alert", "sign_in", "request")
"""What the action field offers; a group stands for all of its actions."""

COLUMNS = ("id", "at", "actor", "address", "action", "target", "outcome", "detail", "request_id")
FOLD_BEYOND = 4
"""Facts of an entry that are shown at once."""

_MOMENTS = ("until", "end_at")
"""What is told as a time, in the zone of whoever reads."""

_LONGEST_VALUE = 2000


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing an entry tells: what something was, what it is, or both."""

    label: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Row:
    """An entry, ready to be read."""

    entry: Audit
    facts: list[Fact]
    url: str | None
    """Where the target is, if it has a page."""
    restorable: bool = False
    """Whether it is the removal of a job that the person can still undo."""


DONE_TO_JOBS = {
    "job.add": "added it",
    "job.change": "changed it",
    "job.pause": "paused it",
    "job.resume": "resumed it",
    "job.remove": "removed it",
    "job.restore": "brought it back",
}


@dataclass(frozen=True, slots=True)
class JobChange:
    """What somebody did to a job, as its own page tells it."""

    entry: Audit
    verb: str
    facts: list[Fact]

    @classmethod
    def of(cls, entry: Audit) -> JobChange:
        """Read an entry; the whole job, which some hold, is what the page shows anyway."""
        telling = ("before", "after", "reason", "until")
        detail = {key: entry.detail[key] for key in telling if entry.detail.get(key) is not None}
        verb = DONE_TO_JOBS.get(entry.action, entry.action)
        return cls(entry, verb, list(facts_of(detail)))


@blueprint.get("")
@role(Role.VIEWER)
def index() -> AnyResponse:
    """List the entries that the address asks for."""
    if not all(text.strip() for text in request.args.values()):
        return redirect(_url())  # a form sends its empty fields along; addresses are to be shared
    try:
        wanted, before = _read_filter(), _read_place()
    except Invalid as error:
        response = _render(None, AuditFilter(), errors=error.errors)
        response.status_code = error.status
        return response
    with dashboard_state().database.read() as session:
        etag = live_etag(session)
        if unchanged := not_modified(etag):
            return unchanged
        page = list_entries(session, wanted, before=before)
    return _render(page, wanted, etag=etag, newest=before is None)


@blueprint.get("/export.<any(csv, json):form>")
@role(Role.VIEWER)
def export(form: str) -> Response:
    """Send all entries that the address asks for, as they are read."""
    entries = every_entry(dashboard_state().database, _read_filter())
    with_address = may("admin")  # looked up now: nobody is asking any more while it is sent
    values = (_values(entry, with_address=with_address) for entry in entries)
    lines = _as_csv(values) if form == "csv" else _as_json(values)
    kind = "text/csv; charset=utf-8" if form == "csv" else "application/json"
    response = Response(lines, content_type=kind)
    moment = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    response.headers["Content-Disposition"] = f'attachment; filename="audit-{moment}.{form}"'
    return response


def _values(entry: Audit, *, with_address: bool) -> dict[str, Any]:
    values = {name: getattr(entry, name) for name in COLUMNS} | {"detail": shown_detail(entry)}
    return values | {"at": iso(entry.at), "address": entry.address if with_address else None}


def _as_csv(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    yield csv_line(COLUMNS)
    for row in rows:
        detail = json.dumps(row["detail"], ensure_ascii=False)
        yield csv_line([(row | {"detail": detail})[name] for name in COLUMNS])  # type: ignore[operator]


def _as_json(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    yield "["
    for number, row in enumerate(rows):
        # ASCII: half a character, which JSON columns can hold, could not be sent otherwise.
        yield (",\n" if number else "\n") + json.dumps(row)
    yield "\n]\n"


def _read_filter() -> AuditFilter:
    """Return what the address asks for; raises `Invalid` with all that is wrong with it."""
    errors: list[FieldError] = []
    zone, now = display_zone(), datetime.now(UTC)

    def text(name: str) -> str | None:
        value = request.args.get(name, "").strip()
        if len(value) > ID_LENGTH or not value.isprintable():
            message = f"Up to {ID_LENGTH} printable characters are possible."
            errors.append(FieldError(name, message))
            return None
        return value or None

    def moment(name: str) -> datetime | None:
        value = request.args.get(name, "")
        try:
            return read_moment(value, zone, now) if value.strip() else None
        except ValueError as error:
            errors.append(FieldError(name, str(error)))
            return None

    wanted = AuditFilter(
        actor=text("actor"),
        action=text("action"),
        target=text("target"),
        outcome=text("outcome"),
        text=text("q"),
        since=moment("since"),
        until=moment("until"),
    )
    if wanted.outcome and wanted.outcome not in OUTCOMES:
        errors.append(FieldError("outcome", f"An outcome is one of {', '.join(OUTCOMES)}."))
    if wanted.since and wanted.until and wanted.since >= wanted.until:
        errors.append(FieldError("until", "This is not after the beginning."))
    if errors:
        raise Invalid(errors)
    return wanted


def _read_place() -> int | None:
    text = request.args.get("before", "")
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,19}", text) or int(text) > LARGEST_ID:
        raise Invalid.one("before", "This address leads to no page of the list.")
    return int(text)


def _render(
    page: AuditPage | None,
    wanted: AuditFilter,
    *,
    etag: str | None = None,
    newest: bool = False,
    errors: Iterable[FieldError] = (),
) -> Response:
    """Render the list; `page` is None when the filter cannot be understood."""
    return render(
        "audit/index.html",
        partial="audit/_list.html",
        etag=etag if newest else None,
        found=page,
        rows=[_row(entry) for entry in page.entries] if page else [],
        newest=newest,
        fold_beyond=FOLD_BEYOND,
        looked_through=LOOK_THROUGH,
        filtered=bool(wanted) or page is None,
        url_older=_url(before=page.older) if page and page.older is not None else None,
        url_newest=None if newest else _url(),
        exports=[(form, _url(".export", form=form)) for form in ("csv", "json")],
        errors=by_field(errors),
        args=request.args,
        outcomes=OUTCOMES,
        groups=GROUPS,
        periods=[(text, label, _url(since=text or None, until=None)) for text, label in PERIODS],
        moment_help=MOMENT_HELP,
        clear_url=url_for(".index"),
    )


def _url(endpoint: str = ".index", **changes: Any) -> str:
    """Return the address of the same list, with some of what filters changed."""
    given = {name: value for name in PARAMETERS if (value := request.args.get(name, "").strip())}
    return url_for(endpoint, **given | changes)


def _row(entry: Audit) -> Row:
    url = None
    if entry.action.startswith("job.") and entry.target:
        url = url_for("dashboard.job.show", job_id=entry.target)
    elif entry.action.startswith("run.") and entry.target.isdecimal():
        url = url_for("dashboard.run.show", run_id=int(entry.target))
    elif entry.action.startswith("bulk.") and entry.target.isdecimal() and has_role(Role.OPERATOR):
        url = url_for("dashboard.bulk.show", bulk_id=int(entry.target))
    removed = (entry.action, entry.outcome) == ("job.remove", "done")
    job = entry.detail.get("job")
    restorable = (
        removed
        and isinstance(job, dict)
        and datetime.now(UTC) - entry.at < timedelta(days=UNDO_DAYS)
        and may(Role.ADMIN, job.get("tags"))
    )
    return Row(entry, list(facts_of(shown_detail(entry))), url, restorable)


def shown_detail(entry: Audit) -> dict[str, Any]:
    """Return an entry's detail without the secrets of a removed job, which are kept to restore."""
    job = entry.detail.get("job")
    if not isinstance(job, dict) or not isinstance(job.get("parameters"), dict):
        return entry.detail
    shown = shown_parameters(str(job.get("task")), job["parameters"])
    return entry.detail | {"job": job | {"parameters": shown}}


def facts_of(detail: Mapping[str, Any]) -> Iterator[Fact]:
    """Yield what an entry's detail tells, differences first."""
    before, after = detail.get("before"), detail.get("after")
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            old, new = _in_words(key, before), _in_words(key, after)
            if old == new:  # a difference that the sentence does not tell
                old, new = _as_text(before.get(key)), _as_text(after.get(key))
            yield Fact(_label(key), old, new)
        detail = {key: value for key, value in detail.items() if key not in {"before", "after"}}
    for key, value in detail.items():
        if isinstance(value, dict) and value:
            for part in value:
                yield Fact(_label(part), None, _in_words(part, value))
        else:
            yield Fact(_label(key), None, _in_words(key, detail))


def _in_words(key: str, values: Mapping[str, Any]) -> str:
    value = values.get(key)
    if key == "trigger" and isinstance(value, dict):
        try:
            return triggers.load(value).sentence
        except Invalid:
            pass  # the task or the trigger is of another version; its data still tells
    if key in _MOMENTS and isinstance(value, str):
        with suppress(ValueError):
            return absolute(datetime.fromisoformat(value), display_zone())
    return _as_text(value)


def _as_text(value: object) -> str:
    if value is None or value == "":
        return "(none)"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = storable(text)  # JSON can hold half a character, a page cannot
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def _label(key: str) -> str:
    return storable(key).replace("_", " ").capitalize()

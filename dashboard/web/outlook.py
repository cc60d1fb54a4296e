"""What the form says beside a trigger while it is typed: a sentence, fire times and warnings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dashboard.errors import Invalid
from dashboard.scheduling.wallclock import zone_named
from dashboard.services.previews import preview_trigger
from dashboard.web import triggerforms

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from sqlalchemy.orm import Session

    from dashboard.errors import FieldError
    from dashboard.scheduling.preview import Preview, TriggerWarning
    from dashboard.settings import Settings
    from dashboard.web.formfields import Field
    from dashboard.web.forms import JobForm


@dataclass(frozen=True, slots=True)
class FireTime:
    """One moment as the clocks of the trigger's zone show it, and those elsewhere."""

    moment: datetime
    text: str
    elsewhere: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outlook:
    """A trigger that can be foreseen (`preview`), or what keeps it from that (`problems`)."""

    preview: Preview | None = None
    zone: str = ""
    elsewhere: tuple[str, ...] = ()
    """The other zones in which each fire time is told."""
    times: tuple[FireTime, ...] = ()
    problems: tuple[tuple[Field | None, str], ...] = ()
    jitter: str = ""

    @property
    def warnings(self) -> list[list[TriggerWarning]]:
        """What to be warned of, by code: a zone's clocks change again and again."""
        found = self.preview.warnings if self.preview else []
        codes = dict.fromkeys(warning.code for warning in found)
        return [[each for each in found if each.code == code] for code in codes]

    @property
    def untouched(self) -> bool:
        """True while nothing has been given yet: no fault, only a beginning."""
        return self.preview is None and not self.problems


def outlook(
    session: Session, form: JobForm, *, settings: Settings, viewer_zone: str = "", job_id: str = ""
) -> Outlook:
    """Look ahead for the trigger in `form`; `viewer_zone` is that of whoever looks, if known."""
    if not _is_begun(form):
        return Outlook()
    data, faults = triggerforms.data_of(form.texts)
    if faults:
        return _problems(form, faults)
    try:
        preview = preview_trigger(
            session,
            data,
            timezone=settings.timezone,
            task=form.texts.get("task", ""),
            job_id=job_id,
        )
    except Invalid as invalid:
        return _problems(form, invalid.errors)
    moments = preview.fire_times
    zone = str(moments[0].tzinfo) if moments else ""
    names = dict.fromkeys(name for name in ("UTC", viewer_zone) if name and name != zone)
    elsewhere = [zone_named(name) for name in names]
    return Outlook(
        preview,
        zone,
        elsewhere=tuple(str(other) for other in elsewhere),
        times=tuple(_fire_time(moment, elsewhere) for moment in moments),
        jitter=str(data.get("jitter", "")),
    )


def _is_begun(form: JobForm) -> bool:
    """Tell whether anything was given that makes the trigger what it is."""
    shown = form.trigger
    own = [field for each in shown.editors() for field in each.fields]
    return any(form.text(field).strip() for field in own if field.kind != "select")


def _problems(form: JobForm, faults: Iterable[FieldError]) -> Outlook:
    return Outlook(problems=tuple(replace(form, faults=tuple(faults)).summary))


def _fire_time(moment: datetime, elsewhere: Iterable[ZoneInfo]) -> FireTime:
    other = tuple(_reading(moment.astimezone(zone)) for zone in elsewhere)
    return FireTime(moment, _reading(moment), other)


def _reading(moment: datetime) -> str:
    return f"{moment:%a %Y-%m-%d %H:%M:%S %Z}"

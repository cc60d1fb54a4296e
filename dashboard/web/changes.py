"""What differs between two states of a job's form: before saving, and after two people edited.

Compared is what stands in the fields, part by part. A part is one field, but a trigger is a whole:
half of one and half of another would be a schedule that nobody wanted.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dashboard.errors import Invalid
from dashboard.scheduling import triggers
from dashboard.vault import ANOTHER, MASK
from dashboard.web import triggerforms
from dashboard.web.forms import JobForm, Texts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dashboard.web.formfields import Field

NOTHING = "(empty)"


@dataclass(frozen=True, slots=True)
class Difference:
    """One part of a job that is not as it was; `mine` is what else was wanted for it."""

    label: str
    before: str
    after: str
    mine: str | None = None


def changed_parts(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Name the parts in which `after` shows something else than `before`, in the page's order."""
    old = _parts(before)
    return [part for part, texts in _parts(after).items() if old.get(part) != texts]


def changed_keys(before: Mapping[str, str], after: Mapping[str, str]) -> set[str]:
    """Name the keys of the job's JSON that such a change concerns."""
    keys = {part.partition(".")[0] for part in changed_parts(before, after)}
    return keys | {"parameters"} if "task" in keys else keys


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[Difference]:
    """List what `after` changes."""
    return [
        _difference(part, before, after, JobForm(after, is_new=False))
        for part in changed_parts(before, after)
    ]


def meanwhile(
    base: Mapping[str, str], now: Mapping[str, str], mine: Mapping[str, str]
) -> list[Difference]:
    """List what somebody else changed from `base` to `now`, with my own wish where I had one."""
    wanted = set(changed_parts(base, mine)) & set(changed_parts(now, mine))
    form = JobForm(now, is_new=False)
    found = []
    for part in changed_parts(base, now):
        theirs = _difference(part, base, now, form)
        clash = _difference(part, now, mine, form).after if part in wanted else None
        found.append(Difference(theirs.label, theirs.before, theirs.after, clash))
    return found


def merged(base: Mapping[str, str], now: Mapping[str, str], mine: Mapping[str, str]) -> Texts:
    """Return `now` with what I changed since `base` put over it."""
    texts = dict(now)
    for part in changed_parts(base, mine):
        texts = {name: text for name, text in texts.items() if _part_of(name) != part}
        texts |= {name: text for name, text in mine.items() if _part_of(name) == part}
    return texts


def _part_of(name: str) -> str:
    trigger = f"{triggerforms.ROOT}."
    return triggerforms.ROOT if name.startswith(trigger) else name


def _parts(texts: Mapping[str, str]) -> dict[str, Texts]:
    """Return the texts that are shown, by part; an empty field is as good as none."""
    parts: dict[str, Texts] = {}
    for field in JobForm(texts, is_new=False).shown:
        part = parts.setdefault(_part_of(field.name), {})
        if text := texts.get(field.name):
            part[field.name] = text
    return parts


def _difference(
    part: str, before: Mapping[str, str], after: Mapping[str, str], form: JobForm
) -> Difference:
    if part == triggerforms.ROOT:
        old, new = _sentence(before), _sentence(after)
        if old == new:  # a difference that the sentence does not tell
            old, new = _as_json(before), _as_json(after)
        return Difference("Trigger", old, new)
    field = next((field for field in form.shown if field.name == part), None)
    return Difference(
        field.label if field else part, _words(field, before, part), _words(field, after, part)
    )


def _words(field: Field | None, texts: Mapping[str, str], name: str) -> str:
    text = texts.get(name, "")
    if field is not None and field.secret and text:
        return MASK if text == MASK else ANOTHER
    if field is not None and field.kind == "checkbox":
        return "yes" if text == "true" else "no"
    return text or NOTHING


def _sentence(texts: Mapping[str, str]) -> str:
    try:
        schedule = triggers.load(triggerforms.data_of(texts)[0])
    except Invalid:
        return _as_json(texts)
    return f"{schedule.sentence} ({schedule.timezone})"


def _as_json(texts: Mapping[str, str]) -> str:
    return json.dumps(triggerforms.data_of(texts)[0], ensure_ascii=False)

"""Triggers as people type them: the fields of each kind, and the JSON that their texts stand for.

A field's name is its path in that JSON (`trigger.hour`, `trigger.triggers.0.minute`), so a
complaint about a path finds its field. Texts stay as typed; the scheduling side judges them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dashboard.errors import FieldError
from dashboard.scheduling.kinds import DEEPEST
from dashboard.scheduling.triggers import unanchored
from dashboard.scheduling.wallclock import moment_of, zone_named
from dashboard.web.formfields import (
    AS_JSON,
    COMBINATIONS,
    JITTER,
    KINDS,
    NO_KIND,
    SIMPLE,
    UNITS,
    ZONE,
    Field,
    Kind,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

ROOT = "trigger"
MOST_CHILDREN = 20
LONGEST_JSON = 20_000
MOST_BRACKETS = 200
"""In the JSON of a trigger, so that nothing that walks through it can run out of stack."""

_CLOCK = ("hour", "minute", "second")
_COUNT = re.compile(r"0*[1-9][0-9]*", re.ASCII)
_TIME = re.compile(r"(\d{1,2}):(\d{1,2})(?::(\d{1,2}))?", re.ASCII)
_NUMBER = re.compile(r"(\d{1,6})\.", re.ASCII)
_PART = re.compile(r"\.triggers\.(\d{1,6})(?=\.)", re.ASCII)

_STAND_INS = {"interval": "every", "crontab": "crontab", AS_JSON: "json"}
"""The fields that stand for the whole trigger when a complaint is about no field of the form."""


@dataclass(frozen=True, slots=True)
class Editor:
    """What the form shows for one trigger: its kind, its fields, and the triggers inside it."""

    path: str
    chosen: str
    choice: Field
    kind: Kind
    fields: tuple[Field, ...]
    frame: tuple[Field, ...]
    children: tuple[Editor, ...] = ()

    @property
    def is_combination(self) -> bool:
        """True for a trigger that is made of triggers."""
        return self.chosen in COMBINATIONS and _may_combine(self.path)

    @property
    def number(self) -> str:
        """Which part of the whole it is: `2`, or `2.1` for the first part of the second."""
        return ".".join(str(int(part) + 1) for part in _PART.findall(f"{self.path}."))

    def editors(self) -> Iterator[Editor]:
        """Yield itself and those of the triggers inside, at any depth."""
        yield self
        for child in self.children:
            yield from child.editors()

    @property
    def folded(self) -> tuple[Field, ...]:
        """The fields of the frame that few people need."""
        return tuple(field for field in self.frame if field.kind != "zone" or self.path != ROOT)

    def walk(self) -> Iterator[Field]:
        """Yield every field, those of the triggers inside included."""
        yield self.choice
        yield from self.fields
        for child in self.children:
            yield from child.walk()
        yield from self.frame


def editor(texts: Mapping[str, str], path: str = ROOT) -> Editor:
    """Return the fields for the kind of trigger that `texts` name."""
    chosen = texts.get(f"{path}.type", "")
    kind = KINDS.get(chosen, NO_KIND)
    frame = kind.frame
    if path != ROOT:  # the zone of the whole counts, and jitter belongs to the whole
        frame = tuple(
            replace(field, help="Empty: that of the whole.") if field is ZONE else field
            for field in frame
            if field is not JITTER
        )
    children = _children(texts, path) if chosen in COMBINATIONS and _may_combine(path) else []
    return Editor(
        path,
        chosen,
        _choice(path, chosen),
        kind,
        tuple(replace(field, name=f"{path}.{field.name}") for field in kind.fields),
        tuple(replace(field, name=f"{path}.{field.name}") for field in frame),
        tuple(editor(texts, f"{path}.triggers.{number}") for number in children),
    )


def _may_combine(path: str) -> bool:
    """Say whether the trigger at a path may be made of triggers: they nest only so deep."""
    return path.count(".triggers.") < DEEPEST


def _choice(path: str, chosen: str) -> Field:
    """Return the field that chooses the kind; JSON is offered only where it is needed already."""
    offered = [kind for kind in (KINDS if _may_combine(path) else SIMPLE) if kind != AS_JSON]
    if chosen == AS_JSON:
        offered.append(AS_JSON)
    choices = tuple((kind, KINDS[kind].label) for kind in offered)
    return Field(
        f"{path}.type",
        "Trigger" if path == ROOT else "Kind",
        "select",
        choices=choices,
        required=True,
    )


def place(path: str, shown: Editor) -> str:
    """Return the name of the field beside which a complaint about `path` belongs; "" for none."""
    names = {field.name for field in shown.walk()}
    editors = {each.path: each for each in shown.editors()}
    at = path
    while at and at not in names and at not in editors:
        at = at.rpartition(".")[0]
    if at in names or not at:
        return at
    chosen = editors[at].chosen
    if chosen == "calendarinterval" and path.rpartition(".")[2] in _CLOCK:
        return f"{at}.at"
    return f"{at}.{_STAND_INS.get(chosen, 'type')}"


# -- texts to JSON ---------------------------------------------------------------------------------


def data_of(texts: Mapping[str, str], path: str = ROOT) -> tuple[dict[str, Any], list[FieldError]]:
    """Return the JSON of a trigger, and what could not be turned into any."""
    shown = editor(texts, path)
    faults = [
        FieldError(field.name, "Is needed.")
        for field in shown.fields
        if field.required and not texts.get(field.name, "").strip()
    ]
    chosen = texts.get(f"{path}.type", "")
    if chosen == AS_JSON and not faults:
        return _parsed(texts[f"{path}.json"], f"{path}.json")
    data: dict[str, Any] = {"type": chosen}
    for field in (*shown.fields, *shown.frame):
        text = texts.get(field.name, "").strip()
        if text:
            data[field.name.removeprefix(f"{path}.")] = text
    if chosen == "interval":
        faults += _count_unit(data, path)
    elif chosen == "crontab":
        data["type"] = "cron"
    elif chosen == "calendarinterval":
        faults += _split_time(data, f"{path}.at")
    elif shown.children:
        inside = [data_of(texts, child.path) for child in shown.children]
        data["triggers"] = [child for child, _faults in inside]
        faults += [fault for _child, found in inside for fault in found]
    return data, faults


def _count_unit(data: dict[str, Any], path: str) -> list[FieldError]:
    unit, every = data.pop("unit", ""), data.pop("every", "")
    if unit not in UNITS:
        return [FieldError(f"{path}.unit", "Choose one of the units.")]
    data[unit] = every
    if every and not _COUNT.fullmatch(every):
        message = "Must be a whole number; an interval lasts at least 1 second."
        return [FieldError(f"{path}.every", message)]
    return []


def _split_time(data: dict[str, Any], name: str) -> list[FieldError]:
    text = data.pop("at", None)
    if text is None:
        return []
    match = _TIME.fullmatch(text)
    if match is None:
        return [FieldError(name, "Must be a time of day such as 09:30.")]
    data |= {unit: int(part) for unit, part in zip(_CLOCK, match.groups(), strict=True) if part}
    return []


def _parsed(text: str, name: str) -> tuple[dict[str, Any], list[FieldError]]:
    if len(text) > LONGEST_JSON:
        return {}, [FieldError(name, f"Is too long: at most {LONGEST_JSON:,} characters.")]
    if text.count("[") + text.count("{") > MOST_BRACKETS:
        return {}, [FieldError(name, "Holds too many lists and objects.")]
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        return {}, [FieldError(name, f"Is not JSON: {error.msg.lower()}, {where}.")]
    except ValueError:  # Python reads no number of thousands of digits
        return {}, [FieldError(name, "Cannot be read: a number is too large.")]
    if not isinstance(data, dict):
        return {}, [FieldError(name, 'Must be an object such as {"type": "interval", "hours": 1}.')]
    return data, []


# -- JSON to texts ---------------------------------------------------------------------------------


def texts_of(stored: Mapping[str, Any], zone: str, path: str = ROOT) -> dict[str, str]:
    """Return the texts that show a stored trigger; `zone` is the zone in force for it."""
    kind, values = _values_of(stored, zone, may_combine=_may_combine(path))
    if path == ROOT and kind != AS_JSON:
        values.setdefault("timezone", zone)
    texts = {f"{path}.type": kind}
    texts |= {f"{path}.{name}": value for name, value in values.items()}
    if kind in COMBINATIONS:
        inside = str(stored.get("timezone", zone))
        for number, child in enumerate(stored["triggers"]):
            texts |= texts_of(child, inside, f"{path}.triggers.{number}")
    return texts


def _values_of(
    stored: Mapping[str, Any], zone: str, *, may_combine: bool
) -> tuple[str, dict[str, str]]:
    """Return the kind and the texts of its own fields; what those cannot say becomes JSON."""
    stored = unanchored(stored)  # nobody typed those starts
    kind = str(stored.get("type"))
    data = {name: value for name, value in stored.items() if name != "type"}
    if kind == "cron" and "crontab" in data:
        kind = "crontab"
    elif kind == "interval":
        _join_interval(data)
    elif kind == "calendarinterval":
        _join_time(data)
    elif kind in COMBINATIONS and may_combine:
        data = _without_children(data)
    fields = (*KINDS[kind].fields, *KINDS[kind].frame) if kind in KINDS else ()
    known = {field.name: field for field in fields}
    if not known or not data.keys() <= known.keys():
        return AS_JSON, {"json": json.dumps(stored, ensure_ascii=False, indent=2)}
    zone = str(data.get("timezone", zone))
    return kind, {
        name: _moment_text(str(value), zone) if known[name].kind == "moment" else str(value)
        for name, value in data.items()
    }


def _join_interval(data: dict[str, Any]) -> None:
    """Turn the units into one: the largest in which the interval is a whole number."""
    given = {unit: data.pop(unit) for unit in UNITS if unit in data}
    if not all(isinstance(count, int) for count in given.values()):
        data |= given
        return
    unit = next(iter(given), "seconds")
    seconds = sum(count * UNITS[unit] for unit, count in given.items())
    if len(given) > 1:
        unit = next(unit for unit in reversed(UNITS) if seconds % UNITS[unit] == 0)
    data |= {"every": seconds // UNITS[unit], "unit": unit}


def _join_time(data: dict[str, Any]) -> None:
    clock = [data.pop(unit, 0) for unit in _CLOCK]
    if all(isinstance(part, int) for part in clock):
        shown = clock if clock[2] else clock[:2]
        data["at"] = ":".join(f"{part:02}" for part in shown)
    else:
        data |= dict(zip(_CLOCK, clock, strict=True))


def _without_children(data: dict[str, Any]) -> dict[str, Any]:
    children = data.get("triggers")
    if isinstance(children, list) and all(isinstance(child, dict) for child in children):
        return {name: value for name, value in data.items() if name != "triggers"}
    return data


def _moment_text(text: str, zone: str) -> str:
    """Write a stored moment as the zone's clocks show it; with its offset where those mislead."""
    try:
        moment = datetime.fromisoformat(text)
        wall = moment.replace(tzinfo=None)
        if moment.tzinfo is None or moment_of(zone_named(zone), wall) == moment:
            return wall.isoformat(" ")
        return moment.isoformat(" ")
    except (ValueError, OverflowError):
        return text


# -- the triggers inside a combination -------------------------------------------------------------


def _children(texts: Mapping[str, str], path: str) -> list[int]:
    """Return the numbers of the triggers right inside the one at a path, in order."""
    start = f"{path}.triggers."
    inside = (name for name in texts if name.startswith(start))
    found = {int(match[1]) for name in inside if (match := _NUMBER.match(name, len(start)))}
    return _few(found)


def _few(numbers: Iterable[int]) -> list[int]:
    return sorted(numbers)[: MOST_CHILDREN + 1]  # one more than allowed, to be complained of


def renumbered(texts: Mapping[str, str]) -> dict[str, str]:
    """Count the triggers inside from 0 on without gaps, as complaints about them will."""
    found: dict[str, set[int]] = {}
    for name in texts:
        for part in _PART.finditer(name):
            found.setdefault(name[: part.start()], set()).add(int(part[1]))
    numbers = {path: _few(inside) for path, inside in found.items()}
    names = {name: _renumbered(name, numbers) for name in texts}
    return {new: texts[name] for name, new in names.items() if new is not None}


def _renumbered(name: str, numbers: Mapping[str, list[int]]) -> str | None:
    """Return the name of a text by the new numbers; None for one that is too many."""
    new, end = "", 0
    for part in _PART.finditer(name):
        siblings = numbers[name[: part.start()]]
        if int(part[1]) not in siblings:
            return None
        new += f"{name[end : part.start()]}.triggers.{siblings.index(int(part[1]))}"
        end = part.end()
    return new + name[end:]


def with_child(texts: Mapping[str, str], path: str = ROOT) -> dict[str, str]:
    """Add one more trigger to the combination at a path."""
    return {**texts, f"{path}.triggers.{len(_children(texts, path))}.type": "cron"}


def without_child(texts: Mapping[str, str], path: str) -> dict[str, str]:
    """Take one of the triggers out of its combination."""
    kept = {name: text for name, text in texts.items() if not name.startswith(f"{path}.")}
    return renumbered(kept)


def with_first_children(texts: Mapping[str, str]) -> dict[str, str]:
    """Give every combination that was just chosen two triggers to begin with."""
    for each in editor(texts).editors():
        if each.is_combination and not each.children:
            texts = with_child(with_child(texts, each.path), each.path)
    return dict(texts)

"""Form fields for a task's parameters: which input, which help, text to JSON value and back."""

from __future__ import annotations

import enum
import json
import math
import re
import typing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from dashboard.durations import EXAMPLES, read_duration, show_duration
from dashboard.vault import MASK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Kind = Literal[
    "text", "textarea", "integer", "number", "checkbox", "select",
    "date", "datetime", "time", "duration", "list", "json",
]  # fmt: skip

DECIMAL = "decimal"
"""The format that marks the string form of a decimal number in a schema."""

_ON = frozenset({"on", "true", "1", "yes", "y"})
_OFF = frozenset({"", "off", "false", "0", "no", "n"})
_MOST_DIGITS = 1000
_LONGEST_JSON_LINE = 60
_NEVER_SHOWN = "Kept encrypted and never shown."

_PHRASES = {
    "minimum": "at least {:,.12g}",
    "exclusiveMinimum": "greater than {:,.12g}",
    "maximum": "at most {:,.12g}",
    "exclusiveMaximum": "less than {:,.12g}",
    "multipleOf": "a multiple of {:,.12g}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
}
_KIND_OF_FORMAT: dict[str, Kind] = {
    "date": "date",
    "date-time": "datetime",
    "time": "time",
    "duration": "duration",
    "textarea": "textarea",
}
_KIND_OF_TYPE: dict[str, Kind] = {"integer": "integer", "number": "number", "boolean": "checkbox"}
_KINDS_IN_LISTS = frozenset(
    {"text", "integer", "number", "select", "date", "datetime", "time", "duration"}
)
_HINTS: dict[Kind, str] = {
    "date": "For example 2026-03-29.",
    "datetime": "For example 2026-03-29 14:30:00.",
    "time": "For example 14:30.",
    "duration": f"{EXAMPLES[:1].upper()}{EXAMPLES[1:]}.",
    "list": "One per line.",
    "json": 'JSON, for example {"name": "value"}, [1, 2] or "text".',
}


class Unreadable(ValueError):
    """A form's text that is no value of its field's kind."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What text of a field stands for."""

    kind: Kind
    nullable: bool = False
    items: Shape | None = None
    """The shape of each line of a list."""
    values: tuple[Any, ...] = ()
    """The JSON values a select chooses from."""
    exact: bool = False
    """A decimal number: handed on as text, which keeps every digit."""


@dataclass(frozen=True, slots=True)
class ParameterField:
    """One parameter as a form shows it."""

    name: str
    label: str
    kind: Kind
    required: bool
    """Whether the form must not leave it empty."""
    nullable: bool
    default_text: str
    """What a form for a new job shows."""
    choices: tuple[tuple[str, str], ...]
    """Text and label of each choice of a select."""
    help: str
    """Description and limits as sentences."""
    shape: Shape = field(repr=False)
    empty_value: Any = field(default=None, repr=False)
    """What no text stands for, when `empty_is_value`; else it stands for the default."""
    empty_is_value: bool = field(default=False, repr=False)
    secret: bool = False
    """Whether its values are for nobody to see; a form shows a mask for one that is kept."""

    def read(self, text: str | None) -> dict[str, Any]:
        """Return `{name: JSON value}`, or nothing when the default is meant; raises `Unreadable`.

        Text that is of the right kind but no allowed value is passed on for validation to refuse.
        """
        if self.kind == "checkbox":
            return {self.name: _read_checkbox(text)}
        if self.secret and text == MASK:
            return {self.name: MASK}
        text = (text or "").replace("\r\n", "\n")
        if not text.strip() and not (text and self.kind in {"text", "textarea"}):
            return {self.name: self.empty_value} if self.empty_is_value else {}
        return {self.name: _read(self.shape, text)}

    def show(self, value: Any) -> str:
        """Return the text a form shows for a JSON value."""
        if self.secret:
            return "" if value is None else MASK
        empty = value is None and (self.nullable or self.kind != "json")
        return "" if empty else _show(self.shape, value)


def label_of(name: str) -> str:
    """Make a parameter's name a label: `dry_run` becomes `Dry run`."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def field_of(
    name: str, schema: Mapping[str, Any], annotation: Any, *, secret: bool = False
) -> ParameterField:
    """Describe a parameter of a model's JSON schema; the annotation only names enum members."""
    part = schema["properties"][name]
    shape = _shape(part, schema.get("$defs", {}))
    if secret and shape.kind in {"checkbox", "select"}:
        shape = Shape("json", nullable=shape.nullable)  # these would show what is chosen
    required = name in schema.get("required", ())
    default = part.get("default")
    if shape.kind == "text" and isinstance(default, str) and "\n" in default:
        shape = replace(shape, kind="textarea")
    empties = _empty(shape, part, default, required=required)
    return ParameterField(
        name=name,
        label=part.get("title") or label_of(name),
        kind=shape.kind,
        required=required and not empties,
        nullable=shape.nullable,
        default_text="" if default is None else _show(shape, default),
        choices=_choices(shape, annotation),
        help=f"{_help(shape, part)} {_NEVER_SHOWN}".strip() if secret else _help(shape, part),
        shape=shape,
        empty_value=empties[0] if empties else None,
        empty_is_value=bool(empties),
        secret=secret,
    )


def _empty(
    shape: Shape, part: Mapping[str, Any], default: Any, *, required: bool
) -> tuple[Any, ...]:
    """Tell what a cleared field means, when that differs from leaving the parameter out."""
    if shape.nullable:
        return (None,) if required or default is not None else ()
    if shape.kind == "list":
        return ([],) if required or default else ()
    plain = shape.kind in {"text", "textarea"} and part.get("format") in {None, "textarea"}
    return ("",) if plain and default and not part.get("minLength") else ()


# -- which kind --------------------------------------------------------------------------------


def _shape(part: Mapping[str, Any], definitions: Mapping[str, Any]) -> Shape:
    """Derive the shape from a JSON schema, which is the same for every way to spell a type."""
    if "$ref" in part:
        return _shape(definitions[part["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in part:
        return _shape_of_union(part["anyOf"], definitions)
    if "enum" in part or "const" in part:
        return _shape_of_choice(part.get("enum", [part.get("const")]))
    kind = part.get("type")
    if kind == "string":
        return Shape(_KIND_OF_FORMAT.get(part.get("format", ""), "text"))
    if kind == "array" and isinstance(part.get("items"), dict):
        items = _shape(part["items"], definitions)
        if items.kind in _KINDS_IN_LISTS and not items.nullable:
            return Shape("list", items=items)
    return Shape(_KIND_OF_TYPE.get(str(kind), "json"))


def _shape_of_union(members: list[dict[str, Any]], definitions: Mapping[str, Any]) -> Shape:
    rest = [member for member in members if member.get("type") != "null"]
    nullable = len(rest) < len(members)
    if any(member.get("format") == DECIMAL for member in rest):
        return Shape("number", nullable=nullable, exact=True)
    if len(rest) != 1:
        return Shape("json", nullable=nullable)
    shape = _shape(rest[0], definitions)
    if shape.kind == "checkbox":  # a box has two states, this has three
        return Shape("select", nullable=True, values=(True, False))
    return replace(shape, nullable=shape.nullable or nullable)


def _shape_of_choice(values: list[Any]) -> Shape:
    present = tuple(value for value in values if value is not None)
    if not all(isinstance(value, (str, int, float)) for value in present):
        return Shape("json")
    return Shape("select", nullable=len(present) < len(values), values=present)


def _choices(shape: Shape, annotation: Any) -> tuple[tuple[str, str], ...]:
    if shape.kind != "select":
        return ()
    if shape.values == (True, False):
        return (("true", "Yes"), ("false", "No"))
    names = {
        member.value: member.name.replace("_", " ").capitalize()
        for kind in _enums(annotation)
        for member in kind
        if isinstance(member.value, (int, float))
    }
    return tuple(
        (_plain(value), value if isinstance(value, str) else names.get(value, _plain(value)))
        for value in shape.values
    )


def _enums(annotation: Any) -> list[type[enum.Enum]]:
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return [annotation]
    return [found for part in typing.get_args(annotation) for found in _enums(part)]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


# -- help --------------------------------------------------------------------------------------


def _help(shape: Shape, part: Mapping[str, Any]) -> str:
    description = str(part.get("description", "")).strip()
    if description and description[-1] not in ".!?:":
        description += "."
    hint = _HINTS.get(shape.kind, "")
    if shape.items is not None and shape.items.kind in _HINTS:
        hint = f"{hint} {_HINTS[shape.items.kind]}"
    return " ".join(text for text in (description, _limits(part), hint) if text)


def _limits(part: Mapping[str, Any]) -> str:
    """Say the limits of a schema in a sentence."""
    constraints = dict(part)
    for member in part.get("anyOf", ()):
        constraints = {**member, **constraints}
    if constraints.get("minLength") == 1:
        del constraints["minLength"]  # what is required says so already
    if "prefixItems" in constraints:
        constraints = {}  # a tuple: its default is the best example
    said = [words.format(constraints[key]) for key, words in _PHRASES.items() if key in constraints]
    text = ", ".join(said)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


# -- text to value -----------------------------------------------------------------------------


def _read(shape: Shape, text: str) -> Any:
    reader = _READERS.get(shape.kind)
    return reader(shape, text) if reader else text


def _read_checkbox(text: str | None) -> Any:
    word = (text or "").strip().lower()
    return True if word in _ON else False if word in _OFF else text


def _read_integer(_shape: Shape, text: str) -> Any:
    text = text.strip()
    whole = re.fullmatch(r"[+-]?[0-9]+", text) and len(text) <= _MOST_DIGITS
    return int(text) if whole else text


def _read_number(shape: Shape, text: str) -> Any:
    text = text.strip()
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) and not shape.exact else text


def _read_choice(shape: Shape, text: str) -> Any:
    return next((value for value in shape.values if _plain(value) == text), text)


def _read_moment(_shape: Shape, text: str) -> str:
    """Refuse bare digits, which pydantic would take for the seconds since 1970."""
    text = text.strip()
    if re.fullmatch(r"[+-]?[0-9]+(\.[0-9]*)?", text):
        message = "Must be written like 2026-03-29, with - between year, month and day."
        raise Unreadable(message)
    return text


def _read_time(_shape: Shape, text: str) -> str:
    text = text.strip()
    if ":" not in text:
        message = "Must be a time of day, for example 14:30."
        raise Unreadable(message)
    return text


def _read_duration(_shape: Shape, text: str) -> str:
    try:
        return read_duration(text)
    except ValueError as error:
        raise Unreadable(str(error)) from None


def _read_list(shape: Shape, text: str) -> Any:
    """Read one item a line; a JSON list is taken as such, for items that no line can hold."""
    if text.lstrip().startswith("["):
        try:
            items = json.loads(text)
        except (ValueError, RecursionError):
            items = None
        if isinstance(items, list):
            return items
    assert shape.items is not None  # noqa: S101 - so says the kind
    return [_read(shape.items, line.strip()) for line in text.split("\n") if line.strip()]


def _read_json(_shape: Shape, text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        message = f"Is not JSON: {error.msg.lower()}, line {error.lineno}, column {error.colno}."
        raise Unreadable(message) from None
    except RecursionError:
        message = "Is nested too deeply."
        raise Unreadable(message) from None


def _refuse_constant(name: str) -> None:
    message = f"{name} is not allowed in JSON."
    raise Unreadable(message)


_READERS: dict[Kind, Callable[[Shape, str], Any]] = {
    "integer": _read_integer,
    "number": _read_number,
    "select": _read_choice,
    "date": _read_moment,
    "datetime": _read_moment,
    "time": _read_time,
    "duration": _read_duration,
    "list": _read_list,
    "json": _read_json,
}


# -- value to text -----------------------------------------------------------------------------


def _show(shape: Shape, value: Any) -> str:
    if shape.kind == "list" and shape.items is not None and isinstance(value, list):
        lines = "\n".join(_show(shape.items, item) for item in value)
        return lines if _read_list(shape, lines) == value else json.dumps(value, ensure_ascii=False)
    if shape.kind == "duration" and isinstance(value, str):
        return show_duration(value)
    if shape.kind == "json":
        return json.dumps(value, ensure_ascii=False, indent=2 if _is_long(value) else None)
    return _plain(value)


def _is_long(value: Any) -> bool:
    return isinstance(value, (dict, list)) and len(json.dumps(value)) > _LONGEST_JSON_LINE

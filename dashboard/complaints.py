"""What is wrong with parameters, in the words of the dashboard instead of pydantic's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dashboard.durations import EXAMPLES
from dashboard.errors import FieldError

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

FIELD = "parameters"
_MOST_COMPLAINTS = 50

_WHOLE = "Must be a whole number, for example 5."
_NUMBER = "Must be a number, for example 2.5."
_DATE = "Must be a date, for example 2026-03-29."
_DATETIME = "Must be a date and time, for example 2026-03-29 14:30:00."
_TIME = "Must be a time of day, for example 14:30."
_DURATION = f"Must be a duration, {EXAMPLES}."
_OBJECT = "Must be an object: names and values."
_LIST = "Must be a list."
_WEB_ADDRESS = "Must be a web address, for example https://example.com/."

_NOT_ALLOWED = "This value is not allowed."

_SENTENCES = {
    "missing": "This is required.",
    "finite_number": "Must be a finite number; NaN and infinity are not allowed.",
    "string_type": "Must be text.",
    "string_sub_type": "Must be text.",
    "string_unicode": "Must be text without broken characters.",
    "bool_type": "Must be true or false.",
    "bool_parsing": "Must be true or false.",
    "date_past": "Must be a date in the past.",
    "date_future": "Must be a date in the future.",
    "datetime_past": "Must be in the past.",
    "datetime_future": "Must be in the future.",
    "timezone_aware": "Must have an offset from UTC, for example 2026-03-29T14:30:00+02:00.",
    "timezone_naive": "Must have no offset from UTC, for example 2026-03-29T14:30:00.",
    "none_required": "Must be empty.",
    "path_type": "Must be a path.",
    "bytes_type": "Must be text.",
    "union_tag_not_found": "It does not say which kind it is.",
    "json_invalid": "Is not JSON.",
    "recursion_loop": "Is nested too deeply.",
}
_TEMPLATES = {
    "greater_than": "Must be greater than {gt}.",
    "greater_than_equal": "Must be at least {ge}.",
    "less_than": "Must be less than {lt}.",
    "less_than_equal": "Must be at most {le}.",
    "multiple_of": "Must be a multiple of {multiple_of}.",
    "string_too_short": "Must be at least {min_length} characters long.",
    "string_too_long": "Must be at most {max_length} characters long.",
    "string_pattern_mismatch": "Must match the pattern {pattern}.",
    "too_short": "Must have at least {min_length} items; it has {actual_length}.",
    "too_long": "Must have at most {max_length} items; it has {actual_length}.",
    "enum": "Must be {expected}.",
    "literal_error": "Must be {expected}.",
    "union_tag_invalid": "{discriminator} must be one of: {expected_tags}.",
}
_BY_BEGINNING: tuple[tuple[str, str], ...] = (
    ("int_", _WHOLE),
    ("float_", _NUMBER),
    ("decimal_type", _NUMBER),
    ("decimal_parsing", _NUMBER),
    ("datetime_", _DATETIME),
    ("date_", _DATE),
    ("time_delta_", _DURATION),
    ("time_", _TIME),
    ("uuid_", "Must be a UUID, for example 123e4567-e89b-12d3-a456-426614174000."),
    ("url_", _WEB_ADDRESS),
    ("list_type", _LIST),
    ("set_type", _LIST),
    ("frozen_set_type", _LIST),
    ("tuple_type", _LIST),
    ("iterable_type", _LIST),
    ("dict_type", _OBJECT),
    ("mapping_type", _OBJECT),
    ("model_", _OBJECT),
    ("dataclass_", _OBJECT),
)


def field_errors(
    error: ValidationError,
    raw: Mapping[str, Any],
    names: Sequence[str],
    *,
    secrets: Container[str] = (),
) -> list[FieldError]:
    """Turn pydantic's errors into complaints at the paths of `raw`; `names` are the parameters.

    About `secrets` only our own sentences speak: those of validators may quote what was given.
    """
    complaints: dict[tuple[str, str], FieldError] = {}
    for details in error.errors(include_url=False)[:_MOST_COMPLAINTS]:
        path = _real_path(details, raw)
        where = ".".join((FIELD, *(str(part) for part in path)))
        hidden = bool(path) and path[0] in secrets
        message = _placed(path, _message(details, path, names, hidden=hidden))
        complaints[where, message] = FieldError(where, message)
    return list(complaints.values())


def shape_errors(error: ValidationError, raw: object) -> list[FieldError]:
    """Turn pydantic's errors about a whole request into complaints, one for each field."""
    complaints: dict[str, FieldError] = {}
    for details in error.errors(include_url=False)[:_MOST_COMPLAINTS]:
        path = _real_path(details, raw)
        where = ".".join(str(part) for part in path)
        unknown = details["type"] == "extra_forbidden"
        message = "There is no such field." if unknown else _message(details, path, ())
        complaints.setdefault(where, FieldError(where, message))
    return list(complaints.values())


def _real_path(details: ErrorDetails, raw: object) -> list[str | int]:
    """Return the error's location without the names of union members, which are in no form."""
    path: list[str | int] = []
    at: object = raw
    location = details["loc"]
    for number, part in enumerate(location, 1):
        if _has(at, part):
            at = at[part]  # type: ignore[index]
        elif not (details["type"] == "missing" and number == len(location)):
            continue
        path.append(part)
    return path


def _has(container: object, key: str | int) -> bool:
    if isinstance(container, (list, tuple)):
        return isinstance(key, int) and key < len(container)
    return isinstance(container, dict) and key in container


def _placed(path: Sequence[str | int], message: str) -> str:
    """Say where inside a parameter the fault is: its form field is one box for all of it."""
    inside = [f"item {part + 1}" if isinstance(part, int) else str(part) for part in path[1:]]
    return f"In {', '.join(inside)}: {message[:1].lower()}{message[1:]}" if inside else message


def _message(
    details: ErrorDetails,
    path: Sequence[str | int],
    names: Sequence[str],
    *,
    hidden: bool = False,
) -> str:
    kind = details["type"]
    context: dict[str, Any] = details.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_name(path, names)
    if kind in {"value_error", "assertion_error"} and not hidden:
        return str(context.get("error", "")) or _NOT_ALLOWED
    if kind in _SENTENCES:
        return _SENTENCES[kind]
    if hidden and kind in {"too_short", "too_long"} and len(path) == 1:
        kind = f"string_{kind}"  # pydantic counts the items of a secret text
    if kind in _TEMPLATES:
        return _TEMPLATES[kind].format_map(context)
    for beginning, sentence in _BY_BEGINNING:
        if kind.startswith(beginning):
            return sentence
    return _NOT_ALLOWED if hidden else f"{details['msg'].rstrip('.')}."


def _unknown_name(path: Sequence[str | int], names: Sequence[str]) -> str:
    if len(path) > 1:
        return "There is no such name here."
    if not names:
        return "There is no such parameter; this task takes none."
    return f"There is no such parameter; this task takes {', '.join(names)}."

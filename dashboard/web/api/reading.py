"""What a request holds, as models: strict JSON, and parameters of the address.

Strict means: UTF-8, one object, no name twice, no NaN, not nested for ever, no character that a
database cannot keep, no unknown field, and no text where a number is meant.
"""

from __future__ import annotations

import json
import math
import types
import typing
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from flask import request
from pydantic import ValidationError
from werkzeug.exceptions import UnsupportedMediaType

from dashboard.complaints import shape_errors
from dashboard.errors import FieldError, Invalid, NotJson
from dashboard.texts import is_storable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

Model = TypeVar("Model", bound="BaseModel")

DEEPEST = 40
LONGEST_NUMBER = 100
"""Digits of a number."""


def read_body(model: type[Model]) -> Model:
    """Return the body of the request; none counts as `{}`. Raises `NotJson`, `Invalid`."""
    raw = request.get_data()
    if not raw:
        raw = b"{}"
    elif request.mimetype != "application/json":
        raise UnsupportedMediaType
    data = parse(raw)
    try:
        return model.model_validate_json(raw, strict=True)
    except ValidationError as error:
        raise Invalid(shape_errors(error, data)) from None


def read_query(model: type[Model]) -> Model:
    """Return the parameters of the address; those that are lists may also be given with commas.

    Raises `Invalid`, also for a parameter that does not exist: a filter with a slip of the pen
    would otherwise answer with everything.
    """
    values: dict[str, Any] = {}
    errors = []
    for name, texts in request.args.lists():
        field = model.model_fields.get(name)
        if not all(is_storable(text) for text in texts):
            errors.append(FieldError(name, "Holds a character that nothing here can have."))
        if field is not None and _is_list(field.annotation):
            values[name] = [word.strip() for text in texts for word in text.split(",")]
        elif len(texts) > 1:
            errors.append(FieldError(name, "Is given more than once."))
        else:
            values[name] = texts[0]
    try:
        found = model.model_validate(values)
    except ValidationError as error:
        found_wrong = {
            fault.field.partition(".")[0]: fault for fault in shape_errors(error, values)
        }
        errors += [FieldError(name, fault.message) for name, fault in found_wrong.items()]
    if errors:
        raise Invalid(errors)
    return found


def parse(raw: bytes) -> dict[str, Any]:
    """Parse a JSON object, strictly. Raises `NotJson`, or `Invalid` for texts that break things."""
    try:
        data = json.loads(
            raw.decode(),
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_int=_whole,
            parse_float=_number,
        )
    except UnicodeDecodeError:
        raise NotJson("The body is not UTF-8.") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise NotJson(f"The body is not JSON: {error.msg} ({place}).") from None
    except RecursionError:
        raise NotJson(_too_deep()) from None
    if not isinstance(data, dict):
        raise NotJson("The body must be a JSON object: {…}.")
    faults = [
        FieldError(path, "Holds a character that cannot be stored, such as NUL or half an emoji.")
        for path, text in _texts(data)
        if not is_storable(text)
    ]
    if faults:
        raise Invalid(faults)
    return data


def _is_list(annotation: Any) -> bool:
    if isinstance(annotation, types.UnionType):
        return any(_is_list(member) for member in typing.get_args(annotation))
    return typing.get_origin(annotation) is list


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _value in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise NotJson(f"The body names “{twice[:100]}” twice in one object.")
    return found


def _constant(text: str) -> NoReturn:
    raise NotJson(f"The body is not JSON: {text} is no number there.")


def _whole(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise NotJson(f"The body holds a number of more than {LONGEST_NUMBER} digits.")
    return int(text)


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise NotJson("The body holds a number that is too large.")
    return number


def _texts(data: object) -> Iterator[tuple[str, str]]:
    """Yield every text with its path, names included, and see how deep they lie."""
    waiting: list[tuple[str, object, int]] = [("", data, 0)]
    while waiting:
        path, value, depth = waiting.pop()
        if depth > DEEPEST:
            raise NotJson(_too_deep())
        if isinstance(value, str):
            yield path, value
        elif isinstance(value, dict):
            yield from ((path, name) for name in value)
            waiting += [(f"{path}.{name}".strip("."), v, depth + 1) for name, v in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{path}.{n}".strip("."), v, depth + 1) for n, v in enumerate(value)]


def _too_deep() -> str:
    return f"The body is nested more than {DEEPEST} levels deep."

"""What holds a secret by pydantic's types: in a signature, its schema, the values of a call."""

from __future__ import annotations

import json
import typing
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Secret
from pydantic.types import SecretBytes, SecretStr

if TYPE_CHECKING:
    from collections.abc import Iterator


def hide_secrets(schema: dict[str, Any], annotations: Mapping[str, Any]) -> Iterator[str]:
    """Name the parameters that hold secrets, and take their defaults out of the schema."""
    definitions = schema.get("$defs", {})
    for name, part in schema.get("properties", {}).items():
        if _is_secret(part, definitions) or _names_secret(annotations.get(name)):
            _without_defaults(part)
            yield name
    for part in definitions.values():
        if _is_secret(part, definitions):
            _without_defaults(part)


def _without_defaults(part: Any) -> None:
    """Take the values that code gives out of a part of a schema, and out of all below."""
    if isinstance(part, list):
        for below in part:
            _without_defaults(below)
    elif isinstance(part, dict):
        part.pop("default", None)
        for key, below in part.items():
            _without_defaults(list(below.values()) if key == "properties" else below)


def _names_secret(annotation: Any, seen: tuple[Any, ...] = ()) -> bool:
    """Look for pydantic's `Secret[...]`, which leaves no mark in a schema."""
    kind = typing.get_origin(annotation) or annotation
    if isinstance(kind, type) and issubclass(kind, Secret):
        return True
    within = [*typing.get_args(annotation)]
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        within += [info.annotation for info in kind.model_fields.values()]
    seen = (*seen, annotation)  # models may hold themselves
    return any(_names_secret(part, seen) for part in within if part not in seen)


def revealed(value: Any) -> Any:
    """Return a secret of a call in clear, with all that are within; what JSON is stays as it is."""
    if isinstance(value, Secret | SecretStr | SecretBytes):
        return revealed(value.get_secret_value())
    if isinstance(value, BaseModel):
        return revealed(value.model_dump(by_alias=True))
    if is_dataclass(value) and not isinstance(value, type):
        return revealed(asdict(value))
    if isinstance(value, Mapping):
        return {key: revealed(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [revealed(part) for part in value]
    return value


def _is_secret(part: Any, definitions: Mapping[str, Any]) -> bool:
    """Look for pydantic's mark of secrets anywhere in a schema."""
    text = json.dumps(part)
    seen: set[str] = set()
    while True:
        if '"writeOnly": true' in text:
            return True
        new = {name for name in definitions if f'"#/$defs/{name}"' in text} - seen
        if not new:
            return False
        seen |= new
        text = json.dumps([definitions[name] for name in new])

"""The parameters of a task: one model made from its signature serves form, API, storage and call.

Stored is JSON, and only what was given: a parameter left to its default follows the code when that
changes. One whose type holds a secret (`SecretStr`) anywhere is stored encrypted as a whole.
"""

from __future__ import annotations

import inspect
import json
import re
import typing
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticSerializationError, to_json

from dashboard.complaints import FIELD, field_errors
from dashboard.errors import FieldError, Invalid
from dashboard.fields import DECIMAL, ParameterField, Unreadable, field_of, label_of
from dashboard.secretkinds import hide_secrets, revealed
from dashboard.vault import MASK, NO_VAULT, SecretUnreadable, Vault, is_sealed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core.core_schema import DecimalSchema

MOST_BYTES = 64 * 1024
"""How long the parameters of one job may be, as JSON."""

_POSITIONAL_ONLY = inspect.Parameter.POSITIONAL_ONLY
_COLLECTING = {
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.VAR_KEYWORD: "**",
}
_NOTHING: Mapping[str, Any] = {}
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_CONFIG = ConfigDict(
    extra="forbid",
    allow_inf_nan=False,
    ser_json_inf_nan="constants",  # so that those are refused below, not turned into null
    ser_json_timedelta="iso8601",
)


class _ParameterSchema(GenerateJsonSchema):
    """Leaves out a default that JSON cannot hold, without a warning, and marks decimal numbers."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 - as there

    def decimal_schema(self, schema: DecimalSchema) -> JsonSchemaValue:
        """Say which of the two forms a decimal number may have keeps all its digits."""
        described = super().decimal_schema(schema)
        for member in described.get("anyOf", ()):
            if member.get("type") == "string":
                member["format"] = DECIMAL
        return described


class Parameters:
    """What a callable takes. Made once a task; `validate` and `bind` are then cheap.

    Raises `TypeError`, in words for the task's author, for a signature that JSON cannot fill in.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._signature = inspect.signature(function)
        taken = _parameters_of(self._signature)
        self._names = tuple(taken)
        self._positional = sum(each.kind is _POSITIONAL_ONLY for each in taken.values())
        annotations = _annotations_of(function)
        self._model, self._schema = _compiled(taken, annotations)
        self.secrets = frozenset(hide_secrets(self._schema, annotations))
        """The names of those that are stored encrypted and shown to nobody."""
        self._has_required = bool(self._schema.get("required"))

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of the parameters as one object; shared, not to be changed."""
        return self._schema

    @cached_property
    def fields(self) -> tuple[ParameterField, ...]:
        """The parameters as form fields, in the order of the signature."""
        annotations = {
            name: info.annotation
            for name, info in zip(self._names, self._model.model_fields.values(), strict=True)
        }
        return tuple(
            field_of(name, self._schema, annotations[name], secret=name in self.secrets)
            for name in self._names
        )

    def validate(
        self,
        raw: Mapping[str, Any],
        *,
        vault: Vault = NO_VAULT,
        kept: Mapping[str, Any] = _NOTHING,
    ) -> dict[str, Any]:
        """Return parameters in the JSON form to store; raises `Invalid` for all fields at fault.

        Secrets are sealed in the `vault`. A mask stands for the one among the parameters `kept`.
        """
        if not raw and not self._has_required:
            return {}
        given = self._with_kept(raw, kept, vault) if self.secrets else raw
        encoded = _encoded(given)
        model = self._parse(encoded, given)
        normal: dict[str, Any] = model.model_dump(
            mode="json", by_alias=True, exclude_unset=True, warnings=False
        )
        if secret := self.secrets & normal.keys():  # pydantic has put masks in their place
            plain = json.loads(encoded)
            normal |= {name: plain[name] for name in secret}
        self._parse(_encoded_for_storage(normal), normal)
        sealed = {
            name: _sealed(normal[name], kept.get(name), vault)
            for name in secret
            if normal[name] is not None
        }
        return normal | sealed

    def bind(
        self, stored: Mapping[str, Any], vault: Vault = NO_VAULT
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments and keywords for the call, as the Python objects it asks for.

        Raises `Invalid` when what was stored does not fit the signature any more, and
        `SecretUnreadable`.
        """
        if not stored and not self._names:
            return (), {}
        opened = self.unsealed(stored, vault)
        values = tuple(self._parse(_encoded(opened), opened).__dict__.values())
        first = self._positional
        return values[:first], dict(zip(self._names[first:], values[first:], strict=True))

    def unsealed(self, stored: Mapping[str, Any], vault: Vault) -> Mapping[str, Any]:
        """Return stored parameters with their secrets in clear; raises `SecretUnreadable`."""
        if not self.secrets:
            return stored
        opened = dict(stored)
        for name in self.secrets & stored.keys():
            if is_sealed(stored[name]):
                try:
                    opened[name] = vault.unseal(stored[name])
                except SecretUnreadable:
                    raise SecretUnreadable(f"The secret parameter “{name}”") from None
        return opened

    def resealed(self, stored: Mapping[str, Any], vault: Vault) -> dict[str, Any]:
        """Return stored parameters with those sealed that were stored before they were secret."""
        return {
            name: vault.seal(value)
            if name in self.secrets and value is not None and not is_sealed(value)
            else value
            for name, value in stored.items()
        }

    def from_call(self, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters to store for a call with Python objects; the reverse of `bind`."""
        try:
            named = self._signature.bind(*arguments, **keywords).arguments
        except TypeError as error:
            raise Invalid.one(FIELD, f"These are not what the task takes: {error}.") from None
        return self.validate(named)

    def from_form(self, texts: Mapping[str, str | None]) -> dict[str, Any]:
        """Turn the texts of a form into parameters for `validate`.

        A field that is missing counts as empty, as browsers leave out an unticked checkbox. Raises
        `Invalid` for text that cannot be read, with the complaints about all other fields as well.
        """
        raw: dict[str, Any] = {}
        errors: dict[str, FieldError] = {}
        for field in self.fields:
            try:
                raw.update(field.read(texts.get(field.name)))
            except Unreadable as problem:
                errors[field.name] = FieldError(f"{FIELD}.{field.name}", str(problem))
        if errors:
            others = [
                error
                for error in self._errors(raw)
                if error.field.split(".")[1:2] not in [[name] for name in errors]
            ]
            raise Invalid([*errors.values(), *others])
        return raw

    def to_form(self, stored: Mapping[str, Any]) -> dict[str, str]:
        """Return the texts a form shows for stored parameters; the reverse of `from_form`."""
        return {
            field.name: field.show(stored[field.name])
            if field.name in stored
            else field.default_text
            for field in self.fields
        }

    def _with_kept(
        self, raw: Mapping[str, Any], kept: Mapping[str, Any], vault: Vault
    ) -> Mapping[str, Any]:
        """Return what was given with secrets in clear: those of a call, and those that are kept."""
        if not isinstance(raw, Mapping):
            return raw  # refused in a moment
        given = dict(raw)
        errors = []
        for name in self.secrets & given.keys():
            if given[name] != MASK:
                given[name] = revealed(given[name])
            elif kept.get(name) is None:
                message = f"“{MASK}” stands for the secret that is kept, and none is; enter it."
                errors.append(FieldError(f"{FIELD}.{name}", message))
            else:
                try:
                    given[name] = self.unsealed({name: kept[name]}, vault)[name]
                except SecretUnreadable:
                    message = "The secret that is kept cannot be read any more; enter it again."
                    errors.append(FieldError(f"{FIELD}.{name}", message))
        if errors:
            raise Invalid(errors)
        return given

    def _parse(self, encoded: bytes, raw: Mapping[str, Any]) -> BaseModel:
        try:
            return self._model.model_validate_json(encoded)
        except ValidationError as error:
            complaints = field_errors(error, raw, self._names, secrets=self.secrets)
            raise Invalid(complaints) from None

    def _errors(self, raw: Mapping[str, Any]) -> list[FieldError]:
        try:
            self.validate(raw)
        except Invalid as error:
            return error.errors
        return []


def _parameters_of(signature: inspect.Signature) -> Mapping[str, inspect.Parameter]:
    for name, each in signature.parameters.items():
        if each.kind in _COLLECTING:
            message = (
                f"{_COLLECTING[each.kind]}{name} takes anything, which no form can ask for;"
                " name each parameter, or take one of type list or dict."
            )
            raise TypeError(message)
    return signature.parameters


def _annotations_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Resolve the annotations of the parameters; one of the return value may stay unresolvable."""
    inner = inspect.unwrap(function)
    needed = {name: hint for name, hint in inner.__annotations__.items() if name != "return"}
    stand_in = type("Annotations", (), {"__annotations__": needed})
    try:
        return typing.get_type_hints(stand_in, inner.__globals__, include_extras=True)
    except Exception as error:
        message = (
            f"its annotations cannot be resolved ({error}); define or import every type at the top"
            " level of the module, not under `if TYPE_CHECKING:`."
        )
        raise TypeError(message) from error


def _compiled(
    taken: Mapping[str, inspect.Parameter], annotations: Mapping[str, Any]
) -> tuple[type[BaseModel], dict[str, Any]]:
    """Make the model and its schema; on failure find the parameter at fault."""
    try:
        model, schema = _model_of(taken, annotations)
    except (PydanticUserError, TypeError, ValueError, NameError) as error:
        for name, each in taken.items():
            try:
                _model_of({name: each}, annotations)
            except (PydanticUserError, TypeError, ValueError, NameError) as cause:
                summary = str(cause).split("\n", 1)[0]
                message = f"parameter “{name}” has a type that JSON cannot express: {summary}"
                raise TypeError(message) from cause
        message = f"its parameters cannot be described: {error}"
        raise TypeError(message) from error
    return model, schema


def _model_of(
    taken: Mapping[str, inspect.Parameter], annotations: Mapping[str, Any]
) -> tuple[type[BaseModel], dict[str, Any]]:
    """Make a model of numbered fields known by alias: a parameter may be named `json` or `_x`."""
    definitions: dict[str, Any] = {
        f"p{number}": _definition(name, each, annotations.get(name, Any))
        for number, (name, each) in enumerate(taken.items())
    }
    model = create_model("Parameters", __config__=_CONFIG, **definitions)
    schema = model.model_json_schema(by_alias=True, schema_generator=_ParameterSchema)
    schema.pop("description", None)
    return model, schema


def _definition(name: str, each: inspect.Parameter, annotation: Any) -> tuple[Any, Any]:
    """Describe a parameter to pydantic; `Field()` may be in the annotation or the default."""
    required = each.default is each.empty
    if isinstance(each.default, FieldInfo):
        annotation = Annotated[annotation, each.default]
        required = True  # unless the Field says otherwise
    metadata = getattr(annotation, "__metadata__", ())
    if any(isinstance(part, FieldInfo) and part.title for part in metadata):
        own = Field(validation_alias=name, serialization_alias=name)
    else:
        own = Field(validation_alias=name, serialization_alias=name, title=label_of(name))
    return (annotation, own) if required else (Annotated[annotation, own], each.default)


def _sealed(value: Any, kept: Any, vault: Vault) -> dict[str, str]:
    """Return a secret as it is stored: the one kept, if it is the same, so that nothing changes."""
    with suppress(SecretUnreadable):
        if is_sealed(kept) and vault.unseal(kept) == value:
            return dict(kept)
    return vault.seal(value)


def _encoded(raw: Mapping[str, Any]) -> bytes:
    """Encode given parameters; a date out of a YAML file becomes what it would be in JSON."""
    if not isinstance(raw, Mapping):
        raise Invalid.one(FIELD, "Must be an object: names and values.")
    try:
        encoded = to_json(dict(raw), inf_nan_mode="constants")
    except (PydanticSerializationError, ValueError, TypeError, RecursionError) as error:
        summary = str(error).split("\n", 1)[0][:200]
        raise Invalid.one(FIELD, f"Cannot be stored as JSON: {summary}.") from None
    return _within_bounds(encoded)


def _encoded_for_storage(normal: Mapping[str, Any]) -> bytes:
    try:
        encoded = json.dumps(normal, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, TypeError, RecursionError):  # includes what UTF-8 cannot encode
        message = "Cannot be stored: NaN, infinity and broken characters are not allowed."
        raise Invalid.one(FIELD, message) from None
    if _NUL.search(encoded):
        raise Invalid.one(FIELD, "The character NUL cannot be stored.")
    return _within_bounds(encoded)


def _within_bounds(encoded: bytes) -> bytes:
    if len(encoded) > MOST_BYTES:
        message = (
            f"Too long: {len(encoded):,} bytes as JSON; at most {MOST_BYTES:,} are allowed."
            " Keep large data in a file and pass its path."
        )
        raise Invalid.one(FIELD, message)
    return encoded

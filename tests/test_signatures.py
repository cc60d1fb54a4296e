from __future__ import annotations

from collections.abc import Callable  # noqa: TC003 - a task's annotation, resolved at run time
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from pydantic import Field

from dashboard.errors import Invalid
from dashboard.parameters import Parameters

if TYPE_CHECKING:
    from decimal import Decimal as NotThere


def test_positional_and_keyword_only_parameters_reach_their_places() -> None:
    def function(first: int, second: int = 2, /, third: int = 3, *, fourth: int) -> tuple[int, ...]:
        return first, second, third, fourth

    arguments, keywords = Parameters(function).bind({"first": "1", "fourth": 4})
    assert function(*arguments, **keywords) == (1, 2, 3, 4)


@pytest.mark.parametrize(
    "name", ["json", "copy", "schema", "model_config", "_hidden", "self_", "p0"]
)
def test_any_name_can_be_a_parameter(name: str) -> None:
    namespace: dict[str, Any] = {}
    exec(f"def function({name}: int, p1: int = 1): ...", namespace)
    parameters = Parameters(namespace["function"])
    assert parameters.bind(parameters.validate({name: "3"})) == ((), {name: 3, "p1": 1})


def test_field_may_stand_in_the_annotation_or_as_the_default() -> None:
    def function(
        size: Annotated[int, Field(ge=1, le=9, description="How many")],
        width: int = Field(3, gt=0),
        depth: Annotated[int, Field(title="How deep")] = 4,
        height: Annotated[int, Field(default=5)] = Field(lt=8),
    ) -> None: ...

    parameters = Parameters(function)
    assert parameters.bind({"size": 1})[1] == {"size": 1, "width": 3, "depth": 4, "height": 5}
    assert [field.label for field in parameters.fields] == ["Size", "Width", "How deep", "Height"]
    assert parameters.fields[0].help == "How many. At least 1, at most 9."
    with pytest.raises(Invalid) as caught:
        parameters.validate({"size": 10, "width": 0, "height": 8})
    assert len(caught.value.errors) == 3


def test_a_parameter_without_annotation_takes_any_json() -> None:
    def function(value) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001

    parameters = Parameters(function)
    assert parameters.validate({"value": {"a": [1, "b", None]}}) == {"value": {"a": [1, "b", None]}}
    assert parameters.fields[0].kind == "json"


def refused(function: Callable[..., Any]) -> str:
    with pytest.raises(TypeError) as caught:
        Parameters(function)
    return str(caught.value)


def test_signatures_no_form_can_fill_in_are_refused_in_words() -> None:
    def args(*values: int) -> None: ...
    def kwargs(**values: int) -> None: ...
    def call(value: int, action: Callable[[], None]) -> None: ...
    def unknown(value: NotThere) -> None: ...
    def opaque(value: NothingKnown) -> None: ...

    assert refused(args).startswith("*values takes anything")
    assert refused(kwargs).startswith("**values takes anything")
    assert "parameter “action” has a type that JSON cannot express" in refused(call)
    assert "not under `if TYPE_CHECKING:`" in refused(unknown)
    assert "parameter “value” has a type that JSON cannot express" in refused(opaque)


class NothingKnown:
    pass


def test_an_unresolvable_return_annotation_does_no_harm() -> None:
    def function(value: int) -> NotThere:
        raise AssertionError(value)

    assert Parameters(function).bind({"value": 1}) == ((), {"value": 1})

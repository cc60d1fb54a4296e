from __future__ import annotations

import enum
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from dashboard.errors import Invalid
from dashboard.parameters import MOST_BYTES, Parameters


class Colour(enum.Enum):
    RED = "red"
    DARK_BLUE = "dark blue"


class Level(enum.IntEnum):
    VERY_LOW = 1
    HIGH = 2


class Account(BaseModel):
    name: str
    opened: date
    limit: Decimal | None = None


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: list[str]


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]
NOTHING = object()
SOME_ID = UUID("123e4567-e89b-12d3-a456-426614174000")
ACCOUNT = Account(name="", opened=date(2026, 1, 1))


def taking(annotation: Any, *default: Any) -> Parameters:
    """Return the parameters of a function with one parameter, `value`."""

    def function(value: Any) -> None: ...

    function.__annotations__ = {"value": annotation}
    function.__defaults__ = default or None
    return Parameters(function)


def stored(value: Any, annotation: Any) -> Any:
    return taking(annotation).validate({"value": value})["value"]


def bound(value: Any, annotation: Any) -> Any:
    arguments, keywords = taking(annotation).bind({"value": value})
    assert arguments == ()
    return keywords["value"]


def complaint(value: Any, annotation: Any) -> str:
    with pytest.raises(Invalid) as caught:
        taking(annotation).validate({"value": value})
    assert caught.value.errors[0].field.startswith("parameters")
    return caught.value.errors[0].message


EACH_TYPE: list[tuple[Any, Any, Any, Any]] = [
    # annotation, given, stored, the task's object
    (str, "text", "text", "text"),
    (int, "5", 5, 5),
    (float, 2, 2.0, 2.0),
    (bool, "yes", True, True),
    (date, "2026-03-29", "2026-03-29", date(2026, 3, 29)),
    (datetime, "2026-03-29 14:30", "2026-03-29T14:30:00", datetime(2026, 3, 29, 14, 30)),  # noqa: DTZ001
    (
        datetime,
        "2026-03-29T14:30:00+02:00",
        "2026-03-29T14:30:00+02:00",
        datetime(2026, 3, 29, 14, 30, tzinfo=timezone(timedelta(hours=2))),
    ),
    (time, "14:30", "14:30:00", time(14, 30)),
    (timedelta, 90, "PT1M30S", timedelta(seconds=90)),
    (Decimal, "1.10", "1.10", Decimal("1.10")),
    (UUID, "123E4567e89b12d3a456426614174000", str(SOME_ID), SOME_ID),
    (Path, "/var/log", "/var/log", Path("/var/log")),
    (Colour, "dark blue", "dark blue", Colour.DARK_BLUE),
    (Level, 2, 2, Level.HIGH),
    (Literal["a", 3], 3, 3, 3),
    (int | None, None, None, None),
    (list[date], ["2026-03-29"], ["2026-03-29"], [date(2026, 3, 29)]),
    (set[int], [3, 3], [3], {3}),
    (tuple[int, str], [1, "a"], [1, "a"], (1, "a")),
    (dict[str, list[int]], {"a": ["1"]}, {"a": [1]}, {"a": [1]}),
    (dict[date, int], {"2026-03-29": 1}, {"2026-03-29": 1}, {date(2026, 3, 29): 1}),
    (Account, {"name": "", "opened": "2026-01-01"}, {"name": "", "opened": "2026-01-01"}, ACCOUNT),
    (list[Pet], [{"kind": "cat"}], [{"kind": "cat"}], [Cat(kind="cat")]),
    (Any, {"a": [1, None]}, {"a": [1, None]}, {"a": [1, None]}),
]  # fmt: skip


@pytest.mark.parametrize(("annotation", "given_value", "kept", "made"), EACH_TYPE)
def test_each_type_is_stored_as_json_and_given_to_the_task_as_itself(
    annotation: Any, given_value: Any, kept: Any, made: Any
) -> None:
    parameters = taking(annotation)
    normal = parameters.validate({"value": given_value})
    assert normal == {"value": kept}
    assert json.loads(json.dumps(normal)) == normal
    assert parameters.validate(normal) == normal
    assert bound(kept, annotation) == made
    assert type(bound(kept, annotation)) is type(made)


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (int, "five", "Must be a whole number, for example 5."),
        (int, 2.5, "Must be a whole number, for example 5."),
        (float, "a", "Must be a number, for example 2.5."),
        (float, float("nan"), "Must be a finite number; NaN and infinity are not allowed."),
        (Decimal, "a", "Must be a number, for example 2.5."),
        (str, 5, "Must be text."),
        (bool, "perhaps", "Must be true or false."),
        (date, "29.3.2026", "Must be a date, for example 2026-03-29."),
        (datetime, "x", "Must be a date and time, for example 2026-03-29 14:30:00."),
        (time, "25:00", "Must be a time of day, for example 14:30."),
        (timedelta, "x", "Must be a duration, for example 90 (seconds), 1:30:00 or 5m."),
        (Colour, "green", "Must be 'red' or 'dark blue'."),
        (Literal["a", 3], "b", "Must be 'a' or 3."),
        (list[int], "1", "Must be a list."),
        (list[int], [1, "b"], "In item 2: must be a whole number, for example 5."),
        (dict[str, int], [], "Must be an object: names and values."),
        (Account, {"name": "x"}, "In opened: this is required."),
        (list[Pet], [{"kind": "cow"}], "In item 1: 'kind' must be one of: 'cat', 'dog'."),
        (Annotated[int, Field(ge=1)], 0, "Must be at least 1."),
        (Annotated[str, Field(max_length=2)], "abc", "Must be at most 2 characters long."),
        (Annotated[list[int], Field(min_length=2)], [1], "Must have at least 2 items; it has 1."),
        (Annotated[str, Field(pattern="^a")], "b", "Must match the pattern ^a."),
    ],
)
def test_what_is_refused_says_what_is_allowed(annotation: Any, value: Any, message: str) -> None:
    assert complaint(value, annotation) == message


def test_every_field_at_fault_is_named() -> None:
    def function(day: date, count: int, *, note: str = "") -> None: ...

    with pytest.raises(Invalid) as caught:
        Parameters(function).validate({"day": "x", "note": 5, "other": 1})
    assert {error.field: error.message for error in caught.value.errors} == {
        "parameters.day": "Must be a date, for example 2026-03-29.",
        "parameters.count": "This is required.",
        "parameters.note": "Must be text.",
        "parameters.other": "There is no such parameter; this task takes day, count, note.",
    }


def test_a_complaint_inside_a_union_names_the_place_in_the_data() -> None:
    with pytest.raises(Invalid) as caught:
        taking(list[Pet]).validate({"value": [{"kind": "cat"}, {"kind": "dog", "tricks": [1]}]})
    assert [error.field for error in caught.value.errors] == ["parameters.value.1.tricks.0"]


def test_a_complaint_of_the_tasks_own_validator_is_passed_on() -> None:
    class Even(BaseModel):
        number: int

        def model_post_init(self, _context: Any) -> None:
            if self.number % 2:
                raise ValueError("Odd numbers are odd.")

    assert complaint({"number": 3}, Even) == "Odd numbers are odd."


def test_only_what_was_given_is_stored_so_defaults_follow_the_code() -> None:
    def function(day: date = date(2026, 1, 1), recipients: list[str] = []) -> None: ...  # noqa: B006

    parameters = Parameters(function)
    assert parameters.validate({}) == {}
    assert parameters.validate({"recipients": []}) == {"recipients": []}
    assert parameters.bind({}) == ((), {"day": date(2026, 1, 1), "recipients": []})


def test_a_mutable_default_is_a_new_one_for_each_run() -> None:
    parameters = taking(list[str], [])
    parameters.bind({})[1]["value"].append("left over")
    assert parameters.bind({}) == ((), {"value": []})


def test_a_default_that_json_cannot_hold_is_given_to_the_task_as_it_is() -> None:
    parameters = taking(Any, NOTHING)
    assert parameters.bind({})[1]["value"] is NOTHING
    assert "default" not in parameters.schema()["properties"]["value"]
    assert parameters.fields[0].default_text == ""
    assert not parameters.fields[0].required


def test_the_arguments_of_a_call_can_be_stored() -> None:
    def function(first: int, /, day: date, *, note: str = "") -> None: ...

    parameters = Parameters(function)
    stored = parameters.from_call([1, date(2026, 3, 29)], {"note": "x"})
    assert stored == {"first": 1, "day": "2026-03-29", "note": "x"}
    assert parameters.bind(stored) == ((1,), {"day": date(2026, 3, 29), "note": "x"})
    with pytest.raises(Invalid, match="missing a required argument: 'day'"):
        parameters.from_call([1], {})
    with pytest.raises(Invalid, match="too many positional arguments"):
        parameters.from_call([1, 2, 3], {})
    with pytest.raises(Invalid, match="Must be a date"):
        parameters.from_call([1, "x"], {})


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        [float("inf")],
        {"a": float("-inf")},
        "\ud800",
        "a\0b",
        ["\0"],
        {"\0": 1},
        object(),
    ],
    ids=lambda value: repr(value).partition(" at ")[0],
)
def test_what_no_database_can_keep_is_refused(value: Any) -> None:
    assert complaint(value, Any)


def test_text_that_only_looks_like_an_escaped_nul_is_kept() -> None:
    assert stored("\\u0000 and \\\\u0000", Any) == "\\u0000 and \\\\u0000"


def test_nesting_without_end_is_refused() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    assert "Cannot be stored as JSON" in complaint(value, Any)


def test_parameters_are_bounded() -> None:
    assert stored("x" * (MOST_BYTES - 20), str)
    assert "at most 65,536 are allowed" in complaint("x" * MOST_BYTES, str)
    assert "at most 65,536 are allowed" in complaint("ä" * (MOST_BYTES // 2), str)


def test_python_objects_as_yaml_gives_them_are_accepted() -> None:
    assert stored(date(2026, 3, 29), date) == "2026-03-29"
    assert stored(datetime(2026, 3, 29, tzinfo=UTC), datetime) == "2026-03-29T00:00:00Z"


@pytest.mark.parametrize("raw", [[1], "text", 5])
def test_parameters_that_are_no_object_are_refused(raw: Any) -> None:
    with pytest.raises(Invalid, match="Must be an object"):
        taking(int).validate(raw)


def test_a_task_without_parameters_takes_none() -> None:
    parameters = Parameters(lambda: None)
    assert parameters.validate({}) == {}
    assert parameters.bind({}) == ((), {})
    assert parameters.fields == ()
    with pytest.raises(Invalid, match="There is no such parameter; this task takes none"):
        parameters.validate({"a": 1})
    with pytest.raises(Invalid):
        parameters.bind({"a": 1})


def test_stored_parameters_that_no_longer_fit_are_refused_when_bound() -> None:
    with pytest.raises(Invalid) as caught:
        taking(int).bind({"value": "five"})
    assert caught.value.errors[0].field == "parameters.value"


def test_a_type_that_cannot_read_back_what_it_writes_is_refused() -> None:
    class Odd(BaseModel):
        value: Annotated[str, Field(serialization_alias="out")]

    with pytest.raises(Invalid):
        taking(Odd).validate({"value": {"value": "x"}})


def test_the_schema_is_a_closed_object_with_the_names_of_the_signature() -> None:
    def function(day: date, dry_run: bool = False) -> None: ...

    schema = Parameters(function).schema()
    assert schema["type"] == "object"
    assert schema["required"] == ["day"]
    assert schema["additionalProperties"] is False
    assert schema["properties"] == {
        "day": {"title": "Day", "type": "string", "format": "date"},
        "dry_run": {"title": "Dry run", "type": "boolean", "default": False},
    }
    json.dumps(schema)


def test_strict_types_accept_their_json_form() -> None:
    assert bound("2026-03-29", Annotated[date, Field(strict=True)]) == date(2026, 3, 29)


def test_a_sequence_is_accepted() -> None:
    assert bound(["a"], Sequence[str]) == ["a"]


SCALARS = {
    str: st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    int: st.integers(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    date: st.dates(),
    datetime: st.datetimes(timezones=st.sampled_from([None, UTC])),
    time: st.times(),
    timedelta: st.timedeltas(timedelta(days=-10_000), timedelta(days=10_000)),
    Decimal: st.decimals(allow_nan=False, allow_infinity=False),
    UUID: st.uuids(),
    Colour: st.sampled_from(Colour),
    list[int]: st.lists(st.integers()),
    dict[str, float]: st.dictionaries(
        st.text("abc"), st.floats(allow_nan=False, allow_infinity=False)
    ),
}


@given(st.sampled_from(list(SCALARS)).flatmap(lambda kind: st.tuples(st.just(kind), SCALARS[kind])))
def test_storing_and_binding_gives_the_same_object_back(pair: tuple[Any, Any]) -> None:
    kind, value = pair
    parameters = taking(kind)
    kept = json.loads(json.dumps(parameters.validate({"value": value})))
    assert parameters.bind(kept) == ((), {"value": value})

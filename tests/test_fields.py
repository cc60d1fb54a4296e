from __future__ import annotations

import enum
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AnyUrl, BaseModel, Field

from dashboard.durations import read_duration, show_duration
from dashboard.errors import Invalid
from dashboard.fields import ParameterField, label_of
from dashboard.parameters import Parameters


class Colour(enum.Enum):
    RED = "red"
    DARK_BLUE = "dark blue"


class Level(enum.IntEnum):
    VERY_LOW = 1
    HIGH = 2


class Account(BaseModel):
    name: str


def taking(annotation: Any, *default: Any) -> Parameters:
    """Return the parameters of a function with one parameter, `value`."""

    def function(value: Any) -> None: ...

    function.__annotations__ = {"value": annotation}
    function.__defaults__ = default or None
    return Parameters(function)


def field_for(annotation: Any, *default: Any) -> ParameterField:
    return taking(annotation, *default).fields[0]


KINDS: list[tuple[Any, str]] = [
    (str, "text"),
    (Annotated[str, Field(json_schema_extra={"format": "textarea"})], "textarea"),
    (UUID, "text"),
    (Path, "text"),
    (AnyUrl, "text"),
    (int, "integer"),
    (float, "number"),
    (Decimal, "number"),
    (bool, "checkbox"),
    (bool | None, "select"),
    (Colour, "select"),
    (Literal["a", "b"], "select"),
    (date, "date"),
    (datetime, "datetime"),
    (time, "time"),
    (timedelta, "duration"),
    (list[str], "list"),
    (set[date], "list"),
    (tuple[Colour, ...], "list"),
    (list[bool], "json"),
    (list[list[int]], "json"),
    (list[int | None], "json"),
    (tuple[int, str], "json"),
    (dict[str, int], "json"),
    (Account, "json"),
    (int | str, "json"),
    (Any, "json"),
]


@pytest.mark.parametrize(("annotation", "kind"), KINDS, ids=str)
def test_each_type_has_its_kind_of_field_also_when_it_may_be_left_out(
    annotation: Any, kind: str
) -> None:
    field = field_for(annotation)
    assert (field.kind, field.required) == (kind, kind != "list" and annotation != bool | None)
    optional = field_for(annotation | None, None)
    assert optional.kind == ("select" if kind == "checkbox" else kind)
    assert not optional.required
    assert annotation is Any or optional.nullable


def test_a_default_of_several_lines_asks_for_a_larger_box() -> None:
    assert field_for(str, "a\nb").kind == "textarea"


@pytest.mark.parametrize(
    ("annotation", "default", "text"),
    [
        (str, "abc", "abc"),
        (int, 5, "5"),
        (float, 2.0, "2.0"),
        (bool, True, "true"),
        (bool, False, "false"),
        (date, date(2026, 3, 29), "2026-03-29"),
        (timedelta, timedelta(minutes=90), "1h 30m"),
        (Decimal, Decimal("1.10"), "1.10"),
        (Path, Path("/var"), "/var"),
        (Colour, Colour.DARK_BLUE, "dark blue"),
        (Level, Level.HIGH, "2"),
        (list[str], ["a", "b"], "a\nb"),
        (dict[str, int], {"a": 1}, '{"a": 1}'),
        (int | None, None, ""),
        (int, None, ""),
    ],
)
def test_the_default_is_shown_as_one_would_type_it(
    annotation: Any, default: Any, text: str
) -> None:
    assert field_for(annotation, default).default_text == text
    assert taking(annotation, default).to_form({}) == {"value": text}


def test_choices_have_readable_labels() -> None:
    assert field_for(Colour).choices == (("red", "red"), ("dark blue", "dark blue"))
    assert field_for(Level | None).choices == (("1", "Very low"), ("2", "High"))
    assert field_for(Literal["a", 3, True]).choices == (("a", "a"), ("3", "3"), ("true", "true"))
    assert field_for(bool | None).choices == (("true", "Yes"), ("false", "No"))


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (Annotated[int, Field(ge=1, lt=10)], "At least 1, less than 10."),
        (Annotated[int | None, Field(description="How many", ge=1)], "How many. At least 1."),
        (Annotated[Decimal, Field(gt=0)], "Greater than 0."),
        (Annotated[str, Field(min_length=1, max_length=9)], "At most 9 characters."),
        (Annotated[list[int], Field(max_length=9)], "At most 9 items. One per line."),
        (list[date], "One per line. For example 2026-03-29."),
        (timedelta, "For example 90 (seconds), 1:30:00 or 5m."),
        (int, ""),
    ],
)
def test_help_says_what_is_expected(annotation: Any, text: str) -> None:
    assert field_for(annotation).help == text


def test_labels_are_made_from_names() -> None:
    assert [label_of(name) for name in ("dry_run", "URL", "_x", "day")] == [
        "Dry run",
        "URL",
        "X",
        "Day",
    ]


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (str, " kept as typed ", " kept as typed "),
        (str, "a\r\nb", "a\nb"),
        (int, " 5 ", 5),
        (int, "-5", -5),
        (float, "2.50", 2.5),
        (Decimal, " 1.10 ", "1.10"),
        (bool, "on", True),
        (bool, "false", False),
        (bool, None, False),
        (Colour, "dark blue", "dark blue"),
        (Level, "2", 2),
        (bool | None, "false", False),
        (date, "2026-03-29 ", "2026-03-29"),
        (datetime, "2026-03-29T14:30", "2026-03-29T14:30"),
        (timedelta, "1h 30m", "PT1H30M"),
        (list[str], "a\r\n\n b \n", ["a", "b"]),
        (list[int], "1\n2", [1, 2]),
        (list[Decimal], "1.10", ["1.10"]),
        (list[timedelta], "90\n5m", ["PT1M30S", "PT5M"]),
        (list[str], '["a\\nb", ""]', ["a\nb", ""]),
        (list[str], "[x]", ["[x]"]),
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (Any, "null", None),
    ],
)
def test_text_of_a_form_becomes_a_value(annotation: Any, text: str | None, value: Any) -> None:
    assert taking(annotation).from_form({"value": text}) == {"value": value}


@pytest.mark.parametrize(
    ("annotation", "default", "meaning"),
    [
        (int, (), {}),
        (str, (), {}),
        (int, (5,), {}),
        (str, ("",), {}),
        (str, ("abc",), {"value": ""}),
        (Annotated[str, Field(min_length=1)], ("abc",), {}),
        (Path, (Path("/x"),), {}),
        (int | None, (), {"value": None}),
        (int | None, (None,), {}),
        (int | None, (5,), {"value": None}),
        (list[str], (), {"value": []}),
        (list[str], (["a"],), {"value": []}),
        (list[str], ([],), {}),
        (dict[str, int], ({"a": 1},), {}),
    ],
)
def test_an_emptied_field_means_nothing_where_there_can_be_nothing_else_the_default(
    annotation: Any, default: tuple[Any, ...], meaning: dict[str, Any]
) -> None:
    parameters = taking(annotation, *default)
    assert parameters.from_form({"value": ""}) == meaning
    assert parameters.from_form({}) == meaning


def test_a_required_field_left_empty_is_complained_about() -> None:
    parameters = taking(str)
    with pytest.raises(Invalid) as caught:
        parameters.validate(parameters.from_form({"value": ""}))
    assert [(error.field, error.message) for error in caught.value.errors] == [
        ("parameters.value", "This is required.")
    ]


@pytest.mark.parametrize(
    ("annotation", "text", "message"),
    [
        (Any, "{", "Is not JSON: "),
        (Any, "NaN", "NaN is not allowed in JSON."),
        (Any, "[" * 100_000, "Is nested too deeply."),
        (date, "20260329", "Must be written like 2026-03-29"),
        (datetime, "1774794600", "Must be written like 2026-03-29"),
        (time, "1430", "Must be a time of day"),
        (timedelta, "soon", "Must be a duration"),
        (timedelta, "5:00", "Must be a duration"),
        (timedelta, "999999999999h", "Must be shorter than"),
        (list[timedelta], "5m\nsoon", "Must be a duration"),
    ],
)
def test_text_that_cannot_be_read_is_refused(annotation: Any, text: str, message: str) -> None:
    with pytest.raises(Invalid) as caught:
        taking(annotation).from_form({"value": text})
    assert [error.field for error in caught.value.errors] == ["parameters.value"]
    assert caught.value.errors[0].message.startswith(message)


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, "five"),
        (int, "9" * 5000),
        (float, "1,5"),
        (float, "nan"),
        (bool, "perhaps"),
        (Colour, "green"),
        (date, "29.3.2026"),
        (time, "25:00"),
        (timedelta, "P5X"),
        (list[int], "1\nx"),
    ],
)
def test_text_of_no_allowed_value_is_left_for_validation_to_refuse(
    annotation: Any, text: str
) -> None:
    parameters = taking(annotation)
    raw = parameters.from_form({"value": text})
    with pytest.raises(Invalid) as caught:
        parameters.validate(raw)
    assert caught.value.errors[0].field.startswith("parameters.value")


def test_all_complaints_about_a_form_come_at_once() -> None:
    def function(first: dict[str, int], second: int, third: int, fourth: timedelta) -> None: ...

    texts = {"first": "{", "second": "x", "third": "3", "fourth": "y"}
    with pytest.raises(Invalid) as caught:
        Parameters(function).from_form(texts)
    assert {error.field for error in caught.value.errors} == {
        "parameters.first",
        "parameters.second",
        "parameters.fourth",
    }
    assert len(caught.value.errors) == 3


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"))
SHOWN: dict[Any, st.SearchStrategy[Any]] = {
    str: text.filter(bool),
    int: st.integers(-(10**300), 10**300),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    bool | None: st.none() | st.booleans(),
    date: st.dates(),
    datetime: st.datetimes(),
    time: st.times(),
    timedelta: st.timedeltas(timedelta(days=-9999), timedelta(days=9999)),
    Decimal: st.decimals(allow_nan=False, allow_infinity=False),
    Level: st.sampled_from(Level),
    list[str]: st.lists(text),
    list[int]: st.lists(st.integers()),
    dict[str, str]: st.dictionaries(text, text),
    Any: st.recursive(st.none() | st.booleans() | st.integers() | text, st.lists),
}


@given(st.sampled_from(list(SHOWN)).flatmap(lambda kind: st.tuples(st.just(kind), SHOWN[kind])))
def test_a_form_that_is_sent_back_unchanged_changes_nothing(pair: tuple[Any, Any]) -> None:
    kind, value = pair
    parameters = taking(kind)
    stored = parameters.validate({"value": value})
    shown = parameters.to_form(stored)
    assert parameters.validate(parameters.from_form(shown)) == stored


@given(st.timedeltas(timedelta(days=-99_999), timedelta(days=99_999)))
def test_durations_are_shown_as_they_can_be_typed(length: timedelta) -> None:
    stored = taking(timedelta).validate({"value": length})["value"]
    assert read_duration(show_duration(stored)) == stored


@pytest.mark.parametrize(
    ("typed", "length"),
    [
        ("90", timedelta(seconds=90)),
        ("0.5", timedelta(seconds=0.5)),
        ("1:30:00", timedelta(hours=1.5)),
        ("100:00:01.25", timedelta(hours=100, seconds=1.25)),
        ("5m", timedelta(minutes=5)),
        ("5min", timedelta(minutes=5)),
        ("1d2h 3m4.5s", timedelta(days=1, hours=2, minutes=3, seconds=4.5)),
        ("-1h", timedelta(hours=-1)),
        ("PT1H", timedelta(hours=1)),
        ("p1d", timedelta(days=1)),
    ],
)
def test_durations_can_be_typed_in_many_ways(typed: str, length: timedelta) -> None:
    assert taking(timedelta).bind({"value": read_duration(typed)})[1]["value"] == length


@pytest.mark.parametrize(
    "typed", ["", "s", "h", "-", "1:2", "5:00", "1:60:00", "1:00:60", "1x", "1.5h"]
)
def test_what_is_no_duration_is_refused(typed: str) -> None:
    with pytest.raises(ValueError, match="Must be a duration"):
        read_duration(typed)


def test_a_value_that_is_no_duration_any_more_is_shown_as_it_is() -> None:
    assert show_duration("soon") == "soon"

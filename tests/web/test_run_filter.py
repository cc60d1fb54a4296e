from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from dashboard.errors import Invalid
from dashboard.history.run_list import RunFilter
from dashboard.storage.models import Origin, RunState
from dashboard.web.run_filter import PARAMETERS, read_place, read_run_filter
from dashboard.web.times import read_moment

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def read(*pairs: tuple[str, str]) -> RunFilter:
    return read_run_filter(MultiDict(pairs), zone=BERLIN, now=NOW)


def complaints(*pairs: tuple[str, str]) -> list[str]:
    with pytest.raises(Invalid) as caught:
        read(*pairs)
    return [error.field for error in caught.value.errors]


def test_an_address_without_parameters_filters_nothing() -> None:
    assert read() == RunFilter()
    assert not read(("q", " "), ("job", ""), ("state", ","))


def test_every_parameter_is_read() -> None:
    assert read(
        ("state", "failed"),
        ("state", "missed,Skipped"),
        ("job", " spaced "),
        ("task", "reports.daily"),
        ("origin", "manual"),
        ("executor", "threads"),
        ("fingerprint", "a1"),
        ("q", " no route "),
        ("since", "24h"),
        ("until", "2027-03-01T12:30"),
    ) == RunFilter(
        states=frozenset({RunState.FAILED, RunState.MISSED, RunState.SKIPPED}),
        job_id=" spaced ",
        task="reports.daily",
        origin=Origin.MANUAL,
        executor="threads",
        fingerprint="a1",
        text="no route",
        since=NOW - timedelta(days=1),
        until=datetime(2027, 3, 1, 11, 30, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90min", NOW - timedelta(minutes=90)),
        ("5m", NOW - timedelta(minutes=5)),
        ("24 h ago", NOW - timedelta(hours=24)),
        ("2W", NOW - timedelta(weeks=2)),
        ("999999w", datetime(1970, 1, 2, tzinfo=UTC)),
        ("2027-03-01", datetime(2027, 2, 28, 23, tzinfo=UTC)),
        ("2027-03-01 14:30", datetime(2027, 3, 1, 13, 30, tzinfo=UTC)),
        ("2027-03-01T14:30:05Z", datetime(2027, 3, 1, 14, 30, 5, tzinfo=UTC)),
        ("2027-03-01T14:30+05:30", datetime(2027, 3, 1, 9, tzinfo=UTC)),
    ],
)
def test_moments_are_read_as_people_write_them(text: str, moment: datetime) -> None:
    assert read_moment(text, BERLIN, NOW) == moment


@pytest.mark.parametrize(
    "text",
    ["yesterday", "24", "-5h", "1e9h", "9999999h", "2027-13-01", "0001-01-01", "9999-12-31T23:59"],
)
def test_what_is_no_moment_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        read_moment(text, BERLIN, NOW)


def test_all_complaints_come_at_once() -> None:
    assert complaints(
        ("state", "failed"),
        ("state", "foo"),
        ("origin", "bar"),
        ("since", "soon"),
        ("job", "x" * 192),
        ("q", "a\0b"),
        ("task", "\u202e"),
    ) == ["state", "job", "task", "origin", "q", "since"]


def test_a_range_that_ends_before_it_begins_is_refused() -> None:
    assert complaints(("since", "1h"), ("until", "2h")) == ["until"]


def test_a_place_is_before_or_after_a_run() -> None:
    assert read_place(MultiDict()) == (None, None)
    assert read_place(MultiDict({"before": "17"})) == (17, None)
    assert read_place(MultiDict({"after": str(2**63 - 1)})) == (None, 2**63 - 1)


@pytest.mark.parametrize(
    "args",
    [
        {"before": "abc"},
        {"before": "-1"},
        {"after": "1.5"},
        {"after": str(2**63)},
        {"before": "9" * 5000},
        {"before": "٣"},
        {"before": "1", "after": "2"},
    ],
)
def test_what_is_no_place_is_refused(args: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        read_place(MultiDict(args))


@given(st.lists(st.tuples(st.sampled_from([*PARAMETERS, "before", "after"]), st.text())))
def test_whatever_an_address_holds_is_read_or_refused(pairs: list[tuple[str, str]]) -> None:
    with suppress(Invalid):
        read(*pairs)
    with suppress(Invalid):
        read_place(MultiDict(pairs))

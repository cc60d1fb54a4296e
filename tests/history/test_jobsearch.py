from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.history.jobsearch import STATES, JobSearch


@pytest.mark.parametrize(
    ("query", "search"),
    [
        ("", JobSearch()),
        ("  nightly   report ", JobSearch(words=("nightly", "report"))),
        ("state:failing", JobSearch(states=("failing",))),
        ("State:failing", JobSearch(words=("State:failing",))),
        ("state:FAILING", JobSearch(states=("failing",))),
        (
            "state:failing task:report tag:billing nightly",
            JobSearch(("nightly",), ("failing",), ("report",), ("billing",)),
        ),
        ('tag:"month end" "sales report"', JobSearch(words=("sales report",), tags=("month end",))),
        ("task:", JobSearch(words=("task:",))),
        ("http://x:1", JobSearch(words=("http://x:1",))),
        ('an "open quote', JobSearch(words=("an", '"open', "quote"))),
        ("it's C:\\temp #1", JobSearch(words=("it's", "C:\\temp", "#1"))),
        ("tag:a:b", JobSearch(tags=("a:b",))),
    ],
)
def test_a_query_is_read_as_it_is_typed(query: str, search: JobSearch) -> None:
    assert JobSearch.parse(query) == search


def test_an_unknown_state_is_told_and_narrows_nothing() -> None:
    search = JobSearch.parse("state:sleeping nightly")
    assert search.states == ()
    assert search.words == ("nightly",)
    assert "“sleeping” is no state" in search.complaints[0]
    assert all(state in search.complaints[0] for state in STATES)


def test_choosing_a_state_keeps_the_rest() -> None:
    search = JobSearch.parse("state:paused tag:ops nightly")
    assert str(search.with_state("failing")) == "state:failing tag:ops nightly"
    assert str(search.with_state(None)) == "tag:ops nightly"


@given(st.text(max_size=80))
def test_whatever_is_typed_can_be_written_back(query: str) -> None:
    search = JobSearch.parse(query)
    if not any('"' in term for term in (*search.words, *search.tasks, *search.tags)):
        assert JobSearch.parse(str(search)) == search.with_state(None).__class__(
            search.words, search.states, search.tasks, search.tags
        )

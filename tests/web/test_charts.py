from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.history.verdicts import is_slow, slow_from
from dashboard.storage.models import RunState
from dashboard.web.charts import (
    FEWEST_SLOTS,
    HEADROOM,
    HEIGHT,
    duration_bar,
    duration_chart,
)
from tests.rows import listed, make_run

if TYPE_CHECKING:
    from dashboard.history.run_list import ListedRun


def runs(*seconds: float | None) -> list[ListedRun]:
    """Make runs, the newest first."""
    return [listed(make_run(1000 - place, duration=each)) for place, each in enumerate(seconds)]


def test_there_is_no_chart_of_nothing() -> None:
    assert duration_chart([], usual=None, long=None) is None
    assert duration_chart(runs(None, 0.0), usual=1, long=2) is None


def test_marks_go_from_old_to_new_and_from_bottom_to_top() -> None:
    chart = duration_chart(runs(10, 5, 0), usual=None, long=None)
    assert chart is not None
    assert [mark.run.duration for mark in chart.marks] == [0, 5, 10]
    assert [mark.y for mark in chart.marks] == [
        HEIGHT + HEADROOM,
        HEIGHT / 2 + HEADROOM,
        HEADROOM,
    ]
    xs = [mark.x for mark in chart.marks]
    assert xs == sorted(xs)
    assert xs[-1] == pytest.approx(100 * (FEWEST_SLOTS - 0.5) / FEWEST_SLOTS, abs=0.01)


def test_a_run_that_never_started_stands_on_the_base() -> None:
    missed = listed(make_run(1, state=RunState.MISSED))
    chart = duration_chart([missed, *runs(3)], usual=None, long=None)
    assert chart is not None
    assert chart.marks[-1].y == chart.base


def test_what_is_usual_is_a_band_and_what_is_slow_a_line_above() -> None:
    chart = duration_chart(runs(40, 10, 12), usual=10, long=14)
    assert chart is not None
    assert chart.usual is not None
    assert chart.long is not None
    assert chart.slow is not None
    assert chart.slow.seconds == 30
    assert chart.slow.y < chart.long.y < chart.usual.y < chart.base
    assert [mark.slow for mark in chart.marks] == [False, False, True]


@pytest.mark.parametrize(("usual", "times"), [(10, 4.0), (0, None), (None, None)])
def test_a_run_is_compared_with_what_is_usual(usual: float | None, times: float | None) -> None:
    chart = duration_chart(runs(40), usual=usual, long=usual)
    assert chart is not None
    assert chart.marks[0].times_usual == times


def test_a_line_above_the_top_is_left_out() -> None:
    chart = duration_chart(runs(10, 11), usual=10, long=12)
    assert chart is not None
    assert chart.slow is None


def test_far_outliers_make_the_scale_logarithmic() -> None:
    usual = duration_chart(runs(19, 1), usual=1, long=2)
    outlier = duration_chart(runs(600, 1), usual=1, long=2)
    assert usual is not None
    assert outlier is not None
    assert (usual.logarithmic, outlier.logarithmic) == (False, True)
    assert outlier.usual is not None
    assert outlier.base - outlier.usual.y > 15


@pytest.mark.parametrize(
    ("seconds", "usual", "long", "slow"),
    [
        (31, 10, 14, True),
        (29, 10, 14, False),
        (31, 10, 60, False),  # many runs are as long
        (0.9, 0.1, 0.1, False),  # nobody waits for that
        (99, None, None, False),
        (None, 10, 14, False),
    ],
)
def test_slow_is_several_times_usual_and_longer_than_nearly_all(
    seconds: float | None, usual: float | None, long: float | None, slow: bool
) -> None:
    assert is_slow(seconds, usual, long) is slow


def test_a_bar_shows_a_duration_beside_the_usual_one() -> None:
    bar = duration_bar(20, 10, 12)
    assert bar is not None
    assert (bar.width, bar.usual, bar.slow) == (32, 16, False)
    assert duration_bar(20, None, None) is None
    assert duration_bar(None, 10, 12) is None
    assert duration_bar(20, 0.0, 0.0) is None


LENGTHS = st.floats(0, 1e7) | st.none()


@given(st.lists(LENGTHS, max_size=100), LENGTHS, LENGTHS)
def test_everything_drawn_is_inside_the_drawing(
    seconds: list[float | None], usual: float | None, long: float | None
) -> None:
    chart = duration_chart(runs(*seconds), usual=usual, long=long)
    if chart is None:
        return
    drawn = [mark.y for mark in chart.marks] + [line.y for line in chart.grid]
    drawn += [line.y for line in (chart.usual, chart.long, chart.slow) if line is not None]
    assert all(0 <= y <= chart.height for y in drawn)
    assert all(0 <= mark.x <= 100 for mark in chart.marks)
    assert len(chart.grid) <= 6
    assert len({line.y for line in chart.grid}) == len(chart.grid)


def test_nothing_usual_is_never_slow() -> None:
    assert slow_from(None, None) is None

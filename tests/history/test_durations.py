from __future__ import annotations

from bisect import bisect_left
from datetime import timedelta
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from dashboard.history.durations import Spread, read_spread, within
from dashboard.history.health import FinishedRun, count_finished
from dashboard.storage.models import DURATION_BOUNDS, DURATION_COLUMNS, RunState
from tests.rows import EPOCH

if TYPE_CHECKING:
    from dashboard.storage.db import Database

HOUR = timedelta(hours=1)


@given(st.lists(st.floats(0, 200_000), min_size=1, max_size=200), st.floats(0.01, 1))
def test_the_bound_is_the_least_that_so_many_stayed_within(
    durations: list[float], share: float
) -> None:
    counts = [0] * len(DURATION_COLUMNS)
    for duration in durations:
        counts[bisect_left(DURATION_BOUNDS, duration)] += 1
    right = [
        bound
        for bound in DURATION_BOUNDS
        if sum(duration <= bound for duration in durations) >= share * len(durations)
    ]
    assert within(counts, share) == (right[0] if right else None)


def test_the_runs_of_a_month_of_one_job(database: Database) -> None:
    def finished(number: int, job_id: str, duration: float | None, hours: int) -> FinishedRun:
        moment = EPOCH - hours * HOUR
        return FinishedRun(number, job_id, RunState.SUCCEEDED, moment, moment, duration)

    runs = [finished(n, "a", 0.2, n) for n in range(18)]
    runs += [finished(20, "a", 4.0, 1), finished(21, "a", 4.0, 2)]
    runs += [finished(22, "a", 9999, 24 * 31), finished(23, "b", 9999, 1)]
    runs += [finished(24, "a", None, 1)]
    with database.write() as session:
        count_finished(session.connection(), runs)
    with database.read() as session:
        found = read_spread(session, "a", EPOCH)
        assert read_spread(session, "b", EPOCH) is None
    assert found == Spread(runs=20, half=0.25, most=5)

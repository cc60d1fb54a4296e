from __future__ import annotations

from bisect import bisect_left
from datetime import timedelta
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from dashboard.history.durations import Spread, percentile, read_spread
from dashboard.history.health import FinishedRun, count_finished
from dashboard.storage.models import DURATION_BOUNDS, DURATION_COLUMNS, RunState
from tests.rows import EPOCH

if TYPE_CHECKING:
    from dashboard.storage.db import Database

HOUR = timedelta(hours=1)


@given(st.lists(st.floats(0, DURATION_BOUNDS[-1]), min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_percentile_lies_in_the_bucket_of_the_true_one(
    durations: list[float], share: float
) -> None:
    counts = [0] * len(DURATION_COLUMNS)
    for duration in durations:
        counts[bisect_left(DURATION_BOUNDS, duration)] += 1
    number = next(n for n in range(1, len(durations) + 1) if n >= share * len(durations))
    true = bisect_left(DURATION_BOUNDS, sorted(durations)[number - 1])
    found = percentile(counts, share)
    lower = DURATION_BOUNDS[true - 1] if true else 0.0
    assert lower * 0.999999 <= found <= DURATION_BOUNDS[true] * 1.000001


def test_what_took_longer_than_any_bound() -> None:
    counts = [0] * len(DURATION_COLUMNS)
    counts[-1] = 3
    assert percentile(counts, 0.5) == DURATION_BOUNDS[-1]


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
        assert read_spread(session, "nobody", EPOCH) is None
    assert isinstance(found, Spread)
    assert found.runs == 20
    assert 0.1 < found.half <= 0.25
    assert 2.5 < found.most <= 5

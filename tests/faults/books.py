"""The books of a place: whether its rows, its tasks' own file and its statistics agree."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from dashboard.storage.models import ACTIVE, ALL_JOBS, EVER, Run, RunState, RunStats

if TYPE_CHECKING:
    from datetime import datetime

    from tests.faults.dashboards import Place

SECOND = timedelta(seconds=1)


class Broken(AssertionError):
    """A promise was broken; the message says which."""


def check(place: Place, began: datetime) -> Counter[str]:
    """Check every promise for jobs that fired every second since `began`, once all has ended.

    Returns how many runs ended how.
    """
    runs = place.runs()
    _check_fire_times(runs, began)
    _check_calls(place, runs)
    return _check_statistics(place, runs)


def _check_fire_times(runs: list[Run], began: datetime) -> None:
    moments: dict[str, list[datetime]] = {}
    for run in runs:
        moments.setdefault(run.job_id, []).append(run.scheduled_at)
    for job_id, found in moments.items():
        expected = [began + SECOND * number for number in range(len(found))]
        if sorted(found) != expected:
            raise Broken(f"fire times of {job_id} are lost or doubled: {sorted(found)}")


def _check_calls(place: Place, runs: list[Run]) -> None:
    begun, ended = Counter(place.traces("begin")), Counter(place.traces("end"))
    if twice := [run_id for run_id, times in begun.items() if times > 1]:
        raise Broken(f"runs were started twice: {twice}")
    for run in runs:
        if run.state is RunState.SUCCEEDED and not (begun[run.id] == ended[run.id] == 1):
            raise Broken(f"run {run.id} has succeeded and was never called")
        if run.state in {RunState.MISSED, RunState.SKIPPED} and begun[run.id]:
            raise Broken(f"run {run.id} is {run.state} and was called")
        if run.state not in {RunState.SUCCEEDED, RunState.INTERRUPTED, RunState.SKIPPED}:
            raise Broken(f"run {run.id} ended as {run.state}: {run.error_message}")


def _check_statistics(place: Place, runs: list[Run]) -> Counter[str]:
    states = Counter(run.state.value for run in runs)
    with place.database.read() as session:
        rows = session.scalars(
            select(RunStats).where(RunStats.job_id == ALL_JOBS, RunStats.hour != EVER)
        ).all()
    for state in RunState:
        counted = sum(getattr(row, state.value, 0) for row in rows)
        if state not in ACTIVE and counted != states[state.value]:
            raise Broken(f"statistics count {counted} {state} runs, and {states[state]} are")
    return states

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dashboard.errors import JobNotFound, RunNotFound
from dashboard.history import queries
from dashboard.history.queries import get_job, get_run, has_runs, list_log, list_steps
from dashboard.storage.models import JobHealth, RunLog, RunState, RunStep
from tests.rows import EPOCH, make_job, make_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

    from dashboard.storage.db import Database

FAILED, SUCCEEDED = RunState.FAILED, RunState.SUCCEEDED


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    with database.read() as session:
        yield session


def make_line(seq: int, text: str = "", run_id: int = 1) -> RunLog:
    return RunLog(
        run_id=run_id, seq=seq, at=EPOCH, level="INFO", logger="task", text=text or f"line {seq}"
    )


def make_health(job_id: str = "nightly") -> JobHealth:
    return JobHealth(
        job_id=job_id, consecutive_failures=0, recent=[], usual_duration=1.5, long_duration=4.0
    )


class TestJob:
    def test_it_comes_with_its_health(self, session: Session) -> None:
        session.add_all([make_job("nightly"), make_job("other"), make_health()])
        session.flush()
        detail = get_job(session, "nightly")
        assert detail.job.id == "nightly"
        assert detail.health is not None
        assert detail.health.usual_duration == 1.5

    def test_it_has_no_health_before_it_ran(self, session: Session) -> None:
        session.add(make_job("nightly"))
        session.flush()
        assert get_job(session, "nightly").health is None

    @pytest.mark.parametrize(
        ("state", "running"),
        [
            (RunState.QUEUED, False),
            (RunState.RUNNING, True),
            (RunState.SUCCEEDED, False),
            (RunState.INTERRUPTED, False),
        ],
    )
    def test_a_run_that_runs_makes_it_running(
        self, session: Session, state: RunState, running: bool
    ) -> None:
        session.add_all([make_job("nightly"), make_job("other")])
        session.add_all([make_run(1, state=state), make_run(2)])
        session.flush()
        assert get_job(session, "nightly").running is running
        assert get_job(session, "other").running is False

    def test_an_unknown_one_is_not_found(self, session: Session) -> None:
        with pytest.raises(JobNotFound):
            get_job(session, "nobody")

    def test_history_knows_a_removed_one(self, session: Session) -> None:
        session.add(make_run(1, "removed"))
        session.flush()
        assert has_runs(session, "removed")
        assert not has_runs(session, "never")


class TestRun:
    def test_it_has_neighbours_of_the_same_job(self, session: Session) -> None:
        jobs = ["a", "b", "a", "b", "a"]
        session.add_all(make_run(number, job) for number, job in enumerate(jobs, 1))
        session.flush()
        first, middle, last = (get_run(session, number) for number in (1, 3, 5))
        assert (first.previous_id, first.next_id) == (None, 3)
        assert (middle.previous_id, middle.next_id) == (1, 5)
        assert (last.previous_id, last.next_id) == (3, None)

    def test_it_knows_whether_its_job_is_still_there(self, session: Session) -> None:
        session.add_all([make_job("nightly"), make_health(), make_run(1), make_run(2, "removed")])
        session.flush()
        kept, removed = get_run(session, 1), get_run(session, 2)
        assert (kept.job_exists, kept.usual_duration, kept.long_duration) == (True, 1.5, 4.0)
        assert (removed.job_exists, removed.usual_duration) == (False, None)

    def test_others_with_its_error_are_counted_up_to_a_limit(
        self, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session.add_all(make_run(number, state=FAILED, fingerprint="f") for number in range(1, 4))
        session.add_all([make_run(4, state=FAILED, fingerprint="g"), make_run(5)])
        session.flush()
        assert [get_run(session, number).same_error for number in (1, 4, 5)] == [2, 0, 0]
        monkeypatch.setattr(queries, "SAME_ERROR_CAP", 1)
        assert get_run(session, 1).same_error == 1

    def test_an_unknown_one_is_not_found(self, session: Session) -> None:
        with pytest.raises(RunNotFound):
            get_run(session, 7)

    def test_its_steps_come_in_the_order_they_began(self, session: Session) -> None:
        session.add_all(
            RunStep(run_id=run, index=index, name=f"s{index}", state=SUCCEEDED, started_at=EPOCH)
            for run, index in [(1, 2), (1, 1), (2, 1), (1, 3)]
        )
        session.flush()
        assert [step.name for step in list_steps(session, 1)] == ["s1", "s2", "s3"]


class TestLog:
    @pytest.fixture(autouse=True)
    def _lines(self, session: Session) -> None:
        session.add_all(make_line(seq) for seq in range(1, 9))
        session.add_all([make_line(9, "100% DONE"), make_line(1, "other", run_id=2)])
        session.flush()

    @pytest.mark.parametrize(
        ("wanted", "expected"),
        [
            ({}, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
            ({"limit": 2}, [8, 9]),
            ({"before": 4, "limit": 2}, [2, 3]),
            ({"after": 0, "limit": 2}, [1, 2]),
            ({"after": 7}, [8, 9]),
            ({"after": 9}, []),
            ({"containing": "LINE", "limit": 1}, [8]),
            ({"containing": "0% d"}, [9]),
            ({"containing": "line", "after": 6}, [7, 8]),
            ({"containing": "other"}, []),
        ],
    )
    def test_lines_are_taken_from_the_end_or_after_a_number(
        self, session: Session, wanted: dict[str, int], expected: list[int]
    ) -> None:
        assert [line.seq for line in list_log(session, 1, **wanted)] == expected  # type: ignore[arg-type]

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from dashboard.history.health import FinishedRun, count_finished
from dashboard.storage.models import ErrorGroup, ErrorHour, ErrorJob, ErrorMark, RunState
from tests.factories import PATIENCE
from tests.rows import EPOCH, make_job

if TYPE_CHECKING:
    from dashboard.storage.db import Database

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
IGNORED, ACKNOWLEDGED = ErrorMark.IGNORED, ErrorMark.ACKNOWLEDGED


def run(number: int, fingerprint: str | None = "abc", **values: Any) -> FinishedRun:
    moment = values.pop("at", EPOCH + number * SECOND)
    defaults: dict[str, Any] = {
        "job_id": "a",
        "state": RunState.FAILED if fingerprint else RunState.SUCCEEDED,
        "scheduled_at": moment,
        "finished_at": moment,
        "duration": 1.0,
        "error": f"ValueError: {number}" if fingerprint else None,
    }
    return FinishedRun(run_id=number, fingerprint=fingerprint, **(defaults | values))


def count(database: Database, *runs: FinishedRun) -> None:
    with database.write() as session:
        count_finished(session.connection(), runs)


def group(database: Database, fingerprint: str = "abc") -> ErrorGroup:
    with database.read() as session:
        return session.get_one(ErrorGroup, fingerprint)


def mark(
    database: Database, kind: ErrorMark = IGNORED, at: datetime = EPOCH, **values: Any
) -> None:
    with database.write() as session:
        row = session.get_one(ErrorGroup, "abc")
        row.mark, row.marked_at, row.marked_by = kind, at, "ann"
        for name, value in values.items():
            setattr(row, name, value)


class TestCounting:
    def test_a_group_knows_its_first_and_last_and_how_many(self, database: Database) -> None:
        count(database, run(1), run(2, "xyz"), run(3, job_id="b"))
        count(database, run(4, job_id="b"), run(5, None), run(6, job_id="b", error=None))
        row = group(database)
        assert (row.count, row.jobs, row.last_run_id, row.last_job_id) == (4, 2, 6, "b")
        assert (row.first_seen_at, row.last_seen_at) == (EPOCH + SECOND, EPOCH + 6 * SECOND)
        assert row.error == ""
        assert group(database, "xyz").count == 1

    def test_hours_and_jobs(self, database: Database) -> None:
        count(database, run(1), run(2, at=EPOCH + HOUR), run(3, at=EPOCH + HOUR, job_id="b"))
        count(database, run(4, at=EPOCH + HOUR + SECOND))
        with database.read() as session:
            hours = session.scalars(select(ErrorHour).order_by(ErrorHour.hour)).all()
            jobs = session.scalars(select(ErrorJob).order_by(ErrorJob.job_id)).all()
        assert [(each.hour, each.count) for each in hours] == [(EPOCH, 1), (EPOCH + HOUR, 3)]
        assert [(each.job_id, each.count, each.last_run_id) for each in jobs] == [
            ("a", 3, 4),
            ("b", 1, 3),
        ]

    def test_many_errors_and_jobs_at_once(self, database: Database) -> None:
        many = 1100
        count(database, *(run(n, f"f{n % 600}", job_id=f"j{n}") for n in range(many)))
        assert group(database, "f7").jobs == 2
        assert group(database, "f599").jobs == 1

    def test_two_processes_count_the_same_errors(self, database: Database) -> None:
        both = threading.Barrier(2)

        def write(order: int) -> None:
            both.wait(PATIENCE)
            for number in range(20):
                errors = ("abc", "xyz")[::order]
                count(database, *(run(number, error, job_id=f"j{order}") for error in errors))

        threads = [threading.Thread(target=write, args=(order,)) for order in (1, -1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (group(database).count, group(database).jobs) == (40, 2)


class TestRegressing:
    @pytest.mark.parametrize(
        ("until", "quiet", "back"),
        [
            ({"until_at": EPOCH + 9 * SECOND}, 8, 9),
            ({"until_at": EPOCH + 9 * SECOND}, 8, 1000),
        ],
    )
    def test_ignored_until_a_time(
        self, database: Database, until: dict[str, Any], quiet: int, back: int
    ) -> None:
        count(database, run(1))
        mark(database, **until)
        count(database, run(quiet))
        assert group(database).mark is IGNORED
        count(database, run(back))
        row = group(database)
        assert (row.mark, row.regressed_at) == (None, EPOCH + back * SECOND)
        assert row.marked_by == "ann", "it stays to be shown"

    def test_ignored_until_a_count(self, database: Database) -> None:
        count(database, run(1))
        mark(database, until_count=4)
        count(database, run(2), run(3))
        assert group(database).mark is IGNORED
        count(database, run(4))
        assert group(database).mark is None

    def test_ignored_until_a_rate(self, database: Database) -> None:
        count(database, run(1))
        mark(database, until_rate=3)
        count(database, run(2), *(run(3 + n, at=EPOCH + (n + 1) * HOUR) for n in range(5)))
        assert group(database).mark is IGNORED
        count(database, *(run(9 + n, at=EPOCH + 9 * HOUR) for n in range(3)))
        assert group(database).mark is None

    def test_ignored_for_good(self, database: Database) -> None:
        count(database, run(1))
        mark(database)
        count(database, *(run(n, at=EPOCH + n * HOUR) for n in range(2, 200)))
        assert group(database).mark is IGNORED

    def test_acknowledged_until_it_comes_back_after_a_success(self, database: Database) -> None:
        with database.write() as session:
            session.add(make_job("a"))
        count(database, run(1, None), run(2))
        mark(database, ACKNOWLEDGED, at=EPOCH + 3 * SECOND)
        count(database, run(4), run(5))
        assert group(database).mark is ACKNOWLEDGED
        count(database, run(6, None, job_id="somebody else's"), run(7))
        assert group(database).mark is ACKNOWLEDGED
        count(database, run(8, None))
        assert group(database).mark is ACKNOWLEDGED
        count(database, run(9))
        row = group(database)
        assert (row.mark, row.regressed_at) == (None, EPOCH + 9 * SECOND)

    def test_other_errors_are_left_alone(self, database: Database) -> None:
        count(database, run(1))
        mark(database, until_count=1)
        count(database, run(2, "xyz"))
        assert group(database).mark is IGNORED
        assert group(database, "xyz").regressed_at is None

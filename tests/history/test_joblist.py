from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from dashboard.history.joblist import COUNTED, ORDERS, ListedJob, list_jobs
from dashboard.history.jobsearch import STATES, JobSearch
from dashboard.history.problems import ProblemKind, read_problems
from dashboard.history.verdicts import OVERDUE_AFTER, job_health
from dashboard.services.jobs import job_state
from dashboard.storage.models import Health, Job, JobHealth, JobState, RunState
from tests.rows import make_job, make_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dashboard.storage.db import Database

NOW = datetime.now(UTC)
SOON = NOW + timedelta(hours=1)
LATE = NOW - OVERDUE_AFTER - timedelta(seconds=5)


def health(job_id: str, **values: Any) -> JobHealth:
    defaults = {"last_run_id": 1, "last_finished_at": NOW, "recent": [], "consecutive_failures": 0}
    return JobHealth(job_id=job_id, **(defaults | values))


def job(job_id: str, **values: Any) -> Job:
    return make_job(job_id, **({"next_run_time": SOON} | values))


def add(database: Database, *rows: Any) -> None:
    with database.write() as session:
        session.add_all(rows)


def find(database: Database, query: str = "", **options: Any) -> list[str]:
    with database.read() as session:
        return [one.id for one in list_jobs(session, JobSearch.parse(query), **options).jobs]


def walk(database: Database, sort: str, limit: int, query: str = "") -> list[str]:
    """Go through all pages and return the ids in their order."""
    found: list[str] = []
    after = None
    with database.read() as session:
        while True:
            page = list_jobs(session, JobSearch.parse(query), sort=sort, after=after, limit=limit)
            found += [one.id for one in page.jobs]
            after = page.after
            if after is None:
                return found
            assert len(page.jobs) == limit


@pytest.fixture
def everything(database: Database) -> list[Job]:
    """One job in every situation that a job can be in."""
    jobs = [
        job("scheduled"),
        job("healthy"),
        job("failing"),
        job("overdue", next_run_time=LATE),
        job("late but failing", next_run_time=LATE),
        job("missed"),
        job("missed and finished", next_run_time=None),
        job("missed and paused", paused_at=NOW, next_run_time=None),
        job("paused", paused_at=NOW, next_run_time=None),
        job("paused and failing", paused_at=NOW, next_run_time=None),
        job("paused but running", paused_at=NOW, next_run_time=None),
        job("running"),
        job("queued"),
        job("broken", broken_reason="no such task", next_run_time=LATE),
        job("broken and running", broken_reason="no such task"),
        job("finished", next_run_time=None),
        job("finished but running", next_run_time=None),
    ]
    failing = {"failing_since": NOW, "consecutive_failures": 3}
    recent = [[6, "missed", None, NOW.isoformat()]]
    missed = {"last_state": RunState.MISSED, "last_run_id": 6, "recent": recent}
    add(
        database,
        *jobs,
        health("healthy"),
        health("failing", **failing),
        health("late but failing", **failing),
        *(health(f"missed{more}", **missed) for more in ("", " and finished", " and paused")),
        health("paused and failing", **failing),
        make_run(1, "running", state=RunState.RUNNING),
        make_run(2, "paused but running", state=RunState.RUNNING),
        make_run(3, "broken and running", state=RunState.RUNNING),
        make_run(4, "finished but running", state=RunState.RUNNING),
        make_run(5, "queued", state=RunState.QUEUED, queued_at=NOW),
        make_run(6, "scheduled"),
    )
    return jobs


class TestStates:
    @pytest.mark.parametrize("state", STATES)
    def test_a_search_finds_what_rows_say(
        self, database: Database, everything: list[Job], state: str
    ) -> None:
        del everything
        with database.read() as session:
            everyone = list_jobs(session, JobSearch()).jobs
        said = {one.id for one in everyone if state in {one.state, one.health(NOW)}}
        assert set(find(database, f"state:{state}")) == said
        assert said, "there is such a job"

    def test_rows_say_what_everybody_else_says(
        self, database: Database, everything: list[Job]
    ) -> None:
        del everything
        with database.read() as session:
            for one in list_jobs(session, JobSearch()).jobs:
                row = session.get_one(Job, one.id)
                assert one.state is job_state(row, running=one.running)
                kept = session.get(JobHealth, one.id)
                assert one.health(NOW) is job_health(row, kept, NOW)

    def test_what_is_overdue_is_a_problem_too(
        self, database: Database, everything: list[Job]
    ) -> None:
        del everything
        with database.read() as session:
            problems = read_problems(session, NOW).of(ProblemKind.OVERDUE)
        assert {"overdue", "missed", "missed and finished"} == {*find(database, "state:overdue")}
        assert {*find(database, "state:overdue")} == (
            {problem.job_id for problem in problems} - {*find(database, "state:failing")}
        )

    def test_every_state_is_told_apart(self, database: Database, everything: list[Job]) -> None:
        assert {one.id for one in everything} == {
            job_id for state in JobState for job_id in find(database, f"state:{state}")
        }
        assert {one.id for one in everything} == {
            job_id for word in Health for job_id in find(database, f"state:{word}")
        }


class TestSearch:
    @pytest.fixture(autouse=True)
    def _jobs(self, database: Database) -> None:
        add(
            database,
            job("a", name="Nightly Report", task="reports.daily", tags=["billing", "ops"]),
            job("b", name="Sync 100%", task="crm.sync_all", tags=["bill"]),
            job("report_c", name="Über_mail", task="mail", tags=['a "b"', "größe"]),
        )

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("", ["a", "b", "report_c"]),
            ("REPORT", ["a", "report_c"]),
            ("nightly report", ["a"]),
            ('"nightly report"', ["a"]),
            ('"report nightly"', []),
            ("100%", ["b"]),
            ("%", ["b"]),
            ("_", ["report_c"]),
            ("task:reports", ["a"]),
            ("task:sync_", ["b"]),
            ("tag:billing", ["a"]),
            ("tag:bill", ["b"]),
            ("tag:größe", ["report_c"]),
            ("tag:ops task:reports state:scheduled night", ["a"]),
            ("tag:ops tag:bill", []),
            ("state:nonsense", ["a", "b", "report_c"]),
            ("'; DROP TABLE job; --", []),
            ("nightly\0", ["a"]),
        ],
    )
    def test_finds(self, database: Database, query: str, found: list[str]) -> None:
        assert sorted(find(database, query)) == found


class TestPages:
    @pytest.fixture(autouse=True)
    def _jobs(self, database: Database) -> None:
        """Seventeen jobs with ties, gaps and every kind of missing value."""
        for number in range(17):
            name = f"job-{number:02d}"
            times: dict[str, Any] = {"next_run_time": SOON + timedelta(minutes=number // 3)}
            if number % 5 == 4:
                times = {"next_run_time": None, "paused_at": NOW}
            if number == 7:
                times |= {"broken_reason": "no such task"}
            add(database, job(name, name=f"Name {number % 4}", **times))
            if number % 6 != 5:
                failures = number % 3
                add(
                    database,
                    health(
                        name,
                        last_finished_at=NOW - timedelta(minutes=number // 2),
                        consecutive_failures=failures,
                        failing_since=NOW if failures else None,
                    ),
                )

    @pytest.mark.parametrize("sort", ORDERS)
    @pytest.mark.parametrize("limit", [1, 2, 5, 16, 17, 18])
    def test_pages_join_without_a_gap_or_a_double(
        self, database: Database, sort: str, limit: int
    ) -> None:
        found = walk(database, sort, limit)
        assert len(found) == len(set(found)) == 17
        assert found == walk(database, sort, 50)

    def test_by_name(self, database: Database) -> None:
        names = self.listed(database, "name")
        assert names == sorted(names, key=lambda one: (one.name, one.id))

    def test_by_next_run_the_stopped_ones_last(self, database: Database) -> None:
        jobs = self.listed(database, "next")
        due = [one.due for one in jobs]
        assert due == sorted(due, key=lambda moment: (moment is None, moment or NOW))
        assert all(a.id < b.id for a, b in pairwise(jobs) if a.due == b.due)

    def test_by_last_run_the_newest_first(self, database: Database) -> None:
        ended = [one.last_finished_at for one in self.listed(database, "last")]
        ran = [moment for moment in ended if moment is not None]
        assert ran == sorted(ran, reverse=True)
        assert ended[len(ran) :] == [None] * (17 - len(ran))

    def test_by_failures_the_worst_first(self, database: Database) -> None:
        failures = [one.consecutive_failures or 0 for one in self.listed(database, "failures")]
        assert failures == sorted(failures, reverse=True)

    def test_a_page_goes_on_where_it_was_when_jobs_come_and_go(self, database: Database) -> None:
        with database.read() as session:
            first = list_jobs(session, JobSearch(), limit=5)
        add(database, job("job-new", name="Name 0"))
        with database.write() as session:
            session.delete(session.get_one(Job, first.jobs[-1].id))
        rest = find(database, after=first.after, limit=50)
        seen = [one.id for one in first.jobs]
        assert len(set(seen + rest)) == len(seen) + len(rest)

    @pytest.mark.parametrize(
        "content",
        [
            None,
            [],
            [1, 2],
            ["x", 3],
            ["x", "job\0"],
            ["x\0", "job"],
            ["\ud800", "job"],
            [None, "\ud800"],
            ["0001-01-01T00:00:00+14:00", "job"],
            [10**30, "job"],
            [[], {}],
        ],
    )
    @pytest.mark.parametrize("sort", ORDERS)
    def test_a_cursor_nobody_gave_out_does_no_harm(
        self, database: Database, content: object, sort: str
    ) -> None:
        cursor = base64.urlsafe_b64encode(json.dumps(content).encode()).decode()
        find(database, sort=sort, after=cursor)

    @pytest.mark.parametrize("cursor", ["x", "🙂", "bm90IGpzb24", "W10", "WzEsMl0", "WyJ4IiwgM10"])
    def test_what_is_no_cursor_begins_anew(self, database: Database, cursor: str) -> None:
        assert find(database, after=cursor) == find(database)

    @staticmethod
    def listed(database: Database, sort: str) -> list[ListedJob]:
        with database.read() as session:
            return list_jobs(session, JobSearch(), sort=sort).jobs


class TestCost:
    @pytest.fixture
    def statements(self, database: Database) -> Iterator[list[str]]:
        """The statements that are sent from here on."""
        sent: list[str] = []

        def note(*arguments: Any) -> None:
            sent.append(arguments[2])

        event.listen(database.engine, "before_cursor_execute", note)
        yield sent
        event.remove(database.engine, "before_cursor_execute", note)

    @pytest.mark.parametrize("sort", ORDERS)
    @pytest.mark.parametrize("query", ["", "state:failing tag:x word", "state:running"])
    def test_a_page_takes_three_queries_at_most(
        self, database: Database, statements: list[str], sort: str, query: str
    ) -> None:
        add(database, *(job(f"job-{number}") for number in range(60)))
        statements.clear()
        find(database, query, sort=sort)
        selects = [one for one in statements if one.lstrip().upper().startswith("SELECT")]
        assert 1 < len(selects) <= 3
        assert not any(" offset " in one.lower().replace("offset ?", "") for one in selects)

    def test_counting_stops_somewhere(self, database: Database) -> None:
        add(database, *(job(f"job-{number}") for number in range(COUNTED + 5)))
        with database.read() as session:
            assert list_jobs(session, JobSearch()).total == COUNTED + 1
            assert list_jobs(session, JobSearch.parse("job-100")).total == 6

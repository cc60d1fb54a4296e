from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from dashboard.history import run_list
from dashboard.history.run_list import RunFilter, RunPage, list_runs
from dashboard.storage.db import Database
from dashboard.storage.models import Base, JobHealth, Origin, Run, RunState
from tests.rows import EPOCH, make_run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from sqlalchemy.orm import Session

FAILED, MISSED, SUCCEEDED = RunState.FAILED, RunState.MISSED, RunState.SUCCEEDED


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    with database.read() as session:
        yield session


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up after ten runs instead of ten thousand."""
    monkeypatch.setattr(run_list, "LOOK_THROUGH", 10)


def ids(page: RunPage) -> list[int]:
    return [listed.id for listed in page.runs]


def walk(session: Session, wanted: RunFilter, limit: int) -> list[int]:
    """Follow the older pages to the end."""
    met: list[int] = []
    page = list_runs(session, wanted, limit=limit)
    met += ids(page)
    while page.older is not None:
        page = list_runs(session, wanted, before=page.older, limit=limit)
        met += ids(page)
    return met


def walk_back(session: Session, wanted: RunFilter, start: int, limit: int) -> list[int]:
    """Follow the newer pages to the end."""
    met: list[int] = []
    after: int | None = start
    while after is not None:
        page = list_runs(session, wanted, after=after, limit=limit)
        met = ids(page) + met
        after = page.newer
    return met


class TestPaging:
    def test_newest_come_first_and_older_pages_continue(self, session: Session) -> None:
        session.add_all(make_run(number) for number in range(1, 8))
        first = list_runs(session, RunFilter(), limit=3)
        assert (ids(first), first.newer, first.older) == ([7, 6, 5], None, 5)
        second = list_runs(session, RunFilter(), before=first.older, limit=3)
        assert (ids(second), second.newer, second.older) == ([4, 3, 2], 4, 2)
        last = list_runs(session, RunFilter(), before=second.older, limit=3)
        assert (ids(last), last.newer, last.older) == ([1], 1, None)

    def test_newer_pages_lead_back(self, session: Session) -> None:
        session.add_all(make_run(number) for number in range(1, 8))
        page = list_runs(session, RunFilter(), after=1, limit=3)
        assert (ids(page), page.newer, page.older) == ([4, 3, 2], 4, 2)
        page = list_runs(session, RunFilter(), after=4, limit=3)
        assert (ids(page), page.newer, page.older) == ([7, 6, 5], None, 5)

    def test_a_full_last_page_has_no_next(self, session: Session) -> None:
        session.add_all(make_run(number) for number in range(1, 4))
        page = list_runs(session, RunFilter(), limit=3)
        assert (ids(page), page.older) == ([3, 2, 1], None)

    def test_pages_beyond_the_ends_lead_back(self, session: Session) -> None:
        session.add_all(make_run(number) for number in range(1, 4))
        below = list_runs(session, RunFilter(), before=1)
        assert (ids(below), below.newer, below.older) == ([], 0, None)
        above = list_runs(session, RunFilter(), after=3)
        assert (ids(above), above.newer, above.older) == ([], None, 4)

    def test_an_empty_history_is_an_empty_page(self, session: Session) -> None:
        wanted = RunFilter(since=EPOCH, until=EPOCH, states=frozenset({FAILED}), text="x")
        assert list_runs(session, wanted) == RunPage([], older=None, newer=None, cut_short=False)


class TestFilters:
    @pytest.fixture(autouse=True)
    def _runs(self, session: Session) -> None:
        session.add_all(
            [
                make_run(1),
                make_run(2, "hourly", state=FAILED, fingerprint="f1", error_message="No Route"),
                make_run(3, "hourly", state=MISSED, reason="61 s late"),
                make_run(4, task="mail.send", origin=Origin.MANUAL),
                make_run(5, state=FAILED, fingerprint="f2", error_message="50% done"),
                make_run(6, "hourly", executor="processes", origin=Origin.RETRY),
            ]
        )

    @pytest.mark.parametrize(
        ("wanted", "expected"),
        [
            (RunFilter(states=frozenset({FAILED})), [5, 2]),
            (RunFilter(states=frozenset({FAILED, MISSED})), [5, 3, 2]),
            (RunFilter(states=frozenset(RunState)), [6, 5, 4, 3, 2, 1]),
            (RunFilter(job_id="hourly"), [6, 3, 2]),
            (RunFilter(job_id="hourly", states=frozenset({FAILED, MISSED})), [3, 2]),
            (RunFilter(job_id="Hourly"), []),
            (RunFilter(task="mail.send"), [4]),
            (RunFilter(origin=Origin.RETRY), [6]),
            (RunFilter(executor="processes"), [6]),
            (RunFilter(fingerprint="f1"), [2]),
            (RunFilter(fingerprint="f1", states=frozenset({SUCCEEDED})), []),
            (RunFilter(fingerprint="f1", job_id="hourly", states=frozenset({FAILED})), [2]),
            (RunFilter(text="no route"), [2]),
            (RunFilter(text="61 S"), [3]),
            (RunFilter(text="HOURLY"), [6, 3, 2]),
            (RunFilter(text="0%"), [5]),
            (RunFilter(text="_"), []),
            (RunFilter(since=EPOCH + timedelta(seconds=5)), [6, 5]),
            (RunFilter(until=EPOCH + timedelta(seconds=2)), [1]),
            (RunFilter(since=EPOCH + timedelta(days=9)), []),
            (RunFilter(until=EPOCH - timedelta(days=9)), []),
            (
                RunFilter(
                    since=EPOCH + timedelta(seconds=2),
                    until=EPOCH + timedelta(seconds=5),
                    job_id="hourly",
                ),
                [3, 2],
            ),
        ],
    )
    def test_a_filter_finds_exactly_its_runs(
        self, session: Session, wanted: RunFilter, expected: list[int]
    ) -> None:
        assert walk(session, wanted, limit=50) == expected
        assert walk(session, wanted, limit=1) == expected
        assert walk_back(session, wanted, 0, limit=1) == expected

    def test_clocks_that_differ_lose_no_run(self, session: Session) -> None:
        session.add(make_run(7, queued_at=EPOCH + timedelta(seconds=40)))
        session.add(make_run(8, queued_at=EPOCH + timedelta(seconds=10)))
        page = list_runs(session, RunFilter(since=EPOCH + timedelta(seconds=30)))
        assert ids(page) == [7]


@pytest.mark.usefixtures("small_steps")
class TestGivingUp:
    def test_a_rare_run_is_found_by_looking_further(self, session: Session) -> None:
        session.add_all(
            make_run(number, origin=Origin.MANUAL if number == 3 else Origin.SCHEDULE)
            for number in range(1, 36)
        )
        wanted = RunFilter(origin=Origin.MANUAL)
        page = list_runs(session, wanted)
        assert (ids(page), page.older, page.cut_short) == ([], 26, True)
        assert walk(session, wanted, limit=50) == [3]
        assert walk_back(session, wanted, 0, limit=50) == [3]

    def test_a_full_page_is_not_cut_short(self, session: Session) -> None:
        session.add_all(make_run(number) for number in range(1, 30))
        page = list_runs(session, RunFilter(task="reports.daily"), limit=5)
        assert (ids(page), page.older, page.cut_short) == ([29, 28, 27, 26, 25], 25, False)

    def test_of_two_indexes_the_one_with_fewer_runs_is_walked(self, session: Session) -> None:
        session.add_all(
            make_run(number, state=FAILED if number < 3 else SUCCEEDED) for number in range(1, 60)
        )
        page = list_runs(session, RunFilter(job_id="nightly", states=frozenset({FAILED})))
        assert (ids(page), page.older, page.cut_short) == ([2, 1], None, False)

    @given(data=st.data())
    @settings(max_examples=60)
    def test_walking_either_way_meets_every_match_once(
        self, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        database = Database(f"sqlite:///{tmp_path_factory.mktemp('runs')}/runs.sqlite")
        Base.metadata.create_all(database.engine)
        numbers = data.draw(st.sets(st.integers(1, 90), max_size=45))
        states = st.sampled_from([SUCCEEDED, FAILED, MISSED])
        runs = [
            make_run(
                number,
                data.draw(st.sampled_from(["a", "b"])),
                state=data.draw(states),
                origin=data.draw(st.sampled_from([Origin.SCHEDULE, Origin.MANUAL])),
            )
            for number in sorted(numbers)
        ]
        wanted = RunFilter(
            states=frozenset(data.draw(st.sets(states))),
            job_id=data.draw(st.sampled_from([None, "a", "b"])),
            origin=data.draw(st.sampled_from([None, Origin.SCHEDULE, Origin.MANUAL])),
            since=data.draw(st.sampled_from([None, EPOCH + timedelta(seconds=20)])),
            until=data.draw(st.sampled_from([None, EPOCH + timedelta(seconds=70)])),
        )
        expected = [run.id for run in reversed(runs) if matches(run, wanted)]
        limit = data.draw(st.integers(1, 12))
        with database.read() as session:
            session.add_all(runs)
            session.flush()
            assert walk(session, wanted, limit) == expected
            assert walk_back(session, wanted, 0, limit) == expected
        database.close()


def matches(run: Run, wanted: RunFilter) -> bool:
    return (
        (not wanted.states or run.state in wanted.states)
        and wanted.job_id in {None, run.job_id}
        and wanted.origin in {None, run.origin}
        and (wanted.since is None or run.queued_at >= wanted.since)
        and (wanted.until is None or run.queued_at < wanted.until)
    )


def test_a_listed_run_knows_what_is_usual_for_its_job(session: Session) -> None:
    session.add_all([make_run(1), make_run(2, "removed")])
    health = JobHealth(job_id="nightly", consecutive_failures=0, recent=[], usual_duration=1.5)
    session.add(health)
    session.flush()
    page = list_runs(session, RunFilter())
    assert [listed.usual_duration for listed in page.runs] == [None, 1.5]


def test_large_columns_stay_in_the_database(session: Session) -> None:
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    event.listen(session.connection(), "before_cursor_execute", note)
    list_runs(session, RunFilter())
    assert "run.error_message" in statements[-1]
    for column in ("traceback", "parameters", "result"):
        assert column not in statements[-1]


@pytest.mark.parametrize(
    "wanted",
    [
        RunFilter(),
        RunFilter(states=frozenset(RunState), job_id="a", fingerprint="f", text="x"),
        RunFilter(since=EPOCH, until=EPOCH, origin=Origin.MANUAL, states=frozenset({FAILED})),
    ],
)
def test_no_page_takes_more_than_three_queries(session: Session, wanted: RunFilter) -> None:
    session.add_all(make_run(number) for number in range(1, 60))
    session.flush()
    statements: list[str] = []
    connection = session.connection()

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    event.listen(connection, "before_cursor_execute", note)
    list_runs(session, wanted, before=40)
    assert 1 <= len(statements) <= 3


@pytest.mark.parametrize(
    "wanted",
    [
        RunFilter(),
        RunFilter(states=frozenset({FAILED, MISSED})),
        RunFilter(job_id="a"),
        RunFilter(fingerprint="f"),
        RunFilter(job_id="a", states=frozenset({FAILED}), fingerprint="f"),
        RunFilter(job_id="a", states=frozenset({FAILED}), text="x"),
        RunFilter(since=EPOCH, until=EPOCH + timedelta(seconds=30), states=frozenset({FAILED})),
    ],
)
def test_sqlite_looks_every_filter_up_in_an_index(tmp_path: Path, wanted: RunFilter) -> None:
    database = Database(f"sqlite:///{tmp_path}/runs.sqlite")
    Base.metadata.create_all(database.engine)
    statements: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    with database.read() as session:
        session.add_all(make_run(number) for number in range(1, 60))
        session.flush()
        connection = session.connection()
        event.listen(connection, "before_cursor_execute", note)
        list_runs(session, wanted, before=40)
        asked = [entry for entry in statements if entry[0].startswith(("SELECT", "WITH"))]
        plans = [
            step.detail
            for statement, parameters in asked
            for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]
    database.close()
    assert plans
    assert [plan for plan in plans if plan.startswith("SCAN run")] == []

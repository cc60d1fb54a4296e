from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, select, update

from dashboard.errors import Conflict, Invalid, NotAllowed, NotFound
from dashboard.services import audit, bulk, jobs
from dashboard.services.bulk import BATCH, BulkAction
from dashboard.storage.models import Audit, Bulk, Job, Role, Run
from tests.factories import ADMIN, OPERATOR, VIEWER
from tests.rows import make_job

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dashboard.services.audit import Actor
    from dashboard.settings import Settings
    from dashboard.storage.db import Database

ADMIN_TOO = replace(ADMIN, name="another")
PAUSED = {"paused_at": datetime(2026, 1, 1, tzinfo=UTC), "next_run_time": None}


def count() -> None:
    """Count."""


class Office:
    """The services on one database, each call in a transaction as an edge makes it."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.settings = settings

    def add(self, *ids: str, **values: Any) -> None:
        soon = datetime.now(UTC) + timedelta(hours=1)
        values = {"task": "test.count", "next_run_time": soon} | values
        with self.database.write() as session:
            session.add_all(make_job(each, **values) for each in ids)

    def prepare(self, action: str, *ids: str, actor: Actor = ADMIN, **more: Any) -> Bulk:
        with audit.transaction(self.database) as session:
            return bulk.prepare(session, BulkAction(action), ids=ids, actor=actor, **more)

    def start(self, planned: Bulk, actor: Actor = ADMIN, **more: Any) -> None:
        with audit.transaction(self.database) as session:
            bulk.start(session, planned.id, actor=actor, **more)

    def go_on(self, planned: Bulk, actor: Actor = ADMIN) -> bool:
        with audit.transaction(self.database) as session:
            return bulk.go_on(session, planned.id, actor=actor, settings=self.settings)

    def undo(self, removal: Bulk, actor: Actor = ADMIN) -> Bulk:
        with audit.transaction(self.database) as session:
            return bulk.undo(session, removal.id, actor=actor)

    def do(self, planned: Bulk, actor: Actor = ADMIN, **more: Any) -> Bulk:
        self.start(planned, actor, **more)
        while self.go_on(planned, actor):
            pass
        with self.database.read() as session:
            return session.get_one(Bulk, planned.id)

    def jobs(self) -> dict[str, Job]:
        with self.database.read() as session:
            return {job.id: job for job in session.scalars(select(Job).order_by(Job.id))}

    def log(self, action: str) -> list[tuple[str, str]]:
        wanted = select(Audit.target, Audit.outcome).where(Audit.action == action)
        with self.database.read() as session:
            return sorted((target, outcome) for target, outcome in session.execute(wanted))


@pytest.fixture
def office(database: Database, settings: Settings, register: Callable[..., None]) -> Office:
    register(count, "test.count")
    return Office(database, settings)


def left_out(planned: Bulk) -> dict[str, list[str]]:
    return {each.why: each.names for each in bulk.left_out(planned)}


def test_what_is_picked_is_done_and_each_job_is_noted(office: Office) -> None:
    office.add("a", "b", "c")
    planned = office.prepare("pause", "a", "c")
    assert (planned.targets, left_out(planned)) == (["a", "c"], {})
    assert office.jobs()["a"].paused_at is None, "a preview changes nothing"
    done = office.do(planned, reason=" Month end ")
    found = office.jobs()
    assert [job.paused_reason for job in found.values()] == ["Month end", None, "Month end"]
    assert office.log("job.pause") == [("a", "done"), ("c", "done")]
    assert (done.position, done.refused) == (2, 0)


@pytest.mark.parametrize(
    ("action", "values", "why"),
    [
        ("pause", PAUSED, "Paused already."),
        ("resume", {}, "Not paused."),
        ("run", {"broken_reason": "no task"}, "Broken jobs cannot run."),
        ("untag", {}, "Has no tags."),
        ("tag", {"tags": [f"t{number}" for number in range(20)]}, "Has 20 tags, as many as are"),
    ],
)
def test_jobs_an_action_is_not_for_are_left_out_and_it_is_said_why(
    office: Office, action: str, values: dict[str, Any], why: str
) -> None:
    office.add("a", name="The one", **values)
    planned = office.prepare(action, "a", "gone")
    assert planned.targets == []
    found = left_out(planned)
    assert [names for said, names in found.items() if said.startswith(why)] == [["The one"]]
    assert found["There is no such job any more."] == ["gone"]


def test_all_that_match_a_search(office: Office) -> None:
    office.add("a", "b", tags=["billing"])
    office.add("c")
    office.add("d", tags=["billing"], **PAUSED)
    planned = office.prepare("pause", search="tag:billing")
    assert planned.targets == ["a", "b"]
    assert left_out(planned) == {"Paused already.": ["d"]}
    assert office.prepare("pause", search="").targets == ["a", "b", "c"]
    assert office.prepare("pause", search="state:overdue").targets == []


@pytest.mark.parametrize("search", ["state:pasued", "state:removed", "a state:x"])
def test_a_search_that_is_not_understood_matches_nothing(office: Office, search: str) -> None:
    office.add("a")
    with pytest.raises(Invalid):
        office.prepare("pause", search=search)
    assert office.log("bulk.pause") == [("", "refused")]


def test_something_has_to_be_chosen_and_not_too_much(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Invalid, match="at least one"):
        office.prepare("pause")
    with pytest.raises(Invalid, match="1,000"):
        office.prepare("pause", *(f"j{number}" for number in range(1001)))
    monkeypatch.setattr(bulk, "MOST", 2)
    office.add("a", "b", "c")
    with pytest.raises(Invalid, match="Narrow the search"):
        office.prepare("pause", search="")


@pytest.mark.parametrize("job_id", ["\x00", "\ud800", "x" * 5000, "🎉", "%", "<b>"])
def test_hostile_ids_are_jobs_that_do_not_exist(office: Office, job_id: str) -> None:
    office.add("a")
    planned = office.prepare("pause", "a", job_id)
    assert planned.targets == ["a"]
    assert [why.count for why in bulk.left_out(planned)] == [1]


@pytest.mark.parametrize(
    ("action", "actor", "allowed"),
    [
        ("run", OPERATOR, True),
        ("pause", OPERATOR, True),
        ("resume", OPERATOR, True),
        ("tag", OPERATOR, False),
        ("untag", OPERATOR, False),
        ("remove", OPERATOR, False),
        ("run", VIEWER, False),
    ],
)
def test_each_action_needs_its_role(
    office: Office, action: str, actor: Actor, allowed: bool
) -> None:
    office.add("a")
    if allowed:
        office.prepare(action, "a", actor=actor)
        return
    with pytest.raises(NotAllowed):
        office.prepare(action, "a", actor=actor)
    assert office.log(f"bulk.{action}") == [("", "refused")]


def test_only_who_looked_at_it_does_it(office: Office) -> None:
    office.add("a")
    planned = office.prepare("pause", "a")
    bob = audit.Actor("bob", Role.ADMIN)
    with pytest.raises(NotAllowed, match="ann chose"):
        office.start(planned, bob)
    with pytest.raises(Conflict, match="previewed"):
        office.go_on(planned, bob)
    assert office.jobs()["a"].paused_at is None


def test_an_old_preview_has_to_be_looked_at_again(office: Office) -> None:
    office.add("a")
    planned = office.prepare("pause", "a")
    with office.database.write() as session:
        session.execute(update(Bulk).values(created_at=datetime.now(UTC) - timedelta(hours=2)))
    with pytest.raises(Conflict, match="older than an hour"):
        office.start(planned)


def test_old_previews_are_forgotten(office: Office) -> None:
    office.add("a")
    office.prepare("pause", "a")
    with office.database.write() as session:
        session.execute(update(Bulk).values(created_at=datetime.now(UTC) - timedelta(days=31)))
    office.prepare("run", "a")
    with office.database.read() as session:
        assert list(session.scalars(select(Bulk.action))) == ["run"]
        with pytest.raises(NotFound, match="Choose the jobs again"):
            bulk.get(session, 2**70)


def test_what_changed_since_the_preview_is_said_and_the_rest_is_done(office: Office) -> None:
    office.add("a", "b", "c", "d")
    planned = office.prepare("pause", search="")
    office.add("e")
    with audit.transaction(office.database) as session:
        jobs.pause_job(session, "a", reason="mine", actor=OPERATOR)
        jobs.remove_job(session, "b", actor=ADMIN)
    done = office.do(planned)
    assert done.why_refused == [["a", "Paused already."], ["b", "It was removed meanwhile."]]
    assert (done.position, done.refused) == (4, 2)
    found = office.jobs()
    assert found["a"].paused_reason == "mine"
    assert found["e"].paused_at is None, "it was not in the preview"


def test_a_refusal_undoes_only_itself_and_is_noted(office: Office) -> None:
    office.add("a", "b", "c")
    with audit.transaction(office.database) as session:
        jobs.run_now(session, "b", actor=ADMIN)
    done = office.do(office.prepare("run", "a", "b", "c"))
    [[job_id, why]] = done.why_refused
    assert (job_id, "already running" in why) == ("b", True)
    with office.database.read() as session:
        assert sorted(session.scalars(select(Run.job_id))) == ["a", "b", "c"]
    assert office.log("job.run").count(("b", "refused")) == 1


def test_a_trigger_nobody_can_read_does_not_stop_the_others(office: Office) -> None:
    office.add("a", "c", **PAUSED)
    office.add("b", trigger={"type": "moon"}, **PAUSED)
    done = office.do(office.prepare("resume", "a", "b", "c"))
    assert [job_id for job_id, _why in done.why_refused] == ["b"]
    assert [job.paused_at is None for job in office.jobs().values()] == [True, False, True]


def test_tags_are_added_and_taken_away(office: Office) -> None:
    office.add("a", tags=["x"])
    office.add("b", tags=["new", "x"])
    done = office.do(office.prepare("tag", "a", "b"), tag=" new ")
    assert [job.tags for job in office.jobs().values()] == [["new", "x"], ["new", "x"]]
    assert done.why_refused == [["b", "Has the tag already."]]
    office.do(office.prepare("untag", "a", "b"), tag="x")
    assert [job.tags for job in office.jobs().values()] == [["new"], ["new"]]


@pytest.mark.parametrize("tag", [None, "", "  ", "two words", "a:b", "x" * 51, "\x00", "a,b"])
def test_a_tag_that_is_none_is_refused_before_anything_is_done(
    office: Office, tag: str | None
) -> None:
    office.add("a")
    planned = office.prepare("tag", "a")
    with pytest.raises(Invalid) as refused:
        office.start(planned, tag=tag)
    assert refused.value.errors[0].field == "tag"
    assert office.do(planned, tag="fine").refused == 0


class TestUndo:
    def removed(self, office: Office, *ids: str) -> Bulk:
        office.add(*ids, "stays")
        done = office.do(office.prepare("remove", *ids))
        assert list(office.jobs()) == ["stays"]
        assert office.log("job.remove") == [(each, "done") for each in ids]
        return done

    def test_a_whole_removal_is_undone_at_once(self, office: Office) -> None:
        ids = [f"j{number:03}" for number in range(BATCH + 2)]
        undoing = office.undo(self.removed(office, *ids))
        assert undoing.targets == ids
        while office.go_on(undoing):
            pass
        assert list(office.jobs()) == [*ids, "stays"]
        assert office.log("job.restore") == [(each, "done") for each in ids]

    def test_what_somebody_else_removed_or_brought_back_is_left_alone(self, office: Office) -> None:
        office.add("a", "b", "c", "stays")
        planned = office.prepare("remove", "a", "b", "c")
        with audit.transaction(office.database) as session:
            jobs.remove_job(session, "a", actor=ADMIN_TOO)
        done = office.do(planned)
        assert (done.refused, done.why_refused) == (1, [["a", "It was removed meanwhile."]])
        office.do(office.prepare("restore", "b"))
        undoing = office.undo(done)
        assert undoing.targets == ["c"]
        office.go_on(undoing)
        assert list(office.jobs()) == ["b", "c", "stays"]

    def test_an_id_that_is_taken_meanwhile_is_said(self, office: Office) -> None:
        undoing = office.undo(self.removed(office, "a", "b"))
        office.add("a", name="Another")
        assert not office.go_on(undoing)
        with office.database.read() as session:
            done = session.get_one(Bulk, undoing.id)
        assert (done.position, done.refused) == (2, 1)
        assert "There is a job with the id “a” again" in done.why_refused[0][1]
        assert office.jobs()["a"].name == "Another"

    def test_it_is_done_once(self, office: Office) -> None:
        removal = self.removed(office, "a")
        office.go_on(office.undo(removal))
        with pytest.raises(Conflict, match="None of these jobs"):
            office.undo(removal)

    def test_nothing_but_a_removal_can_be_undone(self, office: Office) -> None:
        office.add("a")
        paused = office.do(office.prepare("pause", "a"))
        with pytest.raises(Conflict, match="Only a removal"):
            office.undo(paused)
        with pytest.raises(Conflict, match="Only a removal"):
            office.undo(office.prepare("remove", "a"))

    def test_only_an_admin_may(self, office: Office) -> None:
        removal = self.removed(office, "a")
        with pytest.raises(NotAllowed):
            office.undo(removal, actor=OPERATOR)
        assert office.log("bulk.undo") == [(str(removal.id), "refused")]

    def test_removed_jobs_are_chosen_by_hand_or_by_search(self, office: Office) -> None:
        self.removed(office, "a", "b", "other")
        planned = office.prepare("restore", "a", "stays", "never")
        assert planned.targets == ["a"]
        assert left_out(planned) == {
            "It is not among the removed jobs any more.": ["never", "stays"]
        }
        office.do(office.prepare("restore", search="state:removed task:count other"))
        assert list(office.jobs()) == ["other", "stays"]

    @pytest.mark.parametrize(
        ("action", "search"), [("restore", "a"), ("restore", ""), ("pause", "state:removed")]
    )
    def test_there_is_no_mixing(self, office: Office, action: str, search: str) -> None:
        self.removed(office, "a")
        with pytest.raises(Invalid, match="Removed jobs, and no others"):
            office.prepare(action, search=search)


def test_many_are_paused_until_a_moment(office: Office) -> None:
    office.add("a", "b")
    planned = office.prepare("pause", "a", "b")
    with pytest.raises(Invalid, match="past"):
        office.start(planned, until=datetime(2026, 1, 1, tzinfo=UTC))
    until = datetime.now(UTC) + timedelta(hours=4)
    office.do(planned, until=until)
    assert [job.resume_at for job in office.jobs().values()] == [until, until]


def test_it_goes_on_where_it_stopped_and_does_nothing_twice(office: Office) -> None:
    ids = [f"j{number:03}" for number in range(BATCH * 2 + 3)]
    office.add(*ids)
    planned = office.prepare("pause", *ids)
    office.start(planned)
    assert office.go_on(planned)
    assert sum(job.paused_at is not None for job in office.jobs().values()) == BATCH
    done = office.do(planned, reason="said too late")
    assert (done.position, done.refused, done.reason) == (len(ids), 0, None)
    assert len(office.log("job.pause")) == len(ids)
    assert not office.go_on(planned), "there is nothing left"


def test_a_crash_in_a_batch_loses_none_of_it(office: Office) -> None:
    office.add("a", "b")
    planned = office.prepare("pause", "a", "b")
    office.start(planned)
    with office.database.read() as session:  # what is not committed is as good as crashed
        bulk.go_on(session, planned.id, actor=ADMIN, settings=office.settings)
    assert all(job.paused_at is None for job in office.jobs().values())
    assert office.do(planned).refused == 0
    assert all(job.paused_at is not None for job in office.jobs().values())


def test_the_preview_of_many_jobs_takes_few_statements(office: Office) -> None:
    office.add(*(f"j{number:04}" for number in range(2000)))
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Sequence[Any]) -> None:
        if not statement.startswith(
            "SET "
        ):  # what every write transaction of PostgreSQL begins with
            statements.append(statement)

    event.listen(office.database.engine, "before_cursor_execute", note)
    planned = office.prepare("pause", search="")
    event.remove(office.database.engine, "before_cursor_execute", note)
    assert len(planned.targets) == 2000
    assert len(statements) <= 6

"""Export and import: what goes out comes in again, all of it or none."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dashboard import tasks
from dashboard.documents import UnusableFile, to_yaml
from dashboard.errors import Conflict, JobNotFound, NotAllowed
from dashboard.history.jobsearch import JobSearch
from dashboard.services import audit, jobs
from dashboard.services.imports import Action, Plan, StalePlan, carry_out, plan_import
from dashboard.services.jobfiles import FORMAT, jobs_to_write, read_jobs, write_jobs
from dashboard.settings import load_settings
from dashboard.storage.models import HOST, Audit, Job
from tests.factories import ADMIN, HOURLY, OPERATOR, empty

if TYPE_CHECKING:
    from collections.abc import Callable

    from dashboard.services.audit import Actor
    from dashboard.settings import Settings
    from dashboard.storage.db import Database

LATER = datetime(2090, 3, 1, 8, tzinfo=UTC)
CRON = {"type": "cron", "crontab": "0 3 * * *"}


def count(number: int = 1, text: str = "") -> str:
    """Count."""
    return text * number


class Port:
    """Where jobs go out and come in."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database, self.settings = database, settings

    def add(self, job_id: str, **data: Any) -> None:
        data = {"id": job_id, "task": "test.count", "trigger": HOURLY} | data
        with audit.transaction(self.database) as session:
            jobs.create_job(session, data, actor=ADMIN, settings=self.settings)

    def pause(self, job_id: str, reason: str = "", until: datetime | None = None) -> None:
        with audit.transaction(self.database) as session:
            jobs.pause_job(session, job_id, reason=reason, until=until, actor=ADMIN)

    def remove(self, job_id: str) -> None:
        with audit.transaction(self.database) as session:
            jobs.remove_job(session, job_id, actor=ADMIN)

    def job(self, job_id: str) -> Job:
        with self.database.read() as session:
            return jobs.get_job(session, job_id)

    def ids(self) -> list[str]:
        return jobs_to_write(self.database)

    def export(self, kind: str = "yaml", search: str = "", ids: tuple[str, ...] = ()) -> str:
        wanted = jobs_to_write(self.database, search=JobSearch.parse(search), ids=ids)
        return "".join(write_jobs(self.database, kind, wanted))

    def plan(self, text: str) -> Plan:
        file = read_jobs(text.encode(errors="surrogatepass"))
        with self.database.read() as session:
            return plan_import(session, file, settings=self.settings)

    def bring_in(self, text: str, *, digest: str | None = None, actor: Actor = ADMIN) -> Plan:
        plan = self.plan(text)
        self.carry_out(plan, digest=digest, actor=actor)
        return plan

    def carry_out(self, plan: Plan, *, digest: str | None = None, actor: Actor = ADMIN) -> None:
        with audit.transaction(self.database) as session:
            carry_out(session, plan, actor=actor, settings=self.settings, digest=digest)

    def refused(self, text: str) -> list[str]:
        try:
            return [str(problem) for problem in self.plan(text).problems]
        except UnusableFile as error:
            return [str(problem) for problem in error.problems]


@pytest.fixture
def port(database: Database, settings: Settings, register: Callable[..., None]) -> Port:
    register(count, "test.count")
    return Port(database, settings)


def file_of(*entries: dict[str, Any]) -> str:
    written = [{"task": "test.count", "trigger": CRON} | entry for entry in entries]
    return to_yaml({"format": FORMAT, "version": 1, "jobs": written})


def actions(plan: Plan) -> dict[str, str]:
    return {step.id: step.action.value for step in plan.steps}


class TestExport:
    def test_a_file_holds_what_people_set_and_nothing_that_changes_by_itself(
        self, port: Port
    ) -> None:
        port.add("b", name="B", notes="one\ntwo\n", tags=["x"], parameters={"text": "no"})
        port.add("a", trigger=CRON, misfire_grace_time=None)
        port.pause("a", "for now")
        assert port.export() == (
            "---\n"
            "format: apscheduler-dashboard/jobs\n"
            "version: 1\n"
            "jobs:\n"
            "- id: a\n"
            "  name: test.count\n"
            "  task: test.count\n"
            "  trigger:\n"
            "    type: cron\n"
            "    timezone: UTC\n"
            "    crontab: 0 3 * * *\n"
            "  executor: threads\n"
            "  coalesce: true\n"
            "  max_instances: 1\n"
            "  misfire_grace_time: null\n"
            "  timeout: null\n"
            "  retries: 0\n"
            "  paused: true\n"
            "  paused_reason: for now\n"
            "- id: b\n"
            "  name: B\n"
            "  task: test.count\n"
            "  parameters:\n"
            "    text: 'no'\n"
            "  trigger:\n"
            "    type: interval\n"
            "    timezone: UTC\n"
            "    hours: 1\n"
            "  executor: threads\n"
            "  coalesce: true\n"
            "  max_instances: 1\n"
            "  misfire_grace_time: 60\n"
            "  timeout: null\n"
            "  retries: 0\n"
            "  tags:\n"
            "  - x\n"
            "  notes: |\n"
            "    one\n"
            "    two\n"
            "...\n"
        )  # fmt: skip

    def test_json_holds_the_same(self, port: Port) -> None:
        for job_id in ("b", "a"):
            port.add(job_id)
        text = port.export("json")
        assert [job["id"] for job in json.loads(text)["jobs"]] == ["a", "b"]
        assert (
            read_jobs(text.encode()).jobs[0].data == read_jobs(port.export().encode()).jobs[0].data
        )

    @pytest.mark.parametrize("kind", ["yaml", "json"])
    def test_no_jobs_are_a_file_too(self, port: Port, kind: str) -> None:
        assert read_jobs(port.export(kind).encode()).jobs == []

    def test_some_are_chosen_by_search_or_id(self, port: Port) -> None:
        for job_id in ("nightly-a", "nightly-b", "hourly"):
            port.add(job_id, tags=["t"] if job_id == "hourly" else [])
        assert port.export(search="nightly").count("- id:") == 2
        assert port.export(search="tag:t state:scheduled").count("- id: hourly") == 1
        assert port.export(ids=("hourly",)).count("- id:") == 1
        with pytest.raises(JobNotFound):
            port.export(ids=("hourly", "gone\0"))

    def test_many_jobs_are_written_in_pieces(self, port: Port, monkeypatch: Any) -> None:
        monkeypatch.setattr("dashboard.services.jobfiles._CHUNK", 2)
        for number in range(5):
            port.add(f"j{number}")
        for kind in ("yaml", "json"):
            found = read_jobs(port.export(kind).encode())
            assert [job.data["id"] for job in found.jobs] == ["j0", "j1", "j2", "j3", "j4"]

    def test_jobs_of_a_hosts_own_scheduler_stay_with_the_host(self, port: Port) -> None:
        port.add("own")
        port.add("hosts")
        with port.database.write() as session:
            session.get_one(Job, "hosts").executor = HOST
        assert port.export().count("- id:") == port.export().count("- id: own") == 1
        with pytest.raises(Conflict, match="belongs to the app's own scheduler"):
            port.export(ids=("hosts",))
        (problem,) = port.refused(file_of({"id": "hosts"}))
        assert "job “hosts”, id: Job “hosts” belongs to the app's own scheduler" in problem


class TestRoundTrip:
    @pytest.mark.parametrize("kind", ["yaml", "json"])
    def test_an_export_changes_nothing_where_it_came_from(self, port: Port, kind: str) -> None:
        port.add("a", parameters={"number": 3, "text": "1e5"}, notes=" odd \n\tnotes\x85")
        port.add("any", trigger={"type": "or", "triggers": [CRON, HOURLY], "jitter": 5})
        port.pause("any")
        plan = port.plan(port.export(kind))
        assert (actions(plan), plan.problems) == ({"a": "keep", "any": "keep"}, [])

    def test_it_makes_the_same_jobs_elsewhere(self, port: Port) -> None:
        port.add("a", parameters={"number": 3}, tags=["x"], notes="n", coalesce=False)
        port.add("b", trigger={"type": "calendarinterval", "months": 1, "hour": 4})
        port.pause("b", "why")
        before = port.export()
        empty(port.database)
        port.settings = load_settings(data=port.settings.data, timezone="Asia/Tokyo")
        assert actions(port.bring_in(before)) == {"a": "add", "b": "add"}
        assert port.export() == before
        assert port.job("b").paused_at is not None
        assert port.job("b").next_run_time is None
        assert actions(port.bring_in(before)) == {"a": "keep", "b": "keep"}
        assert port.job("a").version == 1

    def test_a_broken_job_is_left_as_it_is(self, port: Port, register: Callable[..., None]) -> None:
        register(count, "test.count")
        port.add("a")
        text = port.export()
        del tasks._registry["test.count"]
        assert actions(port.plan(text)) == {"a": "keep"}
        changed = text.replace("hours: 1", "hours: 2")
        assert "There is no task “test.count”" in port.refused(changed)[0]

    def test_a_finished_job_is_kept_where_it_is_and_left_out_elsewhere(self, port: Port) -> None:
        port.add("once", trigger={"type": "date", "run_date": "2999-01-01T00:00:00+00:00"})
        with port.database.write() as session:
            session.get_one(Job, "once").next_run_time = None
            session.get_one(Job, "once").trigger = {
                "type": "date",
                "run_date": "2020-01-01T00:00:00+00:00",
            }
        text = port.export()
        assert "finished: true" in text
        assert actions(port.plan(text)) == {"once": "keep"}
        assert actions(port.plan(text.replace("name: test.count", "name: New"))) == {
            "once": "change"
        }
        empty(port.database)
        plan = port.bring_in(text)
        assert (actions(plan), port.ids()) == ({"once": "leave out"}, [])


class TestPlan:
    def test_it_says_what_will_be_added_changed_and_kept(self, port: Port) -> None:
        port.add("same", trigger=CRON)
        port.add("other", parameters={"number": 1}, notes="old", tags=["x"])
        port.add("not-in-the-file")
        text = file_of(
            {"id": "fresh", "name": "New"},
            {"id": "same"},
            {"id": "other", "parameters": {"number": 2, "text": "t"}, "trigger": {**HOURLY}},
        )
        plan = port.plan(text)
        assert actions(plan) == {"fresh": "add", "same": "keep", "other": "change"}
        (step,) = plan.of(Action.CHANGE)
        assert [(each.field, each.before, each.after) for each in step.differences] == [
            ("parameters.number", 1, 2),
            ("parameters.text", None, "t"),
            ("tags", ["x"], []),
            ("notes", "old", ""),
        ]
        assert sorted(port.ids()) == ["not-in-the-file", "other", "same"]
        port.bring_in(text, digest=plan.digest)
        assert port.ids() == ["fresh", "not-in-the-file", "other", "same"]
        assert (port.job("other").notes, port.job("same").version) == ("", 1)

    def test_a_new_trigger_is_shown_as_it_stands_in_files(self, port: Port) -> None:
        port.add("a", trigger=HOURLY)
        (step,) = port.plan(file_of({"id": "a", "name": "test.count"})).steps
        (difference,) = step.differences
        assert difference.before == {"type": "interval", "timezone": "UTC", "hours": 1}
        assert difference.after == {"type": "cron", "timezone": "UTC", "crontab": "0 3 * * *"}

    def test_pausing_is_only_changed_where_the_file_says_so(self, port: Port) -> None:
        for job_id in ("silent", "resumed"):
            port.add(job_id, trigger=CRON)
            port.pause(job_id, "kept")
        port.add("paused", trigger=CRON)
        plan = port.bring_in(
            file_of(
                {"id": "silent"},
                {"id": "resumed", "paused": False},
                {"id": "paused", "paused": True, "paused_reason": "by file"},
            )
        )
        assert actions(plan) == {"silent": "keep", "resumed": "change", "paused": "change"}
        assert port.job("silent").paused_reason == "kept"
        assert port.job("resumed").paused_at is None
        assert port.job("resumed").next_run_time is not None
        assert port.job("paused").paused_reason == "by file"

    def test_a_pause_until_a_moment_comes_along(self, port: Port) -> None:
        port.add("a")
        port.pause("a", until=LATER)
        text = port.export()
        assert f"resume_at: '{LATER.isoformat()}'" in text
        assert actions(port.plan(text)) == {"a": "keep"}
        port.remove("a")
        port.bring_in(text)
        job = port.job("a")
        assert (job.paused_at is not None, job.resume_at) == (True, LATER)
        assert actions(port.plan(text)) == {"a": "keep"}

    def test_the_end_of_a_pause_is_moved(self, port: Port) -> None:
        port.add("a", trigger=CRON)
        port.pause("a", until=LATER)
        assert actions(port.plan(file_of({"id": "a", "paused": True}))) == {"a": "keep"}
        moved = LATER + timedelta(days=1)
        text = file_of({"id": "a", "paused": True, "resume_at": moved.isoformat()})
        plan = port.plan(text)
        assert [(each.field, each.after) for each in plan.steps[0].differences] == [
            ("resume_at", moved)
        ]
        port.bring_in(text, digest=plan.digest)
        assert port.job("a").resume_at == moved

    def test_a_pause_that_has_ended_meanwhile_is_none(self, port: Port) -> None:
        over = {"paused": True, "resume_at": "2026-01-01 08:00"}
        port.add("a", trigger=CRON)
        port.add("b", trigger=CRON)
        port.pause("b")
        plan = port.bring_in(file_of(*({"id": each} | over for each in "abc")))
        assert actions(plan) == {"a": "keep", "b": "keep", "c": "add"}
        assert [port.job(each).paused_at is not None for each in "abc"] == [False, True, False]

    def test_a_changed_job_stays_paused(self, port: Port) -> None:
        port.add("a")
        port.pause("a")
        port.bring_in(file_of({"id": "a"}))
        assert (port.job("a").trigger["type"], port.job("a").next_run_time) == ("cron", None)


class TestRefusals:
    def test_each_says_where_it_is(self, port: Port) -> None:
        text = (
            f"format: {FORMAT}\nversion: 1\njobs:\n"
            "- id: a\n  task: test.count\n  trigger:\n    type: cron\n    hour: 25\n"
            "- id: b\n  task: nothing\n  trigger: {type: interval, hours: 1}\n"
            "- id: c\n  task: test.count\n  parameters:\n    number: many\n"
            "  trigger: {type: interval, hours: 1}\n  colour: red\n"
        )
        found = port.refused(text)
        assert found[0].startswith("line 8, job “a”, trigger.hour: ")
        assert found[1].startswith("line 10, job “b”, task: There is no task “nothing”.")
        assert found[2].startswith("line 15, job “c”, parameters.number: ")
        assert found[3].startswith("line 17, job “c”, colour: There is no such field.")

    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            ({"paused": True, "resume_at": "soon"}, "“soon” is not understood"),
            ({"paused": True, "resume_at": 7}, "Use a date and time"),
            ({"paused": False, "resume_at": "2090-03-01"}, "goes with “paused: true”"),
            ({"resume_at": "2090-03-01 08:00"}, "goes with “paused: true”"),
        ],
    )
    def test_the_end_of_a_pause_is_checked(
        self, port: Port, entry: dict[str, Any], message: str
    ) -> None:
        [complaint] = port.refused(file_of({"id": "a"} | entry))
        assert "job “a”, resume_at" in complaint
        assert message in complaint

    def test_one_refusal_stops_everything(self, port: Port) -> None:
        text = file_of({"id": "good"}, {"id": "bad", "task": "nothing"})
        with pytest.raises(UnusableFile, match="There is no task"):
            port.bring_in(text)
        assert port.ids() == []
        with port.database.read() as session:
            (entry,) = session.query(Audit).all()
        assert (entry.action, entry.outcome) == ("job.import", "refused")

    def test_only_an_admin_may(self, port: Port) -> None:
        with pytest.raises(NotAllowed):
            port.bring_in(file_of({"id": "a"}), actor=OPERATOR)
        assert port.ids() == []

    def test_a_change_since_the_plan_is_noticed(self, port: Port) -> None:
        port.add("a", trigger=CRON)
        text = file_of({"id": "a", "notes": "new"}, {"id": "b"})
        shown = port.plan(text).digest
        port.pause("a")
        with pytest.raises(StalePlan):
            port.bring_in(text, digest=shown)
        assert port.ids() == ["a"]
        port.bring_in(text, digest=port.plan(text).digest)
        port.bring_in(text, digest=port.plan(text).digest)
        assert (port.job("a").notes, port.ids()) == ("new", ["a", "b"])

    def test_a_change_between_the_plan_and_doing_it_is_noticed(self, port: Port) -> None:
        port.add("a", trigger=CRON)
        changing = port.plan(file_of({"id": "a", "notes": "new"}, {"id": "b"}))
        keeping = port.plan(file_of({"id": "a"}))
        adding = port.plan(file_of({"id": "c"}))
        port.pause("a")
        port.add("c")
        for plan in (changing, keeping, adding):
            with pytest.raises(StalePlan):
                port.carry_out(plan)
        port.remove("a")
        with pytest.raises(StalePlan):
            port.carry_out(changing)
        assert port.ids() == ["c"]

    def test_an_unmentioned_failure_in_the_middle_leaves_nothing(
        self, port: Port, monkeypatch: Any
    ) -> None:
        def fail(*_arguments: Any, **_more: Any) -> None:
            raise RuntimeError("the machine is on fire")

        monkeypatch.setattr(jobs, "pause_job", fail)
        with pytest.raises(RuntimeError):
            port.bring_in(file_of({"id": "a"}, {"id": "b", "paused": True}))
        assert port.ids() == []

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("- a\n", "begins with “format"),
            ("format: other\nversion: 1\njobs: []\n", "line 1, format: "),
            (f"format: {FORMAT}\nversion: 2\njobs: []\n", "line 2, version: This dashboard reads"),
            (f"format: {FORMAT}\nversion: true\njobs: []\n", "version: "),
            (f"format: {FORMAT}\nversion: 1\n", "jobs: “jobs” is a list"),
            (f"format: {FORMAT}\nversion: 1\njobs: []\nmore: 1\n", "line 4, more: "),
            (f"format: {FORMAT}\nversion: 1\njobs:\n- 7\n", "line 4, jobs: A job has fields"),
            (f"format: {FORMAT}\nversion: 1\njobs:\n- task: t\n", "line 4, a job, id: A job in"),
            (f"format: {FORMAT}\nversion: 1\njobs:\n- id: [a]\n", "line 4, a job, id: A job in"),
            (
                f"format: {FORMAT}\nversion: 1\njobs:\n- id: a\n- id: a\n",
                "line 5, job “a”, id: The job on line 4 has this id too.",
            ),
            (f"format: {FORMAT}\nversion: 1\njobs:\n- id: a\n  paused: maybe\n", "line 5, job “a”"),
            (f"format: {FORMAT}\nversion: 1\njobs:\n- id: a\n  paused_reason: x\n", "line 5"),
            (f"format: {FORMAT}\nversion: 1\njobs:\n- id: a\n  trigger: 7\n", "Choose a trigger"),
            (f"format: {FORMAT}\nversion: 1\njobs:\n- id: a/b\n  task: t\n", "no slash"),
            (f"format: {FORMAT}\nversion: 1\njobs:\n- id: a\n  5: x\n", "no such field"),
        ],
    )  # fmt: skip
    def test_what_is_no_file_of_jobs(self, port: Port, text: str, complaint: str) -> None:
        assert any(complaint in found for found in port.refused(text)), port.refused(text)

    def test_a_file_that_may_be_cut_off_is_warned_about(self, port: Port) -> None:
        port.add("a")
        text = port.export()
        assert port.plan(text).warnings == []
        assert "was it cut off?" in port.plan(text.removesuffix("...\n")).warnings[0]
        assert port.plan(text.removeprefix("---\n").removesuffix("...\n")).warnings == []

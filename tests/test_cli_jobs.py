"""Commands about jobs, and those that look after a dashboard."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from flask import Flask
from flask.cli import ScriptInfo

from dashboard import Dashboard
from dashboard.cli import cli
from dashboard.cli.common import table
from dashboard.cli.host import dashboard as flask_dashboard
from dashboard.settings import load_settings
from dashboard.storage.models import Job, Run, RunState
from tests.factories import open_core

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

ADD = ("job", "add", "--task", "dashboard.backup", "--id", "b")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with a database."""
    made = tmp_path / "data"
    assert run(made, "db", "upgrade").exit_code == 0
    return made


def run(data: Path, *arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli, [*arguments, "--data", str(data)], input=stdin)


def told(data: Path, *arguments: str, stdin: str | None = None) -> Any:
    result = run(data, *arguments, "--json", stdin=stdin)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


class TestJobs:
    def test_one_is_added_from_options(self, data: Path) -> None:
        more = ("--every", "1h 30m", "--param", "keep=3", "--tag", "ops", "--notes", "n")
        job = told(data, *ADD, "--name", "Back up", *more)
        assert {name: job[name] for name in ("id", "name", "parameters", "tags", "notes")} == {
            "id": "b",
            "name": "Back up",
            "parameters": {"keep": 3},
            "tags": ["ops"],
            "notes": "n",
        }
        assert (job["trigger"]["hours"], job["trigger"]["minutes"]) == (1, 30)
        assert job["created_by"].endswith("(command line)")
        assert told(data, "job", "show", "b") == job
        assert told(data, "job", "list") == [job]

    def test_or_with_a_cron_line_or_a_moment(self, data: Path) -> None:
        cron = told(data, *ADD, "--cron", "0 3 * * mon", "--zone", "Europe/Berlin")
        assert cron["trigger"] == {
            "type": "cron",
            "crontab": "0 3 * * mon",
            "timezone": "Europe/Berlin",
        }
        once = told(data, "job", "add", "--task", "dashboard.prune", "--at", "2999-12-24T18:00")
        assert once["next_run_time"] == "2999-12-24T18:00:00Z"

    @pytest.mark.parametrize(
        "text",
        [
            '{"id": "b", "task": "dashboard.backup", "trigger": {"type": "interval", "hours": 2}}',
            "id: b\ntask: dashboard.backup\ntrigger: {type: interval, hours: 2}\n",
        ],
    )
    def test_or_from_what_the_api_takes(self, data: Path, text: str) -> None:
        assert told(data, "job", "add", "-", stdin=text)["id"] == "b"

    @pytest.mark.parametrize(
        ("arguments", "status", "complaint"),
        [
            ((), 2, "Give a file, or --task and one of"),
            (("--task", "dashboard.backup"), 2, "one of --every, --cron and --at"),
            (("--task", "dashboard.backup", "--every", "5m", "--at", "x"), 2, "one of --every"),
            (("x.json", "--task", "dashboard.backup"), 2, "not both"),
            (("missing.json",), 1, "missing.json cannot be read"),
            (("--task", "dashboard.backup", "--every", "5:00"), 2, "Must be a duration"),
            (("--task", "dashboard.backup", "--every", "0.5s"), 2, "Whole seconds"),
            (("--task", "dashboard.backup", "--cron", "0 25 * * *"), 1, "trigger.crontab: "),
            (("--task", "dashboard.backup", "--every", "5m", "--param", "x=1"), 2, "keep, name"),
            (("--task", "dashboard.backup", "--every", "5m", "--param", "keep=a"), 1, "keep: "),
            (("--task", "no.such", "--every", "5m"), 1, "There is no task “no.such”"),
        ],
    )
    def test_what_cannot_be_added(
        self, data: Path, arguments: tuple[str, ...], status: int, complaint: str
    ) -> None:
        result = run(data, "job", "add", *arguments)
        assert (result.exit_code, complaint in result.stderr) == (status, True), result.output

    def test_it_is_paused_resumed_run_and_removed(self, data: Path) -> None:
        told(data, *ADD, "--every", "1h")
        assert told(data, "job", "pause", "b", "--reason", "why")["paused_reason"] == "why"
        assert run(data, "job", "list", "--search", "state:paused").stdout.startswith("b\t")
        assert told(data, "job", "resume", "b")["state"] == "scheduled"
        started = told(data, "job", "run", "b", "--param", "keep=9")
        assert (started["state"], started["parameters"]) == ("queued", {"keep": 9})
        busy = run(data, "job", "run", "b")
        assert (busy.exit_code, "already running" in busy.stderr) == (1, True)
        assert told(data, "job", "remove", "b") == {"id": "b", "removed": True}
        for action in ("show", "pause", "resume", "run", "remove"):
            gone = run(data, "job", action, "b")
            assert (gone.exit_code, gone.stderr) == (1, "Error: There is no job “b”.\n")

    @pytest.mark.parametrize(("state", "status"), [("succeeded", 0), ("failed", 1)])
    def test_waiting_for_a_run_tells_how_it_ended(
        self, data: Path, monkeypatch: pytest.MonkeyPatch, state: str, status: int
    ) -> None:
        told(data, *ADD, "--every", "1h")

        def end(_seconds: float) -> None:
            with open_core(data=data) as core, core.database.write() as session:
                session.query(Run).one().state = RunState(state)

        monkeypatch.setattr("dashboard.cli.jobs.time.sleep", end)
        result = run(data, "job", "run", "b", "--wait")
        assert (result.exit_code, result.stdout) == (status, f"Run 1: {state}.\n")

    def test_a_terminal_gets_columns_and_nothing_that_steers_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "stdout", Terminal())
        shown = table(("ID", "NAME"), [("a", "x\x1b[2J"), ("long", "y")])
        assert shown == "ID    NAME\na     x [2J\nlong  y"

    def test_a_job_is_shown_in_words(self, data: Path) -> None:
        told(data, *ADD, "--every", "1h")
        shown = run(data, "job", "show", "b").stdout
        assert 'trigger               Every hour {"type": "interval"' in shown
        assert "paused" not in shown


class Terminal:
    def isatty(self) -> bool:
        return True


class TestDoctor:
    def test_a_dashboard_that_does_not_run_is_sound_but_said_so(self, data: Path) -> None:
        (data / "secret_key").touch(mode=0o600)
        found = verdicts(run(data, "doctor", "--json"))
        assert found.pop("scheduler") == "warning"
        assert set(found.values()) == {"good"}

    def test_one_that_is_not_there(self, tmp_path: Path) -> None:
        result = run(tmp_path / "none", "doctor", "--json")
        found = verdicts(result)
        assert (result.exit_code, found["data folder"], found["database"]) == (
            1, "problem", "problem",
        )  # fmt: skip
        assert not (tmp_path / "none").exists()

    def test_a_schema_of_another_version(self, data: Path) -> None:
        with sqlite3.connect(data / "dashboard.sqlite") as database:
            database.execute("DROP TABLE audit")
        database.close()
        assert verdicts(run(data, "doctor", "--json"))["schema"] == "problem"

    def test_a_database_that_is_none(self, data: Path) -> None:
        (data / "dashboard.sqlite").write_text("this is no database")
        for leftover in data.glob("dashboard.sqlite-*"):
            leftover.unlink()
        result = run(data, "doctor")
        assert (result.exit_code, "PROBLEM  database: sqlite:" in result.stdout) == (1, True)

    def test_a_server_that_is_away_and_its_password(self, data: Path) -> None:
        url = "postgresql://me:hidden@127.0.0.1:1/none"
        result = run(data, "doctor", "--database", url)
        assert (result.exit_code, "PROBLEM  database: " in result.stdout) == (1, True)
        assert "hidden" not in result.output

    def test_tasks_that_cannot_be_loaded(self, data: Path, tmp_path: Path) -> None:
        (tmp_path / "bad.py").write_text("import nothing_of_that_name")
        result = run(data, "doctor", "--tasks", str(tmp_path / "bad.py"))
        assert result.exit_code == 1
        assert "ModuleNotFoundError" in result.stdout

    def test_a_key_that_others_can_read_and_broken_jobs(self, data: Path) -> None:
        told(data, *ADD, "--every", "1h")
        with open_core(data=data) as core, core.database.write() as session:
            session.get_one(Job, "b").broken_reason = "gone"
        (data / "secret_key").touch()
        (data / "secret_key").chmod(0o644)
        result = run(data, "doctor")
        assert result.exit_code == 0
        assert f"chmod 600 {data / 'secret_key'}" in result.stdout
        assert "WARNING  jobs: Broken: b." in result.stdout

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_folder_that_cannot_be_written_to(self, data: Path) -> None:
        data.chmod(0o500)
        assert verdicts(run(data, "doctor", "--json"))["data folder"] == "problem"


def verdicts(result: Result) -> dict[str, str]:
    return {each["check"]: each["verdict"] for each in json.loads(result.stdout)["checks"]}


class TestBackup:
    def test_it_is_a_file_of_its_own(self, data: Path, tmp_path: Path) -> None:
        target = tmp_path / "copy.sqlite"
        for _ in range(2):  # the second replaces the first
            size = told(data, "backup", str(target))["bytes"]
            assert size == target.stat().st_size

    @pytest.mark.parametrize(
        ("arguments", "complaint"),
        [
            (("/no/such/folder/copy",), "/no/such/folder is no folder"),
            (("copy", "--database", "postgresql://me:hidden@host/db"), "pg_dump --format=custom"),
        ],
    )
    def test_what_cannot_be_backed_up(
        self, data: Path, arguments: tuple[str, ...], complaint: str
    ) -> None:
        result = run(data, "backup", *arguments)
        assert (result.exit_code, complaint in result.stderr) == (1, True)
        assert "hidden" not in result.output

    def test_the_database_is_not_its_own_backup(self, data: Path) -> None:
        result = run(data, "backup", str(data / "dashboard.sqlite"))
        assert (result.exit_code, "is the database itself" in result.stderr) == (1, True)


class TestHost:
    """`flask dashboard …` in somebody else's app."""

    def test_it_is_about_the_apps_own_dashboard_and_starts_no_scheduler(
        self, tmp_path: Path
    ) -> None:
        def make() -> Flask:
            app = Flask("host")
            app.secret_key = "a secret of the host"
            settings = load_settings(data=tmp_path / "host", timezone="Asia/Tokyo")
            Dashboard(app, settings=settings)
            return app

        info = ScriptInfo(create_app=make)
        add = ("job", "add", "--task", "dashboard.prune", "--cron", "0 3 * * *", "--json")
        result = CliRunner().invoke(flask_dashboard, add, obj=info)
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["timezone"] == "Asia/Tokyo"
        checked = CliRunner().invoke(flask_dashboard, ["doctor"], obj=info)
        assert "WARNING  scheduler: None is running; no job is started." in checked.stdout

    def test_an_app_without_one_says_so(self) -> None:
        result = Flask("host").test_cli_runner().invoke(flask_dashboard, ["job", "list"])
        assert (result.exit_code, "this app has no dashboard" in result.stderr) == (1, True)

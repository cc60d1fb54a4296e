"""The command line, as a program of its own."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def command(
    *arguments: str, data: Path, stdin: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `apscheduler-dashboard` with a data folder."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", "from dashboard.cli import main; main()", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
        env=os.environ | {"DASHBOARD_DATA": str(data)} | environment,
    )


def test_people_are_added_listed_and_disabled(tmp_path: Path) -> None:
    added = command(
        "user", "add", "ann", "--role", "operator", "--password-stdin",
        data=tmp_path, stdin="a long password\n",
    )  # fmt: skip
    assert added.returncode == 0, added.stderr
    again = command("user", "add", "ann", "--password-stdin", data=tmp_path, stdin="a long one\n")
    assert (again.returncode, again.stderr) == (1, "Error: There is a user “ann” already.\n")
    assert command("user", "disable", "ann", data=tmp_path).returncode == 0
    listed = command("user", "list", "--json", data=tmp_path)
    assert json.loads(listed.stdout) == [
        {"name": "ann", "role": "operator", "tags": [], "active": False}
    ]


def test_people_are_let_in_again_and_given_another_role(tmp_path: Path) -> None:
    for name in ("ann", "eve"):
        command("user", "add", name, "--role", "admin", "--password-stdin",
                data=tmp_path, stdin="a long password\n")  # fmt: skip
    assert command("user", "disable", "eve", data=tmp_path).returncode == 0
    last = command("user", "role", "ann", "viewer", data=tmp_path)
    assert last.returncode == 1
    assert "only admin" in last.stderr
    let_in = command("user", "enable", "eve", "--json", data=tmp_path)
    assert json.loads(let_in.stdout) == {"name": "eve", "active": True}
    changed = command("user", "role", "ann", "viewer", "--json", data=tmp_path)
    assert json.loads(changed.stdout) == {"name": "ann", "role": "viewer"}
    assert command("user", "role", "ann", "king", data=tmp_path).returncode == 2
    assert command("user", "add", "bob", "--password-stdin", data=tmp_path).returncode == 1


def test_a_password_never_shows(tmp_path: Path) -> None:
    short = command("user", "add", "bob", "--password-stdin", data=tmp_path, stdin="secret\n")
    assert short.returncode == 1
    assert "8 to 1,024 characters" in short.stderr
    assert "secret" not in short.stdout + short.stderr


def test_a_forgotten_password_is_set_anew(tmp_path: Path) -> None:
    nobody = command("user", "password", "eve", "--password-stdin", data=tmp_path, stdin="x" * 9)
    assert (nobody.returncode, nobody.stderr) == (1, "Error: There is no user “eve”.\n")
    command("user", "add", "eve", "--password-stdin", data=tmp_path, stdin="y" * 9)
    changed = command("user", "password", "eve", "--password-stdin", data=tmp_path, stdin="x" * 9)
    assert changed.returncode == 0


def test_tokens_are_made_listed_and_revoked(tmp_path: Path) -> None:
    made = command("token", "add", "--name", "ci", "--role", "operator", "--json", data=tmp_path)
    told = json.loads(made.stdout)
    assert (told["id"], told["name"], told["role"]) == (1, "ci", "operator")
    assert told["token"].startswith("apsd_")
    plain = command("token", "add", "--name=x", "--role=viewer", "--days=30", data=tmp_path)
    assert plain.stdout.startswith("apsd_")
    again = command("token", "add", "--name", "ci", "--role", "viewer", data=tmp_path)
    assert (again.returncode, "There is a token “ci”" in again.stderr) == (1, True)
    revoked = command("token", "revoke", "1", "--json", data=tmp_path)
    assert json.loads(revoked.stdout)["revoked_at"] is not None
    listed = command("token", "list", "--json", data=tmp_path)
    assert [token["name"] for token in json.loads(listed.stdout)] == ["x", "ci"]
    assert "apsd_" not in listed.stdout
    assert "x\tviewer\texpires" in command("token", "list", data=tmp_path).stdout
    nobody = command("token", "revoke", "7", data=tmp_path)
    assert (nobody.returncode, nobody.stderr) == (1, "Error: There is no token 7.\n")
    assert command("token", "add", "--name", "y", data=tmp_path).returncode == 2


def test_the_schema_is_checked_without_changing_it(tmp_path: Path) -> None:
    assert command("db", "upgrade", data=tmp_path).returncode == 0
    check = command("db", "check", "--json", data=tmp_path)
    assert (check.returncode, json.loads(check.stdout)) == (0, {"differences": []})


def test_prune_can_be_tried_dry(tmp_path: Path) -> None:
    dry = command("prune", "--dry-run", "--json", data=tmp_path)
    nothing = dict.fromkeys(("runs", "statistics", "jobs", "alerts", "audit"), 0)
    assert json.loads(dry.stdout) == nothing


FILE = """\
format: apscheduler-dashboard/jobs
version: 1
jobs:
- id: tidy
  task: dashboard.prune
  trigger: {type: cron, crontab: 0 3 * * *}
"""


def test_jobs_go_in_and_out_as_files(tmp_path: Path) -> None:
    file, data = tmp_path / "jobs.yaml", tmp_path / "data"
    file.write_text(FILE)
    dry = command("job", "import", str(file), "--dry-run", data=data)
    assert (dry.returncode, dry.stdout) == (0, "Would add: 1\n  tidy  (dashboard.prune)\n")
    done = command("job", "import", "-", "--json", data=data, stdin=FILE)
    assert json.loads(done.stdout)["jobs"][0]["action"] == "add"
    again = command("job", "import", str(file), data=data)
    assert again.stdout == "Added 0, changed 0, left 1 as they were.\n"
    out = tmp_path / "out.json"
    assert command("job", "export", str(out), data=data).returncode == 0
    assert [job["id"] for job in json.loads(out.read_text())["jobs"]] == ["tidy"]
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    shown = command("job", "export", "--search", "tidy", data=data)
    assert shown.stdout.startswith("---\nformat: apscheduler-dashboard/jobs\n")


def test_a_file_that_is_refused_changes_nothing(tmp_path: Path) -> None:
    file, data = tmp_path / "jobs.yaml", tmp_path / "data"
    file.write_text(FILE + "- id: other\n  task: nothing\n  trigger: {type: interval, hours: 1}\n")
    refused = command("job", "import", str(file), data=data)
    assert refused.returncode == 1
    assert "Error: line 8, job “other”, task: There is no task “nothing”" in refused.stderr
    assert "Nothing was imported." in refused.stderr
    listed = json.loads(command("job", "export", "--json", data=data).stdout)
    assert listed["jobs"] == []


def test_a_crontab_becomes_jobs(tmp_path: Path) -> None:
    file, data = tmp_path / "crontab", tmp_path / "data"
    file.write_text("# Tidy up.\n0 3 * * * /bin/tidy\n@reboot /bin/start\n")
    off = command("job", "import", str(file), data=data)
    assert (off.returncode, "DASHBOARD_COMMANDS=1" in off.stderr) == (1, True)
    on = {"DASHBOARD_COMMANDS": "1"}
    refused = command("job", "import", str(file), data=data, **on)
    assert (refused.returncode, "Error: line 3: “@reboot”" in refused.stderr) == (1, True)
    arguments = ("job", "import", str(file), "--leave-out", "--zone", "Asia/Tokyo")
    done = command(*arguments, data=data, **on)
    assert done.stdout == "Added 1, changed 0, left 0 as they were.\n"
    text = command("job", "export", data=data).stdout
    assert "crontab: 0 3 * * *" in text
    assert "timezone: Asia/Tokyo" in text


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (["job", "import", "x.yaml", "--zone", "UTC"], 2, "are for crontabs"),
        (["job", "import", "missing.yaml"], 1, "missing.yaml cannot be read: No such file"),
        (["job", "export", "jobs.txt"], 2, "A file ends with .yaml, .yml or .json"),
        (["job", "export", "--search", "state:odd"], 2, "“odd” is no state"),
        (["job", "export", "--id", "gone"], 1, "There is no job “gone”."),
        (["job", "export", "/missing/jobs.yaml"], 1, "No such file"),
    ],
)
def test_files_that_cannot_be(
    tmp_path: Path, arguments: list[str], status: int, complaint: str
) -> None:
    wrong = command(*arguments, data=tmp_path)
    assert (wrong.returncode, complaint in wrong.stderr) == (status, True), wrong.stderr
    assert "Traceback" not in wrong.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "complaint"),
    [
        (["run", "--port", "99999"], {}, "--port (DASHBOARD_PORT)"),
        (["run"], {"DASHBOARD_TIMEZONE": "Mars"}, "--timezone (DASHBOARD_TIMEZONE)"),
        (["run", "--nonsense"], {}, "No such option"),
        (["nonsense"], {}, "No such command"),
        (["run", "--database", "no url"], {}, "not a database URL"),
    ],
)
def test_wrong_usage_is_named(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], complaint: str
) -> None:
    wrong = command(*arguments, data=tmp_path, **environment)
    assert wrong.returncode in {1, 2}
    assert complaint in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    wrong = command("run", "--port", "0", data=tmp_path / "file")
    assert wrong.returncode == 1
    assert "cannot start" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    assert command("db", "upgrade", data=tmp_path).returncode == 0
    sqlite = sqlite3.connect(tmp_path / "dashboard.sqlite")
    with sqlite:
        sqlite.execute("UPDATE alembic_version SET version_num = '9999'")
    sqlite.close()
    refused = command("run", "--port", "0", data=tmp_path)
    assert refused.returncode == 1
    assert "9999" in refused.stderr

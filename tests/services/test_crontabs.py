"""Crontabs as jobs: what cron would do, or a reason with a line number."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest
from cronsim import CronSim
from hypothesis import assume, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from dashboard.documents import UnusableFile
from dashboard.errors import Invalid
from dashboard.samples import register_samples
from dashboard.scheduling import triggers
from dashboard.services import audit, jobs
from dashboard.services.crontabs import Reading, read_crontab
from dashboard.services.imports import carry_out, plan_import
from tests.factories import ADMIN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dashboard.services.jobfiles import JobFile
    from dashboard.settings import Settings
    from dashboard.storage.db import Database


@pytest.fixture(autouse=True, scope="module")
def _commands() -> Iterator[None]:
    register_samples(commands=True)
    yield
    register_samples()


def read(text: str, **options: Any) -> JobFile:
    return read_crontab(text.encode(), Reading(**{"timezone": "UTC", "account": "me"} | options))


def refused(text: str, **options: Any) -> list[str]:
    with pytest.raises(UnusableFile) as error:
        read(text, **options)
    return [str(problem) for problem in error.value.problems]


def test_a_line_becomes_a_job_that_a_shell_runs() -> None:
    (job,) = read(
        "# Back up.\n# Ask Ada.\n*/5 2-4 * * mon-fri\t/opt/backup --all >/dev/null\n"
    ).jobs
    assert job.data == {
        "id": "cron-opt-backup-all-dev-null",
        "name": "/opt/backup --all >/dev/null",
        "task": "command.run",
        "parameters": {"command": ["/bin/sh", "-c", "/opt/backup --all >/dev/null"]},
        "trigger": {"type": "cron", "crontab": "*/5 2-4 * * mon-fri", "timezone": "UTC"},
        "tags": ["crontab"],
        "notes": "Back up.\nAsk Ada.\n"
        "From a crontab: */5 2-4 * * mon-fri\t/opt/backup --all >/dev/null",
    }


def test_comments_belong_to_the_line_right_below() -> None:
    text = "# about the file\n\n# a\n0 1 * * * a\n0 2 * * * b\n# c\nX=1\n0 3 * * * c\n"
    notes = [job.data["notes"].split("\n")[0] for job in read(text).jobs]
    assert notes == ["a", "From a crontab: 0 2 * * * b", "From a crontab: 0 3 * * * c"]


def test_variables_count_for_the_lines_after_them() -> None:
    text = (
        "@hourly one\nSHELL = /bin/bash\nPATH=/a:/b\nEMPTY=\n'Q' = \" spaced \"\n@hourly two\n"
        "HOME=/srv\nPATH=/c\nRANDOM_DELAY=5\nCRON_TZ=Europe/Berlin\n@hourly three\n"
    )
    one, two, three = (job.data for job in read(text).jobs)
    assert one["parameters"] == {"command": ["/bin/sh", "-c", "one"]}
    assert two["parameters"] == {
        "command": ["/bin/bash", "-c", "two"],
        "environment": {"PATH": "/a:/b", "EMPTY": "", "Q": " spaced "},
    }
    assert three["parameters"]["environment"]["PATH"] == "/c"
    assert three["parameters"]["folder"] == "/srv"
    assert (three["trigger"]["timezone"], three["trigger"]["jitter"]) == ("Europe/Berlin", 300)
    assert two["trigger"]["timezone"] == "UTC"


@pytest.mark.parametrize(
    ("line", "command", "stdin"),
    [
        ("a", "a", None),
        ("date +\\%F", "date +%F", None),
        ("cat%one%two", "cat", "one\ntwo\n"),
        ("cat%", "cat", None),
        ("cat%a%", "cat", "a\n"),
        ("cat%50\\% done", "cat", "50% done\n"),
        ("echo \\\\%x", "echo \\\\", "x\n"),
        ("echo \\n", "echo \\n", None),
    ],
)
def test_percent_signs_begin_the_input(line: str, command: str, stdin: str | None) -> None:
    (job,) = read(f"0 0 * * * {line}\n").jobs
    assert job.data["parameters"]["command"][2] == command
    assert job.data["parameters"].get("stdin") == stdin


def test_ids_follow_the_command_and_not_the_time() -> None:
    ids = [job.data["id"] for job in read("0 1 * * * a b\n@daily a b\n0 1 * * * c\n").jobs]
    assert ids == ["cron-a-b", "cron-a-b-2", "cron-c"]
    assert [job.data["id"] for job in read("0 9 * * * a b\n").jobs] == ["cron-a-b"]


def test_a_systems_crontab_names_accounts() -> None:
    file = read("17 * * * *\tme\tcd / && run\n@daily me b\n", system=True)
    assert [job.data["parameters"]["command"][2] for job in file.jobs] == ["cd / && run", "b"]
    assert "run as the dashboard's account, which has to be “me”" in file.warnings[0]
    first, second = refused("0 0 * * * root a\n0 1 * * * /bin/b\n", system=True)
    assert first.startswith("line 1: This runs as “root”, but the dashboard runs programs as “me”.")
    assert second == "line 2: In a system's crontab an account stands between time and command."


def test_every_line_that_cannot_be_converted_is_named() -> None:
    text = (
        "@reboot a\n0 0 * * * fine\n61 * * * * b\n@often c\n0 0 30 2 * d\nwhat is this\n"
        "* * * * *\n- * * * * e\n~ * * * * f\n1 2 3 4 5% \nCRON_TZ=Mars\n0 0 * * * g\n"
        "RANDOM_DELAY=often\n"
    )
    found = refused(text)
    lines = [problem.split(":")[0] for problem in found]
    assert lines == [f"line {n}" for n in (1, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13)]
    assert "“@reboot” names no time" in found[0]
    assert "neither a comment, nor NAME=value" in found[4]
    assert found[5] == "line 7: There is no command after the time."


def test_they_can_be_left_out() -> None:
    file = read("@reboot a\n@daily b\n", leave_out=True)
    assert [job.data["id"] for job in file.jobs] == ["cron-b"]
    assert file.warnings[0].startswith("Left out: line 1: “@reboot” names no time")


def test_mail_is_not_taken_over_and_told_once() -> None:
    file = read('MAILTO=""\nMAILTO=a@example.com\n@daily a\nMAILTO=b@example.com\n')
    assert [warning[:24] for warning in file.warnings] == ["Line 2: mail is not sent"]


def test_it_is_refused_while_programs_are_off() -> None:
    register_samples()
    try:
        assert "Running programs is off" in refused("@daily a\n")[0]
    finally:
        register_samples(commands=True)


@pytest.mark.parametrize(
    "text", ["", "# only a comment\n", "\r\n\r\n", "A=1"], ids=["empty", "comment", "lines", "set"]
)
def test_a_crontab_without_lines_has_no_jobs(text: str) -> None:
    assert read(text).jobs == []


@pytest.mark.parametrize(
    "command", ["<script>", "\u202eabc", "a\x07b", "é" * 500, "'; DROP", "$(x)"]
)
def test_odd_commands_are_jobs_too(command: str, database: Database, settings: Settings) -> None:
    with audit.transaction(database) as session:
        plan = plan_import(session, read(f"@daily {command}"), settings=settings)
        carry_out(session, plan, actor=ADMIN, settings=settings)
        job = jobs.get_job(session, plan.steps[0].id)
    assert job.parameters["command"] == ["/bin/sh", "-c", command]


def test_a_second_import_changes_times_and_leaves_what_people_set(
    database: Database, settings: Settings
) -> None:
    def bring_in(text: str) -> list[str]:
        with audit.transaction(database) as session:
            plan = plan_import(session, read(text), settings=settings)
            carry_out(session, plan, actor=ADMIN, settings=settings)
        return [step.action.value for step in plan.steps]

    assert bring_in("@daily a\n@daily b\n") == ["add", "add"]
    with audit.transaction(database) as session:
        data = {"max_instances": 3}
        jobs.change_job(session, "cron-a", data, version=1, actor=ADMIN, settings=settings)
    assert bring_in("@daily a\n@daily b\n") == ["keep", "keep"]
    assert bring_in("@hourly a\n") == ["change"]
    with database.read() as session:
        job = jobs.get_job(session, "cron-a")
    assert (job.max_instances, job.trigger["crontab"]) == (3, "@hourly")


def _field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    span = st.lists(number, min_size=2, max_size=2, unique=True).map(sorted)
    part = (
        number.map(str)
        | span.map(lambda ends: f"{ends[0]}-{ends[1]}")
        | st.tuples(span, st.integers(1, 7)).map(
            lambda both: f"{both[0][0]}-{both[0][1]}/{both[1]}"
        )
    )
    listed = st.lists(part, min_size=1, max_size=3).map(",".join)
    return st.just("*") | st.integers(2, 9).map(lambda step: f"*/{step}") | listed


LINES = st.tuples(*(_field(*ends) for ends in ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6)))).map(
    " ".join
)


@examples(max_examples=150, deadline=None)
@given(LINES, st.integers(0, 3_000_000))
def test_a_job_runs_when_cron_would_run_the_line(when: str, minutes: int) -> None:
    start = datetime(2026, 11, 22, tzinfo=UTC) + timedelta(minutes=minutes)
    try:
        (job,) = read(f"{when} run\n").jobs
    except UnusableFile:
        assume(False)  # it never fires
    found, moment = [], start + timedelta(microseconds=1)
    trigger = triggers.load(job.data["trigger"])
    for expected in islice(CronSim(when, start), 3):
        fire = trigger.at_or_after(moment)
        assert fire == expected
        found.append(fire)
        moment = expected + timedelta(microseconds=1)


@examples(max_examples=200, deadline=None)
@given(
    st.text(max_size=200) | LINES.map(lambda line: f"{line} x") | st.text("*/ 0:@%\\=#\n\r\t-,~A")
)
def test_whatever_the_text_it_is_read_or_refused(text: str) -> None:
    try:
        content = text.encode()
        for system in (False, True):
            read_crontab(content, Reading("UTC", "me", system, leave_out=True))
    except (UnusableFile, UnicodeEncodeError, Invalid):
        pass

"""Running programs: real ones, ended with everything they have started."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from sqlalchemy import select, update

from dashboard.errors import NotAllowed
from dashboard.records import RunIdentity
from dashboard.runcontext import run_task
from dashboard.samples import command as module
from dashboard.samples import register_samples
from dashboard.services import audit, jobs, runs
from dashboard.settings import load_settings
from dashboard.storage.models import Run
from dashboard.tasks import TaskWithheld, all_tasks, get_task
from tests.factories import ADMIN, HOURLY, OPERATOR, PATIENCE, new_run, open_core, wait_until
from tests.sinks import MIDNIGHT, Sink, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dashboard.runcontext import Outcome
    from dashboard.settings import Settings

SHELL = ["/bin/sh", "-c"]


@pytest.fixture(autouse=True)
def _allowed() -> Iterator[None]:
    register_samples(commands=True)
    yield
    register_samples()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(data=tmp_path / "data", commands=True)


def execute(settings: Settings, sink: Sink, *command: str, **more: Any) -> Outcome:
    return run("command.run", {"command": list(command), **more}, settings=settings, sink=sink)


def test_its_output_is_the_log_and_its_exit_code_the_outcome(
    settings: Settings, sink: Sink
) -> None:
    outcome = execute(settings, sink, *SHELL, "echo out; echo err >&2; printf 'no end'")
    assert (outcome.state, outcome.result) == ("succeeded", '{"exit_code": 0}')
    assert (
        "INFO",
        "task",
        "$ /bin/sh -c 'echo out; echo err >&2; printf '\"'\"'no end'\"'\"''",
    ) in (sink.told())
    assert ("INFO", "stdout", "out") in sink.told()
    assert ("WARNING", "stderr", "err") in sink.told()
    assert ("INFO", "stdout", "no end") in sink.told()


def test_a_form_keeps_the_lines_of_its_input() -> None:
    kinds = {field.name: field.kind for field in get_task("command.run").parameters.fields}
    assert (kinds["command"], kinds["stdin"]) == ("list", "textarea")


def test_another_exit_code_fails_with_the_last_words(settings: Settings, sink: Sink) -> None:
    outcome = execute(settings, sink, *SHELL, "echo no space left >&2; exit 3")
    assert outcome.state == "failed"
    assert outcome.error_message == "It ended with exit code 3. It said: no space left"
    assert execute(settings, sink, *SHELL, "exit 3", expected_codes=[0, 3]).state == "succeeded"


def test_a_signal_is_named(settings: Settings, sink: Sink) -> None:
    outcome = execute(settings, sink, *SHELL, "kill -9 $$")
    assert outcome.error_message == "It was ended by SIGKILL."


def test_no_shell_reads_the_arguments(settings: Settings, sink: Sink) -> None:
    execute(settings, sink, "echo", "$HOME; `id` * 'quoted'")
    assert sink.texts()[-1] == "$HOME; `id` * 'quoted'"


def test_input_folder_and_environment(
    settings: Settings, sink: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASHBOARD_SECRET_KEY", "hidden")
    monkeypatch.setenv("INHERITED", "yes")
    script = "cat; pwd; echo $WORD $INHERITED $DASHBOARD_JOB_ID; env"
    given = {"stdin": "a\nb\n", "environment": {"WORD": "ü"}, "folder": str(tmp_path)}
    outcome = execute(settings, sink, *SHELL, script, **given)
    assert outcome.state == "succeeded"
    assert sink.texts()[1:5] == ["a", "b", str(tmp_path), "ü yes job"]
    assert "hidden" not in "\n".join(sink.texts())


@pytest.mark.parametrize(
    ("command", "more", "message"),
    [
        (["/no/such/program"], {}, "“/no/such/program” cannot be started: No such file"),
        (["/etc"], {}, "“/etc” cannot be started: Permission denied."),
        (["echo"], {"folder": "/no/such"}, "“/no/such” cannot be started: No such file"),
    ],
)
def test_what_cannot_be_started_says_why(
    settings: Settings, sink: Sink, command: list[str], more: dict[str, Any], message: str
) -> None:
    outcome = execute(settings, sink, *command, **more)
    assert (outcome.state, message in str(outcome.error_message)) == ("failed", True)


def test_output_comes_while_it_runs(settings: Settings, sink: Sink, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    script = f"echo first; while [ ! -e {gate} ]; do sleep 0.05; done; echo second"
    thread = threading.Thread(target=execute, args=(settings, sink, *SHELL, script))
    thread.start()
    wait_until(lambda: "first" in sink.texts())
    assert "second" not in sink.texts()
    gate.touch()
    thread.join()
    assert sink.texts()[-1] == "second"


def test_endless_output_is_bounded_and_broken_text_kept(settings: Settings, sink: Sink) -> None:
    script = "import sys; sys.stdout.buffer.write(b'\\xff\\xc3\\n' + b'y\\n' * 300_000)"
    outcome = execute(settings, sink, sys.executable, "-c", script)
    assert outcome.state == "succeeded"
    assert sink.texts()[1] == "\ufffd\ufffd"
    assert len(sink.texts()) == 10_000


def test_too_long_a_run_ends_with_everything_it_has_started(
    settings: Settings, sink: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = tmp_path / "pids"

    class Clock:
        """Its time passes at once when everything has begun."""

        def monotonic(self) -> float:
            return time.monotonic() + (100 if "begun" in sink.texts() else 0)

    monkeypatch.setattr(module, "time", Clock())
    script = f"sleep 1000 & echo $! > {pids}; echo $$ >> {pids}; echo begun; wait"
    outcome = execute(settings, sink, *SHELL, script, timeout_seconds=100)
    assert outcome.state == "failed"
    assert outcome.error_message == "It took longer than 100 s and was ended."
    for pid in pids.read_text().split():
        wait_until(lambda pid=pid: gone(int(pid)))  # type: ignore[misc]


def test_a_program_that_does_not_listen_is_killed(
    settings: Settings, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LAST_WORDS", 0.2)
    began = time.monotonic()
    script = "trap '' TERM; while true; do sleep 0.1; done"
    outcome = execute(settings, sink, *SHELL, script, timeout_seconds=0.3)
    assert (outcome.state, time.monotonic() - began < PATIENCE) == ("failed", True)


def test_a_cancelled_run_ends_its_program(settings: Settings, sink: Sink, tmp_path: Path) -> None:
    asked, pid = threading.Event(), tmp_path / "pid"
    found: list[Outcome] = []

    def work() -> None:
        parameters = {"command": [*SHELL, f"echo $$ > {pid}; exec sleep 1000"]}
        identity = RunIdentity(1, "job", MIDNIGHT)
        found.append(
            run_task("command.run", parameters, identity, sink, settings, cancellation=asked)
        )

    thread = threading.Thread(target=work)
    thread.start()
    wait_until(lambda: pid.exists() and pid.read_text().strip())
    asked.set()
    thread.join()
    assert found[0].state == "cancelled"
    wait_until(lambda: gone(int(pid.read_text())))


def test_what_it_leaves_in_the_background_does_not_hold_the_run(
    settings: Settings, sink: Sink, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    outcome = execute(settings, sink, *SHELL, f"sleep 1000 & echo $! > {pid}")
    os.kill(int(pid.read_text()), 9)
    assert outcome.state == "succeeded"
    assert "left something running" in sink.texts()[-1]


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class TestOff:
    def test_its_jobs_are_refused_and_broken_with_the_reason(self, tmp_path: Path) -> None:
        with open_core(data=tmp_path, commands=True) as core:
            job_id = core.add("command.run", parameters={"command": ["true"]})
        with open_core(data=tmp_path) as core:
            assert "command.run" not in [task.name for task in all_tasks()]
            with pytest.raises(TaskWithheld, match="DASHBOARD_COMMANDS=1"):
                get_task("command.run")
            core.start_by_hand()
            core.tick()
            assert "DASHBOARD_COMMANDS=1" in str(core.job(job_id).broken_reason)
        with open_core(data=tmp_path, commands=True) as core:
            core.start_by_hand()
            core.tick()
            assert core.job(job_id).broken_reason is None

    def test_the_task_itself_refuses_too(self, tmp_path: Path, sink: Sink) -> None:
        outcome = execute(load_settings(data=tmp_path), sink, "touch", str(tmp_path / "made"))
        assert (outcome.state, outcome.error_message) == ("failed", module.OFF)
        assert not (tmp_path / "made").exists()


def test_only_admins_choose_what_a_single_run_does(tmp_path: Path) -> None:
    with open_core(data=tmp_path, commands=True) as core:
        data = {"task": "command.run", "trigger": HOURLY, "parameters": {"command": ["true"]}}
        with audit.transaction(core.database) as session:
            jobs.create_job(session, data, actor=ADMIN, settings=core.settings)
        other = {"command": ["reboot"]}
        with pytest.raises(NotAllowed), audit.transaction(core.database) as session:
            jobs.run_now(session, "command-run", parameters=other, actor=OPERATOR)
        with audit.transaction(core.database) as session:
            assert jobs.run_now(session, "command-run", actor=OPERATOR).parameters == {
                "command": ["true"]
            }


def test_what_was_chosen_for_another_task_only_an_admin_gives_to_a_program(tmp_path: Path) -> None:
    with open_core(data=tmp_path, commands=True) as core:
        job_id = core.add("command.run", parameters={"command": ["true"]})
        with core.database.write() as session:
            chosen = {"command": ["false"]}
            session.add(new_run(job_id, 1, task="of.before", parameters=chosen))
        with core.database.read() as session:
            run_id = session.scalars(select(Run.id)).one()
        with pytest.raises(NotAllowed), audit.transaction(core.database) as session:
            runs.retry_run(session, run_id, actor=OPERATOR)
        with core.database.write() as session:
            session.execute(update(Run).values(task="command.run"))
        with audit.transaction(core.database) as session:
            assert runs.retry_run(session, run_id, actor=OPERATOR).attempt == 2

"""A task that runs a program. It is withheld unless the setting `commands` allows it."""

from __future__ import annotations

import codecs
import os
import selectors
import shlex
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from pydantic import Field

from dashboard.runcontext import current_run
from dashboard.samples.places import current_settings
from dashboard.tasks import task

if TYPE_CHECKING:
    from dashboard.runcontext import CurrentRun

NAME = "command.run"
OFF = (
    "Running programs is off. Whoever runs the dashboard can allow it with DASHBOARD_COMMANDS=1;"
    " whoever may add jobs can then run anything that the dashboard's account can."
)

LOOK_SECONDS = 0.2
"""How long it takes at most to notice that the run was cancelled, or has taken too long."""

LAST_WORDS = 5.0
"""Seconds between asking a program to end and ending it."""

LINGER = 1.0
"""Seconds that the output of a program which has ended may still come: a child may have it."""

_PRIVATE = "DASHBOARD_"  # the key that signs sessions, the database's password


class CommandFailed(Exception):
    """The program did not end as expected, or could not be started."""


Command = Annotated[
    list[str],
    Field(
        min_length=1,
        max_length=1000,
        description="The program and its arguments, one each. No shell reads them.",
    ),
]
Input = Annotated[
    str,
    Field(description="Text that the program reads.", json_schema_extra={"format": "textarea"}),
]
Environment = Annotated[
    dict[str, str], Field(description="Variables on top of the dashboard's own.")
]
Folder = Annotated[
    Path | None, Field(description="Where it runs; empty: where the dashboard was started.")
]
Seconds = Annotated[
    float | None, Field(gt=0, description="Ends it, and all it started, after that long.")
]
Codes = Annotated[list[int], Field(min_length=1, description="Exit codes that count as success.")]


@task(name=NAME, guarded=True)
def run_command(
    command: Command,
    *,
    stdin: Input = "",
    environment: Environment = {},  # noqa: B006 - never changed
    folder: Folder = None,
    timeout_seconds: Seconds = None,
    expected_codes: Codes = [0],  # noqa: B006 - likewise
) -> dict[str, int]:
    """Run a program as the dashboard's own account. Its output is the run's log.

    There is no shell: for pipes and the like give `/bin/sh`, `-c` and the line. The exit code
    decides whether it has succeeded. A run that is cancelled or takes too long ends the program
    with everything it has started: first asked by SIGTERM, after five seconds by SIGKILL.
    """
    if not current_settings().commands:
        raise CommandFailed(OFF)
    run = current_run()
    run.log(f"$ {shlex.join(command)}")
    with tempfile.TemporaryFile() as given:
        given.write(stdin.encode())
        given.seek(0)
        process = _start(command, given, _environment(run, environment), folder)
    with process:
        program = _Program(process, run)
        try:
            program.follow(timeout_seconds)
        except BaseException:
            program.end()
            raise
    if run.stopped_by_request:
        return {"exit_code": process.returncode}
    if process.returncode not in expected_codes:
        raise CommandFailed(f"{_ending(process.returncode)}{program.last_error}")
    return {"exit_code": process.returncode}


def _start(
    command: list[str], given: Any, environment: dict[str, str], folder: Path | None
) -> subprocess.Popen[bytes]:
    """Start a program as the first of a group of its own, which can be ended as one."""
    try:
        return subprocess.Popen(  # noqa: S603 - what the task is for
            command,
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=environment,
            start_new_session=True,
            bufsize=0,
        )
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        where = getattr(error, "filename", None) or command[0]
        raise CommandFailed(f"“{where}” cannot be started: {why}.") from None


def _environment(run: CurrentRun, extra: dict[str, str]) -> dict[str, str]:
    """Return the dashboard's own variables without its settings, some of which are secrets."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(_PRIVATE)}
    about = {"DASHBOARD_JOB_ID": run.job_id, "DASHBOARD_RUN_ID": str(run.id)}
    return inherited | about | extra


def _ending(code: int) -> str:
    if code >= 0:
        return f"It ended with exit code {code}."
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"It was ended by {name}."


class _Program:
    """A program that runs, and what it says."""

    def __init__(self, process: subprocess.Popen[bytes], run: CurrentRun) -> None:
        self._process = process
        self._run = run
        self._last_line = ""

    @property
    def last_error(self) -> str:
        """The last thing it wrote to standard error, for the run's message."""
        return f" It said: {self._last_line}" if self._last_line else ""

    def follow(self, timeout: float | None) -> None:
        """Copy its output to the run's log until it has ended; end it when the run has to stop."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with selectors.DefaultSelector() as pipes:
            for stream in ("stdout", "stderr"):
                decoder = codecs.getincrementaldecoder("utf-8")("replace")
                pipe = getattr(self._process, stream)
                pipes.register(pipe, selectors.EVENT_READ, (stream, decoder))
            self._read(pipes, deadline, timeout)
        while self._process.poll() is None:  # it has closed its output and goes on
            self._check(deadline, timeout)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(LOOK_SECONDS)

    def _read(
        self, pipes: selectors.BaseSelector, deadline: float | None, timeout: float | None
    ) -> None:
        """Read until nobody can write any more, or has for a while after the program's end."""
        silent_since: float | None = None
        while pipes.get_map():
            ready = pipes.select(LOOK_SECONDS)
            for key, _events in ready:
                if not self._take(key):
                    pipes.unregister(key.fileobj)
            self._check(deadline, timeout)
            if ready or self._process.poll() is None:
                silent_since = None
            elif silent_since is None:
                silent_since = time.monotonic()
            elif time.monotonic() - silent_since > LINGER:
                self._run.log("It has ended, but left something running that has its output.")
                return

    def _take(self, key: selectors.SelectorKey) -> bool:
        """Read what a pipe holds; False at its end."""
        data = os.read(key.fd, 64 * 1024)
        stream, decoder = key.data
        text = decoder.decode(data, final=not data)
        self._run.transcript.write(stream, text)
        if stream == "stderr" and text.strip():
            self._last_line = text.strip().rsplit("\n", 1)[-1][-500:]
        return bool(data)

    def _check(self, deadline: float | None, timeout: float | None) -> None:
        """End the program if its run was cancelled; raise if its time is up."""
        if self._run.cancelled and self._process.poll() is None:
            self._run.log("Cancelled; the program is asked to end.")
            self.end()
        elif deadline is not None and time.monotonic() > deadline:
            self._too_long(timeout)

    def _too_long(self, timeout: float | None) -> NoReturn:
        raise CommandFailed(f"It took longer than {timeout:g} s and was ended.{self.last_error}")

    def end(self) -> None:
        """End it and everything in its group."""
        self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(LAST_WORDS)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

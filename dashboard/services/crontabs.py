"""A crontab as a file of jobs: each line runs a program, by the task `command.run`.

Cron gives the line to a shell, so the job's command is `[SHELL, "-c", line]`: a shell by explicit
choice, because that is what the line is written for. What cron means by a line is told in
crontab(5); here it is followed letter by letter or refused, never guessed.
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dashboard.documents import FileProblem, UnusableFile, decoded
from dashboard.errors import Invalid
from dashboard.samples.command import NAME
from dashboard.scheduling import triggers
from dashboard.services.jobdata import id_from_name
from dashboard.services.jobfiles import MOST_JOBS, JobFile, Wanted
from dashboard.tasks import UnknownTask, get_task

if TYPE_CHECKING:
    from collections.abc import Iterator

TAG = "crontab"
SHELL = "/bin/sh"

_VARIABLE = re.compile(r"""("[^"]*"|'[^']*'|[A-Za-z_]\w*)\s*=\s*(.*?)\s*""", re.DOTALL)
_ENTRY = re.compile(r"(@\S+|\S+(?:\s+\S+){4})(?:\s+(.*))?", re.DOTALL)
_ACCOUNT = re.compile(r"[A-Za-z_][\w.-]*\$?")
_NAME_LENGTH = 80
_MAIL = ("MAILTO", "MAILFROM", "CONTENT_TYPE", "CONTENT_TRANSFER_ENCODING")


@dataclass(frozen=True, slots=True)
class Reading:
    """How a crontab is to be read."""

    timezone: str
    """The zone of the machine it is from; cron reads times by the machine's clock."""
    account: str = ""
    """The account that the dashboard runs programs as."""
    system: bool = False
    """Whether each line names an account before its command, as in /etc/crontab."""
    leave_out: bool = False
    """Whether lines that cannot be converted are left out, instead of refusing the file."""


def account_name() -> str:
    """Return the account that this process, and what it starts, runs as."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a container's user may have no name
        return str(os.geteuid())


class _Unconvertible(Exception):
    """A line that no job can stand for."""


@dataclass(slots=True)
class _State:
    """What the lines so far have set."""

    timezone: str
    shell: str = SHELL
    folder: str | None = None
    jitter: int | None = None
    environment: dict[str, str] = field(default_factory=dict)
    comments: list[str] = field(default_factory=list)


def read_crontab(content: bytes, reading: Reading) -> JobFile:
    """Read a crontab; raises `UnusableFile` naming every line that cannot be converted."""
    try:
        get_task(NAME)
    except UnknownTask as error:
        raise UnusableFile.because(str(error)) from None
    converter = _Converter(reading)
    for number, line in enumerate(re.split("\r\n|\n|\r", decoded(content)), 1):
        converter.take(number, line)
    if converter.problems and not reading.leave_out:
        raise UnusableFile(converter.problems)
    if len(converter.jobs) > MOST_JOBS:
        raise UnusableFile.because(f"At most {MOST_JOBS:,} jobs are read at once.")
    return JobFile(converter.jobs, list(converter.warnings()))


class _Converter:
    """Goes through a crontab line by line."""

    def __init__(self, reading: Reading) -> None:
        self.jobs: list[Wanted] = []
        self.problems: list[FileProblem] = []
        self._reading = reading
        self._state = _State(reading.timezone)
        self._ids: set[str] = set()
        self._mail: int | None = None
        self._now = datetime.now(UTC)

    def take(self, number: int, line: str) -> None:
        """Read one line."""
        text = line.strip(" \t")
        state = self._state
        if text.startswith("#"):
            state.comments.append(text.lstrip("#").strip())
            return
        try:
            variable = _VARIABLE.fullmatch(text)
            if variable is not None:
                self._set(_unquoted(variable[1]), _unquoted(variable[2]), number)
            elif text:
                self.jobs.append(self._job(number, text))
        except _Unconvertible as error:
            self.problems.append(FileProblem(str(error), number))
        state.comments = []

    def warnings(self) -> Iterator[str]:
        """Tell what is not as it was under cron, and what was left out."""
        for problem in self.problems:
            yield f"Left out: {problem}"
        if self._mail is not None:
            yield (
                f"Line {self._mail}: mail is not sent; the output is in the log of each run, and"
                " alert rules tell people about failures."
            )
        if self._reading.system and self.jobs:
            account = self._reading.account
            yield f"The jobs run as the dashboard's account, which has to be “{account}”."

    def _set(self, name: str, value: str, number: int) -> None:
        state = self._state
        if name == "SHELL":
            state.shell = value
        elif name == "CRON_TZ":
            state.timezone = value
        elif name in _MAIL:
            if value and self._mail is None:
                self._mail = number
        elif name == "RANDOM_DELAY":
            if not re.fullmatch(r"\d{1,4}", value):
                raise _Unconvertible("RANDOM_DELAY is a whole number of minutes.")
            state.jitter = int(value) * 60 or None
        else:
            state.environment = state.environment | {name: value}
            if name == "HOME":
                state.folder = value

    def _job(self, number: int, text: str) -> Wanted:
        state = self._state
        entry = _ENTRY.fullmatch(text)
        if entry is None:
            raise _Unconvertible(
                "This is neither a comment, nor NAME=value, nor five fields and a command."
            )
        when, rest = entry[1], entry[2] or ""
        trigger = self._trigger(when)
        line, stdin = _split_input(self._command(rest))
        if not line:
            raise _Unconvertible("There is no command after the time.")
        parameters: dict[str, Any] = {"command": [state.shell, "-c", line]}
        if stdin:
            parameters["stdin"] = stdin
        if state.environment:
            parameters["environment"] = state.environment
        if state.folder:
            parameters["folder"] = state.folder
        data = {
            "id": self._new_id(line),
            "name": _name_of(line),
            "task": NAME,
            "parameters": parameters,
            "trigger": trigger,
            "tags": [TAG],
            "notes": "\n".join([*state.comments, f"From a crontab: {text}"]),
        }
        return Wanted(data, partial=True, lines={"": number})

    def _trigger(self, when: str) -> dict[str, Any]:
        state = self._state
        trigger: dict[str, Any] = {
            "type": "cron",
            "crontab": " ".join(when.split()),
            "timezone": state.timezone,
        }
        if state.jitter is not None:
            trigger["jitter"] = state.jitter
        try:
            triggers.require_future(triggers.load(trigger), self._now)
        except Invalid as error:
            raise _Unconvertible("; ".join(each.message for each in error.errors)) from None
        return trigger

    def _command(self, rest: str) -> str:
        """Return a line's command; in a system's crontab an account stands before it."""
        if not self._reading.system:
            return rest
        account, command = [*rest.split(None, 1), "", ""][:2]
        if not _ACCOUNT.fullmatch(account):
            raise _Unconvertible(
                "In a system's crontab an account stands between time and command."
            )
        if account != self._reading.account:
            raise _Unconvertible(
                f"This runs as “{account}”, but the dashboard runs programs as"
                f" “{self._reading.account}”. Leave the line out, or let its command change the"
                " account (with sudo -u, say)."
            )
        return command

    def _new_id(self, line: str) -> str:
        """Make an id from the command alone: a line with another time is still the same job."""
        wanted = f"cron-{id_from_name(line)}"
        candidate, number = wanted, 1
        while candidate in self._ids:
            number += 1
            candidate = f"{wanted}-{number}"
        self._ids.add(candidate)
        return candidate


def _unquoted(text: str) -> str:
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1] if quoted else text


def _split_input(text: str) -> tuple[str, str]:
    r"""Split a line at its first `%`: what follows is input, with line ends for further ones.

    `\%` is a percent sign. As cron does, a line end is added where the input lacks one.
    """
    parts, escaped = [[""]], False
    for character in text:
        if character == "%" and escaped:
            parts[-1][-1] = "%"
        elif character == "%":
            parts.append([""])
        else:
            parts[-1].append(character)
        escaped = character == "\\" and not escaped
    line, *inputs = ["".join(part) for part in parts]
    given = "\n".join(inputs)
    return line.strip(), given if not given or given.endswith("\n") else f"{given}\n"


def _name_of(line: str) -> str:
    """Make a name of a command: one line of characters that can be seen."""
    seen = "".join(character if character.isprintable() else " " for character in line)
    name = " ".join(seen.split()) or shlex.quote(line)
    return name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1]}…"

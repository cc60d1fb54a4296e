"""Tasks: callables registered under a name, so that the database needs no code to refer to them.

@task(name="reports.daily", timeout=600)
def daily_report(day: date, recipients: list[str] = [], *, dry_run: bool = False) -> str: ...
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import importlib.util
import inspect
import math
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from dashboard.errors import NotFound
from dashboard.parameters import Parameters
from dashboard.settings import CELERY, EXECUTOR_NAME, PROCESSES, THREADS
from dashboard.texts import error_type, text_of, traceback_text
from dashboard.vault import MASK, NO_VAULT, Vault, is_sealed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MOST_RETRIES = 100
LONGEST_TIMEOUT = 31_536_000
"""Seconds: a year."""
LONGEST_NAME = 191
_TRACEBACK_BYTES = 16 * 1024

_Function = TypeVar("_Function", bound="Callable[..., Any]")
_registry: dict[str, Task] = {}
_withheld: dict[str, str] = {}


class PauseJob(Exception):
    """Raised by a task to end the run and pause its job, with the reason for whoever reads it.

    `raise PauseJob("why") from error` makes the run count as failed by that error; without a cause
    it has succeeded.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class FinishJob(Exception):
    """Raised by a task to end the run as succeeded and its job for good: it has no further run."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UnknownTask(NotFound):
    """No task of that name is registered in this process."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"There is no task “{name}”. Was the module that registers it named with --tasks?"
        )
        self.name = name


class TaskWithheld(UnknownTask):
    """The task is there, but the settings do not let it run."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name)
        self.args = (reason,)


@dataclass(frozen=True, slots=True)
class Task:
    """A registered callable and what is known about it."""

    name: str
    function: Callable[..., Any]
    parameters: Parameters
    description: str
    """The first sentence of the docstring."""
    docstring: str
    executor: str
    timeout: float | None
    """Seconds a run may take."""
    retries: int
    isolated: bool
    """Whether each run gets a worker process of its own."""
    module: str
    guarded: bool = False
    """Whether its parameters are for admins to choose, even for a single run."""

    def call(self, parameters: Mapping[str, Any], vault: Vault = NO_VAULT) -> object:
        """Call the function with stored parameters; `async def` runs in an event loop of its own.

        Raises `Invalid` when the parameters do not fit the signature (any more), and
        `SecretUnreadable`.
        """
        arguments, keywords = self.parameters.bind(parameters, vault)
        result = self.function(*arguments, **keywords)
        return asyncio.run(result) if inspect.iscoroutine(result) else result


@overload
def task(name: _Function) -> _Function: ...
@overload
def task(
    name: str | None = None,
    executor: str = "threads",
    timeout: float | None = None,
    retries: int = 0,
    guarded: bool = False,  # noqa: FBT001, FBT002 -- decorators name what they set
    isolated: bool = False,  # noqa: FBT001, FBT002 -- likewise
) -> Callable[[_Function], _Function]: ...
def task(
    name: str | _Function | None = None,
    executor: str = "threads",
    timeout: float | None = None,
    retries: int = 0,
    guarded: bool = False,  # noqa: FBT001, FBT002 -- decorators name what they set
    isolated: bool = False,  # noqa: FBT001, FBT002 -- likewise
) -> _Function | Callable[[_Function], _Function]:
    """Register a function as a task; it stays an ordinary function.

    `timeout` (seconds) and `retries` are the defaults of its jobs. An `isolated` task of the
    executor `processes` gets a new process for every run, and leaves nothing behind in it.

    Without a name it is called `file.function`, after its file (`reports.daily` for `daily` in
    `…/reports.py`) wherever that is imported from. Raises `TypeError` or `ValueError` at once when
    anything about it could not work.
    """
    if name is not None and not isinstance(name, str):
        if callable(name):
            return task()(name)
        message = f"The name of a task is a text, not {type(name).__name__}."
        raise TypeError(message)
    options = {"executor": executor, "timeout": timeout, "retries": retries, "isolated": isolated}
    _check_options(name, **options)

    def register(function: _Function) -> _Function:
        _check_function(function)
        made = _make_task(function, name or _default_name(function), options)
        made = replace(made, guarded=guarded or made.guarded)
        known = _registry.get(made.name)
        if known is not None and _origin(known.function) != _origin(function):
            message = (
                f"Two functions claim the task name “{made.name}”: {_place(known.function)}"
                f" and {_place(function)}. Give one of them another name."
            )
            raise ValueError(message)
        _registry[made.name] = made
        return function

    return register


def get_task(name: str) -> Task:
    """Return the task of that name; raises `UnknownTask`, or `TaskWithheld`, which is one."""
    if name in _withheld:
        raise TaskWithheld(name, _withheld[name])
    try:
        return _registry[name]
    except KeyError:
        raise UnknownTask(name) from None


def all_tasks() -> list[Task]:
    """List the registered tasks by name, without those withheld."""
    return [known for name, known in sorted(_registry.items()) if name not in _withheld]


def withhold(name: str, reason: str | None) -> None:
    """Keep a registered task from being used, for a reason that people are told; None lets it."""
    if reason is None:
        _withheld.pop(name, None)
    else:
        _withheld[name] = reason


def is_isolated(name: str) -> bool:
    """Say whether a task, if it is known here, wants a process of its own for each run."""
    known = _registry.get(name)
    return known is not None and known.isolated


def is_guarded(name: str) -> bool:
    """Say whether only admins choose the parameters of a task, if it is known here."""
    known = _registry.get(name)
    return known is not None and known.guarded


def default_parameters(task_name: str, given: Mapping[str, Any]) -> dict[str, str]:
    """Return what a task takes where nothing is `given`, as text; "" where that cannot be shown."""
    try:
        fields = get_task(task_name).parameters.fields
    except UnknownTask:
        return {}
    left = (each for each in fields if each.name not in given)
    return {each.name: "" if each.secret else each.default_text for each in left}


def shown_parameters(task: str, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return stored parameters of a task as people may see them: with masks for secrets."""
    known = _registry.get(task)
    secrets = known.parameters.secrets if known is not None else frozenset()
    return {
        name: MASK if is_sealed(value) or (name in secrets and value is not None) else value
        for name, value in stored.items()
    }


def _check_options(
    name: str | None, *, executor: object, timeout: object, retries: object, isolated: object
) -> None:
    if isolated and executor != "processes":
        message = (
            "isolated=True gives each run a process of its own; it needs executor='processes'."
        )
        raise ValueError(message)
    if name is not None and (not re.fullmatch(r"\w[\w.:-]*", name) or len(name) > LONGEST_NAME):
        message = (
            f"“{name}” cannot be the name of a task: use letters, digits and _ . : - only,"
            f" begin with a letter, digit or _, at most {LONGEST_NAME} characters."
        )
        raise ValueError(message)
    if not re.fullmatch(EXECUTOR_NAME, str(executor)):
        message = (
            f"executor={executor!r} is not known; choose one of {THREADS}, {PROCESSES},"
            f" {CELERY} (or {CELERY}:QUEUE)."
        )
        raise ValueError(message)
    if timeout is not None:
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
            message = f"timeout is a number of seconds or None, not {timeout!r}."
            raise TypeError(message)
        if not (0 < timeout <= LONGEST_TIMEOUT and math.isfinite(timeout)):
            message = (
                f"timeout={timeout!r} is not possible; give the seconds a run may take,"
                f" at most {LONGEST_TIMEOUT:,}, or None."
            )
            raise ValueError(message)
    if isinstance(retries, bool) or not isinstance(retries, int):
        message = f"retries is a whole number, not {retries!r}."
        raise TypeError(message)
    if not 0 <= retries <= MOST_RETRIES:
        message = f"retries={retries} is not possible; it is at least 0 and at most {MOST_RETRIES}."
        raise ValueError(message)


def _check_function(function: object) -> None:
    if not inspect.isfunction(function):
        message = (
            f"@task goes on a function (def or async def), not on {type(function).__name__}."
            " Above @staticmethod or another decorator it gets what that returns: put it below."
        )
        raise TypeError(message)
    inner = inspect.unwrap(function)
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        message = (
            f"{_place(function)} is a generator: calling it would run none of its code."
            " Write the loop inside the task and report with current_run().progress()."
        )
        raise TypeError(message)


def _make_task(function: Callable[..., Any], name: str, options: dict[str, Any]) -> Task:
    _check_options(name, **options)
    try:
        parameters = Parameters(function)
    except TypeError as error:
        message = f"{_place(function)} cannot be a task: {error}"
        raise TypeError(message) from error
    docstring = inspect.getdoc(function) or ""
    return Task(
        name=name,
        function=function,
        parameters=parameters,
        description=_first_sentence(docstring),
        docstring=docstring,
        **options,
        module=function.__module__,
        # Who chooses where a secret is sent, beside the one that is kept, could learn it.
        guarded=bool(parameters.secrets),
    )


def _first_sentence(docstring: str) -> str:
    paragraph = " ".join(docstring.split("\n\n", 1)[0].split())
    return re.split(r"(?<=[.!?])\s", paragraph, maxsplit=1)[0]


def _default_name(function: Callable[..., Any]) -> str:
    """Name a task after its file: the same when that runs as `__main__` or is named by path."""
    file = Path(_origin(function)[0])
    stem = file.parent.name if file.stem == "__init__" else file.stem
    return f"{stem}.{function.__qualname__.rpartition('<locals>.')[2]}"


def _origin(function: Callable[..., Any]) -> tuple[str, str]:
    """Tell which function this is: the same after another import of its module, by any name."""
    code = inspect.unwrap(function).__code__
    return code.co_filename, code.co_qualname


def _place(function: Callable[..., Any]) -> str:
    code = inspect.unwrap(function).__code__
    return f"{code.co_qualname} ({code.co_filename}, line {code.co_firstlineno})"


@dataclass(frozen=True, slots=True)
class LoadProblem:
    """Why a task module could not be loaded."""

    source: str
    error_type: str
    message: str
    traceback: str


def load_task_modules(sources: Iterable[str]) -> list[LoadProblem]:
    """Import modules (`package.module`) and files (`path/tasks.py`), which registers their tasks.

    Never raises for what a module does, not even for `sys.exit()`: what failed is returned, and its
    half-registered tasks are withdrawn. The working folder and the folder of each file are appended
    to `sys.path` for good, so that a task can import its neighbours, also while it runs; being
    last, they never hide an installed package.
    """
    problems = []
    for source in sources:
        try:
            _import(source)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever the module does, the dashboard starts
            _withdraw_unimported()
            hidden = {__file__, importlib.__file__, "<frozen importlib._bootstrap>"}
            problems.append(
                LoadProblem(
                    source,
                    error_type(error),
                    text_of(error) or "(no message)",
                    traceback_text(
                        error,
                        _TRACEBACK_BYTES,
                        without=hidden | {"<frozen importlib._bootstrap_external>"},
                    ),
                )
            )
    return problems


def _import(source: str) -> None:
    if source.endswith(".py") or "/" in source or "\\" in source:
        _import_file(Path(source).resolve())
    else:
        _make_importable(Path.cwd())
        importlib.import_module(source)


def _import_file(path: Path) -> None:
    """Import a file under a name that is the same in every process and no other file's."""
    if not path.is_file():
        message = f"{path} is no file; name a .py file or a module such as package.tasks."
        raise FileNotFoundError(message)
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return
    _make_importable(path.parent)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        message = f"{path} is not Python; a file with tasks ends with .py."
        raise ImportError(message)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def _make_importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _withdraw_unimported() -> None:
    """Forget the tasks of modules that failed: Python takes those out of `sys.modules`."""
    for name, known in list(_registry.items()):
        if known.module not in sys.modules:
            del _registry[name]

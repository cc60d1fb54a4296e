from __future__ import annotations

import asyncio
import functools
import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dashboard import tasks
from dashboard.errors import Invalid, NotFound
from dashboard.tasks import (
    FinishJob,
    PauseJob,
    Task,
    UnknownTask,
    all_tasks,
    get_task,
    load_task_modules,
    task,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


@pytest.fixture(autouse=True)
def no_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin with an empty registry, and leave the import system as it was."""
    monkeypatch.setattr(tasks, "_registry", {})
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "modules", sys.modules.copy())


def names() -> list[str]:
    return [known.name for known in all_tasks()]


def greet(name: str, *, times: int = 1) -> str:
    """Say hello. Not goodbye.

    More is told here.
    """
    return " ".join([f"hello {name}"] * times)


def test_a_bare_decorator_registers_under_file_and_function_and_returns_the_function() -> None:
    assert task(greet) is greet
    known = get_task("test_tasks.greet")
    assert known.function is greet
    assert (known.executor, known.timeout, known.retries) == ("threads", None, 0)
    assert known.description == "Say hello."
    assert known.docstring == "Say hello. Not goodbye.\n\nMore is told here."
    assert known.module == __name__


def test_a_function_defined_in_a_function_is_named_without_it() -> None:
    @task()
    def inner() -> None: ...

    assert names() == ["test_tasks.inner"]
    assert get_task("test_tasks.inner").description == ""


def test_options_are_kept() -> None:
    task(name="mail.greet", executor="processes", timeout=2.5, retries=3)(greet)
    known = get_task("mail.greet")
    assert (known.executor, known.timeout, known.retries) == ("processes", 2.5, 3)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"name": ""}, ValueError, "cannot be the name of a task"),
        ({"name": "a b"}, ValueError, "letters, digits"),
        ({"name": "a/b"}, ValueError, "letters, digits"),
        ({"name": "x" * 192}, ValueError, "at most 191"),
        ({"name": 5}, TypeError, "not int"),
        ({"executor": "thread"}, ValueError, "choose one of threads, processes, celery"),
        ({"executor": None}, ValueError, "choose one of"),
        ({"timeout": 0}, ValueError, "the seconds a run may take"),
        ({"timeout": float("nan")}, ValueError, "the seconds a run may take"),
        ({"timeout": float("inf")}, ValueError, "the seconds a run may take"),
        ({"timeout": "5"}, TypeError, "a number of seconds"),
        ({"timeout": True}, TypeError, "a number of seconds"),
        ({"retries": -1}, ValueError, "at least 0 and at most 100"),
        ({"retries": 101}, ValueError, "at least 0 and at most 100"),
        ({"retries": 1.5}, TypeError, "a whole number"),
        ({"retries": True}, TypeError, "a whole number"),
    ],
    ids=str,
)
def test_wrong_options_are_refused_in_words(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        task(**options)
    assert names() == []


def counted() -> Iterator[int]:
    yield 1


async def counted_slowly() -> AsyncIterator[int]:
    yield 1


def wrapped_counted() -> Iterator[int]:
    return counted()


wrapped_counted.__wrapped__ = counted  # type: ignore[attr-defined]


class Caller:
    def __call__(self) -> None: ...


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (counted, "is a generator"),
        (counted_slowly, "is a generator"),
        (wrapped_counted, "is a generator"),
        (Caller(), "not on Caller"),
        (Caller, "not on type"),
        (functools.partial(greet, "x"), "not on partial"),
        (staticmethod(greet), "not on staticmethod"),
        (print, "not on builtin_function_or_method"),
        (lambda *values: None, "cannot be a task: \\*values takes anything"),  # noqa: ARG005
    ],
)
def test_what_cannot_be_a_task_is_refused_in_words(
    function: Callable[..., Any], words: str
) -> None:
    with pytest.raises(TypeError, match=words):
        task(name="odd")(function)
    assert names() == []


def test_a_lambda_needs_a_name() -> None:
    with pytest.raises(ValueError, match="cannot be the name of a task"):
        task(lambda: None)
    task(name="a.lambda")(lambda: None)
    assert names() == ["a.lambda"]


def test_two_functions_cannot_claim_one_name() -> None:
    task(name="same")(greet)
    with pytest.raises(ValueError, match=r"“same”: greet \(.*test_tasks.py, line \d+\) and names"):
        task(name="same")(names)
    assert get_task("same").function is greet


def test_importing_a_module_again_replaces_its_tasks(tmp_path: Path) -> None:
    (tmp_path / "again.py").write_text(
        "from dashboard import tasks\n@tasks.task\ndef f(): return 1\n"
    )
    sys.path.append(str(tmp_path))
    module = importlib.import_module("again")
    (tmp_path / "again.py").write_text(
        "from dashboard import tasks\n\n\n@tasks.task(retries=2)\ndef f(): return 'two'\n"
    )
    importlib.reload(module)
    assert get_task("again.f").call({}) == "two"
    assert load_task_modules([str(tmp_path / "again.py")]) == []
    assert get_task("again.f").module != "again"


def test_an_unknown_task_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(UnknownTask, match=r"There is no task “gone”\..*--tasks") as caught:
        get_task("gone")
    assert isinstance(caught.value, NotFound)


def test_tasks_are_listed_by_name() -> None:
    for name in ("b", "a", "c"):
        task(name=name)(greet)
    assert names() == ["a", "b", "c"]


def test_a_call_passes_parameters_as_the_signature_asks() -> None:
    task(greet)
    known = get_task("test_tasks.greet")
    assert known.call({"name": "you", "times": 2}) == "hello you hello you"
    with pytest.raises(Invalid, match=r"parameters\.times"):
        known.call({"name": "you", "times": "often"})


def test_coroutines_run_in_a_loop_of_their_own() -> None:
    @task(name="slow")
    async def slow(value: int) -> int:
        await asyncio.sleep(0)
        return value

    @task(name="wrapped")
    @functools.wraps(slow)
    def wrapped(value: int) -> Any:
        return slow(value)

    assert get_task("slow").call({"value": 1}) == 1
    assert get_task("wrapped").call({"value": 2}) == 2


def test_a_task_cannot_be_changed() -> None:
    task(greet)
    with pytest.raises(AttributeError):
        get_task("test_tasks.greet").name = "other"  # type: ignore[misc]
    assert isinstance(get_task("test_tasks.greet"), Task)


def test_requests_to_pause_and_finish_carry_their_reason() -> None:
    assert PauseJob("why").reason == "why"
    assert str(FinishJob("done")) == "done"


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


ONE_TASK = "from dashboard.tasks import task\n@task\ndef f() -> int:\n    return 1\n"


def test_tasks_are_loaded_from_files_and_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "package").mkdir()
    write(tmp_path / "package" / "__init__.py", ONE_TASK)
    write(tmp_path / "package" / "more.py", ONE_TASK)
    (tmp_path / "other").mkdir()
    file = write(tmp_path / "other" / "some tasks.py", ONE_TASK.replace("@task", "@task(name='t')"))
    assert load_task_modules(["package.more", file]) == []
    assert names() == ["more.f", "package.f", "t"]
    assert load_task_modules(["package.more", "other/some tasks.py"]) == []


def test_two_files_of_one_name_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    sources = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        text = ONE_TASK.replace("@task", f"@task(name='{folder}')")
        sources.append(write(tmp_path / folder / "tasks.py", text))
    assert load_task_modules(sources) == []
    assert names() == ["a", "b"]
    assert get_task("a").module != get_task("b").module


def test_a_file_can_import_its_neighbour_also_while_a_task_runs(tmp_path: Path) -> None:
    write(tmp_path / "neighbour_one.py", "value = 41")
    write(tmp_path / "neighbour_two.py", "value = 1")
    text = ONE_TASK.replace(
        "    return 1",
        "    import neighbour_two\n    return neighbour_one.value + neighbour_two.value",
    )
    assert load_task_modules([write(tmp_path / "jobs.py", f"import neighbour_one\n{text}")]) == []
    assert get_task("jobs.f").call({}) == 42


def test_a_file_does_not_hide_installed_packages(tmp_path: Path) -> None:
    write(tmp_path / "colorsys.py", "raise RuntimeError('not this one')")
    file = write(tmp_path / "jobs.py", f"import colorsys\n{ONE_TASK}")
    sys.modules.pop("colorsys", None)
    assert load_task_modules([file]) == []


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("1 / 0", "ZeroDivisionError", "division by zero"),
        ("import sys\nsys.exit(3)", "SystemExit", "3"),
        ("raise SystemExit", "SystemExit", "(no message)"),
        ("import not_there_at_all", "ModuleNotFoundError", "No module named 'not_there_at_all'"),
        ("def broken(:", "SyntaxError", "invalid syntax"),
        ("class Odd(BaseException):\n    def __str__(self): 1 / 0\nraise Odd", "Odd", "str failed"),
        (f"{ONE_TASK}\n@task\ndef g(*a): ...", "TypeError", "cannot be a task"),
    ],
)
def test_a_module_that_fails_is_reported_and_the_next_is_loaded(
    tmp_path: Path, text: str, kind: str, message: str
) -> None:
    bad = write(tmp_path / "bad.py", ONE_TASK + text)
    good = write(tmp_path / "good.py", ONE_TASK)
    [problem] = load_task_modules([bad, good])
    assert problem.source == bad
    assert problem.error_type.endswith(kind)
    assert message in problem.message
    assert "bad.py" in problem.traceback
    assert "importlib" not in problem.traceback
    assert "dashboard/tasks.py" not in problem.traceback or kind == "TypeError"
    assert names() == ["good.f"], "tasks of a module that failed half-way must not be runnable"


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        ("no_such_module_here", "ModuleNotFoundError", "No module named"),
        ("/no/such/file.py", "FileNotFoundError", "is no file"),
        ("/tmp/", "FileNotFoundError", "is no file"),
        ("/etc/hosts", "ImportError", "is not Python"),
        ("", "ValueError", "Empty module name"),
        (".relative", "TypeError", "relative import"),
        ("\0.py", "ValueError", "null"),
    ],
)
def test_a_source_that_is_not_there_is_reported(source: str, kind: str, message: str) -> None:
    [problem] = load_task_modules([source])
    assert (problem.source, problem.error_type) == (source, kind)
    assert message in problem.message


def test_ctrl_c_while_loading_ends_the_program(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        load_task_modules([write(tmp_path / "stop.py", "raise KeyboardInterrupt")])


def run_python(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(tasks.__file__).parents[1])},
    )
    return done.stdout


def test_a_task_of_the_main_module_is_named_after_its_file(tmp_path: Path) -> None:
    file = write(
        tmp_path / "standalone.py",
        f"{ONE_TASK}\nfrom dashboard.tasks import all_tasks\nprint(all_tasks()[0].name)\n",
    )
    assert run_python(file) == "standalone.f\n"


def test_the_modules_of_tasks_need_neither_web_nor_scheduler_nor_database() -> None:
    code = (
        "import sys, dashboard.tasks, dashboard.runcontext, dashboard.capture;"
        "print([name for name in ('flask', 'apscheduler', 'sqlalchemy') if name in sys.modules])"
    )
    assert run_python("-c", code) == "[]\n"

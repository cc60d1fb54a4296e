from __future__ import annotations

import json
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dashboard
from dashboard.texts import fitted_ends
from dashboard.web.tracebacks import Part, read_traceback

HERE = Path(__file__).name


def raise_chained() -> None:
    try:
        json.loads("{")
    except ValueError as error:
        raise RuntimeError("two\n\nparagraphs") from error


def text_of_failure() -> str:
    try:
        raise_chained()
    except RuntimeError:
        return traceback.format_exc()
    raise AssertionError


def places(part: Part) -> list[tuple[str, bool]]:
    return [(frame.name, frame.own) for frame in part.frames]


def test_own_frames_are_told_from_those_of_libraries() -> None:
    cause, _ = read_traceback(text_of_failure())
    assert places(cause)[0] == (HERE, True)
    assert {own for _, own in places(cause)[1:]} == {False}
    assert [stretch.own for stretch in cause.stretches] == [True, False]
    assert cause.error.startswith("json.decoder.JSONDecodeError: Expecting")


def test_a_chain_keeps_its_order_and_its_messages_whole() -> None:
    _, last = read_traceback(text_of_failure())
    assert last.before.startswith("The above exception was the direct cause")
    assert [frame.function for frame in last.frames] == ["text_of_failure", "raise_chained"]
    assert last.error == "RuntimeError: two\n\nparagraphs"


def test_carets_become_a_mark_in_the_line_above() -> None:
    (part,) = read_traceback(
        "Traceback (most recent call last):\n"
        '  File "/srv/app/tasks.py", line 3, in report\n'
        "    total = add(1, 2)\n"
        "            ^^^^^^^^^\n"
        "ValueError: no"
    )
    (line,) = part.frames[0].code
    assert line.pieces == ("total = ", "add(1, 2)", "")


def test_the_dashboard_is_a_library_and_its_samples_are_not() -> None:
    package = Path(dashboard.__file__).parent
    (part,) = read_traceback(
        "Traceback (most recent call last):\n"
        f'  File "{package}/scheduling/executors.py", line 1, in call\n'
        f'  File "{package}/samples/report.py", line 2, in report\n'
        '  File "C:\\Python311\\Lib\\json\\decoder.py", line 3, in decode\n'
        '  File "<frozen importlib._bootstrap>", line 4, in _load\n'
        "ValueError: no"
    )
    assert [frame.own for frame in part.frames] == [False, True, False, False]
    assert part.frames[2].name == "decoder.py"


def test_when_only_libraries_were_involved_all_frames_show() -> None:
    (part,) = read_traceback(
        "Traceback (most recent call last):\n"
        '  File "/venv/lib/python3.12/site-packages/task.py", line 1, in task\n'
        "ValueError: no"
    )
    assert part.own
    assert [frame.own for frame in part.frames] == [True]


def test_an_exception_group_is_read() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        raise ExceptionGroup("several", [ValueError("one"), TypeError("two")])
    (part,) = read_traceback("".join(traceback.format_exception(caught.value)))
    assert places(part) == [(HERE, True)]
    assert "ValueError: one" in part.error
    assert "TypeError: two" in part.error


def test_a_traceback_with_its_middle_cut_out_is_read_to_its_end() -> None:
    text = fitted_ends(text_of_failure(), 900)
    last = read_traceback(text)[-1]
    assert last.error == "RuntimeError: two\n\nparagraphs"


def test_a_text_that_is_no_traceback_is_a_message() -> None:
    assert read_traceback("exit code 3\nsee above") == [Part(error="exit code 3\nsee above")]
    assert read_traceback("") == []


LINES = [
    "Traceback (most recent call last):",
    '  File "a.py", line 1, in f',
    "    code",
    "    ^^^^",
    "… (1,234 characters cut)",
    "",
    "Error: x",
    "During handling of the above exception, another exception occurred:",
]


@given(st.lists(st.sampled_from(LINES) | st.text(max_size=20)).map("\n".join))
def test_no_text_is_lost_and_none_is_too_much(text: str) -> None:
    parts = read_traceback(text)
    kept = "".join(
        part.before
        + part.error
        + "".join(f"{frame.file}{frame.line}{frame.function}" for frame in part.frames)
        + "".join(line.text for frame in part.frames for line in frame.code)
        for part in parts
    )
    for line in text.splitlines():
        if line not in LINES and line.strip(" \n+|^~") and "Group" not in line:
            assert line.strip() in kept

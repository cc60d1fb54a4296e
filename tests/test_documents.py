"""YAML and JSON files: strict, with line numbers, and the same again after a round trip."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard import documents
from dashboard.documents import UnusableFile, decoded, read_json, read_yaml, to_json, to_yaml

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
AWKWARD = st.sampled_from(
    ["no", "1e5", "0o17", "~", "null", "2026-01-31", "1:30", "a: b", "- x", "#", "'", "\n",
     " a\nb ", "a\n\n", "\x85", "\u2028", "\ufeff", "=", "<<", "...", "---",
     "a\n...\nb", "\x7f", "\x01"]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS | AWKWARD,
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(TEXTS | AWKWARD, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(VALUES)
def test_what_is_written_is_read_again(value: Any) -> None:
    for written, read in ((to_yaml(value), read_yaml), (to_json(value), read_json)):
        found = read(decoded(written.encode())).value
        assert (found, type(found)) == (value, type(value)), written


def test_plain_words_mean_what_they_say() -> None:
    text = "a: no\nb: 2026-01-31\nc: 1:30\nd: 0x1f\ne: 010\nf: TRUE\ng: ~\nh:\ni: -1.5e3\nj: =\n"
    assert read_yaml(text).value == {
        "a": "no", "b": "2026-01-31", "c": "1:30", "d": "0x1f", "e": 10, "f": True, "g": None,
        "h": None, "i": -1500.0, "j": "=",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("# why\na:\n  - b: 1\n    c:\n      - 2\n  -\n    d: 3\n", read_yaml),
        ('\n{"a": [\n  {"b": 1,\n   "c": [\n2]},\n\n {"d":\n3}]}', read_json),
    ],
)
def test_every_part_knows_its_line(text: str, read: Any) -> None:
    document = read(text)
    assert document.value == {"a": [{"b": 1, "c": [2]}, {"d": 3}]}
    assert [document.lines[place] for place in (("a",), ("a", 0, "b"), ("a", 0, "c"))] == [2, 3, 4]
    assert document.lines["a", 0, "c", 0] == 5
    assert document.lines["a", 1, "d"] == 7


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: &x [1]\nb: [*x, *x]\n", "line 1: Anchors and aliases (“x”)"),
        ("a: 1\n<<: *x\n", "line 2: Anchors and aliases (“x”)"),
        ("a: !!python/object/apply:os.system [ls]\n", "line 1: Tags ("),
        ("a: !env SECRET\n", "line 1: Tags (“!env”)"),
        ("a: 1\nb: 2\na: 3\n", "line 3: “a” stands here twice."),
        ("a: 1\n--- \nb: 2\n", "line 2: A second document begins"),
        ("? [a]\n: 1\n", "line 1: A key is a word"),
        ("a: [1, 2\n", "line 2: This is not YAML: "),
        ("a:\n\t- b\n", "line 2: This is not YAML: "),
        ("a: \x07\n", "This is not YAML: "),
        ("a: .nan\n", "line 1: “.nan”: numbers are finite."),
        ("a: 1e999\n", "this number is too large"),
        ("a: " + "9" * 5000, "line 1: “999"),
        ("", "This file is empty."),
        ("# nothing\n", "This file is empty."),
        ("a: " + "[" * 60 + "]" * 60, "nested more than 50 deep"),
    ],
)
def test_yaml_that_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(UnusableFile) as refused:
        read_yaml(text)
    assert complaint in str(refused.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"a": 1,\n "a": 2}', "line 2: “a” stands here twice."),
        ('{"a": {"b": 1}, "c": [{"b": 1, "b": 2}]}', "“b” stands here twice."),
        ('{"a": [1,\n', "line 2: This is not JSON"),
        ('{"a": NaN}', "NaN is no number"),
        ('{"a": 1e999}', "too large"),
        ("9" * 5000, "This is not JSON"),
        ("[" * 100_000, "line 1: This is nested more than 50 deep."),
        ('["\\ud800"]', "There is half a character"),
        ("", "This is not JSON"),
        ('{"a": "\n"}', "line 1: This is not JSON"),
    ],
)
def test_json_that_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(UnusableFile) as refused:
        read_json(text)
    assert complaint in str(refused.value)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("ä".encode("latin-1"), "line 1: This file is not text in UTF-8"),
        (b"a\nb\n\xff", "line 3: "),
        ("a: 1".encode("utf-16"), "not text in UTF-8"),
        (b"a\nb\0", "line 2: There is a NUL"),
        (b"x" * (documents.LARGEST + 1), "at most 2,097,152 are read"),
        (b"\x1f\x8b\x08\x00", "not text in UTF-8"),
    ],
)
def test_files_that_are_no_text(content: bytes, complaint: str) -> None:
    with pytest.raises(UnusableFile) as refused:
        decoded(content)
    assert complaint in str(refused.value)


def test_a_mark_of_the_encoding_is_no_part_of_the_text() -> None:
    assert decoded("\ufeffa: ü".encode()) == "a: ü"


@pytest.mark.parametrize("line", ["a: {x: 1}\n", "- [", "? ", "- - - ", "{", '"'])
def test_the_largest_file_takes_seconds_at_most(line: str) -> None:
    text = line * (documents.LARGEST // len(line))
    began = time.monotonic()
    with pytest.raises(UnusableFile):
        read_yaml(text)
    assert time.monotonic() - began < 30

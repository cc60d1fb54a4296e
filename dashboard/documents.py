"""YAML and JSON files: read strictly and with line numbers, written so that differences are small.

Of YAML only what JSON can say is read: no tags, no anchors and aliases (a few hundred bytes of them
stand for gigabytes), every key once. Plain words mean what they mean in YAML 1.2: `no` is a text,
and so is `2026-01-31`.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_left
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import yaml

from dashboard.errors import FieldError, Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LARGEST = 2 * 1024 * 1024
"""Bytes of a file."""

DEEPEST = 50
"""Levels of a file; a trigger made of others has some six."""

Path = tuple[str | int, ...]

# The one in C is ten times as fast; it comes with PyYAML's wheels, but not with every build.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[][{},:]|[^\s][^][{},:"\s]*', re.DOTALL)
_TREATED_AS_LINE_ENDS = re.compile("[\x85\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class FileProblem:
    """What is wrong with a file, and where; `field` is empty for the file as such."""

    message: str
    line: int | None = None
    field: str = ""

    def __str__(self) -> str:
        """Write the problem in a line."""
        places = [f"line {self.line}"] if self.line else []
        places += [self.field] if self.field else []
        return ": ".join([", ".join(places), self.message] if places else [self.message])


class UnusableFile(Invalid):
    """A file that cannot be used, with everything that is wrong with it."""

    title = "File not usable"

    def __init__(self, problems: Iterable[FileProblem]) -> None:
        self.problems = list(problems)
        super().__init__(FieldError(each.field, str(each)) for each in self.problems)
        self.args = ("\n".join(map(str, self.problems)),)

    @classmethod
    def because(cls, message: str, line: int | None = None) -> UnusableFile:
        """Complain about one thing."""
        return cls([FileProblem(message, line)])


@dataclass(frozen=True, slots=True)
class Document:
    """What a file holds, and the line on which each part of it begins."""

    value: Any
    lines: Mapping[Path, int]
    ends: bool = True
    """False for YAML that begins with `---` but does not end with `...`: it may be cut off."""


def decoded(content: bytes) -> str:
    """Return the text of a file; raises `UnusableFile` for one too long or not in UTF-8."""
    if len(content) > LARGEST:
        raise UnusableFile.because(
            f"This file has {len(content):,} bytes; at most {LARGEST:,} are read."
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = "This file is not text in UTF-8. Save it in that encoding."
        raise UnusableFile.because(message, line) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UnusableFile.because("There is a NUL character, which no text has.", line)
    return text


def looks_like_json(text: str) -> bool:
    """Tell JSON from YAML where no name of a file does."""
    return text.lstrip()[:1] in {"{", "["}


# ---------------------------------------------------------------------------------------- reading


def read_yaml(text: str) -> Document:
    """Read a YAML file; raises `UnusableFile`."""
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        line = None if error.problem_mark is None else error.problem_mark.line + 1
        what = ": ".join(part for part in (error.context, error.problem) if part)
        raise UnusableFile.because(f"This is not YAML: {what}.", line) from None
    except (yaml.YAMLError, UnicodeEncodeError) as error:
        first = str(error).split("\n", 1)[0]
        raise UnusableFile.because(f"This is not YAML: {first}.") from None
    if builder.documents == 0:
        raise UnusableFile.because("This file is empty.")
    return Document(builder.value, builder.lines, builder.ends)


def read_json(text: str) -> Document:
    """Read a JSON file; raises `UnusableFile`."""
    try:
        _check_depth(text)
        value = json.loads(text, parse_float=_json_float, parse_constant=_no_constant)
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise UnusableFile.because(f"This is not JSON: {error.msg}.", error.lineno) from None
    except UnicodeEncodeError:
        raise UnusableFile.because("There is half a character (\\ud800 to \\udfff).") from None
    except ValueError as error:
        raise UnusableFile.because(f"This is not JSON: {error}.") from None
    return Document(value, _json_lines(text))


class _Open:
    """A list or mapping that goes on."""

    def __init__(self, container: Any, path: Path) -> None:
        self.container = container
        self.path = path
        self.key: str | None = None


class _Builder:
    """Makes values of a YAML parser's events, one by one: nothing here can recurse."""

    def __init__(self) -> None:
        self.value: Any = None
        self.lines: dict[Path, int] = {}
        self.documents = 0
        self.ends = True
        self._open: list[_Open] = []
        self._explicit = False

    def take(self, event: yaml.Event) -> None:
        line = 0 if event.start_mark is None else event.start_mark.line + 1
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            self._explicit = bool(event.explicit)
            if self.documents > 1:
                raise UnusableFile.because("A second document begins; one a file is read.", line)
        elif isinstance(event, yaml.DocumentEndEvent):
            self.ends = bool(event.explicit) or not self._explicit
        elif isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()
        elif isinstance(event, yaml.NodeEvent):
            _refuse_magic(event, line)
            self._node(event, line)

    def _node(self, event: yaml.NodeEvent, line: int) -> None:
        parent = self._open[-1] if self._open else None
        if parent is not None and isinstance(parent.container, dict) and parent.key is None:
            self._begin_pair(parent, event, line)
            return
        path = self._place(parent, line)
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event, line)
        else:
            value = {} if isinstance(event, yaml.MappingStartEvent) else []
            self._open.append(_Open(value, path))
            if len(self._open) > DEEPEST:
                raise UnusableFile.because(f"This is nested more than {DEEPEST} deep.", line)
        if parent is None:
            self.value = value
        elif parent.key is None:
            parent.container.append(value)
        else:
            parent.container[parent.key] = value
            parent.key = None

    def _place(self, parent: _Open | None, line: int) -> Path:
        if parent is None:
            path: Path = ()
        elif parent.key is None:
            path = (*parent.path, len(parent.container))
        else:
            return (*parent.path, parent.key)  # begins with its key
        self.lines[path] = line
        return path

    def _begin_pair(self, parent: _Open, event: yaml.NodeEvent, line: int) -> None:
        if not isinstance(event, yaml.ScalarEvent):
            raise UnusableFile.because("A key is a word, not a list or mapping.", line)
        if event.value in parent.container:
            raise UnusableFile.because(f"“{_short(event.value)}” stands here twice.", line)
        parent.key = event.value
        self.lines[*parent.path, event.value] = line


def _refuse_magic(event: yaml.NodeEvent, line: int) -> None:
    if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
        message = f"Anchors and aliases (“{_short(event.anchor)}”) are not read; write it out."
        raise UnusableFile.because(message, line)
    tag = getattr(event, "tag", None)
    if tag is not None:
        raise UnusableFile.because(f"Tags (“{_short(tag)}”) are not read.", line)


def _scalar(event: yaml.ScalarEvent, line: int) -> Any:
    if not event.implicit[0]:  # quoted, or a block
        return event.value
    try:
        return _plain(event.value)
    except ValueError as error:
        raise UnusableFile.because(f"“{_short(event.value)}”: {error}.", line) from None


def _plain(text: str) -> Any:
    """Return what an unquoted word means; raises `ValueError` for a number that JSON lacks."""
    if text in _WORDS or text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _NOT_FINITE.fullmatch(text):
        raise ValueError("numbers are finite")
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return _json_float(text)
    return text


def _json_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("this number is too large")
    return number


def _no_constant(word: str) -> float:
    message = f"{word} is no number"
    raise ValueError(message)


def _short(text: object) -> str:
    return str(text)[:60]


def _check_depth(text: str) -> None:
    depth = 0
    for token in _JSON_TOKEN.finditer(text):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token.group(), 0)
        if depth > DEEPEST:
            line = text.count("\n", 0, token.start()) + 1
            raise UnusableFile.because(f"This is nested more than {DEEPEST} deep.", line)


def _json_lines(text: str) -> dict[Path, int]:
    """Tell where each part of a JSON text, known to be valid, begins; refuse a key given twice."""
    ends = [match.start() for match in re.finditer("\n", text)]
    line_at = partial(bisect_left, ends)
    lines: dict[Path, int] = {}
    stack: list[tuple[Path, int | None]] = []  # where we are; in a list, how many came before
    path: Path = ()
    tokens = list(_JSON_TOKEN.finditer(text))
    for token, follower in zip(tokens, [*tokens[1:], None], strict=True):
        word, line = token.group(), line_at(token.start()) + 1
        if follower is not None and follower.group() == ":" and word != ":":
            path = (*stack[-1][0], json.loads(word))
            if path in lines:
                raise UnusableFile.because(f"“{_short(path[-1])}” stands here twice.", line)
            lines[path] = line
        elif word in "]}":
            path, _ = stack.pop()
        elif word not in ",:":
            path = _next_place(stack, path)
            lines.setdefault(path, line)
            if word in "[{":
                stack.append((path, 0 if word == "[" else None))
    return lines


def _next_place(stack: list[tuple[Path, int | None]], path: Path) -> Path:
    """Return the place of a value that begins: the next of its list, or that of its key."""
    parent, number = stack[-1] if stack else (path, None)
    if number is None:
        return path
    stack[-1] = (parent, number + 1)
    return (*parent, number)


# ---------------------------------------------------------------------------------------- writing


class _Dumper(_DUMPER):
    """Writes texts of several lines as blocks, and quotes what would be read as something else."""

    def ignore_aliases(self, data: object) -> bool:
        """Write what occurs twice out twice."""
        del data
        return True


def _write_text(dumper: Any, text: str) -> yaml.ScalarNode:
    style = None
    if _TREATED_AS_LINE_ENDS.search(text):
        style = '"'
    elif "\n" in text.strip("\n"):
        style = "|"
    elif _would_change(text):
        style = "'"
    node: yaml.ScalarNode = dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)
    return node


def _would_change(text: str) -> bool:
    """Say whether we would read an unquoted word as something else than this text."""
    try:
        return bool(_plain(text) != text)
    except ValueError:
        return True


_Dumper.add_representer(str, _write_text)


def to_yaml(value: object, *, begins: bool = False) -> str:
    """Write JSON-like data as YAML; `begins` with the line that says that a document begins."""
    text: str = yaml.dump(
        value,
        Dumper=_Dumper,
        allow_unicode=True,
        default_flow_style=False,
        explicit_start=begins,
        sort_keys=False,
        width=2**30,
    )
    return text


def to_json(value: object) -> str:
    """Write JSON-like data as JSON with one value a line."""
    return json.dumps(value, ensure_ascii=False, indent=2)

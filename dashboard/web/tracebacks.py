"""Reading a stored traceback: which frames are the project's own, and which belong to libraries.

What is read is text that a failed task produced: it may be cut, come from another machine or
another program, or only look like a traceback. Nothing is lost: what fits no rule stays as text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import dashboard

_HEADER = re.compile(r"(?:Exception Group )?Traceback \(most recent call last\):$")
_FRAME = re.compile(r'  File "(?P<file>.*)", line (?P<line>\d+)(?:, in (?P<function>.+))?$')
_MARGIN = re.compile(r"^ *[|+] ", re.MULTILINE)
_INDENT = "    "
_CARETS = re.compile(r" *[~^]+")
_CUT = re.compile(r"… \([\d,]+ characters cut\)$")

_LIBRARY = re.compile(
    r"[\\/](?:site|dist)-packages[\\/]|[\\/]lib(?:64)?[\\/]python\d|[\\/]Lib[\\/]|^<frozen "
)
_PACKAGE = str(Path(dashboard.__file__).parent)
_SAMPLES = str(Path(_PACKAGE, "samples"))


@dataclass(slots=True)
class Code:
    """A line of source, with the part that Python points at."""

    text: str
    start: int = 0
    end: int = 0

    @property
    def pieces(self) -> tuple[str, str, str]:
        """What is before the part pointed at, the part itself, and what is after it."""
        return self.text[: self.start], self.text[self.start : self.end], self.text[self.end :]


@dataclass(slots=True)
class Frame:
    """One call in a traceback."""

    file: str
    line: int
    function: str
    own: bool
    """Whether the project's people wrote it: no library, nor the dashboard calling the task."""
    code: list[Code] = field(default_factory=list)

    def add(self, line: str) -> None:
        """Add a line as it was printed below the place; a line of carets marks the one before."""
        text = line.removeprefix(_INDENT)
        if self.code and _CARETS.fullmatch(text):
            above = self.code[-1]
            above.start, above.end = len(text) - len(text.lstrip()), len(text)
        else:
            self.code.append(Code(text))

    @property
    def folder(self) -> str:
        """The path up to the file's name, with its last slash."""
        return self.file[: len(self.file) - len(self.name)]

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return re.split(r"[\\/]", self.file)[-1]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Neighbouring frames that are all own, or all of libraries."""

    frames: list[Frame]
    own: bool


@dataclass(slots=True)
class Part:
    """One exception: what led to it, its frames in the order of the calls, and its message."""

    before: str = ""  # such as “During handling of the above exception, …”
    frames: list[Frame] = field(default_factory=list)
    error: str = ""

    @property
    def own(self) -> bool:
        """Whether it came through the project's own code; a part without frames counts as well."""
        return not self.frames or any(frame.own for frame in self.frames)

    @property
    def stretches(self) -> list[Stretch]:
        """The frames in their order, own ones apart from others."""
        return [Stretch(list(some), own) for own, some in groupby(self.frames, lambda f: f.own)]


def read_traceback(text: str) -> list[Part]:
    """Split a traceback into its exceptions; a text that is none comes back as a single message.

    Where no frame is the project's own (the task itself is installed), all count as own.
    """
    if "Exception Group Traceback" in text:
        text = _MARGIN.sub("", text)
    reader = _Reader()
    for line in text.splitlines():
        reader.read(line)
    parts = reader.finish()
    frames = [frame for part in parts for frame in part.frames]
    if not any(frame.own for frame in frames):
        for frame in frames:
            frame.own = True
    return parts


def _is_own(file: str) -> bool:
    if file.startswith(_PACKAGE):
        return file.startswith(_SAMPLES)
    return _LIBRARY.search(file) is None


class _Reader:
    """Takes a traceback line by line."""

    def __init__(self) -> None:
        self._parts = [Part()]
        self._loose: list[str] = []  # lines that are neither header nor frame
        self._in_frames = False
        self._after_cut = False

    def read(self, line: str) -> None:
        if _HEADER.match(line.strip()) and not line.startswith("    "):
            self._begin_part()
        elif self._in_frames:
            self._read_frame(line)
        else:
            self._loose.append(line)

    def finish(self) -> list[Part]:
        self._parts[-1].error = "\n".join(self._loose).strip("\n")
        return [part for part in self._parts if part.frames or part.error or part.before]

    def _begin_part(self) -> None:
        """Give what was read since the last frame to the exception before and the one to come."""
        text = "\n".join(self._loose).strip("\n")
        self._loose = []
        self._in_frames = True
        error, gap, before = text.rpartition("\n\n")
        part = self._parts[-1]
        if part.frames:
            part.error = error if gap else text
            self._parts.append(Part(before=before if gap else ""))
        else:
            part.before = f"{part.before}\n{text}".strip("\n")

    def _read_frame(self, line: str) -> None:
        frames = self._parts[-1].frames
        found = _FRAME.match(line)
        if found:
            file, function = found["file"], found["function"] or ""
            frames.append(Frame(file, int(found["line"]), function, own=_is_own(file)))
            self._after_cut = False
        elif frames and (self._after_cut or line.startswith("  ") or _CUT.match(line)):
            frames[-1].add(line)
            # The line after a cut begins in the middle of something.
            self._after_cut = _CUT.match(line) is not None
        else:
            self._in_frames = False
            self._loose.append(line)

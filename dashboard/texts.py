"""Anything a task hands over as text that can be stored: bounded, encodable, no control characters.

PostgreSQL refuses NUL, UTF-8 has no lone surrogates, and an object's `__repr__` may raise: none of
that may lose a run's record.
"""

from __future__ import annotations

import hashlib
import json
import re
import sysconfig
import traceback
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from types import TracebackType

_COLOUR_AND_CURSOR = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?)")
_UNSTORABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_CHANGING_PARTS = re.compile(
    r"""'[^'\n]*' | "[^"\n]*" | “[^”\n]*” | `[^`\n]*`  # quoted strings
      | \w+://\S+ | [\w.+-]+@[\w.-]+                  # addresses
      | (?:\b[a-z]:|~|\.{1,2})?(?:[/\\]+[\w.+%@=-]+)+[/\\]?  # paths
      | \b(?:0x)?[0-9a-f]{8,}\b                        # hashes, also those without a digit
      | [\w-]*[0-9][\w.:,+-]*                          # whatever has a digit: numbers, ids, times
    """,
    re.VERBOSE | re.IGNORECASE,
)
_MESSAGE_CHARACTERS_COMPARED = 1000


def storable(text: str) -> str:
    """Return `text` without colour codes, control characters and lone surrogates spelled out.

    A subclass of `str` becomes a plain one: records cross process boundaries, its class may not.
    """
    if type(text) is not str:
        text = str.__str__(text)
    if text.isprintable():
        return text
    text = _COLOUR_AND_CURSOR.sub("", text.replace("\r\n", "\n"))
    return _UNSTORABLE.sub(_spelled_out, text)


def is_storable(text: str) -> bool:
    """Say whether every database can hold a text exactly as it is."""
    try:
        return b"\x00" not in text.encode()
    except UnicodeEncodeError:
        return False


def _spelled_out(match: re.Match[str]) -> str:
    return ascii(match[0])[1:-1]


def encoded_length(text: str) -> int:
    """Count the bytes of a storable text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def fitted(text: str, limit: int, *, cut: int = 0) -> str:
    """Return `text` storable and within `limit` bytes, followed by how many characters were cut.

    `cut` counts characters that were left out before. The note itself comes on top of the limit.
    """
    kept = storable(text[:limit])
    cut += max(len(text) - limit, 0)
    if encoded_length(kept) > limit:
        shorter = kept.encode()[:limit].decode(errors="ignore")
        cut += len(kept) - len(shorter)
        kept = shorter
    return f"{kept}… ({cut:,} characters cut)" if cut else kept


def fitted_ends(text: str, limit: int) -> str:
    """Return `text` storable and within `limit` bytes, its middle left out: the ends tell most."""
    text = storable(text)
    if encoded_length(text) <= limit:
        return text
    half = limit // 2
    encoded = text.encode()
    head = encoded[:half].decode(errors="ignore")
    tail = encoded[-half:].decode(errors="ignore")
    return f"{head}\n… ({len(text) - len(head) - len(tail):,} characters cut)\n{tail}"


def text_of(value: object) -> str:
    """Return `str(value)`, or a note naming the type when that raises."""
    try:
        return str(value)
    except BaseException as error:  # noqa: BLE001 - foreign code; whatever it does, the record is written
        return f"<{type(value).__name__}: str failed: {type(error).__name__}>"


def result_text(value: object, limit: int) -> str | None:
    """Return a task's result as text: strings as they are, JSON where it can be, else `repr`."""
    if value is None:
        return None
    try:
        if isinstance(value, str):
            return fitted(value, limit)
        if isinstance(value, (dict, list, tuple, int, float)):
            return _json_text(value, limit)
        return fitted(repr(value), limit)
    except BaseException as error:  # noqa: BLE001 - foreign code, as above
        reason = f"{type(error).__name__}: {text_of(error)}"
        return fitted(f"<{type(value).__name__}: repr failed: {reason}>", limit)


def _json_text(value: object, limit: int) -> str:
    """Encode piece by piece and stop at the limit: a huge list costs no more than a short one."""
    pieces: list[str] = []
    length = 0
    try:
        for piece in json.JSONEncoder(ensure_ascii=False, default=text_of).iterencode(value):
            pieces.append(piece)
            length += len(piece)
            if length > limit:
                return fitted("".join(pieces)[:limit], limit) + "… (cut)"
    except (TypeError, ValueError, RecursionError):  # keys that JSON has not, or a circle
        return fitted(repr(value), limit)
    return fitted("".join(pieces), limit)


def error_type(error: BaseException) -> str:
    """Name an exception's type as a traceback would: with its module, unless built in."""
    kind = type(error)
    return (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )


def traceback_text(error: BaseException, limit: int, *, without: Collection[str] = ()) -> str:
    """Format an exception with its causes, without its leading frames in the given files."""
    kind = type(error)
    try:
        lines = traceback.format_exception(kind, error, skip_frames(error.__traceback__, without))
        return fitted_ends("".join(lines), limit)
    except BaseException as problem:  # noqa: BLE001 - an exception's own attributes are foreign code
        return f"{error_type(error)} (its traceback cannot be shown: {type(problem).__name__})"


def skip_frames(trace: TracebackType | None, files: Collection[str]) -> TracebackType | None:
    """Return the part of a traceback that begins below the leading frames of these files."""
    while trace is not None and trace.tb_frame.f_code.co_filename in files:
        trace = trace.tb_next
    return trace


def fingerprint(error: BaseException, *, without: Collection[str] = ()) -> str:
    """Return a short hash that is the same for the same error in the same place.

    Same means: type, message without its numbers, ids, paths and quoted values, and the functions
    of the task's own code it came through, no line numbers: an edit elsewhere in a file changes
    nothing.
    """
    message = _CHANGING_PARTS.sub("#", storable(text_of(error)[:_MESSAGE_CHARACTERS_COMPARED]))
    places = _own_places(skip_frames(error.__traceback__, without))
    text = "\n".join((error_type(error), message, *places))
    return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:16]


def _own_places(trace: TracebackType | None) -> list[str]:
    """List `file:function` of the frames outside the standard library and installed packages.

    When there are none (the task itself is installed), all frames count. Each place counts once, so
    that the depth of a recursion makes no difference.
    """
    codes = [frame.f_code for frame, _line in traceback.walk_tb(trace)]
    installed = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
    own = [code for code in codes if not code.co_filename.startswith((*installed, "<frozen "))]
    places = (f"{PurePath(code.co_filename).name}:{code.co_qualname}" for code in own or codes)
    return list(dict.fromkeys(places))

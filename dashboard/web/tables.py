"""Tables as files: CSV that no spreadsheet takes for formulas."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001


def csv_line(cells: Iterable[object]) -> str:
    """Return one line of CSV; texts are made harmless."""
    line = io.StringIO()
    csv.writer(line).writerow(
        [_harmless(cell) if isinstance(cell, str) else cell for cell in cells]
    )
    return line.getvalue()


def _harmless(text: str) -> str:
    """Return a text that no spreadsheet calculates, and that can be sent.

    What would be a formula gets an apostrophe before it, which shows that it is text
    (owasp.org/www-community/attacks/CSV_Injection).
    """
    text = text.encode(errors="backslashreplace").decode()
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text

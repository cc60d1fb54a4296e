"""A program with a token for everything, and a task to make jobs of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event

from tests.web.api.program import make_program
from tests.web.conftest import site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.web.api.program import Program
    from tests.web.site import Site

__all__ = ["site"]


@pytest.fixture
def program(site: Site) -> Program:
    return make_program(site)


@pytest.fixture(autouse=True)
def _tasks(register: Callable[..., None]) -> None:
    def report(days: int = 1, *, dry_run: bool = False) -> None:
        """Make the report. It takes a while."""

    register(report, "reports.daily")


@pytest.fixture
def statements(site: Site) -> Iterator[Callable[[], int]]:
    """Tell how often the database has been asked something."""
    sent: list[str] = []

    def note(*arguments: object) -> None:
        if str(arguments[2]).startswith(("SELECT", "WITH")):
            sent.append(str(arguments[2]))

    event.listen(site.database.engine, "before_cursor_execute", note)
    yield lambda: len(sent)
    event.remove(site.database.engine, "before_cursor_execute", note)

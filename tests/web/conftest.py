"""A site over each kind of database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.web.site import open_site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dashboard.settings import Settings
    from dashboard.storage.db import Database
    from tests.web.site import Site


@pytest.fixture
def site(database: Database, settings: Settings) -> Iterator[Site]:
    """The pages over an empty database, to an admin."""
    with open_site(database, settings) as site:
        yield site


@pytest.fixture(autouse=True)
def _no_ageing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no page be drawn anew only because time has passed between two requests of a test."""
    for module in ("dashboard.web.rendering", "dashboard.web.api.operations"):
        monkeypatch.setattr(f"{module}.REFRESH_SECONDS", 10**12)
    monkeypatch.setattr("dashboard.web.remembered.SECONDS", 10**12)

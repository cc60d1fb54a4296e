from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dashboard.settings import load_settings
from dashboard.storage.db import Database
from dashboard.storage.models import Base
from tests.sinks import Sink

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dashboard.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The settings of a dashboard with a data folder of its own."""
    settings = load_settings(data=tmp_path / "data")
    settings.prepare_data_folder()
    return settings


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """The database of that dashboard, without rows."""
    database = Database(settings.database_url)
    Base.metadata.create_all(database.engine)
    yield database
    database.close()


@pytest.fixture
def sink() -> Sink:
    return Sink()
